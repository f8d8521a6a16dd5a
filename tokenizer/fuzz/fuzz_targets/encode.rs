#![no_main]

mod checks;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::{EncodeOptions, Padding, PaddingLength, Side, Tokenizer, Truncation, TruncationStrategy};

/// Vocabularies small enough to be hit, of every algorithm, and added tokens of every kind.
static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let files: [&[u8]; 6] = [
        include_bytes!("../seeds/tokenizer_json/bert.json"),
        include_bytes!("../seeds/tokenizer_json/added.json"),
        include_bytes!("../seeds/tokenizer_json/byte_level.json"),
        include_bytes!("../seeds/tokenizer_json/split.json"),
        include_bytes!("../seeds/tokenizer_json/unigram.json"),
        include_bytes!("../seeds/tokenizer_json/byte_fallback.json"),
    ];
    let models: [&[u8]; 3] = [
        include_bytes!("../seeds/sentencepiece/unigram-map.model"),
        include_bytes!("../seeds/sentencepiece/bpe-map.model"),
        include_bytes!("../seeds/sentencepiece/bytes.model"),
    ];
    let files = files.into_iter().map(|file| Tokenizer::from_json("seed", file));
    let models = models.into_iter().map(|file| Tokenizer::from_sentencepiece("seed", file));
    files.chain(models).map(|loaded| loaded.expect("a seed that loads")).collect()
});

fn side(byte: u8) -> Side {
    if byte & 1 == 0 { Side::Left } else { Side::Right }
}

fn options(knobs: &[u8]) -> EncodeOptions {
    let truncation = Truncation {
        max_length: usize::from(knobs[1] % 32),
        strategy: match knobs[2] & 3 {
            0 => TruncationStrategy::LongestFirst,
            1 => TruncationStrategy::OnlyFirst,
            2 => TruncationStrategy::OnlySecond,
            _ => TruncationStrategy::DoNotTruncate,
        },
        stride: usize::from(knobs[3] % 16),
        direction: side(knobs[2] >> 2),
        overflow: knobs[2] & 8 != 0,
    };
    let padding = Padding {
        length: match knobs[4] {
            length @ 0..128 => PaddingLength::Fixed(usize::from(length)),
            _ => PaddingLength::BatchLongest,
        },
        direction: side(knobs[5]),
        pad_to_multiple_of: (knobs[5] & 2 != 0).then_some(usize::from(knobs[5] >> 4)),
        ..Padding::default()
    };
    EncodeOptions {
        add_special_tokens: knobs[0] & 1 == 0,
        truncation: (knobs[0] & 2 == 0).then_some(truncation),
        padding: (knobs[0] & 4 == 0).then_some(padding),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((knobs, text)) = bytes.split_at_checked(6) else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    let (text, pair) = match text.split_once('\u{1}') {
        Some((text, pair)) => (text, Some(pair)),
        None => (&*text, None),
    };
    // One of them each time: which one is a knob too.
    let tokenizer = &TOKENIZERS[usize::from(knobs[0] >> 3) % TOKENIZERS.len()];
    checks::check(tokenizer, text, pair, &options(knobs), checks::turn(bytes));
});
