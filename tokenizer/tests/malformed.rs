//! No file makes loading panic or pass in silence; each fault names where it is.

use loquat_tokenizer::{Tokenizer, TokenizerError};

const GOOD: &str = r###"{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
    {"id": 1, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
  ],
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}},
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    "vocab": {"[UNK]": 0, "[CLS]": 1, "a": 2, "##b": 3}}
}"###;

fn load(json: &str) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_json("t.json", json.as_bytes())
}

#[test]
fn the_unspoilt_file_loads() {
    let mut ids = Vec::new();
    let tokenizer = load(GOOD).expect("a good file");
    tokenizer.encode_ids("AB [CLS]", None, &mut ids).expect("ids");
    assert_eq!(ids, [1, 2, 3, 1]);
}

/// (what to replace, by what, what the message must say)
const SPOILT: &[(&str, &str, &[&str])] = &[
    (r#""1.0""#, r#""2.0""#, &["$.version", "1.0", "2.0"]),
    (r#""version": "1.0""#, r#""version": 1"#, &["t.json", "line 2"]),
    (r#"BertNormalizer"#, "Romanize", &["$.normalizer", "Romanize", "not supported"]),
    (r#"BertPreTokenizer"#, "Jieba", &["$.pre_tokenizer", "Jieba", "not supported"]),
    (r#"TemplateProcessing"#, "RobertaProcessing", &["$.post_processor", "missing field `sep`"]),
    (r#""decoder": {"type": "WordPiece""#, r#""decoder": {"type": "Glue""#, &["$.decoder", "Glue", "not supported"]),
    (r#""model": {"type": "WordPiece""#, r#""model": {"type": "BPE""#, &["$.model", "missing field `merges`"]),
    (r#""type": "BertNormalizer", "#, "", &["$.normalizer", "\"type\""]),
    (r#""lowercase": true"#, r#""lowercase": "yes""#, &["$.normalizer", "line 8", "expected a boolean"]),
    (r#", "lowercase": true"#, "", &["$.normalizer", "missing field `lowercase`"]),
    (r#""ids": [1]"#, r#""ids": [1, 2]"#, &["special_tokens", "2 ids, 1 tokens"]),
    (r#"{"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}"#, "{}", &["$.post_processor.single[0]", "[CLS]"]),
    (
        r#"{"Sequence": {"id": "A", "type_id": 0}}]"#,
        r#"{"Sequence": {"id": "B", "type_id": 0}}]"#,
        &["single[1]", "sequence B"],
    ),
    (r#"{"Sequence": {"id": "A""#, r#"{"Sequence": {"id": "C""#, &["$.post_processor", "unknown variant `C`"]),
    (r#""[UNK]": 0, "#, "", &["$.model.unk_token", "[UNK]", "not in it"]),
    (r###""##b": 3"###, r###""##b": 2"###, &["$.model.vocab", "id 2", "##b"]),
    (r###""##b": 3"###, r###""a": 3"###, &["$.model.vocab", "\"a\" twice"]),
    (r###""##b": 3"###, r###""##b": 4294967296"###, &["$.model.vocab", "4294967296", "u32", "line 16"]),
    (r###""##b": 3"###, r###""##b": -1"###, &["$.model.vocab", "-1", "u32"]),
    (r###""##b": 3"###, r###""##b": 1.5"###, &["$.model.vocab", "1.5"]),
    (r###""##b": 3"###, r###""##b": null"###, &["$.model.vocab", "null"]),
    (r###""vocab": {"[UNK]": 0, "[CLS]": 1, "a": 2, "##b": 3}"###, r#""vocab": {}"#, &["$.model.unk_token"]),
    (r###""vocab": {"[UNK]": 0, "[CLS]": 1, "a": 2, "##b": 3}"###, r#""vocab": ["a"]"#, &["$.model.vocab", "a map"]),
    (r#""max_input_chars_per_word": 100"#, r#""max_input_chars_per_word": -5"#, &["$.model", "-5"]),
    (r#""id": 1, "content""#, r#""id": -1, "content""#, &["$.added_tokens", "-1", "line 6"]),
    (r#""special": true"#, r#""special": 1"#, &["$.added_tokens", "line 6"]),
    (r#""truncation": null"#, r#""truncation": {"max_length": 9}"#, &["$.truncation", "missing field"]),
    (r#""padding": null"#, r#""padding": {"strategy": "Longest"}"#, &["$.padding", "Longest"]),
    (r#""model": {"#, r#""modell": {"#, &["$.model", "none"]),
];

/// Spoils `good` in each way and collects where the error isn't what it must be.
fn check_faults(good: &str, faults: &[(&str, &str, &[&str])]) {
    let mut wrong = Vec::new();
    for (from, to, expected) in faults {
        assert!(good.contains(from), "the file doesn't hold {from}");
        match load(&good.replacen(from, to, 1)) {
            Ok(_) => wrong.push(format!("{to}: loads")),
            Err(error) => {
                let message = error.to_string();
                let missing = expected.iter().filter(|part| !message.contains(*part));
                wrong.extend(missing.map(|part| format!("{to}: no {part:?} in {message:?}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fault_is_an_error_that_names_the_place() {
    check_faults(GOOD, SPOILT);
}

/// As in the reference: the vocabulary's id, else the next free one.
#[test]
fn ids_of_added_tokens_are_not_those_of_the_list() {
    for (from, to, token, id) in [
        (r#""id": 1, "content""#, r#""id": 7, "content""#, "[CLS]", 1),
        (r#""content": "[CLS]""#, r#""content": "[NEW]""#, "[NEW]", 4),
    ] {
        let tokenizer = load(&GOOD.replacen(from, to, 1)).expect("a tokenizer");
        assert_eq!(tokenizer.token_to_id(token), Some(id));
        assert_eq!(tokenizer.id_to_token(id), Some(token));
        assert_eq!(tokenizer.added_tokens()[0].id, id);
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let loads = |&end: &usize| GOOD.is_char_boundary(end) && load(&GOOD[..end]).is_ok();
    let loading: Vec<usize> = (0..GOOD.len()).filter(loads).collect();
    assert!(loading.is_empty(), "{loading:?}");
}

#[test]
fn deep_nesting_is_an_error_not_a_stack_overflow() {
    let nested = |depth: usize| {
        let open = r#"{"type": "Sequence", "normalizers": ["#.repeat(depth);
        let normalizer = format!("{open}{}", "]}".repeat(depth));
        let from = GOOD.find(r#"{"type": "BertNormalizer""#).expect("a normalizer");
        let to = from + GOOD[from..].find('}').expect("its end") + 1;
        format!("{}{normalizer}{}", &GOOD[..from], &GOOD[to..])
    };
    assert!(load(&nested(10)).is_ok());
    for depth in [17, 100, 10_000, 100_000] {
        let error = load(&nested(depth)).expect_err("too deep").to_string();
        assert!(error.contains("nested") || error.contains("recursion"), "{error}");
    }
    let brackets = format!("{{\"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(load(&brackets).is_err());
}

#[test]
fn a_small_file_cant_ask_for_a_large_template() {
    let ids = vec!["1"; 5000].join(",");
    let tokens = vec!["\"x\""; 5000].join(",");
    let spoilt = GOOD.replacen(r#""ids": [1]"#, &format!("\"ids\": [{ids}]"), 1).replacen(
        r#""tokens": ["[CLS]"]"#,
        &format!("\"tokens\": [{tokens}]"),
        1,
    );
    let error = load(&spoilt).expect_err("too many").to_string();
    assert!(error.contains("4096"), "{error}");
}

#[test]
fn ids_may_be_far_apart() {
    let spoilt = GOOD.replacen(r###""##b": 3"###, r###""##b": 4000000000"###, 1);
    let tokenizer = load(&spoilt).expect("a sparse vocabulary");
    assert_eq!(tokenizer.token_to_id("##b"), Some(4_000_000_000));
    assert_eq!(tokenizer.id_to_token(4_000_000_000), Some("##b"));
    assert_eq!(tokenizer.id_to_token(3), None);
    assert_eq!(tokenizer.vocab_size(), 4);
    let text = tokenizer.decode(&[2, 4_000_000_000, 3], &Default::default());
    assert_eq!(text.expect("a text"), "ab");
}

#[test]
fn bytes_that_are_not_utf8_are_located() {
    let mut bytes = GOOD.as_bytes().to_vec();
    let at = GOOD.find("[UNK]").expect("a token");
    bytes[at] = 0xFF;
    let error = Tokenizer::from_json("t.json", &bytes).expect_err("not UTF-8").to_string();
    assert!(error.contains("t.json, line 15") && error.contains("UTF-8"), "{error}");

    let error = Tokenizer::from_vocab("v.txt", b"[PAD]\n[UNK]\n[C\xC3LS]\n").expect_err("not UTF-8");
    let error = error.to_string();
    assert!(error.contains("v.txt (line 3)") && error.contains("0xC3"), "{error}");
}

#[test]
fn a_vocabulary_without_what_bert_needs_is_an_error() {
    for (text, expected) in
        [("", "[CLS]"), ("\n\n\n", "[CLS]"), ("[CLS]\n[SEP]\nhello\n", "[UNK]"), ("[CLS]\n[UNK]\nhello\n", "[SEP]")]
    {
        let error = Tokenizer::from_vocab("v.txt", text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains("v.txt") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_repeated_line_counts_once_and_last() {
    let vocabulary = "[UNK]\n[CLS]\n[SEP]\nx\ny\r\nx\n";
    let tokenizer = Tokenizer::from_vocab("v.txt", vocabulary.as_bytes()).expect("a vocabulary");
    assert_eq!((tokenizer.token_to_id("x"), tokenizer.token_to_id("y")), (Some(5), Some(4)));
    assert_eq!(tokenizer.id_to_token(3), None);
}

#[test]
fn a_missing_file_is_named() {
    let folder = std::env::temp_dir().join("loquat-tokenizer-no-such-folder");
    let error = Tokenizer::from_folder(&folder).expect_err("no folder").to_string();
    assert!(error.contains("loquat-tokenizer-no-such-folder") && error.contains("vocab.txt"), "{error}");
    let error = Tokenizer::from_file(&folder.join("x.json")).expect_err("no file").to_string();
    assert!(error.contains("x.json"), "{error}");
}

const UNIGRAM: &str = r#"{
  "normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "b"},
  "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
  "decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 1, "stop": 1}, {"type": "Fuse"}]},
  "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": [["<unk>", 0], ["▁b", -1.5], ["b", -2.5]]}
}"#;

/// (what to replace, by what, what the message must say)
const SPOILT_UNIGRAM: &[(&str, &str, &[&str])] = &[
    (r#""unk_id": 0"#, r#""unk_id": 3"#, &["$.model.unk_id", "3 pieces", "found 3"]),
    (r#""unk_id": 0"#, r#""unk_id": -1"#, &["$.model", "-1"]),
    (r#"["b", -2.5]"#, r#"["b", NaN]"#, &["line 5"]),
    (r#"["b", -2.5]"#, r#"["b", -1e999]"#, &["$.model.vocab", "line 5", "out of range"]),
    (r#"["b", -2.5]"#, r#"["b"]"#, &["$.model.vocab", "a piece and its score"]),
    (r#"["b", -2.5]"#, r#"["b", 1, 2]"#, &["$.model.vocab", "line 5"]),
    (r#"["b", -2.5]"#, r#"{"b": -2.5}"#, &["$.model.vocab", "a piece and its score"]),
    (r#"[["<unk>", 0], ["▁b", -1.5], ["b", -2.5]]"#, "{}", &["$.model.vocab", "a list of pieces"]),
    (r#""replacement": "▁""#, r#""replacement": "ab""#, &["$.pre_tokenizer"]),
    (r#""always""#, r#""often""#, &["$.pre_tokenizer", "often"]),
    (r#""prepend_scheme": "always""#, r#""prepend_scheme": "always", "add_prefix_space": false"#, &["prepend_scheme"]),
    (r#""content": " ""#, r#""content": """#, &["$.decoder.decoders[0]"]),
    (r#"{"type": "Fuse"}"#, r#"{"type": "Weld"}"#, &["$.decoder.decoders[1]", "Weld", "not supported"]),
    (r#"{"String": "a"}"#, r#"{"Regex": "(a"}"#, &["$.normalizer.pattern", "expression"]),
    (r#"{"String": "a"}"#, r#"{"Glob": "a"}"#, &["$.normalizer", "Glob"]),
];

#[test]
fn every_fault_of_a_unigram_file_is_an_error_that_names_the_place() {
    assert_eq!(load(UNIGRAM).expect("a good file").vocab_size(), 3);
    check_faults(UNIGRAM, SPOILT_UNIGRAM);
}

#[test]
fn of_a_piece_that_is_listed_twice_the_last_counts() {
    let tokenizer =
        load(&UNIGRAM.replacen(r#"["b", -2.5]"#, r#"["b", -2.5], ["▁b", -3.5], ["c", 0]"#, 1)).expect("a file");
    let mut ids = Vec::new();
    tokenizer.encode_ids("a abc", None, &mut ids).expect("ids");
    assert_eq!(ids, [3, 3, 2, 4]);
    assert_eq!((tokenizer.token_to_id("▁b"), tokenizer.vocab_size()), (Some(3), 5));
    assert_eq!((tokenizer.id_to_token(1), tokenizer.id_to_token(3)), (Some("▁b"), Some("▁b")));
}

#[test]
fn without_an_unknown_token_an_unknown_word_is_an_error() {
    let tokenizer = load(&UNIGRAM.replacen(r#""unk_id": 0"#, r#""unk_id": null"#, 1)).expect("a good file");
    let mut ids = vec![7];
    let error = tokenizer.encode_ids("b c", None, &mut ids).expect_err("c is unknown").to_string();
    assert!(error.contains("unknown"), "{error}");
    assert_eq!(ids, [7]);
    assert!(tokenizer.encode("b c", None, &Default::default()).is_err());
}

#[test]
fn a_character_map_that_points_outside_itself_is_an_error() {
    // The trie's size, the trie, the texts: a root whose child for `b` has a value.
    let unit = |offset: u32, leaf: u32, label: u32| (offset << 10 | leaf << 8 | label).to_le_bytes();
    let map = |size: u32, value: u32, texts: &[u8]| {
        let mut units = vec![[0; 4]; 256];
        units[0] = unit(1, 0, 0);
        units[1 ^ 0x62] = unit(2, 1, 0x62);
        units[1 ^ 0x62 ^ 2] = (value | 1 << 31).to_le_bytes();
        [&size.to_le_bytes()[..], units.as_flattened(), texts].concat()
    };
    let load_map = |map: &[u8]| {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let six = |bytes: &[u8], at: usize| {
            let bits = bytes.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - bytes.len()));
            if at <= bytes.len() { char::from(alphabet[(bits >> (18 - 6 * at) & 63) as usize]) } else { '=' }
        };
        let text: String = map.chunks(3).flat_map(|three| (0..4).map(move |at| six(three, at))).collect();
        let normalizer = format!(r#"{{"type": "Precompiled", "precompiled_charsmap": "{text}"}}"#);
        load(&UNIGRAM.replacen(r#"{"type": "Replace", "pattern": {"String": "a"}, "content": "b"}"#, &normalizer, 1))
    };
    let mut ids = Vec::new();
    let tokenizer = load_map(&map(1024, 2, b"a\0b c\0")).expect("a good map");
    tokenizer.encode_ids("b", None, &mut ids).expect("ids");
    assert_eq!(ids, [1, 0]);
    let faults: [(&[u8], &str); 6] = [
        (b"", "0 bytes"),
        (&map(1024, 7, b"a\0b c\0"), "7"),
        (&map(4096, 0, b"a\0"), "4096"),
        (&map(1023, 0, b"a\0"), "1023"),
        (&map(0, 0, b"a\0"), "0"),
        (&map(1024, 0, b"a\xFF\0"), "UTF-8"),
    ];
    for (map, expected) in faults {
        let error = load_map(map).expect_err(expected).to_string();
        assert!(error.contains("$.normalizer.precompiled_charsmap") && error.contains(expected), "{error}");
    }
    let error =
        load(&UNIGRAM.replacen(r#""type": "Replace""#, r#""type": "Precompiled", "precompiled_charsmap": "a-b=""#, 1));
    let error = error.expect_err("not base64").to_string();
    assert!(error.contains("base64") && error.contains("0x2D"), "{error}");
}

/// A model of three pieces.
fn sentencepiece() -> Vec<u8> {
    let piece = |text: &str, score: f32, kind: u8| {
        let fields =
            [&[0x0A, text.len() as u8][..], text.as_bytes(), &[0x15], &score.to_le_bytes(), &[0x18, kind]].concat();
        [&[0x0A, fields.len() as u8][..], &fields].concat()
    };
    let trainer = [0x12, 2, 0x18, 1];
    let normalizer = [0x1A, 2, 0x18, 1];
    [&piece("<unk>", 0.0, 2)[..], &piece("▁b", -1.5, 1), &piece("b", -2.5, 1), &trainer, &normalizer].concat()
}

#[test]
fn a_sentencepiece_model_cut_or_spoilt_anywhere_is_no_panic() {
    let good = sentencepiece();
    let mut ids = Vec::new();
    let tokenizer = Tokenizer::from_sentencepiece("m.model", &good).expect("a good model");
    tokenizer.encode_ids("bb", None, &mut ids).expect("ids");
    assert_eq!(ids, [1, 2]);
    for end in 0..good.len() {
        if let Err(error) = Tokenizer::from_sentencepiece("m.model", &good[..end]) {
            assert!(error.to_string().contains("m.model"), "{error}");
        }
    }
    for at in 0..good.len() {
        for byte in 0..=u8::MAX {
            let mut spoilt = good.clone();
            spoilt[at] = byte;
            if let Ok(tokenizer) = Tokenizer::from_sentencepiece("m.model", &spoilt) {
                let _ = tokenizer.encode("b ab", None, &Default::default());
            }
        }
    }
}

#[test]
fn faults_of_a_sentencepiece_model_are_located() {
    let good = sentencepiece();
    let spoilt = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).expect("what is to be spoilt");
        let spoilt = [&good[..at], to, &good[at + from.len()..]].concat();
        Tokenizer::from_sentencepiece("m.model", &spoilt).expect_err("spoilt").to_string()
    };
    let cases: [(&[u8], &[u8], &[&str]); 4] = [
        (&(-1.5f32).to_le_bytes(), &f32::NAN.to_le_bytes(), &["byte 25", "finite", "NaN"]),
        (b"<unk>", b"<\xFFnk>", &["byte 5", "UTF-8", "0xFF"]),
        (&[0x12, 2, 0x18, 1], &[0x12, 2, 0x18, 3], &["type 1 (unigram)", "found 3"]),
        (&[0x1A, 2, 0x18, 1], &[0x1A, 0x7F, 0x18, 1], &["as many bytes"]),
    ];
    for (from, to, expected) in cases {
        let error = spoilt(from, to);
        let missing: Vec<_> = expected.iter().filter(|part| !error.contains(**part)).collect();
        assert!(error.contains("m.model") && missing.is_empty(), "{missing:?} not in {error}");
    }
    assert!(Tokenizer::from_sentencepiece("m.model", b"").is_err());
}
