#![no_main]

//! Damaged tables give any ids, so that one way and another needn't agree here; but nothing panics, and everything ends.

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::{DecodeOptions, EncodeOptions, Tokenizer, Truncation};

const TEXT: &str =
    "Hello, wörld! <s>e\u{323}\u{301} 東京 ab  ab İ\u{0}x ▁\u{3000}[MASK] unaffordable 12345 aaaaaaaaaaaaaaaaaaaaaaaaa";

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_compiled("fuzz", Arc::new(bytes.to_vec())) else {
        return;
    };
    let truncation = Truncation { overflow: true, ..Truncation::to(8) };
    for truncation in [None, Some(truncation)] {
        let options = EncodeOptions { truncation, ..Default::default() };
        if let Ok(encoding) = tokenizer.encode(TEXT, Some("ab ab"), &options) {
            let _ = encoding.tokens(&tokenizer);
            let _ = encoding.char_offsets((TEXT, "ab ab"));
            let _ = tokenizer.decode(&encoding.ids, &DecodeOptions { skip_special_tokens: true, clean_up: None });
        }
    }
    let mut ids = Vec::new();
    // The second time, words are known.
    for _ in 0..2 {
        let _ = tokenizer.encode_ids(TEXT, None, &mut ids);
    }
    let _ = tokenizer.decode(&ids, &DecodeOptions::default());
    let _ = (tokenizer.count_tokens(TEXT), tokenizer.vocab_size(), tokenizer.token_to_id("ab"));
    let _ = ids.iter().map(|&id| tokenizer.id_to_token(id)).last();
    let _ = tokenizer.to_compiled();
});
