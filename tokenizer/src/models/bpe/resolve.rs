//! Which tokens of the vocabulary the merges of a list are.
//!
//! A list names two tokens for each merge, all over the vocabulary, so that finding them takes as long as memory does. Most have few bytes:
//! these and the id fit into a slot of a table that lives as long as the list is read, which one look at memory answers.

use std::ops::Range;

use super::merge_table::{MANY_MERGES, Merge};
use super::{BpeFault, MergeList};
use crate::both::both;
use crate::large_table::LargeTable;
use crate::models::Vocabulary;
use crate::models::vocabulary::{PrefixHash, Texts};
use crate::probes::probes;

/// So many merges, or tokens, are looked at together.
const TOGETHER: usize = 32;

/// Bytes of the longest token that a slot has room for.
const LONGEST: usize = 11;

/// Bits of a slot before the id: the bytes of a token, and their number.
const KEY_BITS: u32 = 96;
const KEY: u128 = (1 << KEY_BITS) - 1;

/// No token has so many bytes that fit.
const NO_KEY: u128 = KEY;

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

/// What tells a token from others; [`NO_KEY`] where it has no byte, or too many.
#[inline]
fn key(text: &[u8], token: &Range<usize>) -> u128 {
    let len = token.len();
    match len {
        1..=LONGEST => head(sixteen(text, token.start), len) | (len as u128) << (8 * LONGEST),
        _ => NO_KEY,
    }
}

/// Bytes of the longest token that two slots side by side have room for.
const LONGEST_OF_TWO: usize = 16 + LONGEST;

/// The same for tokens of more bytes than [`key`] takes, in two parts: the last has no byte of those that aren't there.
#[inline]
fn keys(text: &[u8], token: &Range<usize>) -> Option<[u128; 2]> {
    let len = token.len();
    if !(LONGEST + 1..=LONGEST_OF_TWO).contains(&len) {
        return None;
    }
    let first = head(sixteen(text, token.start), len.min(16));
    let rest = head(sixteen(text, token.start + 16), len.saturating_sub(16));
    Some([first, rest | (len as u128) << (8 * LONGEST)])
}

/// Where in the table of pairs of slots keys are looked for first.
#[inline]
fn place_of_two(keys: [u128; 2], shift: u32) -> usize {
    place(keys[0] ^ keys[1].rotate_left(29), shift)
}

/// Hash tables from the tokens of few bytes to their ids; but for those that collide with too many others.
#[derive(Debug)]
pub(crate) struct ShortTokens {
    /// Id and [`key`], from the upper bits down; 0 where free.
    slots: LargeTable<u128>,
    /// The hash's upper bits say where to begin; this many are not used.
    shift: u32,
    /// Of longer tokens, of which there are fewer, both parts of [`keys`], the last with the id before it.
    pairs: LargeTable<[u128; 2]>,
    pairs_shift: u32,
}

impl ShortTokens {
    pub(crate) fn new(texts: Texts) -> Self {
        let entries = texts.entries();
        let size = (entries.len() + entries.len() / 2).next_power_of_two().max(2);
        let mut slots = LargeTable::<u128>::new(size);
        let shift = u64::BITS - size.trailing_zeros();
        for first in entries.clone().step_by(TOGETHER) {
            let entries = first..entries.end.min(first.saturating_add(TOGETHER as u32));
            let mut keys = [0; TOGETHER];
            for (entry, to) in entries.clone().zip(&mut keys) {
                *to = key(texts.bytes, &texts.range(entry));
            }
            fetch(&slots, keys.iter().map(|&key| place(key, shift)));
            for (entry, key) in entries.zip(keys).filter(|&(_, key)| key != NO_KEY) {
                if let Some(at) = probes(place(key, shift), size).find(|&at| slots[at] == 0) {
                    slots[at] = u128::from(texts.id(entry)) << KEY_BITS | key;
                }
            }
        }
        let of_two = |entry: &u32| keys(texts.bytes, &texts.range(*entry)).map(|keys| (keys, texts.id(*entry)));
        let lens = texts.entries().map(|entry| texts.range(entry).len());
        let count = lens.filter(|len| (LONGEST + 1..=LONGEST_OF_TWO).contains(len)).count();
        let size = (count + count / 2).next_power_of_two().max(2);
        let mut pairs = LargeTable::<[u128; 2]>::new(size);
        let pairs_shift = u64::BITS - size.trailing_zeros();
        for (keys, id) in texts.entries().filter_map(|entry| of_two(&entry)) {
            if let Some(at) = probes(place_of_two(keys, pairs_shift), size).find(|&at| pairs[at] == [0; 2]) {
                pairs[at] = [keys[0], keys[1] | u128::from(id) << KEY_BITS];
            }
        }
        ShortTokens { slots, shift, pairs, pairs_shift }
    }

    /// The id of a longer token, if it is here.
    fn find_longer(&self, text: &[u8], token: &Range<usize>) -> Option<u32> {
        let keys = keys(text, token)?;
        for at in probes(place_of_two(keys, self.pairs_shift), self.pairs.len()) {
            match self.pairs[at] {
                [0, 0] => return None,
                [first, second] if first == keys[0] && second & KEY == keys[1] => {
                    return Some((second >> KEY_BITS) as u32);
                }
                _ => {}
            }
        }
        None
    }

    /// The id of the token with this key, if it is in the first place that is looked at. The place behind it may be in another cache line.
    #[inline]
    fn find_at_once(&self, key: u128, place: usize) -> Option<u32> {
        let slot = self.slots[place & (self.slots.len() - 1)];
        (slot & KEY == key).then_some((slot >> KEY_BITS) as u32)
    }

    /// The id of the token with this key, if it is here.
    fn find(&self, key: u128) -> Option<u32> {
        let slots = &*self.slots;
        for at in probes(place(key, self.shift), slots.len()) {
            match slots[at] {
                0 => return None,
                slot if slot & KEY == key => return Some((slot >> KEY_BITS) as u32),
                _ => {}
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

/// Where among so many slots a token is looked for first.
#[cfg(test)]
pub(crate) fn place_of_token(token: &str, slots: usize) -> usize {
    place(key(token.as_bytes(), &(0..token.len())), u64::BITS - slots.trailing_zeros())
}

/// Has the processor fetch all these slots together: in a large table, one after the other would wait for memory.
#[inline]
fn fetch(slots: &[u128], places: impl Iterator<Item = usize>) {
    std::hint::black_box(places.fold(0, |all, at| all | slots[at]));
}

/// The ids of all merges, in their order: those of the first half, and the others. `tokens` are those of the vocabulary.
pub(super) fn resolve(
    merges: &MergeList,
    vocabulary: &Vocabulary,
    tokens: &ShortTokens,
    prefix_len: usize,
) -> Result<[Vec<Merge>; 2], BpeFault> {
    let part = |places: Range<usize>| {
        let mut resolver = Resolver::new(vocabulary, tokens, prefix_len, places.start);
        resolver.push_all(merges, places)?;
        Ok(resolver.merges)
    };
    let count = merges.len();
    if count < MANY_MERGES {
        return Ok([part(0..count)?, Vec::new()]);
    }
    let (first, second) = both(|| part(0..count / 2), || part(count / 2..count));
    Ok([first?, second?])
}

/// A merge that waits for others: a cache line.
struct Waiting {
    /// Of its tokens.
    keys: [u128; 2],
    /// Where in the table these are looked for first.
    places: [u32; 2],
    /// Where in the text the tokens begin, and their bytes.
    starts: [usize; 2],
    lens: [u32; 2],
}

impl Waiting {
    #[inline]
    fn token(&self, which: usize) -> Range<usize> {
        self.starts[which]..self.starts[which] + self.lens[which] as usize
    }
}

/// Finds the tokens of merges, which it takes one after the other.
pub(crate) struct Resolver<'a> {
    vocabulary: &'a Vocabulary,
    tokens: &'a ShortTokens,
    /// Bytes of the prefix of continuations.
    prefix_len: usize,
    /// How many merges come before.
    first: usize,
    waiting: Vec<Waiting>,
    /// Vocabularies list tokens in the order of their merges, so that what a merge makes is often the entry after that of the merge before,
    /// or the same: this is the latter.
    expected: u32,
    whole: Vec<u8>,
    merges: Vec<Merge>,
}

impl<'a> Resolver<'a> {
    /// `tokens` are those of the vocabulary; `first` merges come before.
    pub(crate) fn new(
        vocabulary: &'a Vocabulary,
        tokens: &'a ShortTokens,
        prefix_len: usize,
        first: usize,
    ) -> Resolver<'a> {
        let (waiting, merges) = (Vec::with_capacity(TOGETHER), Vec::new());
        Resolver { vocabulary, tokens, prefix_len, first, waiting, expected: 0, whole: Vec::new(), merges }
    }

    /// Takes the next merge, whose tokens are here in the text. The text is the same until [`flush`](Self::flush).
    #[inline]
    pub(crate) fn push(&mut self, text: &[u8], left: Range<usize>, right: Range<usize>) -> Result<(), BpeFault> {
        let keys = [key(text, &left), key(text, &right)];
        // A table of 2^32 slots would be of as many tokens.
        let places = keys.map(|key| place(key, self.tokens.shift) as u32);
        let (Ok(left_len), Ok(right_len)) = (left.len().try_into(), right.len().try_into()) else {
            return Err(self.unknown(&text[left]));
        };
        self.waiting.push(Waiting { keys, places, starts: [left.start, right.start], lens: [left_len, right_len] });
        if self.waiting.len() == TOGETHER { self.flush(text) } else { Ok(()) }
    }

    /// Takes some merges of a list; none is waiting before or after.
    pub(crate) fn push_all(&mut self, merges: &MergeList, places: Range<usize>) -> Result<(), BpeFault> {
        for (left, right) in merges.ranges_from(places.start).take(places.len()) {
            self.push(merges.text(), left, right)?;
        }
        self.flush(merges.text())
    }

    /// Finds the tokens of all merges that wait, whose text this is.
    pub(crate) fn flush(&mut self, text: &[u8]) -> Result<(), BpeFault> {
        let mut waiting = std::mem::take(&mut self.waiting);
        fetch(&self.tokens.slots, waiting.iter().flat_map(|merge| merge.places).map(|place| place as usize));
        for merge in &waiting {
            let merge = self.resolve(text, merge)?;
            self.merges.push(merge);
        }
        waiting.clear();
        self.waiting = waiting;
        Ok(())
    }

    /// The ids of all merges that were taken. None is waiting.
    pub(crate) fn finish(self) -> Vec<Merge> {
        self.merges
    }

    #[inline]
    fn resolve(&mut self, text: &[u8], merge: &Waiting) -> Result<Merge, BpeFault> {
        let pair = (self.id(text, merge, 0)?, self.id(text, merge, 1)?);
        let (left, right) = (merge.token(0), merge.token(1));
        // The reference cuts as many bytes as the prefix has, whatever they are.
        let added = right.start.saturating_add(self.prefix_len)..right.end;
        let begins_a_character = text[..right.end].get(added.start).is_some_and(|&byte| byte & 0xC0 != 0x80);
        if !begins_a_character {
            let right = String::from_utf8_lossy(&text[right]).into_owned();
            return Err(BpeFault::Empty { place: self.place(), right });
        }
        let expected = self.expected..self.expected.saturating_add(2);
        self.expected = match expected.into_iter().find(|&entry| self.is_whole(entry, text, &left, &added)) {
            Some(entry) => entry,
            None => {
                self.whole.clear();
                self.whole.extend_from_slice(&text[left]);
                self.whole.extend_from_slice(&text[added]);
                let entry = self.vocabulary.find(PrefixHash::of(&self.whole), &self.whole);
                entry.ok_or_else(|| self.unknown(&self.whole))?
            }
        };
        Ok((pair.0, pair.1, self.vocabulary.id_of(self.expected)))
    }

    /// The id of one of the tokens of the next merge.
    #[inline]
    fn id(&self, text: &[u8], merge: &Waiting, which: usize) -> Result<u32, BpeFault> {
        match self.tokens.find_at_once(merge.keys[which], merge.places[which] as usize) {
            Some(id) => Ok(id),
            None => self.other_id(merge.keys[which], text, &merge.token(which)),
        }
    }

    /// The same for a token that is further on, or not in the table.
    #[inline(never)]
    fn other_id(&self, key: u128, text: &[u8], token: &Range<usize>) -> Result<u32, BpeFault> {
        let id = if key == NO_KEY { self.tokens.find_longer(text, token) } else { self.tokens.find(key) };
        if let Some(id) = id {
            return Ok(id);
        }
        let token = &text[token.clone()];
        let entry = self.vocabulary.find(PrefixHash::of(token), token);
        entry.map(|entry| self.vocabulary.id_of(entry)).ok_or_else(|| self.unknown(token))
    }

    /// Whether an entry, or one after the last, is these two parts of the text.
    #[inline]
    fn is_whole(&self, entry: u32, text: &[u8], left: &Range<usize>, added: &Range<usize>) -> bool {
        let texts = self.vocabulary.texts();
        let whole = texts.range(entry);
        if whole.len() != left.len() + added.len() {
            return false;
        }
        let middle = whole.start + left.len();
        if left.len().max(added.len()) > 16 {
            return texts.bytes[whole.start..middle] == text[left.clone()]
                && texts.bytes[middle..whole.end] == text[added.clone()];
        }
        let left_differs = head(sixteen(texts.bytes, whole.start) ^ sixteen(text, left.start), left.len());
        let added_differs = head(sixteen(texts.bytes, middle) ^ sixteen(text, added.start), added.len());
        left_differs | added_differs == 0
    }

    /// The place of the next merge.
    fn place(&self) -> usize {
        self.first + self.merges.len()
    }

    #[cold]
    fn unknown(&self, token: &[u8]) -> BpeFault {
        BpeFault::Unknown { place: self.place(), token: String::from_utf8_lossy(token).into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::models::vocabulary::VocabularyBuilder;
    use crate::probes::MOST_PROBES;

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
        let tokens = ShortTokens::new(vocabulary.texts());
        assert_eq!(tokens.shift, shift);
        let in_table = |entry: &u32| tokens.find(key_of(vocabulary.text_of(*entry))).is_some();
        assert_eq!(vocabulary.entries().filter(in_table).count(), MOST_PROBES);
        for entry in vocabulary.entries() {
            let token = vocabulary.text_of(entry);
            let mut resolver = Resolver::new(&vocabulary, &tokens, 0, 0);
            let id = resolver.other_id(key_of(token), token.as_bytes(), &(0..token.len()));
            assert_eq!(id.ok(), Some(3 * entry));
            // The second is no token.
            assert!(resolver.push(b"x", 0..1, 0..1).and_then(|()| resolver.flush(b"x")).is_err());
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
            let found = resolve(&list, &vocabulary, &ShortTokens::new(vocabulary.texts()), prefix.len());
            prop_assert_eq!(found.ok().map(|merges| merges.concat()), expected);
        }
    }
}
