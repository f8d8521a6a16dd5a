//! The compiled form: the same tokenizer again, and an error or some tokenizer, but no panic, whatever the bytes.
//!
//! That it encodes and decodes as the tokenizer that it was made of is in the tests of the golden files and of the families too.

mod support;

use std::path::Path;
use std::sync::Arc;

use loquat_tokenizer::{DecodeOptions, EncodeOptions, Tokenizer, TokenizerError, Truncation};
use support::compiled;

/// Small tokenizers of every algorithm.
fn tokenizers() -> Vec<(String, Tokenizer)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/tokenizer_json");
    let files = std::fs::read_dir(folder).expect("the seeds of the fuzzer").map(|entry| entry.expect("a file").path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    let read = files.iter().filter_map(|file| Some((file.display().to_string(), Tokenizer::from_file(file).ok()?)));
    let tokenizers: Vec<_> = read.collect();
    assert!(tokenizers.len() >= 6);
    tokenizers
}

fn open(bytes: Vec<u8>) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_compiled("t.loqtok", Arc::new(bytes))
}

const TEXT: &str =
    "Hello, wörld! <s>e\u{323}\u{301} 東京 ab  ab İ\u{0}x ▁\u{3000}[MASK] unaffordable 12345 aaaaaaaaaaaaaaaaaaaaaaaaa";

/// Whatever the tables say, nothing panics; ids may be any.
fn use_it(tokenizer: &Tokenizer) {
    let truncation = Truncation { overflow: true, ..Truncation::to(8) };
    let truncated = EncodeOptions { truncation: Some(truncation), ..Default::default() };
    for options in [EncodeOptions::default(), truncated] {
        if let Ok(encoding) = tokenizer.encode(TEXT, Some("ab ab"), &options) {
            let _ = encoding.tokens(tokenizer);
            let _ = encoding.char_offsets((TEXT, "ab ab"));
            let _ = tokenizer.decode(&encoding.ids, &DecodeOptions { skip_special_tokens: true, clean_up: None });
        }
    }
    let mut ids = Vec::new();
    let _ = tokenizer.encode_ids(TEXT, None, &mut ids);
    let _ = tokenizer.decode(&ids, &DecodeOptions::default());
    let _ = (tokenizer.count_tokens(TEXT), tokenizer.vocab_size());
    let _ = (tokenizer.token_to_id("ab"), tokenizer.id_to_token(3));
}

#[test]
fn what_is_compiled_is_the_same_tokenizer() {
    for (name, tokenizer) in tokenizers() {
        let again = compiled(&tokenizer);
        assert_eq!(again.to_compiled(), tokenizer.to_compiled(), "{name}");
        assert_eq!(again.added_tokens(), tokenizer.added_tokens(), "{name}");
        assert_eq!(again.special_tokens(), tokenizer.special_tokens(), "{name}");
        assert_eq!(again.default_truncation(), tokenizer.default_truncation(), "{name}");
        assert_eq!(again.default_padding(), tokenizer.default_padding(), "{name}");
        assert_eq!(again.model_max_length(), tokenizer.model_max_length(), "{name}");
        assert_eq!(again.vocab_size(), tokenizer.vocab_size(), "{name}");
        for id in (0..tokenizer.vocab_size() as u32 + 2).chain([u32::MAX]) {
            let token = tokenizer.id_to_token(id);
            assert_eq!(again.id_to_token(id), token, "{name}");
            let token = token.unwrap_or("none");
            assert_eq!(again.token_to_id(token), tokenizer.token_to_id(token), "{name}");
        }
        for pair in [None, Some("ab [MASK]")] {
            let encode = |tokenizer: &Tokenizer| tokenizer.encode(TEXT, pair, &EncodeOptions::default()).ok();
            assert_eq!(encode(&again), encode(&tokenizer), "{name}");
        }
    }
}

#[test]
fn the_name_of_a_file_does_not_matter_and_damage_is_found_when_it_is_read() {
    let (_, tokenizer) = &tokenizers()[0];
    let mut bytes = tokenizer.to_compiled();
    let folder = support::Folder::new("compiled", &[("tokenizer.bin", &bytes)]);
    let file = folder.0.join("tokenizer.bin");
    assert_eq!(Tokenizer::from_file(&file).expect("a tokenizer").to_compiled(), bytes);
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(&file, &bytes).expect("a file");
    let error = Tokenizer::from_file(&file).expect_err("damage").to_string();
    assert!(error.contains("tokenizer.bin") && error.contains("damaged"), "{error}");
}

#[test]
fn a_file_that_ends_early_is_refused() {
    for (name, tokenizer) in tokenizers() {
        let bytes = tokenizer.to_compiled();
        for length in (0..bytes.len()).filter(|&length| length < 4096 || length.is_multiple_of(997)) {
            let error = open(bytes[..length].to_vec()).expect_err(&name).to_string();
            assert!(error.starts_with("t.loqtok (header): expected "), "{name}: {error}");
        }
    }
}

#[test]
fn no_changed_bit_makes_anything_panic() {
    const SMALL: usize = 1024;
    for (_, tokenizer) in tokenizers() {
        let bytes = tokenizer.to_compiled();
        // Every byte of what is small, one here and there of what is large.
        let step = (bytes.len() / 2000).max(1);
        for at in (0..bytes.len()).filter(|&at| at < SMALL || at.is_multiple_of(step)) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at / step % 8);
            // Its own bytes are not in the checksum.
            assert!((24..32).contains(&at) || Tokenizer::verify_compiled("t.loqtok", &changed).is_err() || at < 24);
            if let Ok(tokenizer) = open(changed) {
                use_it(&tokenizer);
            }
        }
    }
}

/// Where the sections of a file are.
fn sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte));
    let entries = bytes[32..].chunks_exact(64).take(number(&bytes[12..16]));
    entries.map(|entry| number(&entry[48..56])..number(&entry[48..56]) + number(&entry[56..])).collect()
}

#[test]
fn full_and_senseless_tables_are_walked_to_an_end() {
    for (_, tokenizer) in tokenizers() {
        let bytes = tokenizer.to_compiled();
        let sections = sections(&bytes);
        assert!(sections.len() > 5);
        for filling in [0x00, 0x01, 0x61, 0x7F, 0x80, 0xFF] {
            for section in &sections {
                let mut changed = bytes.clone();
                changed[section.clone()].fill(filling);
                if let Ok(tokenizer) = open(changed) {
                    use_it(&tokenizer);
                }
            }
            // All tables at once.
            let mut changed = bytes.clone();
            for section in &sections {
                let is_json = |bytes: &[u8]| bytes.starts_with(b"[") || bytes.starts_with(b"{");
                if !is_json(&bytes[section.clone()]) {
                    changed[section.clone()].fill(filling);
                }
            }
            if let Ok(tokenizer) = open(changed) {
                use_it(&tokenizer);
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let (_, tokenizer) = &tokenizers()[0];
    let bytes = tokenizer.to_compiled();
    let error = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        change(&mut changed);
        open(changed).expect_err("a fault").to_string()
    };
    let other = error(&|bytes| bytes[..4].copy_from_slice(b"{\"a\""));
    assert!(other.contains("expected a compiled tokenizer, found a file that begins with"), "{other}");
    let version = error(&|bytes| bytes[8] = 99);
    assert!(version.contains("version 99"), "{version}");
    let many = error(&|bytes| bytes[15] = 0x7F);
    assert!(many.contains("sections"), "{many}");
    let far = error(&|bytes| bytes[32 + 55] = 0x7F);
    assert!(far.contains("(section components): expected to be within"), "{far}");
    let renamed = error(&|bytes| bytes[32] = b'x');
    assert!(renamed.contains("(section components): expected to be there, found none"), "{renamed}");
}
