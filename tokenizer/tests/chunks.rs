//! Ids that are made chunk by chunk are those of the long way, which keeps spans, whatever the vocabulary, the text and
//! what was met before.

use loquat_tokenizer::{EncodeOptions, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn assert_equal_to_the_long_way(file: &Value, texts: &[String]) -> Result<(), TestCaseError> {
    let tokenizer = Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes()).expect("a tokenizer");
    // Twice: at the second time the chunks are known.
    for text in texts.iter().chain(texts) {
        let mut ids = vec![7];
        match tokenizer.encode(text, None, &EncodeOptions::default()) {
            Ok(encoding) => {
                tokenizer.encode_ids(text, None, &mut ids).expect("ids");
                prop_assert_eq!(&ids[1..], &encoding.ids[..], "{:?} in {}", text, file);
            }
            Err(error) => {
                let other = tokenizer.encode_ids(text, None, &mut ids).expect_err("the same error");
                prop_assert_eq!(other.to_string(), error.to_string());
                prop_assert_eq!(&ids[..], &[7]);
            }
        }
    }
    Ok(())
}

/// Texts of a few words again and again, and of anything that chunks are not made of.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![8 => "[abc]{1,6}", 2 => "[abc]{7,20}", 1 => "[abc]{28,40}", 4 => "[abc,.]{1,10}", 1 => "[abcx,.éю▁\n]{1,8}"];
    let words = prop::collection::vec(word, 1..6);
    let between = prop_oneof![
        12 => Just(" ".to_owned()),
        2 => " {2,5}",
        1 => "[ \\r\\n\\t]{1,3}",
        1 => "[ ▁\u{301}\u{3000}\u{1}\u{85}<]{1,2}",
        1 => Just("<s>".to_owned()),
    ];
    let text = prop::collection::vec((any::<prop::sample::Index>(), between), 0..90);
    (words, prop::collection::vec((text, any::<bool>()), 1..4)).prop_map(|(words, texts)| {
        let text = |(pairs, leads): (Vec<(prop::sample::Index, String)>, bool)| {
            pairs.into_iter().fold(String::new(), |text, (word, between)| match leads {
                true => text + &between + word.get(&words[..]).as_str(),
                false => text + word.get(&words[..]).as_str() + &between,
            })
        };
        texts.into_iter().map(text).collect()
    })
}

fn added() -> Value {
    json!([{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}])
}

fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn unigram(
        pieces in prop::collection::btree_map("▁?[abc]{1,5}|▁|[abc,.]{1,3}|▁[abc]{6,12}|é|<", -12i32..0, 1..40),
        unk in any::<bool>(),
        local in prop::sample::subsequence(vec![0, 1, 2, 3], 0..3),
        (strips, collapses, white) in any::<(bool, bool, bool)>(),
        texts in texts(),
    ) {
        let mut vocabulary = vec![json!(["<s>", 0.0]), json!(["<unk>", 0.0])];
        let scores = pieces.iter().map(|(piece, &score)| json!([piece, f64::from(score) / 2.0]));
        vocabulary.extend(scores);
        let steps = [json!({"type": "Nmt"}), json!({"type": "NFKC"}), json!({"type": "Lowercase"}), replace("b,", "c")];
        let mut steps: Vec<Value> = local.into_iter().map(|step: usize| steps[step].clone()).collect();
        if strips {
            steps.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
        }
        if collapses {
            steps.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
        }
        let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
        let words = match white {
            true => json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}),
            false => metaspace,
        };
        let file = json!({
            "added_tokens": added(),
            "normalizer": {"type": "Sequence", "normalizers": steps},
            "pre_tokenizer": words,
            "model": {"type": "Unigram", "unk_id": unk.then_some(1), "byte_fallback": false, "vocab": vocabulary},
        });
        assert_equal_to_the_long_way(&file, &texts)?;
    }

    #[test]
    fn bpe_on_marked_spaces(
        merges in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..60),
        crosses in prop::bool::weighted(0.1),
        (unk, fuse_unk, byte_fallback, all_bytes) in any::<(bool, bool, bool, bool)>(),
        shape in 0usize..6,
        texts in texts(),
    ) {
        let mut tokens: Vec<String> = ["<s>", "<unk>", "a", "b", "c", "▁", ",", "."].map(str::to_owned).to_vec();
        let bytes = if all_bytes { 0..=255u8 } else { 0..=10 };
        let mut list = Vec::new();
        for (left, right) in merges {
            let (left, right) = (left.get(&tokens[2..]).clone(), right.get(&tokens[2..]).clone());
            let whole = format!("{left}{right}");
            if whole.chars().count() > 12 || !crosses && whole.trim_start_matches('▁').contains('▁') {
                continue;
            }
            list.push(json!([left, right]));
            if !tokens.contains(&whole) {
                tokens.push(whole);
            }
        }
        tokens.extend(bytes.map(|byte| format!("<0x{byte:02X}>")));
        let vocabulary: serde_json::Map<String, Value> = tokens.into_iter().zip((0..).map(Value::from)).collect();
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let sequence = |steps: &[Value]| json!({"type": "Sequence", "normalizers": steps});
        let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
        let (normalizer, pre_tokenizer) = match shape {
            0 => (sequence(&[prepend, replace(" ", "▁")]), Value::Null),
            1 => (replace(" ", "▁"), Value::Null),
            2 => (Value::Null, metaspace("always")),
            3 => (Value::Null, metaspace("first")),
            4 => (Value::Null, metaspace("never")),
            _ => (sequence(&[replace(" ", "▁"), prepend]), Value::Null),
        };
        let file = json!({
            "added_tokens": added(),
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "model": {
                "type": "BPE", "unk_token": unk.then_some("<unk>"), "fuse_unk": fuse_unk, "byte_fallback": byte_fallback,
                "vocab": vocabulary, "merges": list,
            },
        });
        assert_equal_to_the_long_way(&file, &texts)?;
    }
}
