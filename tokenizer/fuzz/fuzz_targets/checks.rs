//! What holds for any tokenizer, any text and any options.

use std::num::NonZeroUsize;

use loquat_tokenizer::{DecodeOptions, EncodeOptions, Encoding, Tokenizer};

/// Encodes and decodes, and checks what comes out.
pub fn check(tokenizer: &Tokenizer, text: &str, pair: Option<&str>, options: &EncodeOptions) {
    if let Ok(encoding) = tokenizer.encode(text, pair, options) {
        check_shape(&encoding, text, pair.unwrap_or_default());
        let _ = encoding.tokens(tokenizer);
        match pair {
            Some(pair) => drop(encoding.char_offsets((text, pair))),
            None => drop(encoding.char_offsets(text)),
        }
        for skip_special_tokens in [false, true] {
            let options = DecodeOptions { skip_special_tokens, clean_up: Some(skip_special_tokens) };
            assert!(tokenizer.decode(&encoding.ids, &options).is_ok());
        }
    }
    let plain = tokenizer.encode(text, None, &EncodeOptions::default());
    let mut ids = Vec::new();
    let fast = tokenizer.encode_ids(text, None, &mut ids);
    assert_eq!(plain.is_ok(), fast.is_ok());
    if let Ok(plain) = plain {
        assert_eq!(plain.ids, ids);
        check_other_ways(tokenizer, text, &ids);
    }
}

/// Counting, batches and streams agree with the plain way.
fn check_other_ways(tokenizer: &Tokenizer, text: &str, ids: &[u32]) {
    assert_eq!(tokenizer.count_tokens(text).ok(), Some(ids.len()));
    let batch = tokenizer.encode_ids_batch(&[text, "", text], None, NonZeroUsize::new(1)).expect("what went before");
    let last = batch.cu_seqlens[2] as usize;
    assert_eq!((&batch.ids[..ids.len()], &batch.ids[last..]), (ids, ids));
    for skip_special_tokens in [false, true] {
        let options = DecodeOptions { skip_special_tokens, clean_up: Some(skip_special_tokens) };
        let mut stream = tokenizer.decode_stream(&options);
        let parts: Result<String, _> = ids.iter().map(|&id| stream.push(id)).collect();
        let streamed = parts.and_then(|parts| Ok(parts + &stream.finish()?)).expect("a text");
        let _ = streamed;
    }
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
