//! Texts met before, with their ids: words, or what is between two spaces.
//!
//! Tables without chains. A short text has four places in two cache lines, of which the first line is where it mostly is; a longer text has two
//! places side by side. They grow with the number of texts, to 64 MiB for the short and 8 MiB for the longer ones, and no further: then a
//! new text takes the place of another. Longer texts, and ids that don't fit beside a short one, take up to 32 MiB.

use crate::large_table::LargeTable;
use crate::pre_tokenizers::window::BYTES;

/// Bytes to read a word from that begins in a window.
pub(super) const VIEW: usize = BYTES + 16;

/// Longest text of the table of short texts; the byte after its last holds its length.
pub(super) const SHORT: usize = 15;
/// Most ids of a text that are beside it.
pub(super) const SHORT_IDS: usize = 6;
/// So many are there as they are.
pub(super) const FEW_IDS: usize = 4;
/// Bits of an id where there are more; three share 64.
const ID_BITS: u32 = 21;

/// Pairs of places for short texts, at first and at most.
const SHORT_BITS: std::ops::RangeInclusive<u32> = 8..=20;

/// Longest text that is kept.
const LONG: usize = 255;
const LONG_BITS: std::ops::RangeInclusive<u32> = 7..=19;

/// Most numbers of longer texts and ids that are not beside their texts, and most ids of a text.
const APART: usize = 1 << 23;
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

    /// That of the word `view[start..start + length]`, which begins in the window; that of no word where it is too long for one.
    #[inline]
    pub(super) fn of_view(view: &[u8; VIEW], start: usize, length: usize) -> Self {
        // Less than there are bytes in a window, which the compiler can't know.
        let start = start % BYTES;
        let eight = |at: usize| view[at..].first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes));
        let key = Key::of([eight(start), eight(start + 8)], length);
        if length > SHORT { Key::NONE } else { key }
    }

    /// The text, its first byte the lowest, and its length.
    #[inline]
    pub(super) fn text(self) -> (u128, u32) {
        const LENGTH_SHIFT: u32 = 8 * SHORT as u32;
        let key = u128::from(self.1) << 64 | u128::from(self.0);
        (key & ((1 << LENGTH_SHIFT) - 1), (key >> LENGTH_SHIFT) as u32 & SHORT as u32)
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

    /// That of the same text where it is a part of a chunk. The key of no text stays that.
    #[inline]
    pub(super) fn of_part(self) -> Self {
        if self == Key::NONE { Key::NONE } else { Key(self.0, self.1 | PART) }
    }

    #[inline]
    fn hash(self) -> u64 {
        (self.0 ^ self.1.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// A short text with its ids, as numbers: half a cache line.
///
/// First its key, whose second half has the number of ids, too: 0 where they are apart. Then the ids; of those that are apart, where they begin and
/// how many they are.
pub(super) type Place = [u64; 4];

/// No text.
const FREE: Place = [0; 4];

/// `None` where there is no room for the ids.
#[inline]
pub(super) fn beside(key: Key, ids: &[u32]) -> Option<Place> {
    let id = |place: usize| ids.get(place).map_or(0, |&id| u64::from(id));
    let packed = match ids.len() {
        1..=FEW_IDS => [id(0) | id(1) << 32, id(2) | id(3) << 32],
        ..=SHORT_IDS if ids.iter().all(|id| id >> ID_BITS == 0) => {
            [0, 3].map(|first| id(first) | id(first + 1) << ID_BITS | id(first + 2) << (2 * ID_BITS))
        }
        _ => return None,
    };
    Some([key.0, key.1 | (ids.len() as u64) << COUNT_SHIFT, packed[0], packed[1]])
}

/// The key of the text at a place.
#[inline]
pub(super) fn key_of(short: &Place) -> Option<Key> {
    (*short != FREE).then_some(Key(short[0], short[1] & Key::NONE.1))
}

/// Comparing the halves one after the other would branch.
#[inline]
fn is(short: &Place, key: Key) -> bool {
    (short[0] ^ key.0) | (short[1] ^ key.1) << (u64::BITS - COUNT_SHIFT) == 0
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

    /// The ids, and something after them, if they are few.
    #[inline]
    pub(super) fn few(self) -> [u32; FEW_IDS] {
        let [low, high] = self.packed;
        [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
    }

    /// The ids, and something after them, if they are more.
    #[inline]
    pub(super) fn more(self) -> [u32; SHORT_IDS] {
        let id = |place| (self.packed[place / 3] >> (ID_BITS * (place as u32 % 3))) as u32 & ((1 << ID_BITS) - 1);
        std::array::from_fn(id)
    }

    fn append(self, out: &mut Vec<u32>) {
        let end = out.len() + self.len();
        // Always as many as there may be: copying a number that isn't known takes longer.
        match self.len() {
            ..=FEW_IDS => out.extend_from_slice(&self.few()),
            _ => out.extend_from_slice(&self.more()),
        }
        out.truncate(end);
    }
}

/// Two short texts: a cache line.
pub(super) type Pair = [Place; 2];

/// A longer text: where it is, four bytes in a number and zeros after it, with its ids behind it.
#[derive(Clone, Copy)]
struct Long {
    hash: u64,
    start: u32,
    /// 0 where there is no text.
    length: u8,
    count: u8,
}

const NO_TEXT: Long = Long { hash: 0, start: 0, length: 0, count: 0 };

/// The pair of places where a short text mostly is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Home(u32);

impl Home {
    #[inline]
    pub(super) fn place(self) -> usize {
        self.0 as usize
    }
}

/// Short texts, to look many up.
#[derive(Clone, Copy)]
pub(super) struct ShortTexts<'a>(&'a [Pair]);

impl<'a> ShortTexts<'a> {
    /// A power of two of pairs, more than one.
    #[inline]
    pub(super) fn new(pairs: &'a [Pair]) -> Self {
        ShortTexts(pairs)
    }

    /// Where a short text is, if it is anywhere, which the processor may fetch meanwhile.
    #[inline]
    pub(super) fn home(self, key: Key) -> Home {
        let home = place(key.hash(), self.0.len());
        #[cfg(target_arch = "x86_64")]
        if let Some(pair) = self.0.get(home) {
            safe_arch::prefetch_t0(pair);
        }
        Home(home as u32)
    }

    /// The ids of a short text, if they are at home.
    #[inline]
    pub(super) fn at(self, Home(home): Home, key: Key) -> ShortIds {
        let pair = &self.0[home as usize];
        // Which of them it is can't be foreseen, so that no branch depends on it.
        let short = &pair[usize::from(is(&pair[1], key))];
        let count = short[1] >> COUNT_SHIFT;
        ShortIds { packed: [short[2], short[3]], count: count & 0u64.wrapping_sub(u64::from(is(short, key))) }
    }
}

/// Where texts are looked up.
pub(super) trait Short {
    fn short(&self) -> ShortTexts<'_>;
}

impl Short for WordCache {
    #[inline]
    fn short(&self) -> ShortTexts<'_> {
        ShortTexts(&self.short)
    }
}

/// The texts that one run after another has met.
pub(super) struct WordCache {
    short: LargeTable<Pair>,
    /// How many places for short texts are taken.
    short_count: usize,
    long: Vec<Long>,
    long_count: usize,
    /// The ids that are not beside their texts, and longer texts.
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
            short: LargeTable::new(1 << SHORT_BITS.start()),
            short_count: 0,
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
    /// The pair of places where a short text mostly is.
    #[inline]
    fn home(&self, key: Key) -> usize {
        place(key.hash(), self.short.len())
    }

    /// Appends the ids of a text, which isn't empty. False where they are not known.
    pub(super) fn get(&mut self, text: &[u8], out: &mut Vec<u32>) -> bool {
        self.get_as(Key::of_text(text).unwrap_or(Key::NONE), text, out)
    }

    /// As [`get`](Self::get), with the text's key: that of no text where it is too long for one.
    pub(super) fn get_as(&mut self, key: Key, text: &[u8], out: &mut Vec<u32>) -> bool {
        if key != Key::NONE {
            return self.get_short(key, out);
        }
        self.get_long(text, hash(text, false), out)
    }

    /// As [`get`](Self::get) for a part of a chunk that isn't its first.
    pub(super) fn get_part(&mut self, text: &[u8], out: &mut Vec<u32>) -> bool {
        self.get_part_as(Key::of_text(text).unwrap_or(Key::NONE).of_part(), text, out)
    }

    /// As [`get_part`](Self::get_part), with the part's key: that of no text where it is too long for one.
    #[inline]
    pub(super) fn get_part_as(&mut self, key: Key, text: &[u8], out: &mut Vec<u32>) -> bool {
        if key != Key::NONE {
            return self.get_short(key, out);
        }
        self.get_long(text, hash(text, true), out)
    }

    fn get_short(&mut self, key: Key, out: &mut Vec<u32>) -> bool {
        let home = self.home(key);
        let table = &mut *self.short;
        let place_in = |pair: &Pair| pair.iter().position(|short| is(short, key));
        let (at, place) = match place_in(&table[home]) {
            Some(place) => (home, place),
            // As long as there is room at home, nothing goes elsewhere.
            None if table[home][1] == FREE => return false,
            None => match place_in(&table[home ^ 1]) {
                Some(place) => (home ^ 1, place),
                None => return false,
            },
        };
        let short = table[at][place];
        if at != home {
            // Nearer from now on.
            table[at][place] = std::mem::replace(&mut table[home][1], short);
        }
        let ids = ShortIds { packed: [short[2], short[3]], count: short[1] >> COUNT_SHIFT };
        if ids.len() > 0 {
            ids.append(out);
            return true;
        }
        let (start, count) = (short[2] as usize, short[3] as usize);
        let ids = self.apart.get(start..start + count);
        out.extend_from_slice(ids.unwrap_or_default());
        ids.is_some()
    }

    fn get_long(&self, text: &[u8], hash: u64, out: &mut Vec<u32>) -> bool {
        let ids = self.long(text, hash);
        out.extend_from_slice(ids.unwrap_or_default());
        ids.is_some()
    }

    fn long(&self, text: &[u8], hash: u64) -> Option<&[u32]> {
        let first = place(hash, self.long.len());
        let of = |at: usize| {
            let long = &self.long[at];
            (long.hash == hash && usize::from(long.length) == text.len()).then_some(long)
        };
        let long = of(first).or_else(|| of(first ^ 1))?;
        let (known, ids) = self.apart.get(long.start as usize..)?.split_at_checked(text.len().div_ceil(4))?;
        let is_it = bytemuck::cast_slice(known).get(..text.len()) == Some(text);
        ids.get(..usize::from(long.count)).filter(|_| is_it)
    }

    /// Keeps the ids of a text that is not there, if neither is too long.
    pub(super) fn keep(&mut self, text: &[u8], ids: &[u32]) {
        self.keep_as(Key::of_text(text).unwrap_or(Key::NONE), text, ids);
    }

    /// As [`keep`](Self::keep), with the text's key: that of no text where it is too long for one.
    pub(super) fn keep_as(&mut self, key: Key, text: &[u8], ids: &[u32]) {
        match key {
            Key::NONE => self.keep_long(text, hash(text, false), ids),
            key => self.keep_short(key, ids),
        }
    }

    /// Keeps the ids of a part of a chunk that isn't its first, if neither is too long.
    pub(super) fn keep_part(&mut self, text: &[u8], ids: &[u32]) {
        self.keep_part_as(Key::of_text(text).unwrap_or(Key::NONE).of_part(), text, ids);
    }

    /// As [`keep_part`](Self::keep_part), with the part's key: that of no text where it is too long for one.
    pub(super) fn keep_part_as(&mut self, key: Key, text: &[u8], ids: &[u32]) {
        match key {
            Key::NONE => self.keep_long(text, hash(text, true), ids),
            key => self.keep_short(key, ids),
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
        let pairs = self.short.len();
        if 4 * self.short_count > 3 * pairs && pairs < 1 << SHORT_BITS.end() {
            self.short_count = 0;
            let smaller = std::mem::replace(&mut self.short, LargeTable::new(2 * pairs));
            smaller.as_flattened().iter().filter(|&&short| short != FREE).for_each(|&short| self.put_short(short));
        }
        let short = beside(key, ids).unwrap_or_else(|| {
            let start = self.keep_apart(&[], ids);
            [key.0, key.1, start.into(), ids.len() as u64]
        });
        self.put_short(short);
    }

    fn put_short(&mut self, short: Place) {
        let home = self.home(Key(short[0], short[1] & Key::NONE.1));
        let table = &mut *self.short;
        let places = [(home, 0), (home, 1), (home ^ 1, 0), (home ^ 1, 1)];
        let free = places.into_iter().find(|&(at, place)| table[at][place] == FREE);
        self.short_count += usize::from(free.is_some());
        // Texts that came early come often: they stay.
        let (at, place) = free.unwrap_or((home, 1));
        table[at][place] = short;
    }

    /// Keeps ids that don't fit beside a text, with a longer text before them. Where there is no room for more, all texts are forgotten.
    fn keep_apart(&mut self, text: &[u8], ids: &[u32]) -> u32 {
        if self.apart.len() + text.len() + ids.len() > APART {
            self.apart.clear();
            self.short.fill([FREE; 2]);
            self.long.fill(NO_TEXT);
            (self.short_count, self.long_count) = (0, 0);
        }
        let start = self.apart.len() as u32;
        let (fours, rest) = text.as_chunks();
        self.apart.extend(fours.iter().map(|&four| u32::from_ne_bytes(four)));
        if !rest.is_empty() {
            let mut four = [0; 4];
            four[..rest.len()].copy_from_slice(rest);
            self.apart.push(u32::from_ne_bytes(four));
        }
        self.apart.extend_from_slice(ids);
        start
    }

    fn keep_long(&mut self, text: &[u8], hash: u64, ids: &[u32]) {
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
        let start = self.keep_apart(text, ids);
        let long = Long { hash, start, length: text.len() as u8, count: ids.len() as u8 };
        self.put_long(long);
    }

    fn put_long(&mut self, long: Long) {
        let first = place(long.hash, self.long.len());
        let free = [first, first ^ 1].into_iter().find(|&at| self.long[at].length == 0);
        self.long_count += usize::from(free.is_some());
        self.long[free.unwrap_or(first ^ 1)] = long;
    }
}

/// A hash of any text, eight bytes at a time. The same text has another one as a part: each step can be undone.
fn hash(text: &[u8], is_part: bool) -> u64 {
    let mut hash = (text.len() as u64) << 1 | u64::from(is_part);
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
        let get = |cache: &mut WordCache, text: &str| {
            let mut ids = Vec::new();
            cache.get(text.as_bytes(), &mut ids).then_some(ids)
        };
        let get_part = |cache: &mut WordCache, text: &str| {
            let mut ids = Vec::new();
            cache.get_part(text.as_bytes(), &mut ids).then_some(ids)
        };
        for (n, text) in texts.iter().enumerate() {
            assert_eq!((get(&mut cache, text), get_part(&mut cache, text)), (None, None), "{text}");
            cache.keep(text.as_bytes(), &ids_of(n));
            assert_eq!(get(&mut cache, text), (text.len() <= LONG).then(|| ids_of(n)), "{text}");
            assert_eq!(get_part(&mut cache, text), None, "{text}");
            if n.is_multiple_of(4) {
                cache.keep_part(text.as_bytes(), &ids_of(n + 1));
                assert_eq!(get_part(&mut cache, text), (text.len() <= LONG).then(|| ids_of(n + 1)), "{text}");
            }
            if let Some(key) = Key::of_text(text.as_bytes()) {
                let found = cache.short().at(cache.short().home(key), key).len();
                assert!(found == 0 || found == ids_of(n).len(), "{text}");
            }
        }
        let mut found = 0;
        for (n, text) in texts.iter().enumerate() {
            let ids = get(&mut cache, text);
            found += usize::from(ids.is_some());
            assert!(ids.is_none_or(|ids| ids == ids_of(n)), "{text}");
        }
        assert!(found > 20_000, "{found}");
        assert!(cache.short.len() <= 1 << SHORT_BITS.end());
        assert!(cache.long.len() <= 1 << LONG_BITS.end());
        assert!(cache.apart.len() <= APART);
    }

    #[test]
    fn longer_texts_are_kept_up_to_a_length() {
        let mut cache = WordCache::default();
        for length in [SHORT, SHORT + 1, 17, 19, 20, LONG, LONG + 1] {
            let text = vec![b'a'; length];
            let mut ids = Vec::new();
            cache.keep(&text, &[7; APART_OF_TEXT]);
            assert_eq!(cache.get(&text, &mut ids), length <= LONG, "{length}");
            assert_eq!(ids, vec![7; if length <= LONG { APART_OF_TEXT } else { 0 }], "{length}");
        }
        cache.keep(b"seventeen letters", &[1; APART_OF_TEXT + 1]);
        assert!(!cache.get(b"seventeen letters", &mut Vec::new()));
    }

    #[test]
    fn no_text_has_the_key_of_none() {
        let mut cache = WordCache::default();
        for text in ["\0", "\0\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0\u{ff}\u{ff}", "fifteen letters", "a"] {
            cache.keep(text.as_bytes(), &[1]);
            cache.keep_part(text.as_bytes(), &[2]);
            assert_eq!(cache.short().at(cache.short().home(Key::NONE), Key::NONE).len(), 0);
        }
    }
}
