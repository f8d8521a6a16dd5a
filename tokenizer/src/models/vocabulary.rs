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

    /// The caller has made sure that no equal entry is in, and made room for this one.
    pub(crate) fn insert(&mut self, hash: PrefixHash, entry: u32) {
        let mut at = hash.mixed() as usize & self.mask;
        while self.slots[at].1 != EMPTY_SLOT {
            at = (at + 1) & self.mask;
        }
        self.slots[at] = ((hash.0 >> 32) as u32, entry);
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
    text: String,
    entries: Vec<Entry>,
}

/// Why a vocabulary can't be.
#[derive(Debug)]
pub(crate) enum VocabularyFault {
    /// The texts of all tokens are 4 GiB or more.
    TooLarge,
    DuplicateToken(String),
    DuplicateId {
        id: u32,
        tokens: (String, String),
    },
}

impl VocabularyBuilder {
    pub(crate) fn push(&mut self, token: &str, id: u32) -> Result<(), VocabularyFault> {
        let end = u32::try_from(self.text.len() + token.len()).map_err(|_| VocabularyFault::TooLarge)?;
        self.text.push_str(token);
        self.entries.push(Entry { end, id });
        Ok(())
    }

    /// Puts the text of the next token together piece by piece; `finish` ends it.
    pub(crate) fn text_mut(&mut self) -> &mut String {
        &mut self.text
    }

    pub(crate) fn finish_token(&mut self, id: u32) -> Result<(), VocabularyFault> {
        let end = u32::try_from(self.text.len()).map_err(|_| VocabularyFault::TooLarge)?;
        self.entries.push(Entry { end, id });
        Ok(())
    }

    pub(crate) fn build(self) -> Result<Vocabulary, VocabularyFault> {
        let mut vocabulary = Vocabulary {
            table: PieceTable::with_capacity(self.entries.len()),
            by_id: Vec::with_capacity(self.entries.len()),
            text: self.text,
            entries: self.entries,
            repeats: Vec::new(),
        };
        for entry in 0..vocabulary.entries.len() as u32 {
            let token = vocabulary.text_of(entry);
            let hash = PrefixHash::of(token.as_bytes());
            if vocabulary.find(hash, token.as_bytes()).is_some() {
                return Err(VocabularyFault::DuplicateToken(token.to_owned()));
            }
            vocabulary.table.insert(hash, entry);
            vocabulary.by_id.push((vocabulary.id_of(entry), entry));
        }
        // Files list tokens in the order of their ids, for which this costs one pass.
        vocabulary.by_id.sort_unstable();
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
    /// (id, entry) in the order of the ids, which may have holes of any size.
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

    #[inline]
    pub(crate) fn id_of(&self, entry: u32) -> u32 {
        self.entries[entry as usize].id
    }

    /// The entry with exactly this text, whose hash the caller has.
    #[inline]
    pub(crate) fn find(&self, hash: PrefixHash, token: &[u8]) -> Option<u32> {
        self.table.find(hash, |entry| self.text_of(entry).as_bytes() == token)
    }

    pub(crate) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.find(PrefixHash::of(token.as_bytes()), token.as_bytes()).map(|entry| self.id_of(entry))
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<&str> {
        // Where ids have no holes, the place is the id.
        let entry = match self.by_id.get(id as usize) {
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
