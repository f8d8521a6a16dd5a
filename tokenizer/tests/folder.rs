//! A model folder: `tokenizer.json` or `vocab.txt`, and what the side files add.

mod support;

use std::path::Path;

use loquat_tokenizer::{EncodeOptions, Side, Tokenizer};
use support::Folder;

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nHello\né\ne\n中\n中国\n##国\n";
fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let encoding = tokenizer.encode(text, None, &EncodeOptions::default()).expect("an encoding");
    encoding.tokens(tokenizer)
}

#[test]
fn a_bare_vocabulary_is_an_uncased_bert() {
    let folder = Folder::new("bare", &[("vocab.txt", VOCABULARY)]);
    let tokenizer = folder.load();
    assert_eq!(tokens(&tokenizer, "Hello É中国[MASK]"), ["[CLS]", "hello", "e", "中", "[UNK]", "[MASK]", "[SEP]"]);
    let special = tokenizer.special_tokens();
    assert_eq!(special.pad.as_ref().map(|token| token.id), Some(0));
    assert_eq!(special.mask.as_ref().map(|token| token.id), Some(4));
    assert_eq!(tokenizer.model_max_length(), None);
}

#[test]
fn the_configuration_changes_the_normalizer() {
    let config = r#"{"do_lower_case": false, "tokenize_chinese_chars": false, "tokenizer_class": "BertTokenizerFast",
        "model_max_length": 512, "padding_side": "left", "clean_up_tokenization_spaces": true}"#;
    let folder = Folder::new("cased", &[("vocab.txt", VOCABULARY), ("tokenizer_config.json", config)]);
    let tokenizer = folder.load();
    assert_eq!(tokens(&tokenizer, "Hello hello é 中国"), ["[CLS]", "Hello", "hello", "é", "中国", "[SEP]"]);
    assert_eq!(tokenizer.model_max_length(), Some(512));
    assert_eq!(tokenizer.batch_padding().map(|padding| padding.direction), Some(Side::Left));

    let config =
        r#"{"do_lower_case": true, "strip_accents": false, "model_max_length": 1000000000000000019884624838656}"#;
    let folder = Folder::new("accents", &[("vocab.txt", VOCABULARY), ("tokenizer_config.json", config)]);
    let tokenizer = folder.load();
    assert_eq!(tokens(&tokenizer, "HELLO É"), ["[CLS]", "hello", "é", "[SEP]"]);
    assert_eq!(tokenizer.model_max_length(), None);
}

#[test]
fn special_tokens_may_have_other_names() {
    let vocabulary = VOCABULARY.replace("[CLS]", "<s>").replace("[SEP]", "</s>");
    let map = r#"{"cls_token": "<s>", "sep_token": {"content": "</s>", "lstrip": false}}"#;
    let folder = Folder::new("names", &[("vocab.txt", vocabulary.as_str()), ("special_tokens_map.json", map)]);
    let tokenizer = folder.load();
    assert_eq!(tokens(&tokenizer, "hello <s>"), ["<s>", "hello", "<s>", "</s>"]);
}

#[test]
fn added_tokens_come_from_either_side_file() {
    let added = r#"{"newtoken": 12}"#;
    let config = r#"{"added_tokens_decoder": {"13": {"content": "[NEW]", "special": true}}}"#;
    let files = [("vocab.txt", VOCABULARY), ("added_tokens.json", added), ("tokenizer_config.json", config)];
    let tokenizer = Folder::new("added", &files).load();
    let ids = tokenizer.encode("newtoken[NEW]", None, &EncodeOptions::default()).expect("an encoding").ids;
    assert_eq!(ids, [2, 12, 13, 3]);
    assert_eq!(tokenizer.vocab_size(), 14);
}

#[test]
fn older_side_files_say_what_is_special() {
    let added = r#"{"<new>": 12, "plain": 13}"#;
    let map = r#"{"additional_special_tokens": ["<new>", {"content": "中国", "lstrip": false}]}"#;
    let config = r#"{"max_len": 128}"#;
    let files = [
        ("vocab.txt", VOCABULARY),
        ("added_tokens.json", added),
        ("special_tokens_map.json", map),
        ("tokenizer_config.json", config),
    ];
    let tokenizer = Folder::new("older", &files).load();
    let special = |content: &str| {
        tokenizer.added_tokens().iter().find(|token| token.content == content).map(|token| token.special)
    };
    assert_eq!((special("<new>"), special("plain"), special("中国")), (Some(true), Some(false), Some(true)));
    assert_eq!(
        tokens(&tokenizer, "hello<NEW><new>中国"),
        ["[CLS]", "hello", "[UNK]", "[UNK]", "[UNK]", "<new>", "中国", "[SEP]"]
    );
    assert_eq!(tokenizer.model_max_length(), Some(128));
}

#[test]
fn special_tokens_beyond_the_vocabulary_come_last_in_their_order() {
    let config =
        r#"{"additional_special_tokens": ["<b>", "hello"], "added_tokens_decoder": {"12": {"content": "plain"}}}"#;
    let map = r#"{"extra_special_tokens": {"image": "<image>"}}"#;
    let files = [("vocab.txt", VOCABULARY), ("tokenizer_config.json", config), ("special_tokens_map.json", map)];
    let tokenizer = Folder::new("beyond", &files).load();
    assert_eq!((tokenizer.token_to_id("<b>"), tokenizer.token_to_id("<image>")), (Some(13), Some(14)));
    assert_eq!(tokens(&tokenizer, "hello<b>plain<image>"), ["[CLS]", "hello", "<b>", "plain", "<image>", "[SEP]"]);
    let list = r#"{"extra_special_tokens": ["<c>", {"content": "<d>"}]}"#;
    let tokenizer = Folder::new("extra", &[("vocab.txt", VOCABULARY), ("tokenizer_config.json", list)]).load();
    assert_eq!((tokenizer.token_to_id("<c>"), tokenizer.token_to_id("<d>")), (Some(12), Some(13)));
}

#[test]
fn the_folder_says_which_end_is_cut() {
    let config = r#"{"truncation_side": "left"}"#;
    let tokenizer = Folder::new("left", &[("vocab.txt", VOCABULARY), ("tokenizer_config.json", config)]).load();
    assert_eq!(tokenizer.truncation_side(), Side::Left);
    let mut ids = vec![7];
    let encoded = tokenizer.encode_ids("hello e 中", Some(4), &mut ids).expect("ids");
    assert_eq!((ids, encoded.tokens, encoded.truncated), (vec![7, 2, 8, 9, 3], 5, true));
    let mut ids = Vec::new();
    tokenizer.encode_ids("hello e 中", Some(2), &mut ids).expect("ids");
    assert_eq!(ids, [2, 3]);
}

#[test]
fn faults_of_side_files_name_them() {
    let spoilt: [(&str, &str, &str); 5] = [
        ("tokenizer_config.json", r#"{"do_lower_case": "no"}"#, "expected a boolean"),
        ("tokenizer_config.json", r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#, "BertJapaneseTokenizer"),
        ("tokenizer_config.json", r#"{"cls_token": 7}"#, "expected a token"),
        ("special_tokens_map.json", "{\n  \"cls_token\": \"[CLS]\",\n", "line 3"),
        ("added_tokens.json", r#"{"far": 99}"#, "99"),
    ];
    for (place, (file, text, expected)) in spoilt.into_iter().enumerate() {
        let folder = Folder::new(&format!("spoilt-{place}"), &[("vocab.txt", VOCABULARY), (file, text)]);
        let error = Tokenizer::from_folder(&folder.0).expect_err(text).to_string();
        assert!(error.contains(file) && error.contains(expected), "{error}");
    }
}

#[test]
fn a_vocabulary_gives_what_its_tokenizer_json_gives() {
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let model = repository.join("assets/all-MiniLM-L6-v2-int8");
    let from_json = Tokenizer::from_file(&model.join("tokenizer.json")).expect("the embedded tokenizer");
    let size = from_json.vocab_size() as u32;
    let lines: Vec<&str> = (0..size).map(|id| from_json.id_to_token(id).expect("no holes")).collect();
    let config = std::fs::read_to_string(model.join("tokenizer_config.json")).expect("its configuration");
    let folder = Folder::new("same", &[("vocab.txt", &lines.join("\n")), ("tokenizer_config.json", &config)]);
    let from_vocabulary = folder.load();
    for text in ["Hello, wörld!", "東京 [MASK] İstanbul e\u{323}\u{301}", "##ing [unused5] don't", ""] {
        for pair in [None, Some("a Pair, too")] {
            let encode = |tokenizer: &Tokenizer| tokenizer.encode(text, pair, &EncodeOptions::default());
            assert_eq!(encode(&from_json).expect("an encoding"), encode(&from_vocabulary).expect("an encoding"));
        }
    }
    assert_eq!(from_json.special_tokens(), from_vocabulary.special_tokens());
    assert_eq!(from_json.added_tokens(), from_vocabulary.added_tokens());
}
