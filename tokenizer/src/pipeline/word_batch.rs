//! Short texts that are looked up together, so that what is not in the processor's cache comes together.

use super::word_cache::{Key, Place, SHORT_IDS, ShortIds, WordCache};

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

impl Word {
    /// The ids, if the cache has them beside it.
    #[inline]
    pub(super) fn ids(&self, cache: &WordCache) -> ShortIds {
        // Another may have taken the place since, so the cache looks whether it is there.
        cache.at(self.place, self.key)
    }
}

/// Texts that wait to be looked up.
pub(super) struct WordBatch {
    words: [Word; MOST],
    count: usize,
    /// Which of them aren't near by.
    far: [u16; MOST],
    far_count: usize,
}

impl Default for WordBatch {
    fn default() -> Self {
        WordBatch { words: [Word::default(); MOST], count: 0, far: [0; MOST], far_count: 0 }
    }
}

impl WordBatch {
    /// Adds what is at `start..end` of the text. Its key is that of no text where it is too long for one.
    #[inline]
    pub(super) fn push(&mut self, key: Key, start: usize, end: usize, cache: &WordCache) {
        let (place, is_near) = cache.near(key);
        if let (Some(word), Some(far)) = (self.words.get_mut(self.count), self.far.get_mut(self.far_count)) {
            // Texts are shorter than 4 GiB.
            *word = Word { key, start: start as u32, end: end as u32, place };
            *far = self.count as u16;
            self.far_count += usize::from(!is_near);
            self.count += 1;
        }
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.count > MOST - AT_ONCE
    }

    /// Finds the places of all texts in the cache.
    pub(super) fn find(&mut self, cache: &mut WordCache) {
        let mut key = Key::NONE;
        for &at in &self.far[..self.far_count.min(MOST)] {
            if let Some(word) = self.words.get_mut(usize::from(at)) {
                key = word.key;
                word.place = cache.far(key);
            }
        }
        // One of a batch: what comes often is soon near by, what comes seldom seldom takes its place.
        cache.bring_near(key);
    }

    /// The texts, in order.
    #[inline]
    pub(super) fn words(&self) -> &[Word] {
        &self.words[..self.count.min(MOST)]
    }

    pub(super) fn clear(&mut self) {
        (self.count, self.far_count) = (0, 0);
    }
}

/// Ids of a batch on their way out.
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
    /// Takes the ids of one text of a batch. Always writes as many as there may be, which needs no branch.
    #[inline]
    pub(super) fn push(&mut self, ids: ShortIds) {
        if let Some(place) = self.ids.get_mut(self.count..self.count + SHORT_IDS) {
            place.copy_from_slice(&ids.padded());
            self.count += ids.len();
        }
    }

    #[inline]
    pub(super) fn flush(&mut self, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.ids[..self.count.min(MOST * SHORT_IDS)]);
        self.count = 0;
    }
}
