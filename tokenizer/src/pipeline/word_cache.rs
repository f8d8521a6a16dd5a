//! Words seen before, with their ids.
//!
//! Tables without chains: a short word has two places, a long one has one. They grow with the number of words, to 8 MiB for the
//! short and 2 MiB for the long ones, and no further: then a new word takes the place of another.

/// Longest word of the table of short words; the byte after its last holds its length.
pub(super) const SHORT: usize = 15;
/// Most tokens of a word there.
pub(super) const SHORT_IDS: usize = 3;
/// Pairs of places for short words, at first and at most.
const SHORT_BITS: std::ops::RangeInclusive<u32> = 8..=17;

const LONG: usize = 54;
const LONG_IDS: usize = 16;
const LONG_BITS: std::ops::RangeInclusive<u32> = 5..=14;

/// Bytes to read a [`Key`] from, wherever it begins among the first 64.
pub(super) const VIEW: usize = 80;

/// A short word: its bytes, zeros, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

/// For each length, which bytes to keep.
const KEPT: [(u64, u64); SHORT + 1] = {
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

/// Short words that are one token each: a hash table at most half full.
#[derive(Debug)]
pub(super) struct ShortTokens {
    slots: Vec<(Key, u32)>,
    shift: u32,
}

impl ShortTokens {
    pub(super) fn with_capacity(words: usize) -> Self {
        let size = words.saturating_mul(2).next_power_of_two().max(2);
        ShortTokens { slots: vec![(Key::default(), 0); size], shift: u64::BITS - size.trailing_zeros() }
    }

    /// The caller has made room, and no word goes in twice.
    pub(super) fn insert(&mut self, key: Key, id: u32) {
        let mask = self.slots.len() - 1;
        let mut at = (key.hash() >> self.shift) as usize;
        while self.slots[at].0 != Key::default() {
            at = (at + 1) & mask;
        }
        self.slots[at] = (key, id);
    }

    /// The token that the word is.
    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = (key.hash() >> self.shift) as usize;
        loop {
            match self.slots[at & mask] {
                (found, id) if found == key => return Some(id),
                // Every word has a length, so this is none.
                (Key(0, 0), _) => return None,
                _ => at += 1,
            }
        }
    }
}

/// Two short words: a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Pair([Short; 2]);

/// A short word and its ids; behind them, how many they are. Where they are too many, only that is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Short {
    key: Key,
    ids: [u32; SHORT_IDS + 1],
}

impl Short {
    /// Whether this is the word, with all of its ids.
    #[inline]
    pub(super) fn is(&self, key: Key) -> bool {
        self.key.difference(key) | u64::from(self.ids[SHORT_IDS] >> 2) == 0
    }

    /// Whether this is the word, but without its ids.
    pub(super) fn has_too_many(&self, key: Key) -> bool {
        self.key == key && self.ids[SHORT_IDS] as usize > SHORT_IDS
    }

    /// The ids and something behind them, so that their number makes no difference to copying them.
    #[inline]
    pub(super) fn ids(&self) -> (&[u32; SHORT_IDS + 1], usize) {
        (&self.ids, self.ids[SHORT_IDS] as usize)
    }
}

/// A longer word, or one of more tokens.
#[derive(Clone, Copy, Debug)]
struct Long {
    hash: u64,
    length: u8,
    count: u8,
    bytes: [u8; LONG],
    ids: [u32; LONG_IDS],
}

const NO_WORD: Long = Long { hash: 0, length: 0, count: 0, bytes: [0; LONG], ids: [0; LONG_IDS] };

/// The words that one run after another has met.
#[derive(Debug)]
pub(super) struct WordCache {
    short: Vec<Pair>,
    /// How many places are taken.
    short_count: usize,
    long: Vec<Long>,
    long_count: usize,
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
        }
    }

    /// The place of a short word, whoever is there. No branch depends on what is in memory, so that many words wait for it
    /// together.
    #[inline]
    pub(super) fn short(&self, key: Key) -> &Short {
        let Pair(pair) = &self.short[place(key.hash(), self.short.len())];
        &pair[usize::from(pair[1].key.difference(key) == 0)]
    }

    /// Keeps a short word that is not there. Where it has too many tokens, only their number is kept.
    pub(super) fn keep_short(&mut self, key: Key, ids: &[u32]) {
        if self.short_count > self.short.len() && self.short.len() < 1 << SHORT_BITS.end() {
            let larger = vec![Pair::default(); 2 * self.short.len()];
            self.short_count = 0;
            for Pair(pair) in std::mem::replace(&mut self.short, larger) {
                pair.into_iter().filter(|short| short.key != Key::default()).for_each(|short| self.put_short(short));
            }
        }
        let mut short = Short { key, ids: [0; SHORT_IDS + 1] };
        if let Some(few) = short.ids[..SHORT_IDS].get_mut(..ids.len()) {
            few.copy_from_slice(ids);
        }
        short.ids[SHORT_IDS] = ids.len() as u32;
        self.put_short(short);
    }

    fn put_short(&mut self, short: Short) {
        let places = self.short.len();
        let Pair([first, second]) = &mut self.short[place(short.key.hash(), places)];
        // Words that came early come often: only the second place changes hands.
        let place = if first.key == Key::default() { first } else { second };
        self.short_count += usize::from(place.key == Key::default());
        *place = short;
    }

    /// The ids of any word, whose hash is `hash`.
    #[inline]
    pub(super) fn long(&self, word: &[u8], hash: u64) -> Option<&[u32]> {
        let long = &self.long[place(hash, self.long.len())];
        let is_it = long.hash == hash && long.bytes.get(..usize::from(long.length)) == Some(word);
        is_it.then(|| &long.ids[..usize::from(long.count)])
    }

    /// Keeps any word, if it is short enough and has few enough tokens.
    pub(super) fn keep_long(&mut self, word: &[u8], hash: u64, ids: &[u32]) {
        if word.is_empty() || word.len() > LONG || ids.len() > LONG_IDS {
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
        let mut long = Long { hash, length: word.len() as u8, count: ids.len() as u8, ..NO_WORD };
        long.bytes[..word.len()].copy_from_slice(word);
        long.ids[..ids.len()].copy_from_slice(ids);
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
        let words: Vec<String> = (0..300_000).map(|n: u32| format!("{n}.").repeat(1 + n as usize % 9)).collect();
        let ids_of = |n: usize| vec![n as u32; 1 + n % 20];
        let find = |cache: &WordCache, word: &str| match Key::of_word(word.as_bytes()) {
            Some(key) if cache.short(key).is(key) => {
                let (ids, count) = cache.short(key).ids();
                Some(ids[..count].to_vec())
            }
            Some(key) if !cache.short(key).has_too_many(key) => None,
            _ => cache.long(word.as_bytes(), hash(word.as_bytes())).map(<[u32]>::to_vec),
        };
        for (n, word) in words.iter().enumerate() {
            assert_eq!(find(&cache, word), None, "{word}");
            let ids = ids_of(n);
            if let Some(key) = Key::of_word(word.as_bytes()) {
                cache.keep_short(key, &ids);
            }
            cache.keep_long(word.as_bytes(), hash(word.as_bytes()), &ids);
            let is_kept =
                (word.len() <= SHORT && ids.len() <= SHORT_IDS) || (word.len() <= LONG && ids.len() <= LONG_IDS);
            assert_eq!(find(&cache, word), is_kept.then_some(ids), "{word}");
        }
        let mut found = 0;
        for (n, word) in words.iter().enumerate() {
            let ids = find(&cache, word);
            found += usize::from(ids.is_some());
            assert!(ids.is_none_or(|ids| ids == ids_of(n)), "{word}");
        }
        assert!(found > 50_000, "{found}");
        assert_eq!(cache.short.len(), 1 << SHORT_BITS.end());
        assert_eq!(cache.long.len(), 1 << LONG_BITS.end());
    }
}
