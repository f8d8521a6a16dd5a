//! Tokens and their ids: one string for all tokens, open addressing to find them.

use std::collections::HashMap;
use std::ops::Range;

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
    fn mixed(self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

const EMPTY_SLOT: u32 = u32::MAX;

/// Tokens whose slots are fetched together.
pub(crate) const TOGETHER: usize = 64;

/// A hash table from byte strings, which its owner keeps, to entry numbers.
#[derive(Debug, Default)]
pub(crate) struct PieceTable {
    /// (upper half of the hash, entry); at most half of the slots are taken.
    slots: Vec<(u32, u32)>,
    mask: usize,
}

impl PieceTable {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        let size = (entries.saturating_mul(2)).next_power_of_two().max(2);
        PieceTable { slots: vec![(0, EMPTY_SLOT); size], mask: size - 1 }
    }

    /// The entry that hashes to `hash` and that `is_it` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: PrefixHash, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mixed = hash.mixed();
        let tag = (hash.0 >> 32) as u32;
        let mut at = mixed as usize & self.mask;
        loop {
            let (slot_tag, entry) = *self.slots.get(at)?;
            if entry == EMPTY_SLOT {
                return None;
            }
            if slot_tag == tag && is_it(entry) {
                return Some(entry);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Has the processor fetch the slots of all these hashes together: in a large table, one after the other would wait for memory. What
    /// is found there may be the entries that are looked for.
    #[inline]
    fn fetch<const N: usize>(&self, hashes: &[PrefixHash; N]) -> [u32; N] {
        let first = |hash: PrefixHash| self.slots.get(hash.mixed() as usize & self.mask);
        std::hint::black_box(hashes.map(|hash| first(hash).map_or(EMPTY_SLOT, |&(_, entry)| entry)))
    }

    /// The caller has made sure that no equal entry is in, and made room for this one.
    pub(crate) fn insert(&mut self, hash: PrefixHash, entry: u32) {
        self.insert_unless(hash, entry, |_| false);
    }

    /// Inserts an entry, for which the caller has made room; false where `is_it` accepts one that is in.
    #[inline]
    fn insert_unless(&mut self, hash: PrefixHash, entry: u32, is_it: impl Fn(u32) -> bool) -> bool {
        let tag = (hash.0 >> 32) as u32;
        let mut at = hash.mixed() as usize & self.mask;
        while self.slots[at].1 != EMPTY_SLOT {
            if self.slots[at].0 == tag && is_it(self.slots[at].1) {
                return false;
            }
            at = (at + 1) & self.mask;
        }
        self.slots[at] = (tag, entry);
        true
    }
}

/// One token: where its text ends in the string of all tokens (it starts where the one before ends), and its id.
#[derive(Clone, Copy, Debug)]
struct Entry {
    end: u32,
    id: u32,
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
    DuplicateId {
        id: u32,
        tokens: (String, String),
    },
}

impl VocabularyBuilder {
    pub(crate) fn push(&mut self, token: &str, id: u32) -> Result<(), VocabularyFault> {
        self.text.extend_from_slice(token.as_bytes());
        self.finish_token(id)
    }

    /// Puts the text of the next token together piece by piece; `finish_token` ends it.
    pub(crate) fn text_mut(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    pub(crate) fn finish_token(&mut self, id: u32) -> Result<(), VocabularyFault> {
        let end = u32::try_from(self.text.len()).map_err(|_| VocabularyFault::TooLarge)?;
        self.entries.push(Entry { end, id });
        Ok(())
    }

    pub(crate) fn build(self) -> Result<Vocabulary, VocabularyFault> {
        let VocabularyBuilder { text, entries } = self;
        let text = String::from_utf8(text).map_err(|_| VocabularyFault::NotUtf8)?;
        if !entries.iter().all(|entry| text.is_char_boundary(entry.end as usize)) {
            return Err(VocabularyFault::NotUtf8);
        }
        let table = PieceTable::with_capacity(entries.len());
        let mut vocabulary = Vocabulary { text, entries, table, by_id: Vec::new(), repeats: Vec::new() };
        let mut table = std::mem::take(&mut vocabulary.table);
        for first in vocabulary.entries().step_by(TOGETHER) {
            let entries = first..vocabulary.entries().end.min(first.saturating_add(TOGETHER as u32));
            let mut hashes = [PrefixHash::EMPTY; TOGETHER];
            for (hash, entry) in hashes.iter_mut().zip(entries.clone()) {
                *hash = PrefixHash::of(vocabulary.bytes_of(entry));
            }
            table.fetch(&hashes);
            for (hash, entry) in hashes.into_iter().zip(entries) {
                let token = vocabulary.bytes_of(entry);
                if !table.insert_unless(hash, entry, |other| vocabulary.bytes_of(other) == token) {
                    return Err(VocabularyFault::DuplicateToken(vocabulary.text_of(entry).to_owned()));
                }
            }
        }
        vocabulary.table = table;
        if vocabulary.entries().any(|entry| vocabulary.id_of(entry) != entry) {
            vocabulary.by_id = vocabulary.entries().map(|entry| (vocabulary.id_of(entry), entry)).collect();
            vocabulary.by_id.sort_unstable();
        }
        for pair in vocabulary.by_id.windows(2) {
            if pair[0].0 == pair[1].0 {
                let text = |entry| vocabulary.text_of(entry).to_owned();
                return Err(VocabularyFault::DuplicateId { id: pair[0].0, tokens: (text(pair[0].1), text(pair[1].1)) });
            }
        }
        Ok(vocabulary)
    }
}

/// The tokens of a model and their ids, both ways.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    text: String,
    entries: Vec<Entry>,
    table: PieceTable,
    /// (id, entry) in the order of the ids, which may have holes of any size. Empty where each entry's id is its own number.
    by_id: Vec<(u32, u32)>,
    /// Ids of tokens that come again with another id, which is the one that they are found by: (id, entry), in the order of the ids.
    repeats: Vec<(u32, u32)>,
}

impl Vocabulary {
    /// How many ids there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.repeats.len()
    }

    pub(crate) fn entries(&self) -> Range<u32> {
        0..self.entries.len() as u32
    }

    /// The text of an entry that this vocabulary gave.
    #[inline]
    pub(crate) fn text_of(&self, entry: u32) -> &str {
        let entry = entry as usize;
        let start = entry.checked_sub(1).map_or(0, |before| self.entries[before].end);
        &self.text[start as usize..self.entries[entry].end as usize]
    }

    /// As [`text_of`](Self::text_of).
    #[inline]
    pub(crate) fn bytes_of(&self, entry: u32) -> &[u8] {
        let entry = entry as usize;
        let start = entry.checked_sub(1).map_or(0, |before| self.entries[before].end);
        &self.text.as_bytes()[start as usize..self.entries[entry].end as usize]
    }

    #[inline]
    pub(crate) fn id_of(&self, entry: u32) -> u32 {
        self.entries[entry as usize].id
    }

    /// The entry with exactly this text, whose hash the caller has.
    #[inline]
    pub(crate) fn find(&self, hash: PrefixHash, token: &[u8]) -> Option<u32> {
        self.table.find(hash, |entry| self.bytes_of(entry) == token)
    }

    /// Has the processor fetch what [`find`](Self::find) needs for the tokens of these hashes, all of it together.
    pub(crate) fn fetch(&self, hashes: &[PrefixHash; TOGETHER]) {
        let entries = self.table.fetch(hashes);
        let ends = entries.map(|entry| self.entries.get(entry.wrapping_sub(1) as usize).map_or(0, |entry| entry.end));
        std::hint::black_box(ends.map(|end| self.text.as_bytes().get(end as usize).copied()));
    }

    pub(crate) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.find(PrefixHash::of(token.as_bytes()), token.as_bytes()).map(|entry| self.id_of(entry))
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<&str> {
        let entry = match self.by_id.get(id as usize) {
            None if self.by_id.is_empty() => self.entries().contains(&id).then_some(id)?,
            // Where ids have no holes, the place is the id.
            Some(&(found, entry)) if found == id => entry,
            _ => {
                let find = |list: &[(u32, u32)]| {
                    list.binary_search_by_key(&id, |&(id, _)| id)
                        .ok()
                        .and_then(|at| list.get(at))
                        .map(|&(_, entry)| entry)
                };
                find(&self.by_id).or_else(|| find(&self.repeats))?
            }
        };
        Some(self.text_of(entry))
    }
}

impl VocabularyBuilder {
    /// As [`build`](Self::build), but a token may come again: its last id is the one that it is found by, the others have its text too.
    pub(crate) fn build_with_repeats(self) -> Result<Vocabulary, VocabularyFault> {
        let text: &[u8] = self.text.as_ref();
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end as usize));
        let tokens: Vec<&[u8]> =
            starts.zip(&self.entries).map(|(start, entry)| &text[start..entry.end as usize]).collect();
        let last: HashMap<&[u8], usize> = tokens.iter().copied().zip(0..).collect();
        if last.len() == tokens.len() {
            return self.build();
        }
        let mut once = VocabularyBuilder::default();
        let mut repeats = Vec::new();
        for (at, (&token, entry)) in tokens.iter().zip(&self.entries).enumerate() {
            match last.get(token) {
                Some(&last) if last != at => repeats.push((entry.id, token)),
                _ => once.push(&String::from_utf8_lossy(token), entry.id)?,
            }
        }
        let mut vocabulary = once.build()?;
        let entry_of = |token: &[u8]| vocabulary.find(PrefixHash::of(token), token);
        let mut repeats: Vec<(u32, u32)> =
            repeats.into_iter().filter_map(|(id, token)| Some((id, entry_of(token)?))).collect();
        repeats.sort_unstable();
        vocabulary.repeats = repeats;
        Ok(vocabulary)
    }
}
