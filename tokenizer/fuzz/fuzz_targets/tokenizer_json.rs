#![no_main]

mod checks;

use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::{EncodeOptions, Tokenizer};

const TEXT: &str = "Hello, wörld! [MASK] e\u{323}\u{301} 東京 ab  ab İ\u{0}x";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tokenizer) = Tokenizer::from_json("fuzz", bytes) {
        let options = EncodeOptions { truncation: tokenizer.default_truncation().cloned(), ..Default::default() };
        checks::check(&tokenizer, TEXT, Some("another text"), &options, checks::turn(bytes));
    }
});
