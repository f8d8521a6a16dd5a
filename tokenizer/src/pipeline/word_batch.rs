//! Short texts that are looked up together, so that what is not in the processor's cache comes together.

use std::ops::Range;

use super::word_cache::{FEW_IDS, Home, Key, SHORT_IDS, Short, ShortTexts};

/// The most texts that may come between two questions whether the batch is full.
pub(super) const AT_ONCE: usize = 64;

const MOST: usize = 4 * AT_ONCE;

/// A stretch of the text.
#[derive(Clone, Copy, Default)]
pub(super) struct Word {
    key: Key,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Where the cache may have it.
    home: Home,
}

/// Texts that wait to be looked up.
pub(super) struct WordBatch {
    words: [Word; MOST],
    count: usize,
    /// Ids on their way out.
    ids: [u32; MOST * SHORT_IDS],
}

impl Default for WordBatch {
    fn default() -> Self {
        WordBatch { words: [Word::default(); MOST], count: 0, ids: [0; MOST * SHORT_IDS] }
    }
}

impl WordBatch {
    /// Adds what is at `start..end` of the text. Its key is that of no text where it is too long for one.
    #[inline]
    pub(super) fn push(&mut self, key: Key, start: usize, end: usize, cache: ShortTexts) {
        self.extend(std::iter::once((key, start, end)), cache);
    }

    /// Adds several, as [`push`](Self::push) does.
    #[inline]
    pub(super) fn extend(&mut self, words: impl Iterator<Item = (Key, usize, usize)>, cache: ShortTexts) {
        // In a register rather than in memory, which is why it is apart.
        let mut count = self.count;
        for (key, start, end) in words {
            let Some(word) = self.words.get_mut(count) else {
                break;
            };
            // Texts are shorter than 4 GiB.
            *word = Word { key, start: start as u32, end: end as u32, home: cache.home(key) };
            count += 1;
        }
        self.count = count;
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.count > MOST - AT_ONCE
    }

    /// The texts, in order.
    #[inline]
    pub(super) fn words(&self) -> &[Word] {
        &self.words[..self.count.min(MOST)]
    }

    /// Appends the ids of the texts from `first` on, up to one whose ids the cache doesn't have beside it. Which that is.
    #[inline]
    pub(super) fn take(&mut self, first: usize, cache: &impl Short, out: &mut Vec<u32>) -> usize {
        let cache = cache.short();
        let (mut at, mut count) = (first, 0);
        while let Some(word) = self.words[..self.count.min(MOST)].get(at) {
            // The table may have grown since; then it is looked for again.
            let ids = cache.at(word.home, word.key);
            let Some(room) = self.ids[count..].first_chunk_mut::<SHORT_IDS>().filter(|_| ids.len() > 0) else {
                break;
            };
            // Always as many as there may be, which needs no branch.
            match ids.len() {
                ..=FEW_IDS => room[..FEW_IDS].copy_from_slice(&ids.few()),
                _ => *room = ids.more(),
            }
            count += ids.len();
            at += 1;
        }
        out.extend_from_slice(&self.ids[..count.min(self.ids.len())]);
        at
    }

    /// Appends the ids of all texts and forgets them. `other` does that for one whose ids the cache doesn't have beside it, by its key and where
    /// it is.
    #[inline]
    pub(super) fn look_up<C: Short>(
        &mut self,
        cache: &mut C,
        out: &mut Vec<u32>,
        mut other: impl FnMut(Key, Range<usize>, &mut C, &mut Vec<u32>),
    ) {
        let mut at = 0;
        loop {
            at = self.take(at, cache, out);
            let Some(word) = self.words().get(at) else {
                break;
            };
            other(word.key, word.start as usize..word.end as usize, cache, out);
            at += 1;
        }
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }
}
