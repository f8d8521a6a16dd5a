#![no_main]

mod checks;

use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::{EncodeOptions, Tokenizer};

const TEXT: &str = "Hello, wörld! <s>e\u{323}\u{301} 東京 ab  ab İ\u{0}x ▁\u{3000}";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tokenizer) = Tokenizer::from_sentencepiece("fuzz", bytes) {
        checks::check(&tokenizer, TEXT, Some("another text"), &EncodeOptions::default(), checks::turn(bytes));
    }
});
