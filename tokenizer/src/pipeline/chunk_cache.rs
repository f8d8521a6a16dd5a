//! Texts between spaces that were met before, with their ids.
//!
//! Two tables without chains: a short text has two places, a longer one has one, and what came last stays. Together they
//! take 5 MB, whatever the text.

use super::word_cache::{KEPT, SHORT};

/// Most ids of a text there.
pub(super) const SHORT_IDS: usize = 6;
/// Bits of an id there; three share 64.
const ID_BITS: u32 = 21;
/// Pairs of places for short texts. A fuzzer, which makes a cache for each file, can't wait for megabytes.
const SHORT_BITS: u32 = if cfg!(fuzzing) { 4 } else { 16 };

/// As for short texts: a cache line holds the bytes, their length, the ids and their number.
const LONG: usize = 31;
const LONG_IDS: usize = 7;
const LONG_BITS: u32 = if cfg!(fuzzing) { 4 } else { 14 };

/// A short text: its bytes, zeros, and its length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key(u64, u64);

/// Marks the key of a text that is a part of a chunk, and not its first.
const PART: u64 = 1 << 60;

/// Above it, the number of ids. No key has any of these bits.
const COUNT_SHIFT: u32 = 61;

impl Key {
    /// The first `length` bytes of sixteen, at most [`SHORT`].
    #[inline]
    pub(super) fn of([low, high]: [u64; 2], length: usize) -> Self {
        let kept = KEPT[length & SHORT];
        Key(low & kept.0, high & kept.1 | (length as u64) << 56)
    }

    /// The whole of `text`, if it is short.
    #[inline]
    fn of_text(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes.get_mut(..text.len()).filter(|_| text.len() <= SHORT)?.copy_from_slice(text);
        let [low, high] = *bytes.as_chunks().0 else {
            return None;
        };
        Some(Key::of([low, high].map(u64::from_le_bytes), text.len()))
    }

    fn of_part(text: &[u8]) -> Option<Self> {
        let Key(low, high) = Key::of_text(text)?;
        Some(Key(low, high | PART))
    }

    #[inline]
    fn place(self) -> usize {
        // Two independent products: a text's bytes reach the upper bits from either half.
        let mixed =
            self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.1.wrapping_mul(0xC2B2_AE3D_27D4_EB4F).rotate_left(23);
        (mixed.wrapping_mul(0x9FB2_1C65_1E98_DF25) >> (u64::BITS - SHORT_BITS)) as usize
    }
}

/// A short text with its ids.
#[derive(Clone, Copy, Default)]
struct Short {
    /// The second has the number of ids, too.
    key: [u64; 2],
    ids: [u64; 2],
}

impl Short {
    /// `None` where the ids are too many or too large.
    fn new(key: Key, ids: &[u32]) -> Option<Self> {
        if !(1..=SHORT_IDS).contains(&ids.len()) || ids.iter().any(|id| id >> ID_BITS != 0) {
            return None;
        }
        let mut packed = [0; 2];
        for (place, &id) in ids.iter().enumerate() {
            packed[place / 3] |= u64::from(id) << (ID_BITS * (place as u32 % 3));
        }
        Some(Short { key: [key.0, key.1 | (ids.len() as u64) << COUNT_SHIFT], ids: packed })
    }

    /// Comparing the halves one after the other would branch.
    #[inline]
    fn is(&self, key: Key) -> bool {
        (self.key[0] ^ key.0) | (self.key[1] ^ key.1) << (u64::BITS - COUNT_SHIFT) == 0
    }

    #[inline]
    fn ids(&self) -> ShortIds {
        let [low, high] = self.ids;
        let count = (self.key[1] >> COUNT_SHIFT) as u8;
        ShortIds { packed: [low, high], count }
    }
}

/// The ids of a short text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShortIds {
    packed: [u64; 2],
    /// 0 where they are not known.
    count: u8,
}

impl ShortIds {
    #[inline]
    pub(super) fn len(self) -> usize {
        usize::from(self.count)
    }

    /// The ids, and something after them.
    #[inline]
    pub(super) fn padded(self) -> [u32; SHORT_IDS] {
        let id =
            |place: usize| (self.packed[place / 3] >> (ID_BITS * (place as u32 % 3))) as u32 & ((1 << ID_BITS) - 1);
        std::array::from_fn(id)
    }

    fn push_to(self, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.padded()[..self.len()]);
    }
}

/// A cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Pair([Short; 2]);

/// A longer text with its ids; a cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Long {
    bytes: [u8; LONG],
    /// Of the text; 0 where the place is free.
    length: u8,
    ids: [u32; LONG_IDS],
    count: u32,
}

pub(super) struct ChunkCache {
    short: Box<[Pair]>,
    long: Box<[Long]>,
    cut: u32,
}

/// Of chunks that were cut, and whose parts are known by themselves, one of so many is kept: enough for those that come
/// again and again.
const CUT_KEPT: u32 = 4;

impl Default for ChunkCache {
    fn default() -> Self {
        ChunkCache {
            short: vec![Pair::default(); 1 << SHORT_BITS].into_boxed_slice(),
            long: vec![Long::default(); 1 << LONG_BITS].into_boxed_slice(),
            cut: 0,
        }
    }
}

fn long_place(text: &[u8]) -> usize {
    let mut hash = text.len() as u64;
    let mut mix = |eight: u64| hash = (hash.rotate_left(25) ^ eight).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (eights, rest) = text.as_chunks();
    eights.iter().for_each(|&eight| mix(u64::from_le_bytes(eight)));
    mix(rest.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)));
    ((hash ^ hash >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - LONG_BITS)) as usize
}

impl ChunkCache {
    /// The ids of a short text. No branch depends on what is in memory, so that many texts wait for it together.
    #[inline]
    pub(super) fn probe(&self, key: Key) -> ShortIds {
        let Pair(pair) = &self.short[key.place()];
        let is_second = pair[1].is(key);
        let short = &pair[usize::from(is_second)];
        let ShortIds { packed, count } = short.ids();
        ShortIds { packed, count: count & 0u8.wrapping_sub(u8::from(short.is(key))) }
    }

    /// Appends the ids of a text, which isn't empty. False where they are not known.
    pub(super) fn get(&self, text: &[u8], out: &mut Vec<u32>) -> bool {
        match Key::of_text(text) {
            Some(key) => {
                let ids = self.probe(key);
                ids.push_to(out);
                ids.len() > 0
            }
            None => {
                let ids = self.long(text);
                out.extend_from_slice(ids.unwrap_or_default());
                ids.is_some()
            }
        }
    }

    /// As [`get`](Self::get) for a part of a chunk that isn't its first.
    pub(super) fn get_part(&self, text: &[u8], out: &mut Vec<u32>) -> bool {
        let ids = Key::of_part(text).map(|key| self.probe(key)).unwrap_or_default();
        ids.push_to(out);
        ids.len() > 0
    }

    fn long(&self, text: &[u8]) -> Option<&[u32]> {
        let long = &self.long[long_place(text)];
        let is_it = long.bytes.get(..usize::from(long.length)) == Some(text);
        if is_it { long.ids.get(..long.count as usize) } else { None }
    }

    fn keep_short(&mut self, key: Key, short: Short) {
        let Pair(pair) = &mut self.short[key.place()];
        *pair = [short, pair[0]];
    }

    /// Keeps the ids of a part of a chunk that isn't its first, if both are short enough.
    pub(super) fn keep_part(&mut self, text: &[u8], ids: &[u32]) {
        if let Some(key) = Key::of_part(text)
            && let Some(short) = Short::new(key, ids)
        {
            self.keep_short(key, short);
        }
    }

    /// Keeps the ids of a chunk whose parts are kept, now and then.
    pub(super) fn keep_cut(&mut self, text: &[u8], ids: &[u32]) {
        self.cut = self.cut.wrapping_add(1);
        if self.cut.is_multiple_of(CUT_KEPT) {
            self.keep(text, ids);
        }
    }

    /// Keeps the ids of a text, if both are short enough.
    pub(super) fn keep(&mut self, text: &[u8], ids: &[u32]) {
        if let Some(key) = Key::of_text(text) {
            if let Some(short) = Short::new(key, ids) {
                self.keep_short(key, short);
            }
        } else if text.len() <= LONG && ids.len() <= LONG_IDS {
            let long = &mut self.long[long_place(text)];
            long.length = text.len() as u8;
            long.bytes[..text.len()].copy_from_slice(text);
            long.count = ids.len() as u32;
            long.ids[..ids.len()].copy_from_slice(ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_until_another_takes_its_place() {
        let mut cache = ChunkCache::default();
        let texts: Vec<String> = (0..200_000).map(|n: u32| format!("{n}.").repeat(1 + n as usize % 9)).collect();
        let get = |cache: &ChunkCache, text: &str| {
            let mut ids = Vec::new();
            cache.get(text.as_bytes(), &mut ids).then_some(ids)
        };
        let get_part = |cache: &ChunkCache, text: &str| {
            let mut ids = Vec::new();
            cache.get_part(text.as_bytes(), &mut ids).then_some(ids)
        };
        for (text, place) in texts.iter().zip(0..) {
            let ids: Vec<u32> = (0..1 + place % 10).map(|id| (id + 1) * place).collect();
            assert_eq!((get(&cache, text), get_part(&cache, text)), (None, None), "{text}");
            cache.keep(text.as_bytes(), &ids);
            let (longest, most) = if text.len() <= SHORT { (SHORT, SHORT_IDS) } else { (LONG, LONG_IDS) };
            let are_few = text.len() <= longest && ids.len() <= most;
            assert_eq!(get(&cache, text), are_few.then(|| ids.clone()), "{text}");
            assert_eq!(get_part(&cache, text), None, "{text}");
            cache.keep_part(text.as_bytes(), &ids[1..]);
            let are_few = (1..=SHORT_IDS).contains(&ids[1..].len()) && text.len() <= SHORT;
            assert_eq!(get_part(&cache, text), are_few.then(|| ids[1..].to_vec()), "{text}");
        }
        let kept = texts.iter().filter(|text| get(&cache, text).is_some()).count();
        assert!(kept > 10_000, "{kept}");
    }

    #[test]
    fn an_id_that_takes_more_bits_is_not_kept() {
        let mut cache = ChunkCache::default();
        let mut ids = Vec::new();
        for large in [1 << ID_BITS, u32::MAX] {
            cache.keep(b"text", &[0, large]);
            assert!(!cache.get(b"text", &mut ids));
        }
        cache.keep(b"text", &[(1 << ID_BITS) - 1; SHORT_IDS]);
        assert!(cache.get(b"text", &mut ids));
        assert_eq!(ids, [(1 << ID_BITS) - 1; SHORT_IDS]);
    }
}
