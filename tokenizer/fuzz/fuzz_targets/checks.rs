//! What holds for any tokenizer, any text and any options.

use std::num::NonZeroUsize;

use loquat_tokenizer::{DecodeOptions, EncodeOptions, Encoding, Tokenizer};

/// Encodes, and checks what comes out; then one thing more, which `turn` chooses: checking all of them each time would be several
/// times as slow, and the fuzzer comes by again.
pub fn check(tokenizer: &Tokenizer, text: &str, pair: Option<&str>, options: &EncodeOptions, turn: usize) {
    let plain = tokenizer.encode(text, None, &EncodeOptions::default());
    let mut ids = Vec::new();
    let fast = tokenizer.encode_ids(text, None, &mut ids);
    assert_eq!(plain.is_ok(), fast.is_ok());
    let Ok(plain) = plain else {
        return;
    };
    assert_eq!(plain.ids, ids);
    check_shape(&plain, text, "");
    match turn % 4 {
        0 => check_options(tokenizer, text, pair, options),
        1 => {
            let decoded = decode_options().map(|options| tokenizer.decode(&ids, &options));
            assert!(decoded.iter().all(Result::is_ok));
            assert_eq!(plain.tokens(tokenizer).len(), ids.len());
        }
        2 => check_batch(tokenizer, text, &ids),
        _ => {
            for options in decode_options() {
                let mut stream = tokenizer.decode_stream(&options);
                for &id in &ids {
                    stream.push(id).expect("a part of a text");
                }
                stream.finish().expect("the end of a text");
            }
        }
    }
}

/// A turn for [`check`] that changes with every byte of an input.
pub fn turn(bytes: &[u8]) -> usize {
    bytes.iter().fold(bytes.len(), |sum, &byte| sum + usize::from(byte))
}

fn decode_options() -> [DecodeOptions; 2] {
    [false, true].map(|skip| DecodeOptions { skip_special_tokens: skip, clean_up: Some(skip) })
}

fn check_options(tokenizer: &Tokenizer, text: &str, pair: Option<&str>, options: &EncodeOptions) {
    let Ok(encoding) = tokenizer.encode(text, pair, options) else {
        return;
    };
    check_shape(&encoding, text, pair.unwrap_or_default());
    let offsets = match pair {
        Some(pair) => encoding.char_offsets((text, pair)),
        None => encoding.char_offsets(text),
    };
    assert_eq!(offsets.len(), encoding.ids.len());
}

/// Counting and batches agree with the plain way.
fn check_batch(tokenizer: &Tokenizer, text: &str, ids: &[u32]) {
    assert_eq!(tokenizer.count_tokens(text).ok(), Some(ids.len()));
    let batch = tokenizer.encode_ids_batch(&[text, "", text], None, NonZeroUsize::new(1)).expect("what went before");
    let last = batch.cu_seqlens[2] as usize;
    assert_eq!((&batch.ids[..ids.len()], &batch.ids[last..]), (ids, ids));
}

fn check_shape(encoding: &Encoding, text: &str, pair: &str) {
    let tokens = encoding.ids.len();
    assert_eq!(encoding.type_ids.len(), tokens);
    assert_eq!(encoding.special_tokens_mask.len(), tokens);
    assert_eq!(encoding.attention_mask.len(), tokens);
    assert_eq!(encoding.offsets.len(), tokens);
    assert_eq!(encoding.word_ids.len(), tokens);
    assert_eq!(encoding.sequence_ids.len(), tokens);
    for (&(start, end), sequence) in encoding.offsets.iter().zip(&encoding.sequence_ids) {
        let whole = match sequence {
            Some(0) => text,
            Some(_) => pair,
            None => "",
        };
        assert!(whole.get(start..end).is_some(), "{start}..{end} of {whole:?}");
    }
    for window in &encoding.overflowing {
        check_shape(window, text, pair);
    }
}
