#![no_main]

mod checks;
mod folder;

use std::sync::LazyLock;

use folder::Folder;
use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::EncodeOptions;

const TEXT: &str = "Hello, wörld! <s>[MASK] é東 ab  ab<extra>\u{0}x";

const SIDE_FILES: &[&str] = &["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"];

/// A folder for each format that side files stand beside, and one where they are all there is.
static FOLDERS: LazyLock<Vec<Folder>> = LazyLock::new(|| {
    let vocabulary = br#"{"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"<mask>":4,"a":5,"b":6,"ab":7,"\u0120":8,"\u0120ab":9,"<|endoftext|>":10}"#;
    let formats: [&[(&str, &[u8])]; 6] = [
        &[("vocab.txt", include_bytes!("../seeds/vocab_txt/small.txt"))],
        &[("vocab.json", vocabulary), ("merges.txt", b"a b\n\xC4\xA0 ab\n")],
        &[("spiece.model", include_bytes!("../seeds/sentencepiece/unigram-plain.model"))],
        &[("tokenizer.model", include_bytes!("../seeds/sentencepiece/bpe-plain.model"))],
        &[("tokenizer.json", include_bytes!("../seeds/tokenizer_json/plain.json"))],
        &[],
    ];
    let folder = |(place, files): (usize, &&[(&str, &[u8])])| Folder::new(&place.to_string(), files, SIDE_FILES);
    formats.iter().enumerate().map(folder).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&format, files)) = bytes.split_first() else {
        return;
    };
    if let Ok(tokenizer) = FOLDERS[usize::from(format) % FOLDERS.len()].load(files) {
        checks::check(&tokenizer, TEXT, Some("ab"), &EncodeOptions::default(), checks::turn(bytes));
    }
});
