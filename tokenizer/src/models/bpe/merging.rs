//! Merging the symbols of a word: the lowest rank first, the leftmost of equals.

use super::byte_merges::ByteMerges;
use super::merge_table::{MergeTable, NEVER};
use super::short_word::{SHORT, ShortWord};
use super::windows::Windows;

/// A symbol of a word: a token, and how many bytes of the word it covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) id: u32,
    pub(crate) len: u32,
}

/// Working memory, kept from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// A word as the vocabulary writes it: no longer than a token.
    pub(crate) written: Vec<u8>,
    /// The word as symbols: before merging single characters, after it the tokens.
    pub(crate) symbols: Vec<Symbol>,
    /// A character with its affixes.
    pub(super) piece: String,
    windows: Windows,
}

/// Symbols that a scratch may keep room for; a longer word gives its memory back.
const KEPT_SYMBOLS: usize = 1 << 16;

impl Scratch {
    /// Gives back what a very long word took.
    pub(crate) fn shrink(&mut self) {
        if self.symbols.capacity().max(self.windows.capacity()) > KEPT_SYMBOLS {
            *self = Scratch::default();
        }
    }
}

impl MergeTable {
    /// Merges `scratch.symbols` until no pair merges any more.
    #[inline]
    pub(crate) fn merge(&self, Scratch { symbols, windows, .. }: &mut Scratch) {
        let symbol = |place: usize| {
            let (id, next) = (symbols[place].id, symbols.get(place + 1));
            (id, next.map_or(NEVER, |next| self.rank(id, next.id)))
        };
        let len = |symbols: &[Symbol]| symbols.iter().map(|symbol| symbol.len).sum();
        let mut count = 0;
        match symbols.len() {
            0 | 1 => return,
            2..=SHORT => {
                let mut word = ShortWord::new(symbols.len(), symbol);
                word.merge(self);
                for (id, start, end) in word.tokens() {
                    symbols[count] = Symbol { id, len: len(&symbols[start..end]) };
                    count += 1;
                }
            }
            all => {
                let tokens = windows.merge(self, all, symbol);
                let starts = tokens.iter().skip(1).map(|token| token.start as usize);
                for (token, end) in tokens.iter().zip(starts.chain([all])) {
                    symbols[count] = Symbol { id: token.id, len: len(&symbols[token.start as usize..end]) };
                    count += 1;
                }
            }
        }
        symbols.truncate(count);
    }

    /// Appends the ids that merging gives for a word of bytes, whose merges `of_bytes` knows.
    #[inline]
    pub(crate) fn merge_bytes(&self, word: &[u8], of_bytes: &ByteMerges, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let symbol = |place: usize| {
            let (byte, next) = (word[place], word.get(place + 1));
            (of_bytes.id(byte), next.map_or(NEVER, |&next| of_bytes.rank(byte, next)))
        };
        if word.len() <= SHORT {
            let mut short = ShortWord::new(word.len(), symbol);
            short.merge(self);
            ids.extend(short.tokens().map(|(id, ..)| id));
        } else {
            let tokens = scratch.windows.merge(self, word.len(), symbol);
            ids.extend(tokens.iter().map(|token| token.id));
        }
    }
}
