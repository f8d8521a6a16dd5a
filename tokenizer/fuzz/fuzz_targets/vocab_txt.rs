#![no_main]

mod checks;

use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::{EncodeOptions, Tokenizer};

/// Bytes of the file that are a text, too.
const TEXT: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tokenizer) = Tokenizer::from_vocab("fuzz", bytes) {
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TEXT)..]);
        checks::check(&tokenizer, &text, Some("ab ##c"), &EncodeOptions::default(), checks::turn(bytes));
        for id in 0..tokenizer.vocab_size() as u32 {
            if let Some(token) = tokenizer.id_to_token(id) {
                assert_eq!(tokenizer.token_to_id(token), Some(id));
            }
        }
    }
});
