//! Where tokens reach over spaces, so that what is before and behind them can't be merged by itself.

use super::byte_pairs::BytePairs;
use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::models::Vocabulary;
use crate::numbers::Numbers;

/// In the place of a byte behind the spaces that end a text; UTF-8 doesn't have it.
const NOTHING: u8 = 0xFF;

const BYTES: usize = 1 << 8;

/// The bytes before and behind the spaces that are within tokens.
#[derive(Debug)]
pub(super) struct Reaches {
    /// `None` where no token reaches.
    pairs: Option<BytePairs>,
    /// Which bytes are before such spaces.
    before: [bool; BYTES],
}

impl Reaches {
    /// `mark` is what tokens have for a space.
    pub(super) fn of_tokens(vocabulary: &Vocabulary, mark: char) -> Self {
        let mut reaches = Reaches { pairs: None, before: [false; BYTES] };
        for token in vocabulary.entries().map(|entry| vocabulary.text_of(entry)) {
            let mut rest = token.trim_start_matches(mark);
            while let Some((before, behind)) = rest.split_once(mark) {
                let last = *before.as_bytes().last().unwrap_or(&NOTHING);
                rest = behind.trim_start_matches(mark);
                match rest.bytes().next() {
                    Some(first) => reaches.add(last, first),
                    None => (0..=u8::MAX).for_each(|first| reaches.add(last, first)),
                }
            }
        }
        reaches
    }

    fn add(&mut self, before: u8, behind: u8) {
        self.pairs.get_or_insert_with(BytePairs::new).add(before, behind);
        self.before[usize::from(before)] = true;
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        if let Some(pairs) = &self.pairs {
            writer.numbers("reaches", pairs.words());
        }
    }

    /// Files in which no token reaches don't have it.
    pub(super) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        if !reader.has("reaches") {
            return Ok(Reaches { pairs: None, before: [false; BYTES] });
        }
        let pairs: Numbers<u64> = reader.exactly("reaches", BytePairs::WORDS)?;
        let row = |before: usize| &pairs[before * BYTES / 64..(before + 1) * BYTES / 64];
        let before = std::array::from_fn(|before| row(before).iter().any(|&bits| bits != 0));
        Ok(Reaches { pairs: Some(BytePairs::of_words(&pairs)), before })
    }

    /// Whether no token reaches over any.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_none()
    }

    /// Which bytes may be before spaces that a token reaches over.
    pub(super) fn before(&self) -> &[bool; BYTES] {
        &self.before
    }

    /// Where the spaces at `at` end, if a token may reach over them.
    pub(super) fn over(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let before = *bytes.get(..at)?.last()?;
        if !self.before[usize::from(before)] {
            return None;
        }
        let end = at + bytes[at..].iter().take_while(|&&byte| byte == b' ').count();
        let behind = *bytes.get(end).unwrap_or(&NOTHING);
        (end > at && self.pairs.as_ref()?.has(before, behind)).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::vocabulary::VocabularyBuilder;

    #[test]
    fn spaces_are_reached_over_between_the_bytes_that_tokens_have_there() {
        let mut builder = VocabularyBuilder::default();
        for (token, id) in ["▁▁", "▁a", ">▁</", "x▁▁"].into_iter().zip(0..) {
            builder.push(token, id).expect("a small vocabulary");
        }
        let reaches = Reaches::of_tokens(&builder.build().expect("tokens that differ"), '▁');
        let over = |text: &str| reaches.over(text.as_bytes(), text.find(' ').unwrap_or(text.len()));
        assert_eq!(over("> <"), Some(2));
        assert_eq!(over(">   <"), Some(4));
        assert_eq!(over("> a"), None);
        assert_eq!(over("a <"), None);
        assert_eq!(over(">"), None);
        assert_eq!(over("x a"), Some(2));
        assert_eq!(over("x "), Some(2));
        assert_eq!(over(">  "), None);
        assert_eq!(over(" <"), None);
        assert_eq!(over("x"), None);
    }
}
