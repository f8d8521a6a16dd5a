//! Tokens and their ids: one string for all tokens, open addressing to find them.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut, Range};

use crate::TokenizerError;
use crate::both::both;
use crate::compiled::{Reader, Writer};
use crate::double_array::DoubleArray;
use crate::large_table::LargeTable;
use crate::numbers::{Numbers, Text};
use crate::probes::probes;

/// FNV-1a, byte by byte, so that the hashes of all prefixes of a text come in one pass over it.
#[derive(Clone, Copy)]
pub(crate) struct PrefixHash(u64);

impl PrefixHash {
    pub(crate) const EMPTY: PrefixHash = PrefixHash(0xcbf2_9ce4_8422_2325);

    #[inline]
    pub(crate) fn with(self, byte: u8) -> Self {
        PrefixHash((self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        bytes.iter().fold(Self::EMPTY, |hash, &byte| hash.with(byte))
    }

    /// The low bits of FNV depend on the low bits of the input only; fold the high ones in.
    #[inline]
    pub(crate) fn mixed(self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

const EMPTY_SLOT: u32 = u32::MAX;

/// Tokens whose slots are fetched together.
const TOGETHER: usize = 64;

/// Upper half of a hash, and entry.
type Slot = [u32; 2];

const FREE: Slot = [0, EMPTY_SLOT];

/// A power of two of slots, of which so many entries take half at most.
pub(crate) fn slots(entries: usize) -> usize {
    entries.saturating_mul(2).next_power_of_two().max(2)
}

/// Why a table doesn't take an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It is in already.
    Known,
    /// Too many others have its place.
    Collides,
}

/// A hash table from byte strings, which its owner keeps, to entry numbers.
#[derive(Debug, Default)]
pub(crate) struct PieceTable<S = Numbers<Slot>> {
    /// At most half of them are taken.
    slots: S,
}

impl<S: Deref<Target = [Slot]>> PieceTable<S> {
    /// The entry that hashes to `hash` and that `is_it` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: PrefixHash, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let slots = &*self.slots;
        let tag = (hash.0 >> 32) as u32;
        for at in probes(hash.mixed() as usize, slots.len()) {
            let [slot_tag, entry] = *slots.get(at)?;
            if entry == EMPTY_SLOT {
                return None;
            }
            if slot_tag == tag && is_it(entry) {
                return Some(entry);
            }
        }
        None
    }
}

impl PieceTable<Vec<Slot>> {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        PieceTable { slots: vec![FREE; slots(entries)] }
    }
}

impl PieceTable<LargeTable<Slot>> {
    pub(crate) fn large(entries: usize) -> Self {
        let mut slots = LargeTable::new(slots(entries));
        slots.fill(FREE);
        PieceTable { slots }
    }

    /// The table, complete.
    pub(crate) fn build(self) -> PieceTable {
        PieceTable { slots: self.slots.into() }
    }
}

impl<S: DerefMut<Target = [Slot]>> PieceTable<S> {
    /// The caller has made sure that no equal entry is in, and made room for this one. False where too many others have its place.
    #[must_use]
    pub(crate) fn insert(&mut self, hash: PrefixHash, entry: u32) -> bool {
        self.insert_unless(hash, entry, |_| false).is_ok()
    }

    /// Inserts an entry, for which the caller has made room, unless `is_it` accepts one that is in.
    #[inline]
    fn insert_unless(&mut self, hash: PrefixHash, entry: u32, is_it: impl Fn(u32) -> bool) -> Result<(), Refused> {
        let slots = &mut *self.slots;
        let tag = (hash.0 >> 32) as u32;
        for at in probes(hash.mixed() as usize, slots.len()) {
            let slot = &mut slots[at];
            if slot[1] == EMPTY_SLOT {
                *slot = [tag, entry];
                return Ok(());
            }
            if slot[0] == tag && is_it(slot[1]) {
                return Err(Refused::Known);
            }
        }
        Err(Refused::Collides)
    }

    /// Has the processor fetch the slots of all these hashes together: in a large table, one after the other would wait for memory.
    #[inline]
    fn fetch<const N: usize>(&self, hashes: &[PrefixHash; N]) {
        let slots = &*self.slots;
        let mask = slots.len() - 1;
        std::hint::black_box(hashes.iter().fold(0, |all, hash| all | slots[hash.mixed() as usize & mask][1]));
    }
}

impl PieceTable {
    pub(crate) fn write(&self, name: &str, writer: &mut Writer) {
        writer.numbers(name, &self.slots);
    }

    pub(crate) fn read(name: &str, reader: &Reader) -> Result<Self, TokenizerError> {
        Ok(PieceTable { slots: reader.slots(name)? })
    }
}

/// One token: where its text ends in the string of all tokens (it starts where the one before ends), and its id.
type Entry = [u32; 2];

/// The texts of tokens.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    /// Of all of them, one after the other.
    pub(crate) bytes: &'a [u8],
    entries: &'a [Entry],
}

impl<'a> Texts<'a> {
    pub(crate) fn entries(&self) -> Range<u32> {
        0..self.entries.len() as u32
    }

    /// The id of an entry.
    #[inline]
    pub(crate) fn id(&self, entry: u32) -> u32 {
        self.entries.get(entry as usize).map_or(0, |&[_, id]| id)
    }

    /// Where in the bytes of all an entry is.
    #[inline]
    pub(crate) fn range(&self, entry: u32) -> Range<usize> {
        let end = |entry: usize| self.entries.get(entry).map_or(0, |&[end, _]| end as usize);
        let entry = entry as usize;
        entry.checked_sub(1).map_or(0, end)..end(entry)
    }

    #[inline]
    fn of(&self, entry: u32) -> &'a [u8] {
        self.bytes.get(self.range(entry)).unwrap_or_default()
    }
}

/// Collects tokens in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct VocabularyBuilder {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

/// Why a vocabulary can't be.
#[derive(Debug)]
pub(crate) enum VocabularyFault {
    /// The texts of all tokens are 4 GiB or more.
    TooLarge,
    /// A token isn't UTF-8.
    NotUtf8,
    DuplicateToken(String),
    /// More tokens than chance makes have the place of this one in a hash table.
    Collides(String),
    DuplicateId {
        id: u32,
        tokens: (String, String),
    },
}

impl VocabularyFault {
    /// What was found, for an error.
    pub(crate) fn found(&self) -> String {
        match self {
            VocabularyFault::TooLarge => "4 GiB of tokens or more".to_owned(),
            VocabularyFault::NotUtf8 => "a token that is not UTF-8".to_owned(),
            VocabularyFault::DuplicateToken(token) => format!("{token:?} twice"),
            VocabularyFault::Collides(token) => format!("many tokens with the hash of {token:?}"),
            VocabularyFault::DuplicateId { id, tokens } => {
                format!("id {id} for both {:?} and {:?}", tokens.0, tokens.1)
            }
        }
    }
}

impl VocabularyBuilder {
    pub(crate) fn push(&mut self, token: &str, id: u32) -> Result<(), VocabularyFault> {
        self.text.extend_from_slice(token.as_bytes());
        self.finish_token(id)
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts the text of the next token together piece by piece; `finish_token` ends it.
    pub(crate) fn text_mut(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    pub(crate) fn finish_token(&mut self, id: u32) -> Result<(), VocabularyFault> {
        let end = u32::try_from(self.text.len()).map_err(|_| VocabularyFault::TooLarge)?;
        self.entries.push([end, id]);
        Ok(())
    }

    /// Adds all tokens of another, to whose ids so much is added.
    pub(crate) fn append(&mut self, other: Self, to_ids: u32) -> Result<(), VocabularyFault> {
        let before = u32::try_from(self.text.len()).map_err(|_| VocabularyFault::TooLarge)?;
        u32::try_from(self.text.len() + other.text.len()).map_err(|_| VocabularyFault::TooLarge)?;
        self.text.extend_from_slice(&other.text);
        // The sum of both lengths fits, so that each end does.
        let moved = other.entries.iter().map(|&[end, id]| Some([before + end, id.checked_add(to_ids)?]));
        let count = self.entries.len() + other.entries.len();
        self.entries.extend(moved.map_while(|entry| entry));
        if self.entries.len() == count { Ok(()) } else { Err(VocabularyFault::TooLarge) }
    }

    /// As [`build`](Self::build), and what `other` makes of the tokens meanwhile.
    pub(crate) fn build_with<T: Send>(
        self,
        other: impl Fn(Texts) -> T + Sync,
    ) -> Result<(Vocabulary, T), VocabularyFault> {
        let (table, made) = both(|| self.table(), || other(self.texts()));
        match table {
            Ok(table) => Ok((self.with_table(table)?, made)),
            Err(_) => Ok((self.build()?, made)),
        }
    }

    pub(crate) fn build(self) -> Result<Vocabulary, VocabularyFault> {
        match self.table() {
            Ok(table) => self.with_table(table),
            Err((refused, entry)) => {
                let token = String::from_utf8_lossy(self.texts().of(entry)).into_owned();
                Err(match refused {
                    Refused::Known => VocabularyFault::DuplicateToken(token),
                    Refused::Collides => VocabularyFault::Collides(token),
                })
            }
        }
    }

    fn texts(&self) -> Texts<'_> {
        Texts { bytes: &self.text, entries: &self.entries }
    }

    /// The table of all tokens; or the first that it doesn't take.
    fn table(&self) -> Result<PieceTable, (Refused, u32)> {
        let texts = self.texts();
        let all = 0..self.entries.len() as u32;
        let mut table = PieceTable::large(self.entries.len());
        for first in all.clone().step_by(TOGETHER) {
            let entries = first..all.end.min(first.saturating_add(TOGETHER as u32));
            let mut hashes = [PrefixHash::EMPTY; TOGETHER];
            for (hash, entry) in hashes.iter_mut().zip(entries.clone()) {
                *hash = PrefixHash::of(texts.of(entry));
            }
            table.fetch(&hashes);
            for (hash, entry) in hashes.into_iter().zip(entries) {
                let token = texts.of(entry);
                let inserted = table.insert_unless(hash, entry, |other| texts.of(other) == token);
                inserted.map_err(|refused| (refused, entry))?;
            }
        }
        Ok(table.build())
    }

    fn with_table(self, table: PieceTable) -> Result<Vocabulary, VocabularyFault> {
        let VocabularyBuilder { text, entries } = self;
        let text = Text::new(text).ok_or(VocabularyFault::NotUtf8)?;
        if !entries.iter().all(|&[end, _]| text.is_char_boundary(end as usize)) {
            return Err(VocabularyFault::NotUtf8);
        }
        let texts = Texts { bytes: text.as_bytes(), entries: &entries };
        let all = 0..entries.len() as u32;
        let mut by_id: Vec<[u32; 2]> = Vec::new();
        if entries.iter().zip(all.clone()).any(|(&[_, id], entry)| id != entry) {
            by_id = entries.iter().zip(all).map(|(&[_, id], entry)| [id, entry]).collect();
            by_id.sort_unstable();
        }
        for pair in by_id.windows(2) {
            if pair[0][0] == pair[1][0] {
                let text = |entry| String::from_utf8_lossy(texts.of(entry)).into_owned();
                return Err(VocabularyFault::DuplicateId {
                    id: pair[0][0],
                    tokens: (text(pair[0][1]), text(pair[1][1])),
                });
            }
        }
        Ok(Vocabulary { entries: entries.into(), text, table, by_id: by_id.into(), repeats: Numbers::default() })
    }
}

/// The tokens of a model and their ids, both ways.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    text: Text,
    entries: Numbers<Entry>,
    table: PieceTable,
    /// Id and entry, in the order of the ids, which may have holes of any size. Empty where each entry's id is its own number.
    by_id: Numbers<[u32; 2]>,
    /// Ids of tokens that come again with another id, which is the one that they are found by: id and entry, in the order of the ids.
    repeats: Numbers<[u32; 2]>,
}

impl Vocabulary {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.text("text", &self.text);
        writer.numbers("entries", &self.entries);
        self.table.write("slots", writer);
        writer.numbers("by_id", &self.by_id);
        writer.numbers("repeats", &self.repeats);
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let entries: Numbers<Entry> = reader.numbers("entries")?;
        if u32::try_from(entries.len()).is_err() {
            return Err(reader.invalid("entries", "fewer than 2^32", entries.len().to_string()));
        }
        Ok(Vocabulary {
            text: reader.text("text")?,
            entries,
            table: PieceTable::read("slots", reader)?,
            by_id: reader.numbers("by_id")?,
            repeats: reader.numbers("repeats")?,
        })
    }

    /// How many ids there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.repeats.len()
    }

    pub(crate) fn entries(&self) -> Range<u32> {
        0..self.entries.len() as u32
    }

    /// The texts of all entries.
    pub(crate) fn texts(&self) -> Texts<'_> {
        Texts { bytes: self.text.as_bytes(), entries: &self.entries }
    }

    /// The text of an entry that this vocabulary gave; nothing for another.
    #[inline]
    pub(crate) fn text_of(&self, entry: u32) -> &str {
        self.text.get(self.texts().range(entry)).unwrap_or_default()
    }

    /// As [`text_of`](Self::text_of).
    #[inline]
    pub(crate) fn bytes_of(&self, entry: u32) -> &[u8] {
        self.texts().of(entry)
    }

    /// The id of an entry that this vocabulary gave.
    #[inline]
    pub(crate) fn id_of(&self, entry: u32) -> u32 {
        self.texts().id(entry)
    }

    /// The entry with exactly this text, whose hash the caller has.
    #[inline]
    pub(crate) fn find(&self, hash: PrefixHash, token: &[u8]) -> Option<u32> {
        self.table.find(hash, |entry| self.bytes_of(entry) == token)
    }

    pub(crate) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.find(PrefixHash::of(token.as_bytes()), token.as_bytes()).map(|entry| self.id_of(entry))
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<&str> {
        let entry = match self.by_id.get(id as usize) {
            None if self.by_id.is_empty() => self.entries().contains(&id).then_some(id)?,
            // Where ids have no holes, the place is the id.
            Some(&[found, entry]) if found == id => entry,
            _ => {
                let find = |list: &[[u32; 2]]| {
                    let at = list.binary_search_by_key(&id, |&[id, _]| id).ok()?;
                    list.get(at).map(|&[_, entry]| entry)
                };
                find(&self.by_id).or_else(|| find(&self.repeats))?
            }
        };
        Some(self.text_of(entry))
    }
}

/// So many tokens are worth a second thread.
const MANY: usize = 1 << 14;

impl VocabularyBuilder {
    /// As [`build_with_repeats`](Self::build_with_repeats), and a trie from the tokens that aren't empty to their ids, made meanwhile,
    /// where they are many and differ.
    pub(crate) fn build_with_trie(self) -> Result<(Vocabulary, Option<DoubleArray>), VocabularyFault> {
        if self.entries.len() < MANY {
            return Ok((self.build_with_repeats()?, None));
        }
        let trie = |texts: Texts| {
            let keys = texts.entries().map(|entry| (texts.of(entry), texts.id(entry)));
            let keys: Vec<(&[u8], u32)> = keys.filter(|(token, _)| !token.is_empty()).collect();
            DoubleArray::build(&keys).ok()
        };
        let (table, trie) = both(|| self.table(), || trie(self.texts()));
        match table {
            Ok(table) => Ok((self.with_table(table)?, trie)),
            Err(_) => Ok((self.build_with_repeats()?, None)),
        }
    }

    /// As [`build`](Self::build), but a token may come again: its last id is the one that it is found by, the others have its text too.
    pub(crate) fn build_with_repeats(self) -> Result<Vocabulary, VocabularyFault> {
        if let Ok(table) = self.table() {
            return self.with_table(table);
        }
        let text: &[u8] = self.text.as_ref();
        let starts = std::iter::once(0).chain(self.entries.iter().map(|&[end, _]| end as usize));
        let tokens: Vec<&[u8]> =
            starts.zip(&self.entries).map(|(start, &[end, _])| &text[start..end as usize]).collect();
        let last: HashMap<&[u8], usize> = tokens.iter().copied().zip(0..).collect();
        let mut once = VocabularyBuilder::default();
        let mut repeats = Vec::new();
        for (at, (&token, &[_, id])) in tokens.iter().zip(&self.entries).enumerate() {
            match last.get(token) {
                Some(&last) if last != at => repeats.push((id, token)),
                _ => once.push(&String::from_utf8_lossy(token), id)?,
            }
        }
        let mut vocabulary = once.build()?;
        let entry_of = |token: &[u8]| vocabulary.find(PrefixHash::of(token), token);
        let mut repeats: Vec<[u32; 2]> =
            repeats.into_iter().filter_map(|(id, token)| Some([id, entry_of(token)?])).collect();
        repeats.sort_unstable();
        vocabulary.repeats = repeats.into();
        Ok(vocabulary)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::probes::MOST_PROBES;

    #[test]
    fn tokens_that_collide_are_refused_after_so_many_probes() {
        let hash = PrefixHash::of(b"any");
        let mut table = PieceTable::large(4 * MOST_PROBES);
        let probes = Cell::new(0);
        let is_it = |_| {
            probes.set(probes.get() + 1);
            false
        };
        for entry in 0..MOST_PROBES as u32 {
            assert_eq!(table.insert_unless(hash, entry, is_it), Ok(()));
        }
        assert_eq!(probes.replace(0), MOST_PROBES * (MOST_PROBES - 1) / 2);
        assert_eq!(table.insert_unless(hash, 7, is_it), Err(Refused::Collides));
        assert_eq!(table.find(hash, is_it), None);
        assert_eq!(probes.get(), 2 * MOST_PROBES);
        let last = MOST_PROBES as u32 - 1;
        assert_eq!(table.find(hash, |entry| entry == last), Some(last));
        assert_eq!(table.insert_unless(hash, 7, |entry| entry == last), Err(Refused::Known));
    }

    #[test]
    fn a_vocabulary_of_tokens_that_collide_is_refused() {
        const TOKENS: usize = MOST_PROBES + 50;
        let mask = slots(TOKENS) as u64 - 1;
        let with_place = |is_place: fn(u64) -> bool| {
            let tokens = (0u32..).map(|number| format!("{number:x}"));
            let mut builder = VocabularyBuilder::default();
            for token in tokens.filter(|token| is_place(PrefixHash::of(token.as_bytes()).mixed())).take(TOKENS) {
                builder.push(&token, builder.len() as u32).expect("a short token");
            }
            builder
        };
        assert_eq!(mask, 4095);
        let vocabulary = with_place(|_| true).build().expect("hashes that differ");
        assert!(vocabulary.entries().all(|entry| vocabulary.token_to_id(vocabulary.text_of(entry)) == Some(entry)));
        let collide = || with_place(|place| place & 4095 == 17);
        assert!(matches!(collide().build(), Err(VocabularyFault::Collides(_))));
        assert!(matches!(collide().build_with_repeats(), Err(VocabularyFault::Collides(_))));
    }
}
