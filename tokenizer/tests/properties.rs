//! What holds for any text and any options.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::LazyLock;

use loquat_tokenizer::{
    DecodeOptions, EncodeOptions, Encoding, Padding, PaddingLength, Side, Tokenizer, Truncation, TruncationStrategy,
};
use proptest::prelude::*;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/all-MiniLM-L6-v2-int8/tokenizer.json");
    Tokenizer::from_file(Path::new(file)).expect("the embedded model's tokenizer")
});

/// Texts of any characters, denser in those that normalization, splitting and added tokens care about.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z]{1,9}",
        2 => "[ \\t\\n\u{a0}\u{85}\u{3000}]{1,3}",
        2 => "[.,!?'\"#\\-()。、！]",
        2 => "[\u{300}-\u{345}\u{5b0}-\u{5c7}\u{64b}-\u{655}\u{93c}\u{3099}\u{1d165}]{1,4}",
        2 => "[À-ỹİıﬁǅΐ가-힣]{1,4}",
        2 => "[一-龥豈-頻\u{20000}-\u{20010}]{1,3}",
        1 => "(\\[MASK\\]|\\[CLS\\]|##|\u{0}|\u{fffd}|\u{200d})",
        2 => "\\PC{1,4}",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Left), Just(Side::Right)]
}

fn truncation() -> impl Strategy<Value = Truncation> {
    let strategy = prop_oneof![
        Just(TruncationStrategy::LongestFirst),
        Just(TruncationStrategy::OnlyFirst),
        Just(TruncationStrategy::OnlySecond),
        Just(TruncationStrategy::DoNotTruncate),
    ];
    (0usize..24, strategy, 0usize..12, side(), any::<bool>()).prop_map(
        |(max_length, strategy, stride, direction, overflow)| Truncation {
            max_length,
            strategy,
            stride,
            direction,
            overflow,
        },
    )
}

fn padding() -> impl Strategy<Value = Padding> {
    let length = prop_oneof![Just(PaddingLength::BatchLongest), (0usize..40).prop_map(PaddingLength::Fixed)];
    (length, side(), prop::option::of(0usize..9)).prop_map(|(length, direction, multiple)| Padding {
        length,
        direction,
        pad_to_multiple_of: multiple,
        ..Padding::default()
    })
}

fn options() -> impl Strategy<Value = EncodeOptions> {
    let parts = (any::<bool>(), prop::option::of(truncation()), prop::option::of(padding()));
    parts.prop_map(|(add_special_tokens, truncation, padding)| EncodeOptions {
        add_special_tokens,
        truncation,
        padding,
    })
}

fn check_shape(encoding: &Encoding, texts: [&str; 2]) {
    let tokens = encoding.ids.len();
    assert_eq!(encoding.type_ids.len(), tokens);
    assert_eq!(encoding.special_tokens_mask.len(), tokens);
    assert_eq!(encoding.attention_mask.len(), tokens);
    assert_eq!(encoding.offsets.len(), tokens);
    assert_eq!(encoding.word_ids.len(), tokens);
    assert_eq!(encoding.sequence_ids.len(), tokens);
    let mut before = [(0, 0, 0); 2];
    for at in 0..tokens {
        let (start, end) = encoding.offsets[at];
        let Some(sequence) = encoding.sequence_ids[at] else {
            assert_eq!((start, end, encoding.word_ids[at]), (0, 0, None));
            assert_eq!(encoding.special_tokens_mask[at], 1);
            continue;
        };
        let text = texts[usize::from(sequence)];
        let piece = text.get(start..end);
        assert!(piece.is_some_and(|piece| !piece.is_empty()), "{start}..{end} of {text:?}");
        // One character may give several tokens, so neighbours may share it, but nothing goes backwards.
        let word = encoding.word_ids[at].expect("a word");
        let (last_start, last_end, last_word) = before[usize::from(sequence)];
        assert!(start >= last_start && end >= last_end && word >= last_word, "{encoding:?}");
        before[usize::from(sequence)] = (start, end, word);
        assert_eq!((encoding.special_tokens_mask[at], encoding.attention_mask[at]), (0, 1));
    }
    for window in &encoding.overflowing {
        assert!(window.overflowing.is_empty());
        check_shape(window, texts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn encoding_is_well_formed_whatever_the_text(first in text(), second in prop::option::of(text()), options in options()) {
        let Ok(encoding) = TOKENIZER.encode(&first, second.as_deref(), &options) else {
            // Only options can be refused.
            prop_assert!(options.truncation.is_some());
            return Ok(());
        };
        check_shape(&encoding, [&first, second.as_deref().unwrap_or_default()]);
        if let (Some(truncation), None) = (&options.truncation, &options.padding)
            && truncation.strategy != TruncationStrategy::DoNotTruncate
        {
            prop_assert!(encoding.len() <= truncation.max_length);
        }
    }

    #[test]
    fn character_offsets_cut_out_the_same_text(first in text()) {
        let encoding = TOKENIZER.encode(&first, None, &EncodeOptions::default()).expect("an encoding");
        let by_chars = encoding.char_offsets(first.as_str());
        for (&(start, end), &(from, to)) in encoding.offsets.iter().zip(&by_chars) {
            let chars: String = first.chars().skip(from).take(to - from).collect();
            prop_assert_eq!(&first[start..end], chars);
        }
    }

    #[test]
    fn ids_are_those_of_the_full_encoding(first in text(), max_length in 2usize..20) {
        let options = EncodeOptions { truncation: Some(Truncation::to(max_length)), ..Default::default() };
        let cut = TOKENIZER.encode(&first, None, &options).expect("an encoding");
        let whole = TOKENIZER.encode(&first, None, &EncodeOptions::default()).expect("an encoding");
        let mut ids = vec![7, 7];
        let encoded = TOKENIZER.encode_ids(&first, Some(max_length), &mut ids).expect("ids");
        prop_assert_eq!(&ids[2..], &cut.ids[..]);
        prop_assert_eq!(encoded.tokens, whole.len());
        prop_assert_eq!(encoded.kept, cut.len());
        prop_assert_eq!(encoded.truncated, cut.len() < whole.len());
    }

    #[test]
    fn windows_step_through_the_whole_text(first in text(), room in 1usize..7, overlap in 0usize..6, direction in side()) {
        let stride = overlap.min(room - 1);
        let truncation = Truncation { stride, direction, overflow: true, ..Truncation::to(room + 2) };
        let options = EncodeOptions { truncation: Some(truncation), ..Default::default() };
        let whole = TOKENIZER.encode(&first, None, &EncodeOptions::default()).expect("an encoding");
        let cut = TOKENIZER.encode(&first, None, &options).expect("an encoding");
        let inner = |encoding: &Encoding| {
            // Reversed for truncation from the left, so that both directions are checked by the same words.
            let mut ids = encoding.ids[1..encoding.len() - 1].to_vec();
            if direction == Side::Left {
                ids.reverse();
            }
            ids
        };
        let whole = inner(&whole);
        let mut reached = 0;
        for (place, window) in std::iter::once(&cut).chain(&cut.overflowing).enumerate() {
            prop_assert!(place == 0 || reached < whole.len(), "a window too many");
            let start = place * (room - stride);
            reached = (start + room).min(whole.len());
            prop_assert_eq!(&inner(window)[..], &whole[start..reached]);
        }
        prop_assert_eq!(reached, whole.len());
    }

    #[test]
    fn a_batch_is_its_texts_one_by_one(texts in prop::collection::vec(text(), 0..40), threads in 1usize..4) {
        let options = EncodeOptions::default();
        let batch = TOKENIZER.encode_batch(&texts, &options, NonZeroUsize::new(threads)).expect("encodings");
        let singles: Result<Vec<_>, _> = texts.iter().map(|text| TOKENIZER.encode(text, None, &options)).collect();
        prop_assert_eq!(&batch, &singles.expect("encodings"));
        let ids: Vec<_> = batch.iter().map(|encoding| encoding.ids.clone()).collect();
        let decoded = TOKENIZER.decode_batch(&ids, &DecodeOptions::default(), NonZeroUsize::new(threads)).expect("texts");
        for (text, ids) in decoded.iter().zip(&ids) {
            prop_assert_eq!(text, &TOKENIZER.decode(ids, &DecodeOptions::default()).expect("a text"));
        }
    }

    #[test]
    fn decoding_never_fails(ids in prop::collection::vec(prop_oneof![0u32..31_000, any::<u32>()], 0..40), skip_special_tokens: bool, clean_up: Option<bool>) {
        let options = DecodeOptions { skip_special_tokens, clean_up };
        prop_assert!(TOKENIZER.decode(&ids, &options).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_flat_batch_is_its_texts_one_by_one(
        texts in prop::collection::vec(text(), 0..20),
        repeat in prop_oneof![4 => Just(1usize), 1 => Just(400)],
        threads in 1usize..4,
        max_length in prop::option::of(2usize..20),
    ) {
        let texts: Vec<String> = texts.iter().cycle().take(texts.len() * repeat).cloned().collect();
        let batch = TOKENIZER.encode_ids_batch(&texts, max_length, NonZeroUsize::new(threads)).expect("ids");
        let mut ids = Vec::new();
        prop_assert_eq!(batch.cu_seqlens.len(), texts.len() + 1);
        for (place, text) in texts.iter().enumerate() {
            prop_assert_eq!(batch.cu_seqlens[place] as usize, ids.len());
            let encoded = TOKENIZER.encode_ids(text, max_length, &mut ids).expect("ids");
            prop_assert_eq!(batch.tokens[place], encoded.tokens);
            prop_assert_eq!(TOKENIZER.count_tokens(text).expect("a number"), encoded.tokens);
        }
        prop_assert_eq!(batch.cu_seqlens[texts.len()] as usize, ids.len());
        prop_assert_eq!(batch.ids, ids);
    }
}
