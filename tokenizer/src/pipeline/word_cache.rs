//! Words seen before, with their ids.
//!
//! Tables without chains: a short word has two places, a long one has one. They grow with the number of words, to 8 MiB for the
//! short and 1 MiB for the long ones, and no further: then a new word takes the place of another. Ids that don't fit there
//! take up to 4 MiB.

/// Longest word of the table of short words; the byte after its last holds its length.
pub(super) const SHORT: usize = 15;
/// Most ids of a word that are beside it.
pub(super) const SHORT_IDS: usize = 3;
/// Pairs of places for short words, at first and at most.
const SHORT_BITS: std::ops::RangeInclusive<u32> = 8..=17;

/// Longest word that is kept.
const LONG: usize = 50;
const LONG_BITS: std::ops::RangeInclusive<u32> = 5..=14;

/// Ids that are not beside their words: at most so many, and so many of a word.
const MORE: usize = 1 << 20;
const MORE_OF_WORD: usize = 255;

/// Bytes to read a [`Key`] from, wherever it begins among the first 64.
pub(super) const VIEW: usize = 80;

/// A short word: its bytes, zeros, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

/// For each length of a short word, which of its bytes and those behind it to keep.
pub(super) const KEPT: [(u64, u64); SHORT + 1] = {
    let mut kept = [(0, 0); SHORT + 1];
    let mut length = 1;
    while length <= SHORT {
        let low = if length < 8 { (1 << (8 * length)) - 1 } else { u64::MAX };
        let high = if length > 8 { (1 << (8 * (length - 8))) - 1 } else { 0 };
        kept[length] = (low, high);
        length += 1;
    }
    kept
};

impl Key {
    /// The word `view[start..start + length]`; `length` is at most [`SHORT`] and `start` less than 64.
    #[inline]
    pub(super) fn of(view: &[u8; VIEW], start: usize, length: usize) -> Self {
        let (low, high) = KEPT[length & SHORT];
        let eight =
            |at: usize| view.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        Key(eight(start) & low, (eight(start + 8) & high) | ((length as u64) << 56))
    }

    /// The whole of `word`, if it is short.
    pub(super) fn of_word(word: &[u8]) -> Option<Self> {
        let mut view = [0; VIEW];
        view.get_mut(..word.len()).filter(|_| word.len() <= SHORT)?.copy_from_slice(word);
        Some(Key::of(&view, 0, word.len()))
    }

    /// 0 for equal keys. Comparing them part by part would branch.
    #[inline]
    fn difference(self, other: Key) -> u64 {
        (self.0 ^ other.0) | (self.1 ^ other.1)
    }

    /// Differs from that of every short word.
    pub(super) const NONE: Key = Key(0, u64::MAX);

    #[inline]
    fn hash(self) -> u64 {
        (self.0 ^ self.1.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Two short words: a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Pair([Short; 2]);

/// A short word and its ids; behind them, how many they are. Where they are more than there is room for, the first number is
/// where they begin among those that are kept apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Short {
    key: Key,
    ids: [u32; SHORT_IDS + 1],
}

impl Short {
    /// Whether this is the word, and its ids are beside it.
    #[inline]
    pub(super) fn is(&self, key: Key) -> bool {
        self.key.difference(key) | u64::from(self.ids[SHORT_IDS] >> 2) == 0
    }

    /// The ids and something behind them, so that their number makes no difference to copying them.
    #[inline]
    pub(super) fn ids(&self) -> (&[u32; SHORT_IDS + 1], usize) {
        (&self.ids, self.ids[SHORT_IDS] as usize)
    }
}

/// A longer word, and where its ids are: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Long {
    hash: u64,
    start: u32,
    count: u8,
    length: u8,
    bytes: [u8; LONG],
}

const NO_WORD: Long = Long { hash: 0, start: 0, count: 0, length: 0, bytes: [0; LONG] };

/// The words that one run after another has met.
#[derive(Debug)]
pub(super) struct WordCache {
    short: Vec<Pair>,
    /// How many places are taken.
    short_count: usize,
    long: Vec<Long>,
    long_count: usize,
    /// The ids that are not beside their words.
    more: Vec<u32>,
}

/// Which of so many places, a power of two that is not 1, a hash says.
#[inline]
fn place(hash: u64, places: usize) -> usize {
    (hash >> ((places as u64).leading_zeros() + 1)) as usize
}

impl WordCache {
    pub(super) fn new() -> Self {
        WordCache {
            short: vec![Pair::default(); 1 << SHORT_BITS.start()],
            short_count: 0,
            long: vec![NO_WORD; 1 << LONG_BITS.start()],
            long_count: 0,
            more: Vec::new(),
        }
    }

    /// The place of a short word, whoever is there. No branch depends on what is in memory, so that many words wait for it
    /// together.
    #[inline]
    pub(super) fn short(&self, key: Key) -> &Short {
        let Pair(pair) = &self.short[place(key.hash(), self.short.len())];
        &pair[usize::from(pair[1].key.difference(key) == 0)]
    }

    /// The ids of a short word that are not beside it.
    #[inline]
    pub(super) fn more(&self, key: Key) -> Option<&[u32]> {
        let Short { key: found, ids: [start, .., count] } = *self.short(key);
        let (start, count) = (start as usize, count as usize);
        if found == key && count > SHORT_IDS { self.more.get(start..start + count) } else { None }
    }

    /// Keeps a short word that is not there.
    pub(super) fn keep_short(&mut self, key: Key, ids: &[u32]) {
        if self.short_count > self.short.len() && self.short.len() < 1 << SHORT_BITS.end() {
            let larger = vec![Pair::default(); 2 * self.short.len()];
            self.short_count = 0;
            for Pair(pair) in std::mem::replace(&mut self.short, larger) {
                pair.into_iter().filter(|short| short.key != Key::default()).for_each(|short| self.put_short(short));
            }
        }
        let mut short = Short { key, ids: [0; SHORT_IDS + 1] };
        match short.ids[..SHORT_IDS].get_mut(..ids.len()) {
            Some(few) => few.copy_from_slice(ids),
            None => short.ids[0] = self.keep_apart(ids),
        }
        short.ids[SHORT_IDS] = ids.len() as u32;
        self.put_short(short);
    }

    /// Keeps ids that don't fit beside a word. Where there is no room for more, all words are forgotten.
    fn keep_apart(&mut self, ids: &[u32]) -> u32 {
        if self.more.len() + ids.len() > MORE {
            self.more.clear();
            self.short.fill(Pair::default());
            self.long.fill(NO_WORD);
            (self.short_count, self.long_count) = (0, 0);
        }
        let start = self.more.len() as u32;
        self.more.extend_from_slice(ids);
        start
    }

    fn put_short(&mut self, short: Short) {
        let places = self.short.len();
        let Pair([first, second]) = &mut self.short[place(short.key.hash(), places)];
        // Words that came early come often: only the second place changes hands.
        let place = if first.key == Key::default() { first } else { second };
        self.short_count += usize::from(place.key == Key::default());
        *place = short;
    }

    /// The ids of a longer word, whose hash is `hash`.
    #[inline]
    pub(super) fn long(&self, word: &[u8], hash: u64) -> Option<&[u32]> {
        let long = &self.long[place(hash, self.long.len())];
        let is_it = long.hash == hash && long.bytes.get(..usize::from(long.length)) == Some(word);
        let start = long.start as usize;
        if is_it { self.more.get(start..start + usize::from(long.count)) } else { None }
    }

    /// Keeps a longer word, if it is not too long.
    pub(super) fn keep_long(&mut self, word: &[u8], hash: u64, ids: &[u32]) {
        if word.is_empty() || word.len() > LONG || ids.len() > MORE_OF_WORD {
            return;
        }
        if 2 * self.long_count > self.long.len() && self.long.len() < 1 << LONG_BITS.end() {
            let larger = vec![NO_WORD; 2 * self.long.len()];
            self.long_count = 0;
            for long in std::mem::replace(&mut self.long, larger) {
                if long.length > 0 {
                    self.put_long(long);
                }
            }
        }
        let start = self.keep_apart(ids);
        let mut long = Long { hash, start, count: ids.len() as u8, length: word.len() as u8, ..NO_WORD };
        long.bytes[..word.len()].copy_from_slice(word);
        self.put_long(long);
    }

    fn put_long(&mut self, long: Long) {
        let places = self.long.len();
        let place = &mut self.long[place(long.hash, places)];
        self.long_count += usize::from(place.length == 0);
        *place = long;
    }
}

/// A hash of any word, eight bytes at a time.
#[inline]
pub(super) fn hash(word: &[u8]) -> u64 {
    let mut hash = word.len() as u64;
    let mut eights = word.chunks_exact(8);
    let mut mix = |eight: u64| hash = (hash.rotate_left(25) ^ eight).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for eight in &mut eights {
        mix(eight.try_into().map_or(0, u64::from_le_bytes));
    }
    mix(eights.remainder().iter().fold(0, |rest, &byte| rest << 8 | u64::from(byte)));
    (hash ^ hash >> 32).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_until_another_takes_its_place() {
        let mut cache = WordCache::new();
        let words: Vec<String> = (0..500_000).map(|n: u32| format!("{n}.").repeat(1 + n as usize % 9)).collect();
        let ids_of = |n: usize| vec![n as u32; 1 + n % 7];
        let find = |cache: &WordCache, word: &str| match Key::of_word(word.as_bytes()) {
            Some(key) if cache.short(key).is(key) => {
                let (ids, count) = cache.short(key).ids();
                Some(ids[..count].to_vec())
            }
            Some(key) => cache.more(key).map(<[u32]>::to_vec),
            None => cache.long(word.as_bytes(), hash(word.as_bytes())).map(<[u32]>::to_vec),
        };
        for (n, word) in words.iter().enumerate() {
            assert_eq!(find(&cache, word), None, "{word}");
            let ids = ids_of(n);
            match Key::of_word(word.as_bytes()) {
                Some(key) => cache.keep_short(key, &ids),
                None => cache.keep_long(word.as_bytes(), hash(word.as_bytes()), &ids),
            }
            assert_eq!(find(&cache, word), (word.len() <= LONG).then_some(ids), "{word}");
        }
        let mut found = 0;
        for (n, word) in words.iter().enumerate() {
            let ids = find(&cache, word);
            found += usize::from(ids.is_some());
            assert!(ids.is_none_or(|ids| ids == ids_of(n)), "{word}");
        }
        assert!(found > 20_000, "{found}");
        assert!(cache.short.len() <= 1 << SHORT_BITS.end());
        assert!(cache.long.len() <= 1 << LONG_BITS.end());
        assert!(cache.more.len() <= MORE);
    }
}
