//! Folders without a `tokenizer.json`: what each family makes of its files.
//!
//! The families whose tokenizer the reference's converters write are in the golden files; here are the others.

mod support;

use std::path::Path;

use loquat_tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
use serde_json::{Map, Value, json};
use support::Folder;

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let encoding = tokenizer.encode(text, None, &EncodeOptions::default()).expect("an encoding");
    let mut ids = Vec::new();
    tokenizer.encode_ids(text, None, &mut ids).expect("ids");
    assert_eq!(ids, encoding.ids);
    ids
}

fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let encoding = tokenizer.encode(text, None, &EncodeOptions::default()).expect("an encoding");
    encoding.tokens(tokenizer)
}

fn pair_of(tokenizer: &Tokenizer, first: &str, second: &str) -> (Vec<String>, Vec<u32>) {
    let encoding = tokenizer.encode(first, Some(second), &EncodeOptions::default()).expect("an encoding");
    (encoding.tokens(tokenizer), encoding.type_ids)
}

fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    tokenizer.decode(ids, &DecodeOptions { skip_special_tokens: true, clean_up: None }).expect("a text")
}

fn unigram_model() -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/tokenizer/unigram.model");
    std::fs::read(file).expect("the golden model")
}

/// The pieces of the golden model in another order, without the last `missing`, after `first`.
fn other_ids(first: &[&str], missing: usize) -> (Tokenizer, String) {
    let plain = Tokenizer::from_sentencepiece("unigram.model", &unigram_model()).expect("a tokenizer");
    let pieces = (3..plain.vocab_size() as u32 - missing as u32).rev();
    let pieces = pieces.map(|id| plain.id_to_token(id).expect("a piece").to_owned());
    let tokens = first.iter().map(|&token| token.to_owned()).chain(pieces).zip(0..);
    let vocab: Map<String, Value> = tokens.map(|(token, id)| (token, Value::from(id))).collect();
    (plain, Value::Object(vocab).to_string())
}

#[test]
fn marian_has_the_ids_of_its_vocabulary() {
    let (plain, vocab) = other_ids(&["</s>", "<unk>", ">>fra<<", "<pad>", "☂"], 100);
    let model = unigram_model();
    let config = br#"{"tokenizer_class": "MarianTokenizer"}"#;
    let files: [(&str, &[u8]); 4] = [
        ("source.spm", &model),
        ("target.spm", &model),
        ("vocab.json", vocab.as_bytes()),
        ("tokenizer_config.json", config),
    ];
    let folder = Folder::new("marian", &files);
    let tokenizer = folder.load();
    let mut unknown = 0;
    let missing = plain.id_to_token(plain.vocab_size() as u32 - 1).expect("the last piece").replace('▁', " ");
    for text in ["the end of the world", "12,345 ﬁelds", "", "  two  spaces ", "☃", &missing] {
        let mut expected: Vec<String> = tokens(&plain, text.trim());
        for token in &mut expected {
            if tokenizer.token_to_id(token).is_none() {
                unknown += 1;
                *token = "<unk>".to_owned();
            }
        }
        expected.push("</s>".to_owned());
        assert_eq!(tokens(&tokenizer, text), expected, "{text:?}");
    }
    assert!(unknown > 0, "no piece was missing");
    // What the model doesn't know, the vocabulary may.
    assert_eq!(tokens(&tokenizer, "☂ ☂☃"), ["▁", "☂", "▁", "<unk>", "</s>"]);
    assert_eq!(tokens(&tokenizer, ">>fra<< the")[0], ">>fra<<");
    assert_eq!(decode(&tokenizer, &ids(&tokenizer, "the end of the world")), "the end of the world");
    assert_eq!(pair_of(&tokenizer, "e", "the").0, ["▁", "e", "▁", "th", "e", "</s>"]);

    let config = r#"{"tokenizer_class": "MarianTokenizer", "separate_vocabs": true}"#;
    std::fs::write(folder.0.join("tokenizer_config.json"), config).expect("a file");
    let error = Tokenizer::from_folder(&folder.0).expect_err("two vocabularies").to_string();
    assert!(error.contains("tokenizer_config.json") && error.contains("separate_vocabs"), "{error}");
    std::fs::remove_file(folder.0.join("tokenizer_config.json")).expect("the file");
    std::fs::write(folder.0.join("config.json"), r#"{"model_type": "marian"}"#).expect("a file");
    assert_eq!(tokens(&folder.load(), "the"), ["▁", "th", "e", "</s>"]);

    std::fs::write(folder.0.join("vocab.json"), r#"{"</s>": 0}"#).expect("a file");
    let error = Tokenizer::from_folder(&folder.0).expect_err("no unknown token").to_string();
    assert!(error.contains("vocab.json") && error.contains("<unk>"), "{error}");
    std::fs::remove_file(folder.0.join("vocab.json")).expect("the file");
    let error = Tokenizer::from_folder(&folder.0).expect_err("no vocabulary").to_string();
    assert!(error.contains("vocab.json"), "{error}");
}

#[test]
fn m2m100_names_the_language_first() {
    let (_, vocab) = other_ids(&["<s>", "<pad>", "</s>", "<unk>"], 0);
    let model = unigram_model();
    let load = |name: &str, config: &str| {
        let files: [(&str, &[u8]); 3] = [
            ("sentencepiece.bpe.model", &model),
            ("vocab.json", vocab.as_bytes()),
            ("tokenizer_config.json", config.as_bytes()),
        ];
        Folder::new(name, &files).load()
    };
    let tokenizer = load("m2m", r#"{"tokenizer_class": "M2M100Tokenizer"}"#);
    assert_eq!(tokens(&tokenizer, "the"), ["__en__", "▁", "th", "e", "</s>"]);
    let pieces = serde_json::from_str::<Map<String, Value>>(&vocab).expect("an object").len() as u32;
    assert_eq!(tokenizer.token_to_id("__af__"), Some(pieces));
    assert_eq!(tokenizer.token_to_id("__zu__"), Some(pieces + 99));
    assert_eq!(decode(&tokenizer, &ids(&tokenizer, "the end")), "the end");
    let tokenizer = load("m2m-fr", r#"{"tokenizer_class": "M2M100Tokenizer", "src_lang": "fr"}"#);
    assert_eq!(tokens(&tokenizer, "")[0], "__fr__");
}

#[test]
fn byt5_counts_bytes() {
    let tokenizer =
        Folder::new("byt5", &[("tokenizer_config.json", br#"{"tokenizer_class": "ByT5Tokenizer"}"#)]).load();
    assert_eq!(ids(&tokenizer, "hé"), [107, 198, 172, 1]);
    assert_eq!(ids(&tokenizer, "a </s> b<extra_id_0>"), [100, 1, 101, 259, 1]);
    assert_eq!((tokenizer.token_to_id("<extra_id_124>"), tokenizer.vocab_size()), (Some(383), 384));
    let encoding = tokenizer.encode("é東", None, &EncodeOptions::default()).expect("an encoding");
    assert_eq!(encoding.offsets, [(0, 2), (0, 2), (2, 5), (2, 5), (2, 5), (0, 0)]);
    assert_eq!(decode(&tokenizer, &encoding.ids), "é東");
    assert_eq!(pair_of(&tokenizer, "a", "b").1, [0; 4]);
}

#[test]
fn clip_marks_the_ends_of_words_in_lower_case() {
    let tokens_of = ["a", "t", "c", "1", "a</w>", "t</w>", "c</w>", "1</w>", "!</w>", "at</w>", "cat</w>"];
    let vocab: Map<String, Value> = tokens_of
        .iter()
        .chain(&["<|startoftext|>", "<|endoftext|>"])
        .zip(0..)
        .map(|(token, id)| ((*token).to_owned(), Value::from(id)))
        .collect();
    let vocab = Value::Object(vocab).to_string();
    let files: [(&str, &[u8]); 3] = [
        ("vocab.json", vocab.as_bytes()),
        ("merges.txt", b"#version: 0.2\na t</w>\nc at</w>\n"),
        ("tokenizer_config.json", br#"{"tokenizer_class": "CLIPTokenizer"}"#),
    ];
    let tokenizer = Folder::new("clip", &files).load();
    let expected =
        ["<|startoftext|>", "cat</w>", "cat</w>", "!</w>", "1</w>", "1</w>", "<|endoftext|>", "<|endoftext|>"];
    assert_eq!(tokens(&tokenizer, " CAT\n\n cat! 11 é")[..6], expected[..6]);
    assert_eq!(decode(&tokenizer, &ids(&tokenizer, "Cat at 1!")), "cat at 1 !");
    let pair = pair_of(&tokenizer, "cat", "at");
    let expected = ["<|startoftext|>", "cat</w>", "<|endoftext|>", "<|endoftext|>", "at</w>", "<|endoftext|>"];
    assert_eq!(pair, (expected.map(str::to_owned).to_vec(), vec![0; 6]));
}

#[test]
fn blenderbot_ends_a_text_and_begins_words_with_spaces() {
    let vocab = br#"{"a": 0, "b": 1, "\u0120": 2, "\u0120a": 3, "<s>": 4, "</s>": 5, "<mask>": 6, "<unk>": 7}"#;
    let files: [(&str, &[u8]); 3] = [
        ("vocab.json", vocab),
        ("merges.txt", "#version: 0.2\nĠ a\n".as_bytes()),
        ("tokenizer_config.json", br#"{"tokenizer_class": "BlenderbotTokenizer"}"#),
    ];
    let tokenizer = Folder::new("blenderbot", &files).load();
    assert_eq!(tokens(&tokenizer, "a a"), ["Ġa", "Ġa", "</s>"]);
    assert_eq!(tokens(&tokenizer, "b <mask>"), ["Ġ", "b", "<mask>", "</s>"]);
    assert_eq!(pair_of(&tokenizer, "a", "a"), (vec!["Ġa".to_owned(), "Ġa".to_owned()], vec![0, 1]));
}

/// A SentencePiece model of type bpe with bytes.
fn gemma_model() -> Vec<u8> {
    let piece = |text: &str, score: f32, kind: u8| {
        let fields =
            [&[0x0A, text.len() as u8][..], text.as_bytes(), &[0x15], &score.to_le_bytes(), &[0x18, kind]].concat();
        [&[0x0A, fields.len() as u8][..], &fields].concat()
    };
    let mut model: Vec<u8> = ["<pad>", "<eos>", "<bos>"].iter().flat_map(|text| piece(text, 0.0, 3)).collect();
    model.extend(piece("<unk>", 0.0, 2));
    model.extend(piece("<0x09>", 0.0, 6));
    model.extend(piece("<0x21>", 0.0, 6));
    model.extend(piece("<start_of_turn>", 0.0, 4));
    for (text, score) in [("a▁", -1.0), ("a", -2.0), ("b", -3.0), ("▁", -4.0)] {
        model.extend(piece(text, score, 1));
    }
    // The type, and that there are bytes.
    model.extend([0x12, 5, 0x18, 2, 0x98, 0x02, 1]);
    model.extend([0x1A, 4, 0x18, 0, 0x20, 0]);
    model
}

#[test]
fn gemma_makes_spaces_visible_and_nothing_else() {
    let load = |name: &str, config: Value| {
        let model = gemma_model();
        let config = config.to_string();
        let files: [(&str, &[u8]); 2] = [("tokenizer.model", &model), ("tokenizer_config.json", config.as_bytes())];
        Folder::new(name, &files).load()
    };
    let tokenizer = load("gemma", json!({"tokenizer_class": "GemmaTokenizer"}));
    let expected = ["<bos>", "▁", "a▁", "b", "<0x21>", "\t", "<unk>", "<start_of_turn>"];
    assert_eq!(tokens(&tokenizer, " a b!\t☃<start_of_turn>"), expected);
    assert_eq!(decode(&tokenizer, &ids(&tokenizer, " a b!\t<start_of_turn>")), " a b!\t");
    assert_eq!(tokenizer.token_to_id("\t"), Some(4));
    let config = json!({"tokenizer_class": "GemmaTokenizer", "add_bos_token": false, "add_eos_token": true});
    assert_eq!(tokens(&load("gemma-ends", config), "a"), ["a", "<eos>"]);
}

/// A Unigram model of these pieces, each with its score; the first is the unknown one.
fn model_of(pieces: &[(&str, f32)]) -> Vec<u8> {
    let mut model = Vec::new();
    for (place, (text, score)) in pieces.iter().enumerate() {
        let mut piece = vec![1 << 3 | 2, text.len() as u8];
        piece.extend_from_slice(text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend_from_slice(&score.to_le_bytes());
        piece.extend_from_slice(&[3 << 3, if place == 0 { 2 } else { 1 }]);
        model.extend_from_slice(&[1 << 3 | 2, piece.len() as u8]);
        model.extend_from_slice(&piece);
    }
    model
}

#[test]
fn a_model_alone_has_pieces_that_reach_over_spaces() {
    let pieces = [("<unk>", 0.0), ("▁a", -2.0), ("▁b", -2.0), ("▁a▁b", -3.0), ("▁", -4.0), ("c", -4.0)];
    let tokenizer = Tokenizer::from_sentencepiece("m.model", &model_of(&pieces)).expect("a tokenizer");
    for (text, expected) in [
        ("a b", vec!["▁a▁b"]),
        ("  a  b b ", vec!["▁a▁b", "▁b"]),
        ("b a c", vec!["▁b", "▁a", "▁", "c"]),
        ("", vec![]),
        ("  ", vec![]),
    ] {
        assert_eq!(tokens(&tokenizer, text), expected, "{text:?}");
    }
    assert_eq!(decode(&tokenizer, &[3, 2, 4, 5]), "a b b c");
    // Without such pieces, words are told apart first, which comes to the same and is faster.
    let tokenizer = Tokenizer::from_sentencepiece("m.model", &model_of(&pieces[..3])).expect("a tokenizer");
    assert_eq!(tokens(&tokenizer, "a  b "), ["▁a", "▁b"]);
}
