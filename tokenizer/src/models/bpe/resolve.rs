//! Which tokens of the vocabulary the merges of a list are.
//!
//! A list names two tokens for each merge, all over the vocabulary, so that finding them takes as long as memory does. Most have few bytes:
//! these and the id fit into a slot of a table that lives as long as the list is read, which one look at memory answers.

use std::ops::Range;

use super::merge_table::{MANY_MERGES, Merge};
use super::{BpeFault, MergeList};
use crate::both::both;
use crate::large_table::{LargeTable, MOST_PROBES};
use crate::models::Vocabulary;
use crate::models::vocabulary::PrefixHash;

/// So many merges, or tokens, are looked at together.
const TOGETHER: usize = 32;

/// Bytes of the longest token that a slot has room for.
const LONGEST: usize = 11;

/// Bits of a slot before the id: the bytes of a token, and their number.
const KEY_BITS: u32 = 96;
const KEY: u128 = (1 << KEY_BITS) - 1;

/// The sixteen bytes from `at` on, the first the lowest; zeros after the last of the text.
#[inline]
fn sixteen(text: &[u8], at: usize) -> u128 {
    let rest = text.get(at..).unwrap_or_default();
    let bytes = rest.first_chunk().copied().unwrap_or_else(|| {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(rest).for_each(|(to, &byte)| *to = byte);
        bytes
    });
    u128::from_le_bytes(bytes)
}

/// The first `len` bytes of sixteen.
#[inline]
fn head(sixteen: u128, len: usize) -> u128 {
    const MASKS: [u128; 17] = {
        let mut masks = [u128::MAX; 17];
        let mut len = 0;
        while len < 16 {
            masks[len] = (1 << (8 * len)) - 1;
            len += 1;
        }
        masks
    };
    sixteen & MASKS[len]
}

/// What tells a token from others; 0 where it has no byte, or too many.
#[inline]
fn key(text: &[u8], token: &Range<usize>) -> u128 {
    let len = token.len();
    match len {
        1..=LONGEST => head(sixteen(text, token.start), len) | (len as u128) << (8 * LONGEST),
        _ => 0,
    }
}

/// A hash table from the tokens of few bytes to their ids; but for those that collide with too many others.
#[derive(Debug)]
pub(crate) struct ShortTokens {
    /// Id and [`key`], from the upper bits down; 0 where free.
    slots: LargeTable<u128>,
    /// The hash's upper bits say where to begin; this many are not used.
    shift: u32,
}

impl ShortTokens {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let entries = vocabulary.entries();
        let size = (entries.len() + entries.len() / 2).next_power_of_two().max(2);
        let mut slots = LargeTable::<u128>::new(size);
        let shift = u64::BITS - size.trailing_zeros();
        let text = vocabulary.text().as_bytes();
        for first in entries.clone().step_by(TOGETHER) {
            let entries = first..entries.end.min(first.saturating_add(TOGETHER as u32));
            let mut keys = [0; TOGETHER];
            for (entry, to) in entries.clone().zip(&mut keys) {
                *to = key(text, &vocabulary.range_of(entry));
            }
            fetch(&slots, keys.iter().map(|&key| place(key, shift)));
            for (entry, key) in entries.zip(keys).filter(|&(_, key)| key != 0) {
                let first = place(key, shift);
                let free = (first..first + MOST_PROBES).map(|at| at & (size - 1)).find(|&at| slots[at] == 0);
                if let Some(at) = free {
                    slots[at] = u128::from(vocabulary.id_of(entry)) << KEY_BITS | key;
                }
            }
        }
        ShortTokens { slots, shift }
    }

    /// The id of the token with this key, if it is here.
    #[inline]
    fn find(&self, key: u128) -> Option<u32> {
        let slots = &*self.slots;
        let mut at = place(key, self.shift);
        for _ in 0..MOST_PROBES {
            match slots[at] {
                0 => return None,
                slot if slot & KEY == key => return Some((slot >> KEY_BITS) as u32),
                _ => at = (at + 1) & (slots.len() - 1),
            }
        }
        None
    }
}

/// Where in the table a key is looked for first.
#[inline]
fn place(key: u128, shift: u32) -> usize {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let hash = ((key as u64).wrapping_mul(SPREAD) ^ (key >> 64) as u64).wrapping_mul(SPREAD);
    (hash >> shift) as usize
}

/// Has the processor fetch all these slots together: in a large table, one after the other would wait for memory.
#[inline]
fn fetch(slots: &[u128], places: impl Iterator<Item = usize>) {
    std::hint::black_box(places.fold(0, |all, at| all | slots[at]));
}

/// The ids of all merges, in their order. `tokens` are those of the vocabulary.
pub(super) fn resolve(
    merges: &MergeList,
    vocabulary: &Vocabulary,
    tokens: &ShortTokens,
    prefix_len: usize,
) -> Result<Vec<Merge>, BpeFault> {
    let count = merges.len();
    if u32::try_from(count).is_err() {
        return Err(BpeFault::TooMany);
    }
    let part = |places: Range<usize>| {
        Resolver { merges, vocabulary, tokens, prefix_len, expected: 0..0, whole: Vec::new() }.resolve_all(places)
    };
    if count < MANY_MERGES {
        return part(0..count);
    }
    let (first, second) = both(|| part(0..count / 2), || part(count / 2..count));
    let mut ids = first?;
    ids.extend(second?);
    Ok(ids)
}

/// Finds the tokens of merges.
struct Resolver<'a> {
    merges: &'a MergeList,
    vocabulary: &'a Vocabulary,
    tokens: &'a ShortTokens,
    /// Bytes of the prefix of continuations.
    prefix_len: usize,
    /// Vocabularies list tokens in the order of their merges, so that what a merge makes is often the entry after that of the merge before,
    /// or the same.
    expected: Range<u32>,
    whole: Vec<u8>,
}

impl Resolver<'_> {
    fn resolve_all(&mut self, places: Range<usize>) -> Result<Vec<Merge>, BpeFault> {
        let (merges, tokens) = (self.merges, self.tokens);
        let mut ids = Vec::with_capacity(places.len());
        for first in places.clone().step_by(TOGETHER) {
            let places = first..places.end.min(first + TOGETHER);
            let mut keys = [[0; 2]; TOGETHER];
            for ((left, right), keys) in merges.ranges_from(first).zip(&mut keys[..places.len()]) {
                *keys = [key(merges.text(), &left), key(merges.text(), &right)];
            }
            fetch(&tokens.slots, keys.as_flattened().iter().map(|&key| place(key, tokens.shift)));
            for ((merge, place), keys) in merges.ranges_from(first).zip(places).zip(keys) {
                ids.push(self.resolve(place, merge, keys)?);
            }
        }
        Ok(ids)
    }

    /// The caller has the keys of both tokens.
    #[inline]
    fn resolve(
        &mut self,
        place: usize,
        (left, right): (Range<usize>, Range<usize>),
        keys: [u128; 2],
    ) -> Result<Merge, BpeFault> {
        let pair = (self.id(place, keys[0], &left)?, self.id(place, keys[1], &right)?);
        let text = self.merges.text();
        // The reference cuts as many bytes as the prefix has, whatever they are.
        let added = right.start.saturating_add(self.prefix_len)..right.end;
        let begins_a_character = text[..right.end].get(added.start).is_some_and(|&byte| byte & 0xC0 != 0x80);
        if !begins_a_character {
            return Err(BpeFault::Empty { place, right: String::from_utf8_lossy(&text[right]).into_owned() });
        }
        let entry = match self.expected.clone().find(|&entry| self.is_whole(entry, &left, &added)) {
            Some(entry) => entry,
            None => {
                self.whole.clear();
                self.whole.extend_from_slice(&text[left]);
                self.whole.extend_from_slice(&text[added]);
                let entry = self.vocabulary.find(PrefixHash::of(&self.whole), &self.whole);
                entry.ok_or_else(|| unknown(place, &self.whole))?
            }
        };
        self.expected = entry..entry.saturating_add(2).min(self.vocabulary.entries().end);
        Ok((pair.0, pair.1, self.vocabulary.id_of(entry)))
    }

    /// The id of one of the tokens of merge `place`.
    #[inline]
    fn id(&self, place: usize, key: u128, token: &Range<usize>) -> Result<u32, BpeFault> {
        match self.tokens.find(key).filter(|_| key != 0) {
            Some(id) => Ok(id),
            None => self.long_id(place, &self.merges.text()[token.clone()]),
        }
    }

    /// The same for a token that is not in the table.
    #[cold]
    #[inline(never)]
    fn long_id(&self, place: usize, token: &[u8]) -> Result<u32, BpeFault> {
        let entry = self.vocabulary.find(PrefixHash::of(token), token);
        entry.map(|entry| self.vocabulary.id_of(entry)).ok_or_else(|| unknown(place, token))
    }

    /// Whether an entry is these two parts of the list's text.
    #[inline]
    fn is_whole(&self, entry: u32, left: &Range<usize>, added: &Range<usize>) -> bool {
        let (of_merges, of_tokens) = (self.merges.text(), self.vocabulary.text().as_bytes());
        let whole = self.vocabulary.range_of(entry);
        if whole.len() != left.len() + added.len() {
            return false;
        }
        if whole.len() > 16 {
            let (first, second) = of_tokens[whole].split_at(left.len());
            return first == &of_merges[left.clone()] && second == &of_merges[added.clone()];
        }
        let first = head(sixteen(of_merges, left.start), left.len());
        let second = head(sixteen(of_merges, added.start), added.len());
        let second = second.checked_shl(8 * left.len() as u32).unwrap_or(0);
        first | second == head(sixteen(of_tokens, whole.start), whole.len())
    }
}

#[cold]
fn unknown(place: usize, token: &[u8]) -> BpeFault {
    BpeFault::Unknown { place, token: String::from_utf8_lossy(token).into_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::vocabulary::VocabularyBuilder;

    #[test]
    fn short_tokens_that_collide_are_found_like_others() {
        let tokens = 2 * MOST_PROBES;
        let shift = u64::BITS - (3 * MOST_PROBES).next_power_of_two().trailing_zeros();
        let key_of = |token: &str| key(token.as_bytes(), &(0..token.len()));
        let collide = (0u32..).map(|number| format!("{number:x}")).filter(|token| place(key_of(token), shift) == 9);
        let mut builder = VocabularyBuilder::default();
        for (token, id) in collide.take(tokens).zip((0..).step_by(3)) {
            builder.push(&token, id).expect("a short token");
        }
        let vocabulary = builder.build().expect("tokens whose other hashes differ");
        let tokens = ShortTokens::new(&vocabulary);
        assert_eq!(tokens.shift, shift);
        let in_table = |entry: &u32| tokens.find(key_of(vocabulary.text_of(*entry))).is_some();
        assert_eq!(vocabulary.entries().filter(in_table).count(), MOST_PROBES);
        for entry in vocabulary.entries() {
            let token = vocabulary.text_of(entry);
            let mut merges = MergeList::default();
            merges.push(token, token);
            let (vocabulary, tokens) = (&vocabulary, &tokens);
            let resolver =
                Resolver { merges: &merges, vocabulary, tokens, prefix_len: 0, expected: 0..0, whole: Vec::new() };
            assert_eq!(resolver.id(0, key_of(token), &(0..token.len())).ok(), Some(3 * entry));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn ids_are_those_of_the_vocabulary(
            tokens in prop::collection::btree_set("[ab]{0,5}|[ab\u{0}é]{9,13}|a{7,9}b{7,9}", 1..120),
            merges in prop::collection::vec(("[ab]{0,3}|[ab\u{0}é]{3,9}|a{7,9}", "#?([ab]{0,3}|[ab\u{0}é]{3,9}|b{7,9})"), 0..80),
            prefix in "#?",
            any_merge in any::<bool>(),
        ) {
            let whole = |left: &str, right: &str| right.get(prefix.len()..).map(|added| format!("{left}{added}"));
            let listed: Vec<(&str, &str)> = merges.iter().map(|(left, right)| (left.as_str(), right.as_str())).collect();
            let mut all: Vec<String> = tokens.into_iter().collect();
            if !any_merge {
                all.extend(listed.iter().flat_map(|(left, right)| [left.to_string(), right.to_string()]));
                all.extend(listed.iter().filter_map(|(left, right)| whole(left, right)));
            }
            let mut builder = VocabularyBuilder::default();
            let mut ids = std::collections::HashMap::new();
            for token in all {
                let id = 7 * ids.len() as u32;
                if let std::collections::hash_map::Entry::Vacant(vacant) = ids.entry(token) {
                    builder.push(vacant.key(), id).expect("a small vocabulary");
                    vacant.insert(id);
                }
            }
            let vocabulary = builder.build().expect("tokens that differ");
            let mut list = MergeList::default();
            listed.iter().for_each(|(left, right)| list.push(left, right));
            let id = |token: &str| ids.get(token).copied();
            let expected: Option<Vec<Merge>> = listed.iter().map(|(left, right)| {
                let added = whole(left, right).filter(|_| right.len() > prefix.len())?;
                Some((id(left)?, id(right)?, id(&added)?))
            }).collect();
            let found = resolve(&list, &vocabulary, &ShortTokens::new(&vocabulary), prefix.len());
            prop_assert_eq!(found.ok(), expected);
        }
    }
}
