//! Finding the chunks of a text, which lie between spaces, many at a time, and looking them up together: the table is too large
//! for the processor's nearest caches, and memory answers many questions in the time of one.

use super::word_batch::WordBatch;
use super::word_cache::{Key, SHORT, Short, WordCache};
use crate::models::TokenSink;

const HIGH: u64 = 0x8080_8080_8080_8080;
const EACH: u64 = 0x0101_0101_0101_0101;

/// What ends a chunk.
#[derive(Debug)]
pub(super) struct Delimiters {
    /// The bytes that stand for one space, whatever comes after them.
    simple: [bool; 256],
}

/// Bytes that may end a chunk are less than that.
const FIRST_PRINTED: u64 = 0x21;

impl Delimiters {
    /// `simple` says which bytes are one space each, whatever comes after them; no byte of a chunk is less than 0x21.
    pub(super) fn below_the_first_printed(simple: [bool; 256]) -> Self {
        Delimiters { simple }
    }

    /// Bit 7 of each byte that may end a chunk.
    #[inline]
    fn ends(eight: u64) -> u64 {
        // Seven bits and no carry, so each byte is by itself.
        let not_less = (eight & !HIGH) + (0x80 - FIRST_PRINTED) * EACH;
        !(not_less | eight) & HIGH
    }

    /// Takes short chunks with one space after each, from `at` on, which is not at a space, until the batch is full or something else
    /// comes. Returns where that is: after the space, or, after a chunk that ends the text, one byte beyond its end.
    #[inline]
    pub(super) fn take(&self, bytes: &[u8], mut at: usize, cache: &WordCache, batch: &mut WordBatch) -> usize {
        let cache = cache.short();
        while !batch.is_full() && at < bytes.len() {
            let sixteen = sixteen(bytes, at);
            let [low, high] = sixteen.map(|eight| Self::ends(eight).trailing_zeros() / 8);
            // Without a branch, which would often be taken wrong.
            let length = (low + (high & 0u32.wrapping_sub(low >> 3))) as usize;
            let end = at + length;
            let is_simple = bytes.get(end).is_none_or(|&byte| self.simple[usize::from(byte)]);
            if length.wrapping_sub(1) >= SHORT || !is_simple {
                break;
            }
            batch.push(Key::of(sixteen, length), at, end, cache);
            at = end + 1;
        }
        at
    }
}

/// Sixteen bytes from `at` on, spaces beyond the end.
#[inline]
pub(super) fn sixteen(bytes: &[u8], at: usize) -> [u64; 2] {
    let whole = |bytes: &[u8; 16]| {
        let number = u128::from_le_bytes(*bytes);
        [number as u64, (number >> 64) as u64]
    };
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => whole(bytes),
        None => {
            let mut padded = [b' '; 16];
            let rest = bytes.get(at..).unwrap_or_default();
            padded[..rest.len()].copy_from_slice(rest);
            whole(&padded)
        }
    }
}

/// Whether ids are only counted, and how many of them were so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted(Option<usize>);

impl Counted {
    /// From now on ids are only counted.
    pub(super) fn begin(&mut self) {
        self.0 = Some(0);
    }

    /// How many there were, with those that are still in `ids`; they are no longer only counted.
    pub(super) fn end(&mut self, ids: &[u32]) -> usize {
        self.0.take().unwrap_or(0) + ids.len()
    }

    /// Counts the ids and takes them away, if they are only counted.
    #[inline]
    pub(super) fn take(&mut self, ids: &mut Vec<u32>) {
        if let Some(count) = &mut self.0 {
            *count += ids.len();
            ids.clear();
        }
    }
}

/// Takes the ids alone.
pub(super) struct Ids<'a>(pub(super) &'a mut Vec<u32>);

impl TokenSink for Ids<'_> {
    #[inline]
    fn push(&mut self, id: u32, _: usize, _: usize) {
        self.0.push(id);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}
