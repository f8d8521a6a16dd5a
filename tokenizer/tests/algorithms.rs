//! What holds for any text, whatever the algorithm; `properties.rs` has what holds for any options.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::LazyLock;

use loquat_tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
use proptest::prelude::*;

/// Small tokenizers of every algorithm, with added tokens, normalizers that move text about, and models that know all bytes.
static TOKENIZERS: LazyLock<Vec<(&str, Tokenizer)>> = LazyLock::new(|| {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let files = [
        "tokenizer_json/bert.json",
        "tokenizer_json/added.json",
        "tokenizer_json/plain.json",
        "tokenizer_json/byte_level.json",
        "tokenizer_json/split.json",
        "tokenizer_json/unigram.json",
        "tokenizer_json/byte_fallback.json",
        "sentencepiece/unigram-map.model",
        "sentencepiece/unigram-plain.model",
        "sentencepiece/bpe-map.model",
        "sentencepiece/bytes.model",
    ];
    let load = |file: &'static str| (file, Tokenizer::from_file(&seeds.join(file)).expect(file));
    files.map(load).into_iter().collect()
});

/// Those that keep every character of a text.
const REVERSIBLE: [&str; 3] =
    ["tokenizer_json/byte_level.json", "tokenizer_json/split.json", "tokenizer_json/byte_fallback.json"];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        5 => "(the|hello|world|Hello|ab|del|al|en|ue) ?",
        3 => "[a-zA-Z]{1,12}",
        2 => "[ \\t\\r\\n\u{a0}\u{3000}]{1,4}",
        2 => "[0-9²Ⅳ]{1,5}",
        2 => "('s|'re|[.,!?'()%_-]{1,4})",
        2 => "[éÀǅﬁ㎏Ａ中가\u{301}\u{323}]{1,4}",
        1 => "<s>|<\\|end\\|>|\\[MASK\\]|Zürich|<unk>|##s|▁",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn offsets_go_forward_and_cut_the_text(text in text()) {
        for (name, tokenizer) in TOKENIZERS.iter() {
            let encoding = tokenizer.encode(&text, None, &EncodeOptions::default()).expect("an encoding");
            let mut before = (0, 0, 0);
            for (place, &(start, end)) in encoding.offsets.iter().enumerate() {
                let Some(word) = encoding.word_ids[place] else {
                    prop_assert_eq!((start, end), (0, 0), "{}", name);
                    continue;
                };
                prop_assert!(text.get(start..end).is_some(), "{name}: {start}..{end}");
                // Tokens that share a character share its offsets.
                prop_assert!(start >= before.0 && end >= before.1 && word >= before.2, "{name}: {encoding:?}");
                before = (start, end, word);
            }
        }
    }

    #[test]
    fn slices_without_normalization_are_the_tokens(text in text()) {
        for (name, tokenizer) in TOKENIZERS.iter().filter(|(name, _)| *name == "tokenizer_json/split.json") {
            let encoding = tokenizer.encode(&text, None, &EncodeOptions::default()).expect("an encoding");
            let mut covered = 0;
            for (&id, &(start, end)) in encoding.ids.iter().zip(&encoding.offsets) {
                // No byte of the text is left out; tokens that are part of a character stand for all of it.
                prop_assert!(start <= covered && end >= covered, "{name}: {encoding:?}");
                covered = end;
                let decoded = tokenizer.decode(&[id], &DecodeOptions::default()).expect("a text");
                let is_whole = !decoded.contains(char::REPLACEMENT_CHARACTER);
                prop_assert!(!is_whole || decoded == text[start..end], "{name}: {decoded:?} at {start}..{end}");
            }
            prop_assert_eq!(covered, text.len());
        }
    }

    #[test]
    fn decoding_gives_the_text_back(text in text()) {
        // The mark that stands for a space decodes to one.
        let text = text.replace('▁', "");
        for (name, tokenizer) in TOKENIZERS.iter().filter(|(name, _)| REVERSIBLE.contains(name)) {
            let options = EncodeOptions { add_special_tokens: false, ..Default::default() };
            let ids = tokenizer.encode(&text, None, &options).expect("an encoding").ids;
            let skips_nothing = DecodeOptions { skip_special_tokens: false, clean_up: Some(false) };
            let decoded = tokenizer.decode(&ids, &skips_nothing).expect("a text");
            // Llama's puts a space before each stretch between added tokens.
            let is_split = *name == "tokenizer_json/byte_fallback.json"
                && ["<s>", "</s>", "<unk>"].iter().any(|token| text.contains(token));
            prop_assert!(is_split || decoded == text, "{name}: {decoded:?}");
        }
    }

    #[test]
    fn ids_counts_batches_and_threads_agree(texts in prop::collection::vec(text(), 0..12), threads in 1usize..4) {
        let threads = NonZeroUsize::new(threads);
        for (name, tokenizer) in TOKENIZERS.iter() {
            let options = EncodeOptions::default();
            let batch = tokenizer.encode_batch(&texts, &options, threads).expect("encodings");
            let flat = tokenizer.encode_ids_batch(&texts, None, threads).expect("ids");
            for (place, text) in texts.iter().enumerate() {
                let single = tokenizer.encode(text, None, &options).expect("an encoding");
                prop_assert_eq!(&batch[place], &single, "{}", name);
                let mut ids = Vec::new();
                tokenizer.encode_ids(text, None, &mut ids).expect("ids");
                prop_assert_eq!(&ids, &single.ids, "{}", name);
                let range = flat.cu_seqlens[place] as usize..flat.cu_seqlens[place + 1] as usize;
                prop_assert_eq!(&flat.ids[range], &ids[..], "{}", name);
                prop_assert_eq!(tokenizer.count_tokens(text).expect("a count"), ids.len(), "{}", name);
            }
        }
    }

    #[test]
    fn long_texts_are_counted_as_they_are_encoded(text in text(), repeat in 1usize..200) {
        let text = text.repeat(repeat);
        for (name, tokenizer) in TOKENIZERS.iter() {
            let mut ids = Vec::new();
            tokenizer.encode_ids(&text, None, &mut ids).expect("ids");
            prop_assert_eq!(tokenizer.count_tokens(&text).expect("a count"), ids.len(), "{}", name);
        }
    }
}
