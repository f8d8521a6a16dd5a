//! Texts met before, with their ids: words, or what is between two spaces.
//!
//! Tables without chains. A short text is looked for in one of 4096 places that the processor keeps near by, where the most frequent
//! ones soon are, then in two of up to half a million; a longer text has one place. They grow with the number of texts, to
//! 16 MiB for the short and 1 MiB for the longer ones, and no further: then a new text takes the place of another. Ids that don't
//! fit there take up to 4 MiB.

/// Longest text of the table of short texts; the byte after its last holds its length.
pub(super) const SHORT: usize = 15;
/// Most ids of a text that are beside it.
pub(super) const SHORT_IDS: usize = 6;
/// Bits of an id beside its text; three share 64.
const ID_BITS: u32 = 21;

/// Places near by.
const NEAR: usize = 1 << NEAR_BITS;
const NEAR_BITS: u32 = 12;
/// Pairs of places farther away, at first and at most.
const FAR_BITS: std::ops::RangeInclusive<u32> = 8..=18;

/// Longest text that is kept.
const LONG: usize = 50;
const LONG_BITS: std::ops::RangeInclusive<u32> = 5..=14;

/// Ids that are not beside their texts: at most so many, and so many of a text.
const APART: usize = 1 << 20;
const APART_OF_TEXT: usize = 255;

/// A short text: its bytes, zeros, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

/// Marks the key of a text that is a part of a chunk, and not its first.
const PART: u64 = 1 << 60;

/// Above it, the number of ids. No key has any of these bits.
const COUNT_SHIFT: u32 = 61;

/// For each length of a short text, which of its bytes and those behind it to keep.
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
    /// That of no text.
    pub(super) const NONE: Key = Key(0, (1 << COUNT_SHIFT) - 1);

    /// The first `length` bytes of sixteen, at most [`SHORT`].
    #[inline]
    pub(super) fn of([low, high]: [u64; 2], length: usize) -> Self {
        let kept = KEPT[length & SHORT];
        Key(low & kept.0, high & kept.1 | (length as u64) << 56)
    }

    /// The whole of `text`, if it is short.
    #[inline]
    pub(super) fn of_text(text: &[u8]) -> Option<Self> {
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
    fn hash(self) -> u64 {
        (self.0 ^ self.1.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// A short text with its ids.
#[derive(Clone, Copy, Default)]
struct Short {
    /// The second has the number of ids, too: 0 where they are apart.
    key: [u64; 2],
    /// The ids; of those that are apart, where they begin and how many they are.
    ids: [u64; 2],
}

impl Short {
    /// `None` where there is no room for the ids.
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

    fn key(&self) -> Key {
        Key(self.key[0], self.key[1] & Key::NONE.1)
    }

    fn is_free(&self) -> bool {
        self.key == [0, 0]
    }

    /// Comparing the halves one after the other would branch.
    #[inline]
    fn is(&self, key: Key) -> bool {
        (self.key[0] ^ key.0) | (self.key[1] ^ key.1) << (u64::BITS - COUNT_SHIFT) == 0
    }
}

/// The ids of a short text.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortIds {
    packed: [u64; 2],
    count: u64,
}

impl ShortIds {
    /// 0 where they are not known, or apart.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.count as usize
    }

    /// The ids, and something after them.
    #[inline]
    pub(super) fn padded(self) -> [u32; SHORT_IDS] {
        let id =
            |place: usize| (self.packed[place / 3] >> (ID_BITS * (place as u32 % 3))) as u32 & ((1 << ID_BITS) - 1);
        std::array::from_fn(id)
    }
}

/// Two short texts: a cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Pair([Short; 2]);

/// A longer text, and where its ids are: a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Long {
    hash: u64,
    start: u32,
    count: u8,
    length: u8,
    bytes: [u8; LONG],
}

const NO_TEXT: Long = Long { hash: 0, start: 0, count: 0, length: 0, bytes: [0; LONG] };

/// Where a short text may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place(u32);

/// The texts that one run after another has met.
pub(super) struct WordCache {
    /// The places near by, then the others.
    short: Vec<Pair>,
    /// How many of the others are taken.
    far_count: usize,
    long: Vec<Long>,
    long_count: usize,
    /// The ids that are not beside their texts.
    apart: Vec<u32>,
    /// Chunks that were cut.
    cut: u32,
}

/// Of chunks that were cut, and whose parts are known by themselves, one of so many is kept: enough for those that come
/// again and again.
const CUT_KEPT: u32 = 4;

impl Default for WordCache {
    fn default() -> Self {
        WordCache {
            short: vec![Pair::default(); NEAR / 2 + (1 << FAR_BITS.start())],
            far_count: 0,
            long: vec![NO_TEXT; 1 << LONG_BITS.start()],
            long_count: 0,
            apart: Vec::new(),
            cut: 0,
        }
    }
}

/// Which of so many places, a power of two that is not 1, a hash says.
#[inline]
fn place(hash: u64, places: usize) -> usize {
    (hash >> ((places as u64).leading_zeros() + 1)) as usize
}

impl WordCache {
    #[inline]
    fn short(&self, Place(place): Place) -> &Short {
        let Pair(pair) = &self.short[place as usize / 2];
        &pair[place as usize % 2]
    }

    /// The place near by of a short text, and whether it is there.
    #[inline]
    pub(super) fn near(&self, key: Key) -> (Place, bool) {
        let place = Place(place(key.hash(), NEAR) as u32);
        (place, self.short(place).is(key))
    }

    /// The place of a short text that isn't near by, whoever is there. No branch depends on what is in memory, so that many texts wait for
    /// it together.
    #[inline]
    pub(super) fn far(&self, key: Key) -> Place {
        let pair = NEAR / 2 + place(key.hash(), self.short.len() - NEAR / 2);
        let Pair([_, second]) = &self.short[pair];
        Place((2 * pair + usize::from(second.is(key))) as u32)
    }

    /// The ids of a short text, if they are in this place.
    #[inline]
    pub(super) fn at(&self, place: Place, key: Key) -> ShortIds {
        let short = self.short(place);
        let count = short.key[1] >> COUNT_SHIFT;
        ShortIds { packed: short.ids, count: count & 0u64.wrapping_sub(u64::from(short.is(key))) }
    }

    /// Puts a short text near by, if it is known.
    pub(super) fn bring_near(&mut self, key: Key) {
        let (Place(near), far) = (self.near(key).0, *self.short(self.far(key)));
        if far.is(key) {
            self.short[near as usize / 2].0[near as usize % 2] = far;
        }
    }

    /// Appends the ids of a text, which isn't empty. False where they are not known.
    pub(super) fn get(&self, text: &[u8], out: &mut Vec<u32>) -> bool {
        match Key::of_text(text) {
            Some(key) => self.get_short(key, out),
            None => {
                let ids = self.long(text, hash(text));
                out.extend_from_slice(ids.unwrap_or_default());
                ids.is_some()
            }
        }
    }

    /// As [`get`](Self::get) for a part of a chunk that isn't its first.
    pub(super) fn get_part(&self, text: &[u8], out: &mut Vec<u32>) -> bool {
        Key::of_part(text).is_some_and(|key| self.get_short(key, out))
    }

    fn get_short(&self, key: Key, out: &mut Vec<u32>) -> bool {
        let (near, is_near) = self.near(key);
        let place = if is_near { near } else { self.far(key) };
        let ids = self.at(place, key);
        if ids.len() > 0 {
            out.extend_from_slice(&ids.padded()[..ids.len()]);
            return true;
        }
        let short = self.short(place);
        let [start, count] = short.ids.map(|number| number as usize);
        let ids = if short.is(key) { self.apart.get(start..start + count) } else { None };
        out.extend_from_slice(ids.unwrap_or_default());
        ids.is_some()
    }

    fn long(&self, text: &[u8], hash: u64) -> Option<&[u32]> {
        let long = &self.long[place(hash, self.long.len())];
        let is_it = long.hash == hash && long.bytes.get(..usize::from(long.length)) == Some(text);
        let start = long.start as usize;
        if is_it { self.apart.get(start..start + usize::from(long.count)) } else { None }
    }

    /// Keeps the ids of a text that is not there, if neither is too long.
    pub(super) fn keep(&mut self, text: &[u8], ids: &[u32]) {
        match Key::of_text(text) {
            Some(key) => self.keep_short(key, ids),
            None => self.keep_long(text, ids),
        }
    }

    /// Keeps the ids of a part of a chunk that isn't its first, if neither is too long.
    pub(super) fn keep_part(&mut self, text: &[u8], ids: &[u32]) {
        if let Some(key) = Key::of_part(text) {
            self.keep_short(key, ids);
        }
    }

    /// Keeps the ids of a chunk whose parts are kept, now and then.
    pub(super) fn keep_cut(&mut self, text: &[u8], ids: &[u32]) {
        self.cut = self.cut.wrapping_add(1);
        if self.cut.is_multiple_of(CUT_KEPT) {
            self.keep(text, ids);
        }
    }

    fn keep_short(&mut self, key: Key, ids: &[u32]) {
        if ids.is_empty() || ids.len() > APART_OF_TEXT {
            return;
        }
        let far = self.short.len() - NEAR / 2;
        if self.far_count > far && far < 1 << FAR_BITS.end() {
            let mut larger = vec![Pair::default(); NEAR / 2 + 2 * far];
            larger[..NEAR / 2].copy_from_slice(&self.short[..NEAR / 2]);
            self.far_count = 0;
            for Pair(pair) in std::mem::replace(&mut self.short, larger).split_off(NEAR / 2) {
                pair.into_iter().filter(|short| !short.is_free()).for_each(|short| self.put_far(short));
            }
        }
        let short = Short::new(key, ids).unwrap_or_else(|| {
            let start = self.keep_apart(ids);
            Short { key: [key.0, key.1], ids: [start.into(), ids.len() as u64] }
        });
        let near = self.near(key).0.0 as usize;
        let near = &mut self.short[near / 2].0[near % 2];
        if near.is_free() {
            *near = short;
        }
        self.put_far(short);
    }

    fn put_far(&mut self, short: Short) {
        let pair = NEAR / 2 + place(short.key().hash(), self.short.len() - NEAR / 2);
        let Pair([first, second]) = &mut self.short[pair];
        // Texts that came early come often: only the second place changes hands.
        let place = if first.is_free() { first } else { second };
        self.far_count += usize::from(place.is_free());
        *place = short;
    }

    /// Keeps ids that don't fit beside a text. Where there is no room for more, all texts are forgotten.
    fn keep_apart(&mut self, ids: &[u32]) -> u32 {
        if self.apart.len() + ids.len() > APART {
            self.apart.clear();
            self.short.fill(Pair::default());
            self.long.fill(NO_TEXT);
            (self.far_count, self.long_count) = (0, 0);
        }
        let start = self.apart.len() as u32;
        self.apart.extend_from_slice(ids);
        start
    }

    fn keep_long(&mut self, text: &[u8], ids: &[u32]) {
        if text.len() > LONG || ids.is_empty() || ids.len() > APART_OF_TEXT {
            return;
        }
        if 2 * self.long_count > self.long.len() && self.long.len() < 1 << LONG_BITS.end() {
            let larger = vec![NO_TEXT; 2 * self.long.len()];
            self.long_count = 0;
            for long in std::mem::replace(&mut self.long, larger) {
                if long.length > 0 {
                    self.put_long(long);
                }
            }
        }
        let start = self.keep_apart(ids);
        let mut long = Long { hash: hash(text), start, count: ids.len() as u8, length: text.len() as u8, ..NO_TEXT };
        long.bytes[..text.len()].copy_from_slice(text);
        self.put_long(long);
    }

    fn put_long(&mut self, long: Long) {
        let places = self.long.len();
        let place = &mut self.long[place(long.hash, places)];
        self.long_count += usize::from(place.length == 0);
        *place = long;
    }
}

/// A hash of any text, eight bytes at a time.
fn hash(text: &[u8]) -> u64 {
    let mut hash = text.len() as u64;
    let mut mix = |eight: u64| hash = (hash.rotate_left(25) ^ eight).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (eights, rest) = text.as_chunks();
    eights.iter().for_each(|&eight| mix(u64::from_le_bytes(eight)));
    mix(rest.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)));
    (hash ^ hash >> 32).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_until_another_takes_its_place() {
        let mut cache = WordCache::default();
        let texts: Vec<String> = (0..1_000_000).map(|n: u32| format!("{n}.").repeat(1 + n as usize % 9)).collect();
        let ids_of = |n: usize| vec![if n.is_multiple_of(100) { u32::MAX } else { n as u32 }; 1 + n % 9];
        let get = |cache: &WordCache, text: &str| {
            let mut ids = Vec::new();
            cache.get(text.as_bytes(), &mut ids).then_some(ids)
        };
        let get_part = |cache: &WordCache, text: &str| {
            let mut ids = Vec::new();
            cache.get_part(text.as_bytes(), &mut ids).then_some(ids)
        };
        for (n, text) in texts.iter().enumerate() {
            assert_eq!((get(&cache, text), get_part(&cache, text)), (None, None), "{text}");
            cache.keep(text.as_bytes(), &ids_of(n));
            assert_eq!(get(&cache, text), (text.len() <= LONG).then(|| ids_of(n)), "{text}");
            assert_eq!(get_part(&cache, text), None, "{text}");
            if n.is_multiple_of(4) {
                cache.keep_part(text.as_bytes(), &ids_of(n + 1));
                assert_eq!(get_part(&cache, text), (text.len() <= SHORT).then(|| ids_of(n + 1)), "{text}");
            }
            if let Some(key) = Key::of_text(text.as_bytes()) {
                cache.bring_near(key);
                let (near, is_near) = cache.near(key);
                assert!(is_near || get(&cache, text).is_none(), "{text}");
                let found = cache.at(near, key).len();
                assert!(found == 0 || found == ids_of(n).len(), "{text}");
            }
        }
        let mut found = 0;
        for (n, text) in texts.iter().enumerate() {
            let ids = get(&cache, text);
            found += usize::from(ids.is_some());
            assert!(ids.is_none_or(|ids| ids == ids_of(n)), "{text}");
        }
        assert!(found > 20_000, "{found}");
        assert!(cache.short.len() <= NEAR / 2 + (1 << FAR_BITS.end()));
        assert!(cache.long.len() <= 1 << LONG_BITS.end());
        assert!(cache.apart.len() <= APART);
    }

    #[test]
    fn no_text_has_the_key_of_none() {
        let mut cache = WordCache::default();
        for text in ["\0", "\0\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0\u{ff}\u{ff}", "fifteen letters", "a"] {
            cache.keep(text.as_bytes(), &[1]);
            cache.keep_part(text.as_bytes(), &[2]);
            assert_eq!(cache.at(cache.near(Key::NONE).0, Key::NONE).len(), 0);
            assert_eq!(cache.at(cache.far(Key::NONE), Key::NONE).len(), 0);
        }
    }
}
