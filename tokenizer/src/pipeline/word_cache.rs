//! Words seen before, with their ids.
//!
//! Tables without chains: a short word has two places, a long one has one, and what came last stays. Together they take
//! 6 MB, whatever the text.

/// Longest word of the table of short words; the byte after its last holds its length.
pub(super) const SHORT: usize = 15;
/// Most tokens of a word there.
pub(super) const SHORT_IDS: usize = 3;
/// Pairs of places for short words.
const SHORT_BITS: u32 = 16;

const LONG: usize = 54;
const LONG_IDS: usize = 16;
const LONG_BITS: u32 = 14;

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

    #[inline]
    fn hash(self) -> u64 {
        // Two independent products: a word's bytes reach the upper bits from either half.
        let mixed =
            self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.1.wrapping_mul(0xC2B2_AE3D_27D4_EB4F).rotate_left(23);
        mixed.wrapping_mul(0x9FB2_1C65_1E98_DF25)
    }

    #[inline]
    fn place(self) -> usize {
        (self.hash() >> (u64::BITS - SHORT_BITS)) as usize
    }
}

/// Two short words: a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Pair([Short; 2]);

/// A short word and its ids.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Short {
    key: Key,
    pub(super) ids: [u32; SHORT_IDS],
    pub(super) count: u32,
}

impl Short {
    #[inline]
    pub(super) fn is(&self, key: Key) -> bool {
        self.key == key && key != Key::default()
    }

    /// The ids, where they are few enough to be here.
    #[inline]
    pub(super) fn all_ids(&self) -> Option<&[u32]> {
        self.ids.get(..self.count as usize)
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
    short: Box<[Pair]>,
    long: Box<[Long]>,
}

impl WordCache {
    pub(super) fn new() -> Self {
        WordCache {
            short: vec![Pair::default(); 1 << SHORT_BITS].into_boxed_slice(),
            long: vec![NO_WORD; 1 << LONG_BITS].into_boxed_slice(),
        }
    }

    /// What is known of a short word.
    pub(super) fn short(&self, key: Key) -> Option<&Short> {
        let (place, found) = self.probe(key);
        found.then(|| self.at(place))
    }

    /// Where a short word would be, and whether it is there. No branch depends on what is in memory, so that many words
    /// wait for it together.
    #[inline]
    pub(super) fn probe(&self, key: Key) -> (u32, bool) {
        let place = key.place();
        let Pair([first, second]) = &self.short[place];
        let is_second = second.key.difference(key) == 0;
        let is_first = first.key.difference(key) == 0;
        ((place as u32) << 1 | u32::from(is_second), is_first | is_second)
    }

    /// The short word at a place that [`probe`](Self::probe) gave.
    #[inline]
    pub(super) fn at(&self, place: u32) -> &Short {
        let Pair(pair) = &self.short[(place >> 1) as usize];
        &pair[(place & 1) as usize]
    }

    /// Keeps a short word. Where it has too many tokens, only their number is kept.
    pub(super) fn keep_short(&mut self, key: Key, ids: &[u32]) {
        let mut short = Short { key, ids: [0; SHORT_IDS], count: ids.len() as u32 };
        if let Some(few) = short.ids.get_mut(..ids.len()) {
            few.copy_from_slice(ids);
        }
        let Pair(pair) = &mut self.short[key.place()];
        *pair = [short, pair[0]];
    }

    /// The ids of any word, whose hash is `hash`.
    #[inline]
    pub(super) fn long(&self, word: &[u8], hash: u64) -> Option<&[u32]> {
        let long = &self.long[(hash >> (u64::BITS - LONG_BITS)) as usize];
        let is_it = long.hash == hash && long.bytes.get(..usize::from(long.length)) == Some(word);
        is_it.then(|| &long.ids[..usize::from(long.count)])
    }

    /// Keeps any word, if it is short enough and has few enough tokens.
    pub(super) fn keep_long(&mut self, word: &[u8], hash: u64, ids: &[u32]) {
        if word.is_empty() || word.len() > LONG || ids.len() > LONG_IDS {
            return;
        }
        let long = &mut self.long[(hash >> (u64::BITS - LONG_BITS)) as usize];
        long.hash = hash;
        long.length = word.len() as u8;
        long.count = ids.len() as u8;
        long.bytes[..word.len()].copy_from_slice(word);
        long.ids[..ids.len()].copy_from_slice(ids);
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
