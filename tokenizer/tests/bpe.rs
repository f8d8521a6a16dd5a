//! BPE of every kind: what the reference wrote comes out the same here, and the fast way gives what the long way gives.
//!
//! `tools/reference/bpe_goldens.py` writes the golden file.

mod support;

use std::path::{Path, PathBuf};

use loquat_tokenizer::{DecodeOptions, EncodeOptions, Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn goldens() -> Vec<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/tokenizer/bpe.jsonl");
    let text = std::fs::read_to_string(file).expect("the golden file");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn load(file: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_json("t.json", file.to_string().as_bytes())
}

/// Every tokenizer of the golden file, with its cases.
fn tokenizers() -> Vec<(Value, Vec<Value>)> {
    let mut tokenizers: Vec<(Value, Vec<Value>)> = Vec::new();
    for line in goldens() {
        if let Some(patch) = line.get("tokenizer").and_then(Value::as_object) {
            let mut file = tokenizers.last().map_or_else(|| json!({}), |(file, _)| file.clone());
            for (part, value) in patch {
                file[part] = value.clone();
            }
            tokenizers.push((file, Vec::new()));
        } else if let Some((_, cases)) = tokenizers.last_mut() {
            cases.push(line);
        }
    }
    tokenizers
}

fn check(tokenizer: &Tokenizer, case: &Value) -> Result<(), String> {
    let text = case[0].as_str().expect("a text");
    let encoding = tokenizer.encode(text, None, &EncodeOptions::default()).map_err(|error| error.to_string())?;
    let offsets: Vec<usize> = encoding.char_offsets(text).into_iter().flat_map(|(start, end)| [start, end]).collect();
    let words: Vec<i64> = encoding.word_ids.iter().map(|word| word.map_or(-1, i64::from)).collect();
    let options = DecodeOptions { skip_special_tokens: true, clean_up: None };
    let decoded = tokenizer.decode(&encoding.ids, &options).map_err(|error| error.to_string())?;
    let found = json!([text, encoding.ids, offsets, words, decoded]);
    if *case != found {
        return Err(format!("found {found}"));
    }
    let mut ids = Vec::new();
    tokenizer.encode_ids(text, None, &mut ids).map_err(|error| error.to_string())?;
    if ids == encoding.ids { Ok(()) } else { Err(format!("encode_ids gives {ids:?}")) }
}

#[test]
fn every_golden_line_is_equal() {
    let (mut lines, mut failures) = (0, Vec::new());
    for (file, cases) in tokenizers() {
        let tokenizer = load(&file).unwrap_or_else(|error| panic!("{error}"));
        let compiled = support::compiled(&tokenizer);
        for case in &cases {
            lines += 1;
            for (form, tokenizer) in [("as read", &tokenizer), ("compiled", &compiled)] {
                if let Err(found) = check(tokenizer, case) {
                    failures.push(format!("{form} {}\n  golden {case}\n  {found}", file["pre_tokenizer"]));
                }
            }
        }
    }
    assert!(lines > 1000, "only {lines} cases in the golden file");
    assert!(failures.is_empty(), "{} of {lines} cases differ:\n{}", failures.len(), failures.join("\n"));
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        5 => "[a-zA-Z]{1,9}",
        2 => "[a-z]{10,50}",
        3 => "('s|'t|'re|'Ve|'m|'LL|'D|'ſ|'|'')",
        3 => "[ \\t\\r\\n\u{a0}\u{3000}]{1,4}",
        2 => "[0-9²Ⅳ]{1,9}",
        3 => "[.,!?/\"#\\-()。_]{1,4}",
        2 => "[éÀǅЖж中가\u{301}]{1,4}",
        1 => "<mask>|<end>",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

#[test]
fn the_fast_way_gives_what_the_long_way_gives() {
    let tokenizers: Vec<Tokenizer> = tokenizers()
        .iter()
        .filter(|(_, cases)| cases.len() > 20)
        .map(|(file, _)| load(file).expect("a tokenizer"))
        .collect();
    assert!(tokenizers.len() > 5);
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() };
    proptest!(config, |(text in text())| {
        for tokenizer in &tokenizers {
            let encoding = tokenizer.encode(&text, None, &EncodeOptions::default()).expect("an encoding");
            // Twice: the second time the words are known.
            for _ in 0..2 {
                let mut ids = Vec::new();
                tokenizer.encode_ids(&text, None, &mut ids).expect("ids");
                prop_assert_eq!(&ids, &encoding.ids);
            }
            for &(start, end) in &encoding.offsets {
                prop_assert!(text.get(start..end).is_some());
            }
        }
    });
}

/// A step that takes time by the square of the length would take minutes at the least.
#[test]
fn a_megabyte_of_any_shape_takes_no_time_to_speak_of() {
    let (file, _) = &tokenizers()[0];
    let tokenizer = load(file).expect("a tokenizer");
    let shapes = ["a", "the", "ab", " ", "\n", " \n", "'", "'s", "中", ".", "1", "é", "e\u{301}"];
    let repeated = shapes.into_iter().map(|shape| (shape, shape.repeat((1 << 20) / shape.len())));
    let any_of = |alphabet: &str| -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        let mut state = 1u32;
        let letter = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            letters[(state >> 16) as usize % letters.len()]
        };
        (0..1 << 19).map(letter).collect()
    };
    let alphabets = ["ab", "abcdefghijklmnopqrstuvwxyz", "的一是不了人我在有他", "абвгдежзиклмнопрсту"];
    for (shape, text) in repeated.chain(alphabets.map(|alphabet| (alphabet, any_of(alphabet)))) {
        let start = std::time::Instant::now();
        let mut ids = Vec::new();
        tokenizer.encode_ids(&text, None, &mut ids).expect("ids");
        let encoding = tokenizer.encode(&text, None, &EncodeOptions::default()).expect("an encoding");
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(ids, encoding.ids);
        assert!(seconds < 10.0, "{shape:?} takes {seconds} s");
    }
}

/// A small tokenizer with one part of its model replaced.
fn spoilt(part: &str, value: Value) -> Result<Tokenizer, TokenizerError> {
    let mut model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]});
    model[part] = value;
    load(&json!({"version": "1.0", "model": model, "pre_tokenizer": {"type": "Whitespace"}}))
}

#[test]
fn faults_of_the_model_name_their_place() {
    let cases = [
        ("merges", json!(["a b", "b c"]), "$.model.merges[1]"),
        ("merges", json!(["a b", "b a"]), "\"ba\""),
        ("merges", json!(["a b c"]), "two tokens with one space"),
        ("merges", json!(["ab"]), "two tokens with one space"),
        ("merges", json!([["a"]]), "two tokens"),
        ("merges", json!([["a", "b", "ab"]]), "two tokens"),
        ("merges", json!([7]), "a merge"),
        ("merges", json!({"a": "b"}), "a list of merges"),
        ("dropout", json!(0.1), "$.model.dropout"),
        ("continuing_subword_prefix", json!("b"), "longer than the prefix"),
        ("vocab", json!({"a": 0, "b": 0, "ab": 2}), "$.model.vocab"),
        ("fuse_unk", json!("yes"), "a boolean"),
    ];
    for (part, value, expected) in cases {
        let error = spoilt(part, value.clone()).expect_err(part).to_string();
        assert!(error.contains("t.json") && error.contains(expected), "{part} {value}: {error}");
    }
    assert!(spoilt("dropout", json!(0.0)).is_ok());
    assert!(spoilt("merges", json!(["#version: 0.2", "a b"])).is_ok());
}

#[test]
fn merges_that_go_round_in_circles_end() {
    // Each of these makes what the others take apart again, as far as a list of merges can.
    let merges = json!(["a b", "ab a", "b a", "a ba", "ab ab", "abab ab"]);
    let vocab = json!({"abab": 9, "ababab": 8, "aba": 7, "ba": 6, "a": 0, "b": 1, "ab": 2});
    let model = json!({"type": "BPE", "vocab": vocab, "merges": merges});
    let tokenizer = load(&json!({"version": "1.0", "model": model})).expect("a tokenizer");
    for text in ["ab", "abababababab", &"ab".repeat(100_000), &"ba".repeat(33)] {
        let encoding = tokenizer.encode(text, None, &EncodeOptions::default()).expect("an encoding");
        let tokens: String = encoding.tokens(&tokenizer).concat();
        assert_eq!(tokens, text);
    }
}

#[test]
fn an_unknown_word_without_an_unknown_token_is_an_error() {
    let tokenizer = spoilt("unk_token", json!("<unk>")).expect("a tokenizer");
    let error = tokenizer.encode("a c", None, &EncodeOptions::default()).expect_err("no token for it").to_string();
    assert!(error.contains("\"c\"") && error.contains("<unk>"), "{error}");
    let mut ids = vec![5];
    assert!(tokenizer.encode_ids("a c", None, &mut ids).is_err());
    assert_eq!(ids, [5]);

    let model = json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "<unk>"});
    let file = json!({"version": "1.0", "model": model, "pre_tokenizer": {"type": "Whitespace"}});
    let tokenizer = load(&file).expect("a tokenizer");
    assert!(tokenizer.encode("a a", None, &EncodeOptions::default()).is_ok());
    assert!(tokenizer.encode("a c", None, &EncodeOptions::default()).is_err());
}

#[test]
fn expressions_that_cant_be_are_refused_at_load() {
    for expression in ["(", "[a", "(?<n>a)\\g<x>", "*"] {
        let split = json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
        let file =
            json!({"version": "1.0", "pre_tokenizer": split, "model": {"type": "BPE", "vocab": {}, "merges": []}});
        let error = load(&file).expect_err(expression).to_string();
        assert!(error.contains("$.pre_tokenizer.pattern"), "{error}");
    }
}

#[test]
fn an_expression_that_gives_up_on_a_text_is_an_error() {
    let split =
        json!({"type": "Split", "pattern": {"Regex": "(?=(a+)+$)(a|a)+\\1b"}, "behavior": "Isolated", "invert": false});
    let model = json!({"type": "BPE", "vocab": {"a": 0}, "merges": []});
    let file = json!({"version": "1.0", "pre_tokenizer": split, "model": model});
    let tokenizer = load(&file).expect("a tokenizer");
    let error = tokenizer.encode(&"a".repeat(60), None, &EncodeOptions::default()).expect_err("too much backtracking");
    assert!(matches!(error, TokenizerError::Regex { .. }), "{error}");
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let folder = std::env::temp_dir().join(format!("loquat-tokenizer-bpe-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (file, text) in files {
            std::fs::write(folder.join(file), text).expect("a file");
        }
        Folder(folder)
    }

    fn load(&self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_folder(Path::new(&self.0))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `vocab.json` and `merges.txt` of the first golden tokenizer, with `more` tokens.
fn files(more: &[&str]) -> (String, String) {
    let (file, _) = &tokenizers()[0];
    let mut vocab = file["model"]["vocab"].as_object().expect("a vocabulary").clone();
    for token in more {
        let id = vocab.len();
        vocab.insert((*token).to_owned(), id.into());
    }
    let merges = file["model"]["merges"].as_array().expect("merges").iter();
    let line = |merge: &Value| match merge {
        Value::Array(pair) => format!("{} {}\n", pair[0].as_str().expect("left"), pair[1].as_str().expect("right")),
        text => format!("{}\n", text.as_str().expect("a merge")),
    };
    let merges: String = std::iter::once("#version: 0.2\n".to_owned()).chain(merges.map(line)).collect();
    (Value::Object(vocab).to_string(), merges)
}

#[test]
fn a_vocabulary_with_merges_is_the_tokenizer_of_its_class() {
    let (vocab, merges) = files(&["<s>", "</s>", "<mask>", "<|endoftext|>"]);
    let load = |name: &str, config: &str| {
        let folder =
            Folder::new(name, &[("vocab.json", &vocab), ("merges.txt", &merges), ("tokenizer_config.json", config)]);
        folder.load()
    };
    let tokens = |tokenizer: &Tokenizer, text: &str| {
        tokenizer.encode(text, None, &EncodeOptions::default()).expect("an encoding").tokens(tokenizer)
    };
    let gpt2 = load("gpt2", r#"{"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}"#).expect("GPT-2's");
    assert_eq!(tokens(&gpt2, "the the<|endoftext|>"), ["t", "he", "Ġthe", "<|endoftext|>"]);
    assert_eq!(gpt2.model_max_length(), Some(1024));
    assert!(gpt2.special_tokens().eos.is_some());

    let config = r#"{"tokenizer_class": "RobertaTokenizer", "add_prefix_space": true}"#;
    let roberta = load("roberta", config).expect("RoBERTa's");
    assert_eq!(tokens(&roberta, "the <mask>"), ["<s>", "Ġthe", "<mask>", "</s>"]);
    let pair = roberta.encode("the", Some("the"), &EncodeOptions::default()).expect("an encoding");
    assert_eq!(pair.tokens(&roberta), ["<s>", "Ġthe", "</s>", "</s>", "Ġthe", "</s>"]);
    assert_eq!((&pair.type_ids[..], pair.offsets[1]), (&[0; 6][..], (0, 3)));

    // Without a class, the special tokens tell.
    let bare = load("bare", "{}").expect("RoBERTa's");
    assert_eq!(tokens(&bare, "the"), ["<s>", "t", "he", "</s>"]);
    let error = load("other", r#"{"tokenizer_class": "CTRLTokenizer"}"#).expect_err("another class").to_string();
    assert!(error.contains("CTRLTokenizer") && error.contains("GPT2Tokenizer"), "{error}");
}

#[test]
fn gpt_marks_the_ends_of_words() {
    let vocab = r#"{"<unk>": 0, "a": 1, "b": 2, "b</w>": 3, "ab</w>": 4, ",</w>": 5}"#;
    let config = r#"{"tokenizer_class": "OpenAIGPTTokenizer"}"#;
    let files = [("vocab.json", vocab), ("merges.txt", "#version: 0.2\na b</w>\n"), ("tokenizer_config.json", config)];
    let tokenizer = Folder::new("gpt", &files).load().expect("GPT's");
    let encoding = tokenizer.encode("AB, x", None, &EncodeOptions::default()).expect("an encoding");
    assert_eq!(encoding.ids, [4, 5, 0]);
    assert_eq!(tokenizer.decode(&[4, 5], &DecodeOptions::default()).expect("a text"), "ab ,");
}

#[test]
fn faults_of_the_two_files_name_them() {
    let vocab = r#"{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}"#;
    let cases = [
        (vocab, "#version: 0.2\na b\nb c\n", "merges.txt", "line 3"),
        (vocab, "a b\na  b\n", "merges.txt", "line 2"),
        (r#"{"a": 0, "b": 0, "ab": 2, "<|endoftext|>": 3}"#, "a b\n", "vocab.json", "DuplicateId"),
        ("[1]", "a b\n", "vocab.json", "line 1"),
        (r#"{"a": 0, "b": 1, "ab": 2}"#, "a b\n", "tokenizer_class", "none"),
    ];
    for (place, (vocab, merges, file, expected)) in cases.into_iter().enumerate() {
        let folder = Folder::new(&format!("fault-{place}"), &[("vocab.json", vocab), ("merges.txt", merges)]);
        let error = folder.load().expect_err(merges).to_string();
        assert!(error.contains(file) && error.contains(expected), "{error}");
    }
    let error = Folder::new("alone", &[("merges.txt", "a b\n")]).load().expect_err("no vocabulary").to_string();
    assert!(error.contains("vocab.json"), "{error}");
}

/// The characters that stand for bytes.
fn alphabet() -> impl Iterator<Item = char> {
    let stands_for_itself = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=255).filter(move |byte| !stands_for_itself(byte)).count() as u32;
    (0..=255).filter(stands_for_itself).map(char::from).chain((0x100..0x100 + others).filter_map(char::from_u32))
}

#[test]
fn a_token_that_merging_does_not_give_is_given_only_where_merges_are_ignored() {
    let longer = "abcabcabcabcabcabcabc";
    let tokens = alphabet().map(String::from).chain(["ab", "abc", "Ġabc", longer].map(str::to_owned));
    let vocabulary: serde_json::Map<String, Value> = tokens.zip(0..).map(|(token, id)| (token, json!(id))).collect();
    let [ab, abc, space_abc, longer_id] = ["ab", "abc", "Ġabc", longer].map(|token| vocabulary[token].clone());
    let c = vocabulary["c"].clone();
    for ignores in [false, true] {
        let tokenizer = load(&json!({
            "version": "1.0",
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "vocab": &vocabulary, "merges": ["a b"], "ignore_merges": ignores},
        }));
        let tokenizer = tokenizer.expect("a tokenizer");
        let in_parts = [&ab, &c].repeat(7);
        let cases = [
            ("ab", vec![&ab], vec![&ab]),
            ("abc", vec![&ab, &c], vec![&abc]),
            (" abc", [&[&vocabulary["Ġ"]][..], &[&ab, &c]].concat(), vec![&space_abc]),
            (longer, in_parts, vec![&longer_id]),
        ];
        // Whether a token is whole is found out the first time.
        for _ in 0..3 {
            for (text, merged, ignored) in &cases {
                let mut ids = Vec::new();
                std::thread::scope(|scope| {
                    scope.spawn(|| tokenizer.encode_ids(text, None, &mut ids).expect("ids"));
                });
                assert_eq!(json!(ids), json!(if ignores { ignored } else { merged }), "{text:?}");
            }
        }
    }
}
