//! Finding the chunks of a text, which lie between spaces, many at a time, and looking them up together: the table is too large
//! for the processor's nearest caches, and memory answers many questions in the time of one.

use super::chunk_cache::{ChunkCache, Key, SHORT_IDS, ShortIds};
use super::word_cache::SHORT;
use crate::models::TokenSink;

/// Chunks that are looked up together.
const MOST: usize = 64;

const HIGH: u64 = 0x8080_8080_8080_8080;
const EACH: u64 = 0x0101_0101_0101_0101;

/// A chunk and what the cache knows of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Chunk {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) ids: ShortIds,
}

/// Short chunks with one space after each; the last may end the text instead.
pub(super) struct Batch {
    chunks: [Chunk; MOST],
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { chunks: [Chunk::default(); MOST], count: 0 }
    }
}

/// What ends a chunk.
#[derive(Debug)]
pub(super) struct Delimiters {
    /// The bytes that stand for one space, whatever comes after them.
    simple: [bool; 256],
    /// Bytes that may end a chunk are less than `limit` after exclusive or with `flip`.
    flip: u64,
    limit: u64,
}

impl Delimiters {
    /// Spaces only.
    pub(super) fn spaces() -> Self {
        Delimiters { simple: std::array::from_fn(|byte| byte == usize::from(b' ')), flip: u64::from(b' '), limit: 1 }
    }

    /// `simple` says which bytes are one space each, whatever comes after them; no byte of a chunk is less than 0x21.
    pub(super) fn below_the_first_printed(simple: [bool; 256]) -> Self {
        Delimiters { simple, flip: 0, limit: 0x21 }
    }

    /// Bit 7 of each byte that may end a chunk.
    #[inline]
    fn ends(&self, eight: u64) -> u64 {
        let flipped = eight ^ (self.flip * EACH);
        // Seven bits and no carry, so each byte is by itself.
        let not_less = (flipped & !HIGH) + (0x80 - self.limit) * EACH;
        !(not_less | flipped) & HIGH
    }

    /// Takes short chunks from `at` on, which is not at a space, until the batch is full or something else comes. Returns
    /// where that is: after the space, or, after a chunk that ends the text, one byte beyond its end.
    #[inline]
    pub(super) fn take(&self, bytes: &[u8], mut at: usize, cache: &ChunkCache, batch: &mut Batch) -> usize {
        let mut count = 0;
        for chunk in &mut batch.chunks {
            if at >= bytes.len() {
                break;
            }
            let sixteen = sixteen(bytes, at);
            let [low, high] = sixteen.map(|eight| self.ends(eight).trailing_zeros() / 8);
            // Without a branch, which would often be taken wrong.
            let length = (low + (high & 0u32.wrapping_sub(low >> 3))) as usize;
            let end = at + length;
            let is_simple = bytes.get(end).is_none_or(|&byte| self.simple[usize::from(byte)]);
            if length.wrapping_sub(1) >= SHORT || !is_simple {
                break;
            }
            // Texts are shorter than 4 GiB.
            *chunk = Chunk { start: at as u32, end: end as u32, ids: cache.probe(Key::of(sixteen, length)) };
            count += 1;
            at = end + 1;
        }
        batch.count = count;
        at
    }
}

impl Batch {
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks[..self.count]
    }
}

/// Sixteen bytes from `at` on, spaces beyond the end.
#[inline]
fn sixteen(bytes: &[u8], at: usize) -> [u64; 2] {
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

/// Ids of chunks that were known, on their way out.
pub(super) struct Known {
    ids: [u32; MOST * SHORT_IDS],
    count: usize,
}

impl Default for Known {
    fn default() -> Self {
        Known { ids: [0; MOST * SHORT_IDS], count: 0 }
    }
}

impl Known {
    /// Takes the ids of one of the chunks of a batch. Always writes as many as there may be, which needs no branch.
    #[inline]
    pub(super) fn push(&mut self, ids: ShortIds) {
        if let Some(place) = self.ids.get_mut(self.count..self.count + SHORT_IDS) {
            place.copy_from_slice(&ids.padded());
            self.count += ids.len();
        }
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.ids[..self.count]);
        self.count = 0;
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
