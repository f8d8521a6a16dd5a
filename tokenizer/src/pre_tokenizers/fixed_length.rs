//! Words of so many characters each.

use std::num::NonZeroUsize;

use super::Word;

/// `FixedLength` of `tokenizer.json`: the last word may be shorter.
pub(super) fn split(text: &str, within: Word, length: NonZeroUsize, words: &mut Vec<Word>) {
    let mut start = within.start;
    let starts = text[within.start..within.end].char_indices().map(|(at, _)| within.start + at);
    for end in starts.skip(length.get()).step_by(length.get()).chain([within.end]) {
        if start < end {
            words.push(Word { start, end });
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_may_be_shorter() {
        let cases: [(&str, usize, &[&str]); 5] = [
            ("abcdéfgh", 3, &["abc", "déf", "gh"]),
            ("東京都", 1, &["東", "京", "都"]),
            ("abc", 3, &["abc"]),
            ("abc", usize::MAX, &["abc"]),
            ("", 2, &[]),
        ];
        for (text, length, expected) in cases {
            let mut words = Vec::new();
            let length = NonZeroUsize::new(length).expect("a length");
            split(text, Word { start: 0, end: text.len() }, length, &mut words);
            let found: Vec<&str> = words.iter().map(|word| &text[word.start..word.end]).collect();
            assert_eq!(found, expected);
        }
    }
}
