//! Short texts that are looked up together, so that what is not in the processor's cache comes together.

use std::ops::Range;

use super::word_cache::{Key, Place, SHORT_IDS, WordCache};

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
    place: Place,
}

/// Texts that wait to be looked up.
pub(super) struct WordBatch {
    words: [Word; MOST],
    count: usize,
    /// Which of them aren't near by.
    far: [u16; MOST],
    far_count: usize,
    /// Ids on their way out.
    ids: [u32; MOST * SHORT_IDS],
}

impl Default for WordBatch {
    fn default() -> Self {
        let (words, far, ids) = ([Word::default(); MOST], [0; MOST], [0; MOST * SHORT_IDS]);
        WordBatch { words, count: 0, far, far_count: 0, ids }
    }
}

impl WordBatch {
    /// Adds what is at `start..end` of the text. Its key is that of no text where it is too long for one.
    #[inline]
    pub(super) fn push(&mut self, key: Key, start: usize, end: usize, cache: &WordCache) {
        self.extend(std::iter::once((key, start, end)), cache);
    }

    /// Adds several, as [`push`](Self::push) does.
    #[inline]
    pub(super) fn extend(&mut self, words: impl Iterator<Item = (Key, usize, usize)>, cache: &WordCache) {
        // In registers rather than in memory, which is why they are apart.
        let (mut count, mut far_count) = (self.count, self.far_count);
        for (key, start, end) in words {
            let (place, is_near) = cache.near(key);
            let (Some(word), Some(far)) = (self.words.get_mut(count), self.far.get_mut(far_count)) else {
                break;
            };
            // Texts are shorter than 4 GiB.
            *word = Word { key, start: start as u32, end: end as u32, place };
            *far = count as u16;
            far_count += usize::from(!is_near);
            count += 1;
        }
        (self.count, self.far_count) = (count, far_count);
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.count > MOST - AT_ONCE
    }

    /// Finds the places of all texts in the cache.
    pub(super) fn find(&mut self, cache: &mut WordCache) {
        let mut last = None;
        for &at in &self.far[..self.far_count.min(MOST)] {
            if let Some(word) = self.words.get_mut(usize::from(at)) {
                word.place = cache.far(word.key);
                last = Some(word.key);
            }
        }
        // One of a batch: what comes often is soon near by, what comes seldom seldom takes its place.
        if let Some(key) = last {
            cache.bring_near(key);
        }
    }

    /// The texts, in order.
    #[inline]
    pub(super) fn words(&self) -> &[Word] {
        &self.words[..self.count.min(MOST)]
    }

    /// Appends the ids of the texts from `first` on, up to one whose ids the cache doesn't have beside it. Which that is.
    #[inline]
    pub(super) fn take(&mut self, first: usize, cache: &WordCache, out: &mut Vec<u32>) -> usize {
        let (mut at, mut count) = (first, 0);
        while let Some(word) = self.words[..self.count.min(MOST)].get(at) {
            // Another may have taken the place since, so the cache looks whether it is there.
            let ids = cache.at(word.place, word.key);
            let Some(room) = self.ids.get_mut(count..count + SHORT_IDS).filter(|_| ids.len() > 0) else {
                break;
            };
            // Always as many as there may be, which needs no branch.
            room.copy_from_slice(&ids.padded());
            count += ids.len();
            at += 1;
        }
        out.extend_from_slice(&self.ids[..count.min(self.ids.len())]);
        at
    }

    /// Appends the ids of all texts and forgets them. `other` does that for one whose ids the cache doesn't have beside it.
    #[inline]
    pub(super) fn look_up(
        &mut self,
        cache: &mut WordCache,
        out: &mut Vec<u32>,
        mut other: impl FnMut(Range<usize>, &mut WordCache, &mut Vec<u32>),
    ) {
        self.find(cache);
        let mut at = 0;
        loop {
            at = self.take(at, cache, out);
            let Some(word) = self.words().get(at) else {
                break;
            };
            other(word.start as usize..word.end as usize, cache, out);
            at += 1;
        }
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        (self.count, self.far_count) = (0, 0);
    }
}
