//! Words that are tokens as they are, where the model looks them up before it merges.
//!
//! Where it doesn't, merging is as fast: most words that come for the first time are no token, and to find that out takes a good part of the time
//! that merging them takes.

use crate::TokenizerError;
use crate::byte_alphabet::CHARS;
use crate::compiled::{Reader, Writer};
use crate::models::Bpe;
use crate::models::vocabulary::PrefixHash;

/// What is needed to look words up.
#[derive(Debug)]
pub(super) struct WholeWords {
    /// Bytes of the longest token; 0 where words aren't looked up.
    longest: usize,
}

impl WholeWords {
    pub(super) fn new(bpe: &Bpe) -> Self {
        let vocabulary = bpe.vocabulary();
        let longest = vocabulary.entries().map(|entry| vocabulary.bytes_of(entry).len()).max();
        WholeWords { longest: longest.filter(|_| bpe.ignores_merges()).unwrap_or(0) }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.number("longest", self.longest as u64);
    }

    pub(super) fn read(bpe: &Bpe, reader: &Reader) -> Result<Self, TokenizerError> {
        let longest = reader.size("longest")?;
        Ok(WholeWords { longest: if bpe.ignores_merges() { longest } else { 0 } })
    }

    /// The token that this word is. `text` is working memory.
    #[inline]
    pub(super) fn find(&self, bpe: &Bpe, word: &[u8], text: &mut Vec<u8>) -> Option<u32> {
        if word.len() > self.longest {
            return None;
        }
        text.clear();
        let mut hash = PrefixHash::EMPTY;
        for &byte in word {
            let mut utf8 = [0; 4];
            for &byte in CHARS[usize::from(byte)].encode_utf8(&mut utf8).as_bytes() {
                hash = hash.with(byte);
                text.push(byte);
            }
        }
        let vocabulary = bpe.vocabulary();
        vocabulary.find(hash, text).map(|entry| vocabulary.id_of(entry))
    }
}
