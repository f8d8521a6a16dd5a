//! Long, empty and impossible inputs.

use loquat_tokenizer::{
    EncodeOptions, Padding, PaddingLength, Side, Tokenizer, TokenizerError, Truncation, TruncationStrategy,
};

fn tokenizer() -> Tokenizer {
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n";
    Tokenizer::from_vocab("v.txt", vocabulary.as_bytes()).expect("a vocabulary")
}

fn truncate(truncation: Truncation) -> EncodeOptions {
    EncodeOptions { truncation: Some(truncation), ..Default::default() }
}

#[test]
fn a_megabyte_of_one_word_is_one_unknown_token() {
    let tokenizer = tokenizer();
    for word in ["a".repeat(1 << 20), "é".repeat(1 << 19), "\u{301}".repeat(1 << 19) + "a"] {
        let mut ids = Vec::new();
        tokenizer.encode_ids(&word, None, &mut ids).expect("ids");
        assert!(ids == [2, 1, 3] || ids == [2, 5, 3], "{ids:?}");
    }
}

/// A step that takes time by the square of the length would take minutes at the least; a linear one is done in some tenths
/// of a second, so that a busy machine makes no difference.
#[test]
fn long_texts_of_any_shape_take_no_time_to_speak_of() {
    let tokenizer = tokenizer();
    let shapes = ["a", "\u{301}", "\u{323}\u{301}", "[", "[MASK]", "[MASK", "a ", "中", " ", ".", "##", "İ", "각"];
    for shape in shapes {
        let text = shape.repeat(2_500_000 / shape.len());
        let start = std::time::Instant::now();
        tokenizer.encode(&text, None, &EncodeOptions::default()).expect("an encoding");
        let seconds = start.elapsed().as_secs_f64();
        assert!(seconds < 10.0, "{shape:?} takes {seconds} s");
    }
}

#[test]
fn empty_and_blank_texts_are_the_special_tokens_alone() {
    let tokenizer = tokenizer();
    for text in ["", " ", "\t\n", "\u{0}\u{ad}", "\u{301}"] {
        let encoding = tokenizer.encode(text, None, &EncodeOptions::default()).expect("an encoding");
        assert_eq!(encoding.ids, [2, 3], "{text:?}");
        let encoding = tokenizer.encode(text, Some(text), &EncodeOptions::default()).expect("an encoding");
        assert_eq!((encoding.ids, encoding.type_ids), (vec![2, 3, 3], vec![0, 0, 1]));
    }
}

#[test]
fn impossible_truncation_is_an_error() {
    let tokenizer = tokenizer();
    let encode = |pair, truncation| tokenizer.encode("a b a b", pair, &truncate(truncation));

    let error = encode(None, Truncation::to(1)).expect_err("no room");
    assert!(matches!(error, TokenizerError::MaxLengthTooSmall { max_length: 1, special_tokens: 2 }));
    let error = tokenizer.encode_ids("a", Some(1), &mut Vec::new()).expect_err("no room");
    assert!(matches!(error, TokenizerError::MaxLengthTooSmall { max_length: 1, special_tokens: 2 }));

    let error = encode(None, Truncation { stride: 3, ..Truncation::to(5) }).expect_err("stands still");
    assert!(matches!(error, TokenizerError::StrideTooLarge { stride: 3, room: 3 }));
    // The pair has room for one token of each text, so even a stride of one stands still.
    let error = encode(Some("b"), Truncation { stride: 1, ..Truncation::to(5) }).expect_err("stands still");
    assert!(matches!(error, TokenizerError::StrideTooLarge { stride: 1, room: 1 }));

    let only = |strategy| Truncation { strategy, ..Truncation::to(5) };
    let error = encode(None, only(TruncationStrategy::OnlySecond)).expect_err("no second");
    assert!(matches!(error, TokenizerError::NoSecondSequence));
    let error = encode(Some("b"), only(TruncationStrategy::OnlySecond)).expect_err("too short");
    assert!(matches!(error, TokenizerError::SequenceTooShort { strategy: "only_second", remove: 3, length: 1 }));
    assert_eq!(encode(Some("b"), only(TruncationStrategy::OnlyFirst)).expect("cut").ids, [2, 5, 3, 7, 3]);
    let all = encode(None, only(TruncationStrategy::DoNotTruncate)).expect("whole");
    assert_eq!(all.len(), 6);
}

#[test]
fn no_room_at_all_puts_everything_into_the_overflow() {
    let truncation = Truncation { overflow: true, ..Truncation::to(2) };
    let encoding = tokenizer().encode("a b", None, &truncate(truncation)).expect("an encoding");
    assert_eq!(encoding.ids, [2, 3]);
    assert_eq!(encoding.overflowing.len(), 1);
    assert_eq!(encoding.overflowing[0].ids, [2, 5, 7, 3]);
}

#[test]
fn overflow_beyond_reason_is_refused() {
    let tokenizer = tokenizer();
    let text = "a ".repeat(100_000);
    let truncation = Truncation { overflow: true, ..Truncation::to(5) };
    let error = tokenizer.encode(&text, Some(&text), &truncate(truncation)).expect_err("too many");
    assert!(matches!(error, TokenizerError::TooMuchOverflow { .. }), "{error}");
}

#[test]
fn padding_beyond_memory_is_refused() {
    let tokenizer = tokenizer();
    for (length, multiple) in
        [(usize::MAX, None), (usize::MAX / 64, None), (3, Some(usize::MAX)), (usize::MAX - 1, Some(9))]
    {
        let padding = Padding {
            length: PaddingLength::Fixed(length),
            pad_to_multiple_of: multiple,
            direction: Side::Left,
            ..Padding::default()
        };
        let options = EncodeOptions { padding: Some(padding), ..Default::default() };
        let error = tokenizer.encode("a", None, &options).expect_err("too long");
        assert!(matches!(error, TokenizerError::PaddingTooLong { .. }), "{error}");
    }
}

#[test]
fn failed_ids_leave_the_buffer_as_it_was() {
    let mut ids = vec![9, 9];
    assert!(tokenizer().encode_ids("a", Some(0), &mut ids).is_err());
    assert_eq!(ids, [9, 9]);
}
