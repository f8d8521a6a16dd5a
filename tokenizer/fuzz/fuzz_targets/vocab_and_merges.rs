#![no_main]

mod checks;
mod folder;

use std::sync::LazyLock;

use folder::Folder;
use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::EncodeOptions;

const TEXT: &str = "Hello, wörld's <s>ab  ab 12 東\u{0}x\n";

/// A folder for each family that is published so, and one whose family follows from its tokens.
static FOLDERS: LazyLock<Vec<Folder>> = LazyLock::new(|| {
    let configs: [&[u8]; 6] = [
        b"{}",
        br#"{"tokenizer_class": "GPT2Tokenizer"}"#,
        br#"{"tokenizer_class": "RobertaTokenizer"}"#,
        br#"{"tokenizer_class": "CLIPTokenizer"}"#,
        br#"{"tokenizer_class": "OpenAIGPTTokenizer"}"#,
        br#"{"tokenizer_class": "BlenderbotTokenizer"}"#,
    ];
    let folder = |(place, config): (usize, &&[u8])| {
        Folder::new(&place.to_string(), &[("tokenizer_config.json", *config)], &["vocab.json", "merges.txt"])
    };
    configs.iter().enumerate().map(folder).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&family, files)) = bytes.split_first() else {
        return;
    };
    if let Ok(tokenizer) = FOLDERS[usize::from(family) % FOLDERS.len()].load(files) {
        checks::check(&tokenizer, TEXT, Some("ab"), &EncodeOptions::default(), checks::turn(bytes));
    }
});
