//! Ids decoded one by one give the text that they give together, whatever the decoder.

use loquat_tokenizer::{DecodeOptions, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A tokenizer that is nothing but a decoder and tokens.
fn tokenizer(decoder: &Value, tokens: &[&str]) -> Tokenizer {
    let vocabulary: serde_json::Map<String, Value> =
        tokens.iter().zip(0..).map(|(token, id)| ((*token).to_owned(), id.into())).collect();
    let special = json!({"id": 0, "content": tokens[0], "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true});
    let file = json!({
        "added_tokens": [special],
        "decoder": decoder,
        "model": {"type": "WordLevel", "unk_token": tokens[0], "vocab": vocabulary},
    });
    Tokenizer::from_json("test", file.to_string().as_bytes()).expect("a tokenizer")
}

fn decoders() -> Vec<Tokenizer> {
    let words = ["<s>", "hello", "##s", ".", "don", "'", "t", "n't", " ", "é", "##'", "do not", "中"];
    let metaspace = ["<s>", "▁Hello", "▁", "▁▁", "lo", "▁wor", "ld", "é", "."];
    let bytes = ["<s>", "Hello", "Ġwor", "ä¸Ń", "ä", "¸Ń", "Ã", "©", "ðŁ", "ĺ", "Ģ", "!"];
    let llama =
        ["<s>", "▁Hello", "▁", "lo", "<0xE4>", "<0xB8>", "<0xAD>", "<0x41>", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"];
    let suffixes = ["<s>", "hel", "lo</w>", "w</w>", "é</w>", "."];
    let letters = ["<s>", "<pad>", "|", "h", "e", "l", "."];
    let llama_decoder = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]});
    vec![
        tokenizer(&Value::Null, &words),
        tokenizer(&json!({"type": "WordPiece", "prefix": "##", "cleanup": true}), &words),
        tokenizer(&json!({"type": "WordPiece", "prefix": "##", "cleanup": false}), &words),
        tokenizer(
            &json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
            &metaspace,
        ),
        tokenizer(
            &json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true}),
            &metaspace,
        ),
        tokenizer(&json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}), &bytes),
        tokenizer(&llama_decoder, &llama),
        tokenizer(&json!({"type": "BPEDecoder", "suffix": "</w>"}), &suffixes),
        tokenizer(
            &json!({"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true}),
            &letters,
        ),
    ]
}

fn has_replacement(text: &str) -> bool {
    text.contains(char::REPLACEMENT_CHARACTER)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn parts_make_the_whole(ids in prop::collection::vec(0u32..14, 0..24), skip_special_tokens: bool, clean_up: bool) {
        let options = DecodeOptions { skip_special_tokens, clean_up: Some(clean_up) };
        for (place, tokenizer) in decoders().iter().enumerate() {
            let whole = tokenizer.decode(&ids, &options).expect("a text");
            let mut stream = tokenizer.decode_stream(&options);
            let mut text = String::new();
            for &id in &ids {
                let part = stream.push(id).expect("a text");
                prop_assert!(has_replacement(&whole) || !has_replacement(&part), "{:?}", part);
                text += &part;
            }
            text += &stream.finish().expect("a text");
            if !has_replacement(&whole) {
                prop_assert_eq!(&text, &whole, "decoder {} of {:?}", place, &ids);
            }
        }
    }
}

#[test]
fn a_character_comes_when_it_is_whole() {
    let tokenizer = &decoders()[5];
    let mut stream = tokenizer.decode_stream(&DecodeOptions::default());
    let parts: Vec<String> = [1, 4, 5, 8, 9, 10, 11].into_iter().map(|id| stream.push(id).expect("a text")).collect();
    assert_eq!(parts, ["Hello", "", "中", "", "", "😀", "!"]);
    assert_eq!(stream.finish().expect("a text"), "");
}

#[test]
fn bytes_that_never_become_a_character_come_out_in_the_end() {
    let tokenizer = &decoders()[5];
    let mut stream = tokenizer.decode_stream(&DecodeOptions::default());
    assert_eq!(stream.push(4).expect("a text"), "");
    assert_eq!(stream.finish().expect("a text"), "\u{FFFD}");
    let mut stream = tokenizer.decode_stream(&DecodeOptions::default());
    let text: String = (0..1000).map(|_| stream.push(4).expect("a text")).collect();
    assert!(text.chars().count() > 900, "they wait for ever");
}
