//! Where chunks may be cut so that each part can be tokenized by itself.

use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::models::Vocabulary;
use crate::numbers::Numbers;

/// A chunk of more cuts, or longer, is taken whole.
const MAX_CUTS: usize = 6;
const LONGEST: usize = 96;

/// Which two characters of ASCII are side by side in some token.
#[derive(Debug)]
pub(super) struct Neighbours(Box<[u128; 128]>);

impl Neighbours {
    pub(super) fn of_tokens(vocabulary: &Vocabulary) -> Self {
        // Going through all bytes of a vocabulary takes a while, so nothing here depends on what they are.
        let mut are = Box::new([false; 1 << 16]);
        for token in vocabulary.entries().map(|entry| vocabulary.bytes_of(entry)) {
            for two in token.windows(2) {
                are[usize::from(two[0]) << 8 | usize::from(two[1])] = true;
            }
        }
        let mut after = Box::new([0; 128]);
        for (first, after) in after.iter_mut().enumerate() {
            let are = are[first << 8..].iter().take(128);
            *after = are.rev().fold(0, |after, &are| after << 1 | u128::from(are));
        }
        Neighbours(after)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.numbers("neighbours", &self.0[..]);
    }

    pub(super) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let after: Numbers<u128> = reader.exactly("neighbours", 128)?;
        Ok(Neighbours(Box::new(std::array::from_fn(|first| after.get(first).copied().unwrap_or(u128::MAX)))))
    }

    pub(super) fn are(&self, first: u8, second: u8) -> bool {
        self.0.get(usize::from(first)).is_none_or(|after| !second.is_ascii() || after >> second & 1 == 1)
    }

    /// The parts of a chunk, over whose ends no token reaches. One, where it isn't cut.
    pub(super) fn parts<'a>(&self, chunk: &'a str) -> Parts<'a> {
        let mut parts = Parts { chunk, ends: [chunk.len(); MAX_CUTS + 1], count: 1 };
        if chunk.len() > LONGEST {
            return parts;
        }
        let mut cuts = 0;
        for (end, two) in (1..).zip(chunk.as_bytes().windows(2)) {
            if !self.are(two[0], two[1]) {
                let Some(place) = parts.ends[..MAX_CUTS].get_mut(cuts) else {
                    return Parts { ends: [chunk.len(); MAX_CUTS + 1], ..parts };
                };
                *place = end;
                cuts += 1;
            }
        }
        parts.count += cuts;
        parts
    }
}

/// The parts of a chunk.
pub(super) struct Parts<'a> {
    chunk: &'a str,
    ends: [usize; MAX_CUTS + 1],
    count: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a str> {
        let mut start = 0;
        self.ends[..self.count].iter().map(move |&end| {
            let part = &self.chunk[start..end];
            start = end;
            part
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::vocabulary::VocabularyBuilder;

    #[test]
    fn a_chunk_is_cut_where_no_token_has_both_neighbours() {
        let mut builder = VocabularyBuilder::default();
        for (token, id) in ["▁a", "ab", "b,", "é", "aé"].into_iter().zip(0..) {
            builder.push(token, id).expect("a small vocabulary");
        }
        let neighbours = Neighbours::of_tokens(&builder.build().expect("tokens that differ"));
        let parts = |chunk: &str| neighbours.parts(chunk).iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parts("ab"), ["ab"]);
        assert_eq!(parts("ab,a"), ["ab,", "a"]);
        assert_eq!(parts("b-aé-"), ["b", "-", "aé-"]);
        assert_eq!(parts("------"), ["-"; 6]);
        assert_eq!(parts("-------"), ["-"; 7]);
        assert_eq!(parts("--------"), ["--------"]);
        assert_eq!(parts(&"-".repeat(100)).len(), 1);
    }
}
