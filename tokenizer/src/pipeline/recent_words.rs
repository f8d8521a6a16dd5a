//! Words of up to fifteen bytes that were met lately, with their ids.
//!
//! A word has two places, side by side in one cache line; a new word takes the first, the word that was there the second, and a third is
//! forgotten: 1 MiB in all, whatever the text. Real text repeats itself enough for this to pay, and where no word comes back, little is
//! lost: to find that out takes one look, at a line that the processor has fetched meanwhile.

use super::word_batch::Short;
use super::word_cache::{Key, Pair, ShortTexts, beside};
use crate::large_table::LargeTable;

/// Pairs of places, a power of two; few for a fuzzer, which makes them anew for each file.
const PAIRS: usize = if cfg!(fuzzing) { 1 << 4 } else { 1 << 14 };

pub(super) struct RecentWords(LargeTable<Pair>);

impl RecentWords {
    pub(super) fn new() -> Self {
        RecentWords(LargeTable::new(PAIRS))
    }

    /// Keeps the ids of a word that is not there, if they are few.
    #[inline]
    pub(super) fn keep(&mut self, key: Key, ids: &[u32]) {
        let place = self.short().home(key).place();
        if let (Some(new), Some(pair)) = (beside(key, ids), self.0.get_mut(place)) {
            *pair = [new, pair[0]];
        }
    }
}

impl Short for RecentWords {
    #[inline]
    fn short(&self) -> ShortTexts<'_> {
        ShortTexts::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::word_cache::SHORT_IDS;
    use super::*;

    #[test]
    fn the_last_words_of_a_place_are_found_and_no_others() {
        let mut words = RecentWords::new();
        let key = |n: u32| Key::of_text(n.to_string().as_bytes()).expect("a short text");
        let get = |words: &RecentWords, n: u32| {
            let short = words.short();
            let ids = short.at(short.home(key(n)), key(n));
            (ids.len() > 0).then(|| ids.more()[0]).filter(|_| ids.len() > 4).or((ids.len() > 0).then(|| ids.few()[0]))
        };
        let count = 8 * PAIRS as u32;
        for n in 0..count {
            assert_eq!(get(&words, n), None);
            words.keep(key(n), &vec![n; 1 + n as usize % (SHORT_IDS + 1)]);
            assert_eq!(get(&words, n), (n as usize % (SHORT_IDS + 1) < SHORT_IDS).then_some(n));
        }
        let found = (0..count).filter(|&n| get(&words, n).is_some_and(|id| id == n)).count();
        assert_eq!(found, (0..count).filter(|&n| get(&words, n).is_some()).count());
        assert!((PAIRS..=2 * PAIRS).contains(&found), "{found}");
    }
}
