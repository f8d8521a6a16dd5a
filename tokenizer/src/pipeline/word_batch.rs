//! Words that are looked up together, so that what is not in the processor's cache comes together.

use std::ops::Range;

use super::word_cache::{Key, SHORT_IDS, WordCache};

/// The most words that come together between two questions whether the batch is full.
pub(super) const AT_ONCE: usize = 64;

const MOST: usize = 4 * AT_ONCE;

/// Words that wait to be looked up, and the ids of those that were just found.
pub(super) struct WordBatch {
    words: [Found; MOST],
    count: usize,
    ids: [u32; MOST * SHORT_IDS + 1],
}

/// A word of the text.
#[derive(Clone, Copy, Default)]
struct Found {
    key: Key,
    start: u32,
    end: u32,
}

impl WordBatch {
    pub(super) fn new() -> Self {
        WordBatch { words: [Found::default(); MOST], count: 0, ids: [0; MOST * SHORT_IDS + 1] }
    }

    /// Adds the word at `start..end` of the text. Its key is that of no word where it is too long for one.
    #[inline]
    pub(super) fn push(&mut self, key: Key, start: usize, end: usize) {
        if let Some(word) = self.words.get_mut(self.count) {
            // Texts are shorter than 4 GiB.
            *word = Found { key, start: start as u32, end: end as u32 };
            self.count += 1;
        }
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.count > MOST - AT_ONCE
    }

    /// Where the words end.
    pub(super) fn ends(&self) -> impl Iterator<Item = u32> {
        self.words[..self.count.min(MOST)].iter().map(|word| word.end)
    }

    /// Appends the ids of all words and forgets them. `other` does that for one that is not among the short words of
    /// the cache, and puts it there if it is short.
    #[inline]
    pub(super) fn look_up(
        &mut self,
        cache: &mut WordCache,
        out: &mut Vec<u32>,
        mut other: impl FnMut(Key, Range<usize>, &mut WordCache, &mut Vec<u32>),
    ) {
        let mut count = 0;
        for &Found { key, start, end } in &self.words[..self.count.min(MOST)] {
            let short = cache.short(key);
            if short.is(key) {
                let (ids, more) = short.ids();
                if let Some(room) = self.ids.get_mut(count..count + ids.len()) {
                    room.copy_from_slice(ids);
                }
                count += more;
            } else {
                out.extend_from_slice(&self.ids[..count]);
                count = 0;
                match cache.more(key) {
                    Some(ids) => out.extend_from_slice(ids),
                    None => other(key, start as usize..end as usize, cache, out),
                }
            }
        }
        out.extend_from_slice(&self.ids[..count]);
        self.count = 0;
    }
}
