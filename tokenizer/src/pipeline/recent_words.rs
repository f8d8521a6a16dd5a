//! Words of up to fifteen bytes that were met before, with their ids.
//!
//! A word has two places, side by side in one cache line; a new word takes the first, the word that was there the second, and a third is
//! forgotten. Real text repeats itself enough for this to pay, and where no word comes back, little is lost: to find that out takes one
//! look, at a line that the processor has fetched meanwhile. The table grows with the number of words, to 64 MiB and no further.

use super::word_cache::{Key, Pair, Short, ShortTexts, beside, key_of};
use crate::large_table::LargeTable;

/// Pairs of places at first, a power of two; few for a fuzzer, which makes them anew for each file.
const PAIRS: usize = if cfg!(fuzzing) { 1 << 4 } else { 1 << 14 };

/// By how much their number grows at a time, and most of them.
const GROWTH: usize = 4;
const MOST_PAIRS: usize = 1 << 20;

pub(super) struct RecentWords {
    pairs: LargeTable<Pair>,
    /// How many words were kept since the table has this size.
    kept: usize,
}

impl RecentWords {
    pub(super) fn new() -> Self {
        RecentWords { pairs: LargeTable::new(PAIRS), kept: 0 }
    }

    /// Keeps the ids of a word that is not there, if they are few.
    #[inline]
    pub(super) fn keep(&mut self, key: Key, ids: &[u32]) {
        if self.kept > self.pairs.len() && self.pairs.len() < MOST_PAIRS {
            self.grow();
        }
        let place = self.short().home(key).place();
        if let (Some(new), Some(pair)) = (beside(key, ids), self.pairs.get_mut(place)) {
            *pair = [new, pair[0]];
            self.kept += 1;
        }
    }

    /// Makes room for more, with the words so far.
    #[cold]
    fn grow(&mut self) {
        let larger = LargeTable::new(GROWTH * self.pairs.len());
        let smaller = std::mem::replace(&mut self.pairs, larger);
        // The older first, so that it is the older one again.
        for &word in smaller.iter().flat_map(|[newer, older]| [older, newer]) {
            if let Some(key) = key_of(&word) {
                let place = self.short().home(key).place();
                if let Some(pair) = self.pairs.get_mut(place) {
                    *pair = [word, pair[0]];
                }
            }
        }
        self.kept = 0;
    }
}

impl Short for RecentWords {
    #[inline]
    fn short(&self) -> ShortTexts<'_> {
        ShortTexts::new(&self.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::word_cache::{FEW_IDS, SHORT_IDS};
    use super::*;

    #[test]
    fn words_are_found_with_their_ids_and_the_last_ones_always() {
        let mut words = RecentWords::new();
        let key = |n: u32| Key::of_text(n.to_string().as_bytes()).expect("a short text");
        let ids = |n: u32| vec![n; 1 + n as usize % (SHORT_IDS + 1)];
        let get = |words: &RecentWords, n: u32| {
            let short = words.short();
            let found = short.at(short.home(key(n)), key(n));
            match found.len() {
                0 => None,
                few @ ..=FEW_IDS => Some(found.few()[..few].to_vec()),
                more => Some(found.more()[..more].to_vec()),
            }
        };
        let keep = |words: &mut RecentWords, numbers: std::ops::Range<u32>| {
            for n in numbers {
                assert_eq!(get(words, n), None);
                words.keep(key(n), &ids(n));
                assert_eq!(get(words, n), Some(ids(n)).filter(|ids| ids.len() <= SHORT_IDS));
            }
        };
        let kept = |words: &RecentWords, count: u32| {
            let found = (0..count).filter_map(|n| Some((n, get(words, n)?)));
            found.inspect(|(n, found)| assert_eq!(*found, ids(*n))).count()
        };
        keep(&mut words, 0..PAIRS as u32);
        assert_eq!(words.pairs.len(), PAIRS);
        let found = kept(&words, PAIRS as u32);
        // A seventh has too many ids, and a few have lost their place.
        assert!((PAIRS / 2..PAIRS * 6 / 7).contains(&found), "{found}");
        let many = MOST_PAIRS as u32 / 2;
        keep(&mut words, PAIRS as u32..many);
        assert_eq!(words.pairs.len(), MOST_PAIRS);
        assert!(kept(&words, many) > MOST_PAIRS / 3);
    }
}
