//! Words of up to sixteen bytes and the pieces they are made of, each found by a multiplication and a comparison.
//!
//! What matters is that the tables stay in the nearest caches: a slot is four bytes, and keys lie in the order of the vocabulary, whose
//! frequent words come first, so that these share cache lines.

use crate::TokenizerError;
use crate::both::both;
use crate::compiled::{Reader, Writer};
use crate::double_array::DoubleArray;
use crate::numbers::{Element, Numbers};
use crate::probes::probes;

/// An odd number whose products spread over the upper bits: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The most bytes of a word that is looked up here.
pub(super) const LONGEST: usize = 16;

/// Of a slot, the bits that say which key; the others are bits of its hash.
const INDEX_BITS: u32 = 20;
const TAG_BITS: u32 = 32 - INDEX_BITS;

/// The bytes of a beginning.
const BEGINNING: u32 = 3;

/// Of [`Beginning::longer`], that there are pieces of more than sixteen bytes. No longer piece has a length of one.
const TOO_LONG: u16 = 1;

/// So many pieces are worth a second thread.
const MANY: usize = 1 << 12;

/// Bits of a letter's place in the alphabet, from 1; 0 is the end of a word.
const LETTER_BITS: u32 = 5;

/// The bytes of a word as a number, the first the lowest, zeros after the last. Words with zeros in them are not looked up, so
/// two words are the same where their numbers are.
pub(super) fn word_key(word: &[u8]) -> Option<u128> {
    if word.is_empty() || word.len() > LONGEST || word.contains(&0) {
        return None;
    }
    let mut bytes = [0; LONGEST];
    bytes[..word.len()].copy_from_slice(word);
    Some(u128::from_le_bytes(bytes))
}

/// The first eight bytes of a longer piece, as those of a key.
fn first_bytes(piece: &[u8]) -> u64 {
    piece.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The first `len` bytes of a key, of which there is at least one.
#[inline]
fn head(key: u64, len: u32) -> u64 {
    key & (u64::MAX >> (64 - 8 * len))
}

trait Key: Element + PartialEq + Send + Sync {
    fn hash(self) -> u64;
}

impl Key for u64 {
    #[inline]
    fn hash(self) -> u64 {
        self.wrapping_mul(SPREAD)
    }
}

impl Key for u128 {
    #[inline]
    fn hash(self) -> u64 {
        ((self as u64).wrapping_mul(SPREAD) ^ (self >> 64) as u64).wrapping_mul(SPREAD)
    }
}

/// Open addressing over keys that are not 0.
#[derive(Debug)]
struct Table<K: Key> {
    /// Tag and one more than the index of a key; 0 where free.
    slots: Numbers<u32>,
    shift: u32,
    keys: Numbers<K>,
    ids: Numbers<u32>,
}

/// Where among so many slots a word of up to eight bytes is looked for first.
#[cfg(test)]
pub(crate) fn place_of_word(word: &str, slots: usize) -> usize {
    place(word_key(word.as_bytes()).map_or(0, |key| (key as u64).hash()), shift(slots)).0
}

/// For so many slots, a power of two that is not 1, how far down the upper bits of a hash have to go.
fn shift(slots: usize) -> u32 {
    u64::BITS - slots.trailing_zeros()
}

/// The first slot for a hash, and what it says of it beside the index.
#[inline]
fn place(hash: u64, shift: u32) -> (usize, u32) {
    ((hash >> shift) as usize, (hash >> (shift - TAG_BITS)) as u32 & ((1 << TAG_BITS) - 1))
}

impl<K: Key> Table<K> {
    /// Takes distinct keys; `None` where they are too many, or too many collide.
    fn new(entries: Vec<(K, u32)>) -> Option<Self> {
        if entries.len() + 1 >= 1 << INDEX_BITS {
            return None;
        }
        let mut slots = vec![0; (entries.len().max(8) * 3 / 2).next_power_of_two()];
        let shift = shift(slots.len());
        let (keys, ids): (Vec<K>, Vec<u32>) = entries.into_iter().unzip();
        for (key, index) in keys.iter().zip(1u32..) {
            let (first, tag) = place(key.hash(), shift);
            let free = probes(first, slots.len()).find(|&at| slots[at] == 0)?;
            slots[free] = tag << INDEX_BITS | index;
        }
        Some(Table { slots: slots.into(), shift, keys: keys.into(), ids: ids.into() })
    }

    fn write(&self, writer: &mut Writer) {
        writer.numbers("slots", &self.slots);
        writer.numbers("keys", &self.keys);
        writer.numbers("ids", &self.ids);
    }

    fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let slots: Numbers<u32> = reader.slots("slots")?;
        Ok(Table { shift: shift(slots.len()), slots, keys: reader.numbers("keys")?, ids: reader.numbers("ids")? })
    }

    #[inline]
    fn find(&self, key: K) -> Option<u32> {
        let slots = &*self.slots;
        let (first, tag) = place(key.hash(), self.shift);
        for at in probes(first, slots.len()) {
            let slot = *slots.get(at)?;
            if slot == 0 {
                return None;
            }
            if slot >> INDEX_BITS == tag {
                let index = (slot & ((1 << INDEX_BITS) - 1)).wrapping_sub(1) as usize;
                if self.keys.get(index) == Some(&key) {
                    return self.ids.get(index).copied();
                }
            }
        }
        None
    }
}

/// What is known of the pieces from their first three bytes; or from one or two, where these are all there is or no piece begins
/// with more of them.
#[derive(Clone, Copy, Debug, Default)]
struct Beginning {
    /// The bytes, the first the lowest; 0 where the slot is free.
    key: u32,
    /// The longest piece that is no longer than the beginning itself, where `len` isn't 0.
    id: u32,
    len: u16,
    /// A bit for each length of the pieces that go on from here, that for one byte the lowest.
    longer: u16,
}

impl Beginning {
    fn packed(self) -> [u32; 3] {
        [self.key, self.id, u32::from(self.longer) << 16 | u32::from(self.len)]
    }

    #[inline]
    fn of([key, id, longer_and_len]: [u32; 3]) -> Self {
        Beginning { key, id, len: longer_and_len as u16, longer: (longer_and_len >> 16) as u16 }
    }

    /// That no length is more than the beginning has bytes.
    fn is_sound([key, _, longer_and_len]: [u32; 3]) -> bool {
        let bytes = u32::BITS / 8 - key.leading_zeros() / 8;
        longer_and_len & 0xFFFF <= bytes.min(BEGINNING)
    }
}

/// The beginnings of three letters, two at the end of a word, or one, each in the place that its letters say. Words of any script may be
/// cut to pieces fast by hashing; those of English letters are so many that this pays.
#[derive(Debug)]
struct Letters(Numbers<u32>);

impl Letters {
    /// Of the length of a beginning.
    const LEN_BITS: u32 = 2;
    /// Of an id: what that and a bit for each length of longer pieces leave.
    const ID_BITS: u32 = u32::BITS - Self::LEN_BITS - (LONGEST as u32 - BEGINNING);
    const PLACES: usize = 1 << (3 * LETTER_BITS);

    /// All `beginnings`; nothing where an id doesn't fit.
    fn new(pieces: &Pieces) -> Self {
        let mut letters = vec![0; Self::PLACES];
        // Where no piece begins with a letter, there is nothing to find.
        let begins_pieces = |&first: &u8| pieces.beginning(first.into()).key != 0;
        for first in (b'a'..=b'z').filter(begins_pieces) {
            for second in std::iter::once(0).chain(b'a'..=b'z') {
                for third in std::iter::once(0).chain(b'a'..=b'z').filter(|&third| third == 0 || second != 0) {
                    let key = u64::from_le_bytes([first, second, third, 0, 0, 0, 0, 0]);
                    let Beginning { id, len, longer, .. } = pieces.beginning(key);
                    if id >> Self::ID_BITS != 0 || longer & TOO_LONG != 0 {
                        return Letters(Numbers::default());
                    }
                    let packed = u32::from(longer >> BEGINNING) << (Self::ID_BITS + Self::LEN_BITS);
                    letters[Self::place(key)] = packed | u32::from(len) << Self::ID_BITS | id;
                }
            }
        }
        Letters(letters.into())
    }

    #[inline]
    fn place(key: u64) -> usize {
        const MASK: u64 = (1 << LETTER_BITS) - 1;
        let bits = key & MASK | (key >> 8 & MASK) << LETTER_BITS | (key >> 16 & MASK) << (2 * LETTER_BITS);
        bits as usize
    }

    /// The beginning of `key`, which has at least three bytes, if it is of lower-case letters.
    #[inline]
    fn get(&self, key: u64) -> Option<Beginning> {
        if key & 0xE0_E0E0 != 0x60_6060 {
            return None;
        }
        let packed = *self.0.get(Self::place(key))?;
        Some(Beginning {
            key: 0,
            id: packed & ((1 << Self::ID_BITS) - 1),
            len: (packed >> Self::ID_BITS & ((1 << Self::LEN_BITS) - 1)) as u16,
            longer: (packed >> (Self::ID_BITS + Self::LEN_BITS) << BEGINNING) as u16,
        })
    }
}

/// The few pieces of more than sixteen bytes. However many lengths they have, none is looked for beyond what a word shares with one of them.
#[derive(Debug)]
struct TooLong {
    /// In the order of their bytes.
    pieces: Vec<(Box<[u8]>, u32)>,
    ids: DoubleArray,
}

impl TooLong {
    /// Takes distinct pieces; `None` where a trie doesn't take them.
    fn new(mut pieces: Vec<(Box<[u8]>, u32)>) -> Option<Self> {
        pieces.sort_unstable();
        Some(TooLong { ids: DoubleArray::build(&pieces).ok()?, pieces })
    }

    /// The longest one that `word` begins with, and its length.
    fn longest(&self, word: &[u8]) -> Option<(u32, usize)> {
        let mut cursor = self.ids.root();
        let mut longest = None;
        for (&byte, len) in word.iter().zip(1..) {
            #[cfg(test)]
            crate::probes::count();
            let Some(next) = cursor.step(byte) else {
                break;
            };
            cursor = next;
            longest = cursor.value().map(|id| (id, len)).or(longest);
        }
        longest
    }
}

/// Leaves out most of the heads that came before. There are many more heads than different ones.
fn different(heads: impl Iterator<Item = u32>) -> Vec<u32> {
    // A bit for each head of ASCII.
    let mut is_known = vec![0u64; 1 << (7 * BEGINNING - 6)];
    let is_new = |&head: &u32| {
        if head & 0x80_8080 != 0 {
            return true;
        }
        let place = head & 0x7F | (head >> 8 & 0x7F) << 7 | (head >> 16) << 14;
        let (bits, bit) = (&mut is_known[place as usize >> 6], 1 << (place & 63));
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    };
    heads.filter(is_new).collect()
}

/// The pieces that a word may begin with, or go on with.
#[derive(Debug)]
struct Pieces {
    short: Table<u64>,
    long: Table<u128>,
    too_long: TooLong,
    /// Open addressing; [`Beginning`]s, packed.
    beginnings: Numbers<[u32; 3]>,
    beginnings_shift: u32,
    letters: Letters,
}

impl Pieces {
    fn new(PieceKeys { whole, too_long }: &PieceKeys) -> Option<Self> {
        let (short, long): (Vec<_>, Vec<_>) = whole.iter().copied().partition(|(key, _)| key >> 64 == 0);
        let short = short.into_iter().map(|(key, id)| (key as u64, id));
        let mut pieces = Pieces {
            short: Table::new(short.collect())?,
            long: Table::new(long)?,
            too_long: TooLong::new(too_long.clone())?,
            beginnings: Numbers::default(),
            beginnings_shift: 0,
            letters: Letters(Numbers::default()),
        };
        pieces.find_beginnings()?;
        pieces.letters = Letters::new(&pieces);
        Some(pieces)
    }

    fn write(&self, writer: &mut Writer) {
        writer.within("short", |writer| self.short.write(writer));
        writer.within("long", |writer| self.long.write(writer));
        writer.json("too_long", &self.too_long.pieces);
        writer.numbers("beginnings", &self.beginnings);
        writer.numbers("letters", &self.letters.0);
    }

    fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let beginnings: Numbers<[u32; 3]> = reader.slots("beginnings")?;
        if !beginnings.iter().copied().all(Beginning::is_sound) {
            return Err(reader.invalid("beginnings", "pieces no longer than what they begin with", "longer ones"));
        }
        let letters: Numbers<u32> = reader.numbers("letters")?;
        if ![0, Letters::PLACES].contains(&letters.len()) {
            return Err(reader.invalid("letters", format!("none or {}", Letters::PLACES), letters.len().to_string()));
        }
        let too_long: Vec<(Vec<u8>, u32)> = reader.json("too_long")?;
        if too_long.iter().any(|(piece, _)| piece.len() <= LONGEST) {
            return Err(reader.invalid("too_long", format!("pieces of more than {LONGEST} bytes"), "a shorter one"));
        }
        let too_long = TooLong::new(too_long.into_iter().map(|(piece, id)| (piece.into(), id)).collect());
        Ok(Pieces {
            short: Table::read(&reader.within("short"))?,
            long: Table::read(&reader.within("long"))?,
            too_long: too_long.ok_or_else(|| reader.invalid("too_long", "pieces that differ", "others"))?,
            beginnings_shift: shift(beginnings.len()),
            beginnings,
            letters: Letters(letters),
        })
    }

    /// `None` where too many collide.
    fn find_beginnings(&mut self) -> Option<()> {
        let too_long: Vec<u64> = self.too_long.pieces.iter().map(|(piece, _)| first_bytes(piece)).collect();
        let long = self.long.keys.iter().map(|&key| key as u64).chain(too_long.iter().copied());
        let keys = self.short.keys.iter().copied().chain(long);
        let heads = |key: u64| (1..=BEGINNING).map(move |len| head(key, len) as u32);
        let mut all = different(keys.flat_map(heads));
        all.sort_unstable();
        all.dedup();
        let mut beginnings = vec![[0; 3]; (all.len().max(8) * 2).next_power_of_two()];
        self.beginnings_shift = shift(beginnings.len());
        for &key in &all {
            let shorter = (1..=BEGINNING).rev().filter(|&len| key >> (8 * (len - 1)) != 0);
            let piece = shorter.map(|len| (self.short.find(head(key.into(), len)), len)).find(|(id, _)| id.is_some());
            let (id, len) = piece.map_or((0, 0), |(id, len)| (id.unwrap_or(0), len as u16));
            let at = slot(&beginnings, self.beginnings_shift, key);
            if beginnings[at][0] != 0 {
                return None;
            }
            beginnings[at] = Beginning { key, id, len, longer: 0 }.packed();
        }
        let mut add = |key: u64, longer: u16| {
            let at = slot(&beginnings, self.beginnings_shift, head(key, BEGINNING) as u32);
            beginnings[at][2] |= u32::from(longer) << 16;
        };
        let long = self.long.keys.iter().map(|&key| (key as u64, LONGEST as u32 - key.leading_zeros() / 8));
        let lens = self.short.keys.iter().map(|&key| (key, 8 - key.leading_zeros() / 8)).chain(long);
        for (key, len) in lens.filter(|&(_, len)| len > BEGINNING) {
            add(key, 1 << (len - 1));
        }
        for &key in &too_long {
            add(key, TOO_LONG);
        }
        self.beginnings = beginnings.into();
        Some(())
    }

    /// What is known of the pieces that the first bytes of `key` begin with.
    #[inline]
    fn beginning(&self, key: u64) -> Beginning {
        if let Some(beginning) = self.letters.get(key) {
            return beginning;
        }
        let mut len = BEGINNING;
        loop {
            let key = head(key, len) as u32;
            let at = slot(&self.beginnings, self.beginnings_shift, key);
            let beginning = self.beginnings.get(at).copied().map(Beginning::of).unwrap_or_default();
            if beginning.key == key {
                return beginning;
            }
            if len == 1 {
                return Beginning::default();
            }
            len -= 1;
        }
    }

    /// The longest piece that `key` begins with, which has one to eight bytes, and its length.
    #[inline]
    fn longest_short(&self, key: u64, most: u32) -> Option<(u32, u32)> {
        let beginning = self.beginning(key);
        self.longest_short_from(beginning, key, most)
    }

    #[inline]
    fn longest_short_from(&self, beginning: Beginning, key: u64, most: u32) -> Option<(u32, u32)> {
        let mut longer = u32::from(beginning.longer & !TOO_LONG) & ((1 << most) - 1);
        while longer != 0 {
            let len = longer.ilog2() + 1;
            if let Some(id) = self.short.find(head(key, len)) {
                return Some((id, len));
            }
            longer ^= 1 << (len - 1);
        }
        (beginning.len != 0).then_some((beginning.id, beginning.len.into()))
    }

    /// The longest piece that `key` begins with, which has one to sixteen bytes, and its length.
    #[inline]
    fn longest(&self, key: u128, most: u32) -> Option<(u32, u32)> {
        self.longest_from(self.beginning(key as u64), key, most)
    }

    #[inline]
    fn longest_from(&self, beginning: Beginning, key: u128, most: u32) -> Option<(u32, u32)> {
        let mut longer = u32::from(beginning.longer) & ((1 << most) - 1);
        while longer >= 1 << 8 {
            let len = longer.ilog2() + 1;
            if let Some(id) = self.long.find(key & (u128::MAX >> (128 - 8 * len))) {
                return Some((id, len));
            }
            longer ^= 1 << (len - 1);
        }
        self.longest_short_from(beginning, key as u64, most.min(8))
    }
}

/// Where this beginning is, or would be; where another is, if too many collide.
#[inline]
fn slot(beginnings: &[[u32; 3]], shift: u32, key: u32) -> usize {
    let first = (u64::from(key).hash() >> shift) as usize;
    let is_it = |&at: &usize| beginnings.get(at).is_none_or(|&[found, ..]| found == key || found == 0);
    probes(first, beginnings.len()).find(is_it).unwrap_or(first)
}

/// The pieces that words begin with, or go on with, each distinct.
#[derive(Default)]
pub(super) struct PieceKeys {
    whole: Vec<(u128, u32)>,
    too_long: Vec<(Box<[u8]>, u32)>,
}

impl PieceKeys {
    pub(super) fn push(&mut self, piece: &str, id: u32) {
        match word_key(piece.as_bytes()) {
            Some(key) => self.whole.push((key, id)),
            None if piece.len() > LONGEST => self.too_long.push((piece.as_bytes().into(), id)),
            None => {}
        }
    }
}

/// The pieces of a vocabulary of up to sixteen bytes.
#[derive(Debug)]
pub(super) struct WordTable {
    first: Pieces,
    further: Pieces,
}

impl WordTable {
    /// Takes the pieces that words begin with and those that they go on with. `None` where they are too many, or too
    /// many collide.
    pub(super) fn new(first: PieceKeys, further: PieceKeys) -> Option<Self> {
        if further.whole.len() < MANY {
            return Some(WordTable { first: Pieces::new(&first)?, further: Pieces::new(&further)? });
        }
        let (first, further) = both(|| Pieces::new(&first), || Pieces::new(&further));
        Some(WordTable { first: first?, further: further? })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.within("first", |writer| self.first.write(writer));
        writer.within("further", |writer| self.further.write(writer));
    }

    pub(super) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        Ok(WordTable {
            first: Pieces::read(&reader.within("first"))?,
            further: Pieces::read(&reader.within("further"))?,
        })
    }

    /// Appends the ids of a word of more than sixteen bytes; `false`, with nothing appended, where it has none.
    pub(super) fn longer_word(&self, word: &[u8], ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        let mut rest = word;
        let mut pieces = &self.first;
        while let Some(window) = rest.first_chunk::<LONGEST>() {
            let key = u128::from_le_bytes(*window);
            let beginning = pieces.beginning(key as u64);
            let too_long = if beginning.longer & TOO_LONG != 0 { pieces.too_long.longest(rest) } else { None };
            let piece = too_long.or_else(|| {
                let (id, len) = pieces.longest_from(beginning, key, LONGEST as u32)?;
                Some((id, len as usize))
            });
            let Some((id, taken)) = piece else {
                ids.truncate(before);
                return false;
            };
            ids.push(id);
            rest = &rest[taken..];
            pieces = &self.further;
        }
        word_key(rest).is_none_or(|key| self.rest_in_pieces(key, rest.len() as u32, before, ids))
    }

    /// Appends the ids of a word of one to eight bytes; `false`, with nothing appended, where it has none.
    #[inline]
    pub(super) fn short_word(&self, key: u64, len: u32, ids: &mut Vec<u32>) -> bool {
        match self.first.short.find(key) {
            Some(id) => ids.push(id),
            None => return self.short_in_pieces(key, len, ids),
        }
        true
    }

    /// Appends the ids of a word of nine to sixteen bytes; `false`, with nothing appended, where it has none.
    #[inline]
    pub(super) fn long_word(&self, key: u128, len: u32, ids: &mut Vec<u32>) -> bool {
        match self.first.long.find(key) {
            Some(id) => ids.push(id),
            None => return self.long_in_pieces(key, len, ids),
        }
        true
    }

    fn short_in_pieces(&self, key: u64, len: u32, ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        // It is no piece as a whole.
        if len == 1 {
            return false;
        }
        let Some((id, taken)) = self.first.longest_short(head(key, len - 1), len - 1) else {
            return false;
        };
        ids.push(id);
        self.go_on(key >> (8 * taken), len - taken, before, ids)
    }

    /// Goes on in a word of which one to eight bytes are left.
    #[inline]
    fn go_on(&self, mut key: u64, mut len: u32, before: usize, ids: &mut Vec<u32>) -> bool {
        loop {
            let Some((id, taken)) = self.further.longest_short(key, len) else {
                ids.truncate(before);
                return false;
            };
            ids.push(id);
            if taken == len {
                return true;
            }
            key >>= 8 * taken;
            len -= taken;
        }
    }

    fn long_in_pieces(&self, key: u128, len: u32, ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        let Some((id, taken)) = self.first.longest(key & (u128::MAX >> (136 - 8 * len)), len - 1) else {
            return false;
        };
        ids.push(id);
        self.rest_in_pieces(key >> (8 * taken), len - taken, before, ids)
    }

    /// Goes on in a word of which one to sixteen bytes are left.
    fn rest_in_pieces(&self, mut key: u128, mut len: u32, before: usize, ids: &mut Vec<u32>) -> bool {
        while len > 8 {
            let Some((id, taken)) = self.further.longest(key, len) else {
                ids.truncate(before);
                return false;
            };
            ids.push(id);
            if taken == len {
                return true;
            }
            key >>= 8 * taken;
            len -= taken;
        }
        self.go_on(key as u64, len, before, ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::MOST_PROBES;

    /// Keys of so many words that have the same place in the table of so many.
    fn collide(words: usize, shift: u32) -> Vec<(u64, u32)> {
        let texts = (0u32..).map(|number| format!("{number:x}"));
        let keys = texts.filter_map(|text| word_key(text.as_bytes())).map(|key| key as u64);
        keys.filter(|key| key.hash() >> shift == 5).take(words).zip(0..).collect()
    }

    #[test]
    fn a_table_takes_no_more_words_that_collide_than_it_looks_at() {
        let size = (MOST_PROBES * 3 / 2).next_power_of_two();
        let mut words = collide(MOST_PROBES + 1, shift(size));
        assert!(Table::new(words.clone()).is_none());
        words.pop();
        let table = Table::new(words.clone()).expect("as many as are looked at");
        assert_eq!(table.slots.len(), size);
        assert!(words.iter().all(|&(key, id)| table.find(key) == Some(id)));
    }

    #[test]
    fn pieces_whose_beginnings_collide_are_refused() {
        // Beside those of three bytes, there may be as many of two.
        let shift = shift((8 * MOST_PROBES).next_power_of_two());
        let ascii =
            |places: [u32; 3]| places.map(|place| char::from(1 + (place % 127) as u8)).into_iter().collect::<String>();
        let texts = || (0..127 * 127 * 127).map(|number: u32| ascii([number, number / 127, number / 127 / 127]));
        let pieces = |texts: &mut dyn Iterator<Item = String>| {
            let mut keys = PieceKeys::default();
            texts.take(2 * MOST_PROBES).zip(0..).for_each(|(text, id)| keys.push(&text, id));
            assert_eq!(keys.whole.len(), 2 * MOST_PROBES);
            Pieces::new(&keys)
        };
        let collides = |text: &String| (word_key(text.as_bytes()).unwrap_or_default() as u64).hash() >> shift < 32;
        assert!(pieces(&mut texts()).is_some());
        assert!(pieces(&mut texts().filter(collides)).is_none());
    }
}
