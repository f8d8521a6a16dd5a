//! Which words of a byte-level model are one token.
//!
//! A word that is written as a token is becomes that token where merging its bytes gives it, which for nearly all tokens is so. To find
//! that out for a whole vocabulary takes longer than to read it, so it is found out for a token when its word first comes.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::TokenizerError;
use crate::byte_alphabet::CHARS;
use crate::compiled::{Reader, Writer};
use crate::models::Bpe;
use crate::models::vocabulary::PrefixHash;

/// Nobody has looked yet.
const UNKNOWN: u8 = 0;
/// Its bytes merge to the token.
const WHOLE: u8 = 1;
/// They don't.
const PARTS: u8 = 2;

/// What is known of each token.
#[derive(Debug)]
pub(super) struct WholeWords {
    known: Vec<AtomicU8>,
    /// Bytes of the longest token.
    longest: usize,
}

/// A token that is written as a word is.
#[derive(Clone, Copy)]
pub(super) struct Written {
    entry: u32,
    pub(super) id: u32,
}

impl WholeWords {
    pub(super) fn new(bpe: &Bpe) -> Self {
        let vocabulary = bpe.vocabulary();
        let longest = vocabulary.entries().map(|entry| vocabulary.bytes_of(entry).len()).max();
        Self::with_longest(bpe, longest.unwrap_or(0))
    }

    /// Nothing known yet, and the bytes of the longest token.
    fn with_longest(bpe: &Bpe, longest: usize) -> Self {
        // Where the model looks words up first, there is nothing to find out.
        let known = if bpe.ignores_merges() { WHOLE } else { UNKNOWN };
        WholeWords { known: bpe.vocabulary().entries().map(|_| AtomicU8::new(known)).collect(), longest }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.number("longest", self.longest as u64);
    }

    pub(super) fn read(bpe: &Bpe, reader: &Reader) -> Result<Self, TokenizerError> {
        Ok(Self::with_longest(bpe, reader.size("longest")?))
    }

    /// The token that is written as this word is. `text` is working memory.
    #[inline]
    pub(super) fn written(&self, bpe: &Bpe, word: &[u8], text: &mut Vec<u8>) -> Option<Written> {
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
        let entry = bpe.vocabulary().find(hash, text)?;
        Some(Written { entry, id: bpe.vocabulary().id_of(entry) })
    }

    /// Whether the word is the token, where that is known.
    #[inline]
    pub(super) fn is_whole(&self, written: Written) -> Option<bool> {
        match self.known.get(written.entry as usize)?.load(Relaxed) {
            UNKNOWN => None,
            known => Some(known == WHOLE),
        }
    }

    /// Remembers what the word merged to.
    pub(super) fn learn(&self, written: Written, is_whole: bool) {
        if let Some(known) = self.known.get(written.entry as usize) {
            known.store(if is_whole { WHOLE } else { PARTS }, Relaxed);
        }
    }
}
