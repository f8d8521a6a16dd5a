#![no_main]

mod checks;

use libfuzzer_sys::fuzz_target;
use loquat_tokenizer::{EncodeOptions, Tokenizer};

/// A model without a map of its own.
const MODEL: &[u8] = include_bytes!("../seeds/sentencepiece/unigram-plain.model");

fn varint(mut value: usize, to: &mut Vec<u8>) {
    while value > 127 {
        to.push(value as u8 | 128);
        value >>= 7;
    }
    to.push(value as u8);
}

/// A field of bytes of a protocol buffer.
fn field(number: u8, data: &[u8], to: &mut Vec<u8>) {
    to.push(number << 3 | 2);
    varint(data.len(), to);
    to.extend_from_slice(data);
}

fuzz_target!(|bytes: &[u8]| {
    // The length of a text, the text, and the map.
    let Some((text, map)) = bytes.split_first().and_then(|(&length, rest)| rest.split_at_checked(usize::from(length)))
    else {
        return;
    };
    let mut normalizer_spec = Vec::new();
    field(2, map, &mut normalizer_spec);
    let mut model = MODEL.to_vec();
    field(3, &normalizer_spec, &mut model);
    if let Ok(tokenizer) = Tokenizer::from_sentencepiece("fuzz", &model) {
        let text = String::from_utf8_lossy(text);
        checks::check(&tokenizer, &text, Some("ｱab ﬁ"), &EncodeOptions::default(), checks::turn(bytes));
    }
});
