//! A trie of byte strings in one array.
//!
//! The child of a node for byte `b` is unit `base ^ b`, and is one where that unit's label is `b`. No two nodes have
//! the same base, so the label alone says whose child a unit is. (J. Aoe, "An efficient digital search algorithm by
//! using a double-array structure", 1989; the exclusive-or form is that of S. Yata's darts-clone.)

use std::collections::VecDeque;

use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::numbers::Numbers;

/// One node: 24 bits of base and 8 bits of label, then the value of the key that ends here.
type Unit = [u32; 2];

/// No key ends here.
pub(crate) const NO_VALUE: u32 = u32::MAX;

/// The root's unit. The rest of its block belongs to no node: a node without children has base 0, which leads there.
const ROOT: u32 = 0;

/// Units come in blocks, as wide as labels: the children of a node are all in one.
const BLOCK: usize = 256;

/// Bases have 24 bits. An array of so many units takes 128 MiB, beyond which no vocabulary goes.
const MAX_UNITS: usize = 1 << 24;

/// Blocks that still take nodes.
const OPEN_BLOCKS: usize = 8;

/// A block that had no place for so many nodes takes no more, and one that had none for a single child is full: so building is linear.
const MAX_REFUSALS: u32 = 64;

/// A trie of byte strings with a value each.
#[derive(Debug)]
pub(crate) struct DoubleArray {
    units: Numbers<Unit>,
}

/// Why a trie can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoubleArrayFault {
    /// The key at this place is empty.
    Empty { place: usize },
    /// The key at this place is the same as another.
    Repeated { place: usize },
    /// The value of the key at this place is `u32::MAX`, which stands for none.
    Value { place: usize },
    /// There are too many nodes.
    TooLarge,
}

impl DoubleArray {
    /// Takes distinct keys, none of them empty, in any order, with a value each that is not `u32::MAX`.
    pub(crate) fn build<K: AsRef<[u8]>>(keys: &[(K, u32)]) -> Result<Self, DoubleArrayFault> {
        let sorted = SortedKeys::new(keys)?;
        let mut builder = Builder::new(sorted.nodes());
        builder.insert(&sorted)?;
        Ok(DoubleArray { units: builder.finish().into() })
    }

    /// Where a walk begins.
    #[inline]
    pub(crate) fn root(&self) -> Cursor<'_> {
        Cursor { units: &self.units, base: self.root_base(), value: NO_VALUE }
    }

    /// The base of the root.
    pub(crate) fn root_base(&self) -> u32 {
        self.units.first().map_or(0, base_of)
    }

    /// Whether `byte` leads to a child from a node with this base; and if so, the child's base and its value
    /// ([`NO_VALUE`] for none).
    #[inline]
    pub(crate) fn child_unless(&self, base: u32, byte: u8) -> (bool, u32, u32) {
        match self.units.get((base ^ u32::from(byte)) as usize) {
            Some(unit) => (label_of(unit) == byte, base_of(unit), unit[1]),
            None => (false, 0, NO_VALUE),
        }
    }

    pub(crate) fn write(&self, name: &str, writer: &mut Writer) {
        writer.numbers(name, &self.units);
    }

    pub(crate) fn read(name: &str, reader: &Reader) -> Result<Self, TokenizerError> {
        Ok(DoubleArray { units: reader.numbers(name)? })
    }

    /// The value of exactly this key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<u32> {
        key.iter().try_fold(self.root(), |cursor, &byte| cursor.step(byte))?.value()
    }
}

#[inline]
fn pack(base: u32, label: u8, value: u32) -> Unit {
    [base << 8 | u32::from(label), value]
}

#[inline]
fn base_of(unit: &Unit) -> u32 {
    unit[0] >> 8
}

#[inline]
fn label_of(unit: &Unit) -> u8 {
    unit[0] as u8
}

/// A node of the trie.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    units: &'a [Unit],
    base: u32,
    value: u32,
}

impl Cursor<'_> {
    /// The child for `byte`.
    #[inline]
    pub(crate) fn step(self, byte: u8) -> Option<Self> {
        let unit = self.units.get((self.base ^ u32::from(byte)) as usize)?;
        (label_of(unit) == byte).then_some(Cursor { base: base_of(unit), value: unit[1], ..self })
    }

    /// The value of the key that ends here, if one does.
    #[inline]
    pub(crate) fn value(self) -> Option<u32> {
        (self.value != NO_VALUE).then_some(self.value)
    }
}

/// Bytes of a key that are compared, and looked at, without going to the key itself: few pieces of a vocabulary have more.
const FIRST: usize = 16;

/// The first bytes of a key, the first the highest, with zeros after the last.
fn first_bytes(key: &[u8]) -> u128 {
    let mut bytes = [0; FIRST];
    let len = key.len().min(FIRST);
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(bytes)
}

/// A key among the others.
#[derive(Clone, Copy)]
struct SortedKey {
    first: u128,
    place: u32,
    len: u32,
    value: u32,
    /// How many bytes it begins with as the one before does.
    shared: u32,
}

/// Keys in ascending order of their bytes.
struct SortedKeys<'a, K> {
    keys: &'a [(K, u32)],
    order: Vec<SortedKey>,
    /// `shared` of each key, or 255 where it is greater: what the search for children goes through.
    shared: Vec<u8>,
}

impl<'a, K: AsRef<[u8]>> SortedKeys<'a, K> {
    fn new(keys: &'a [(K, u32)]) -> Result<Self, DoubleArrayFault> {
        let mut order = Vec::with_capacity(keys.len());
        for (place, (key, value)) in keys.iter().enumerate() {
            let key = key.as_ref();
            if key.is_empty() {
                return Err(DoubleArrayFault::Empty { place });
            }
            if *value == NO_VALUE {
                return Err(DoubleArrayFault::Value { place });
            }
            // Each key has a node of its own, and one for each byte.
            if place >= MAX_UNITS || key.len() > MAX_UNITS {
                return Err(DoubleArrayFault::TooLarge);
            }
            let (first, place, len) = (first_bytes(key), place as u32, key.len() as u32);
            order.push(SortedKey { first, place, len, value: *value, shared: 0 });
        }
        let key = |place: u32| -> &'a [u8] { keys[place as usize].0.as_ref() };
        order.sort_unstable_by(|a, b| a.first.cmp(&b.first).then_with(|| key(a.place).cmp(key(b.place))));
        let mut before = SortedKey { first: 0, place: 0, len: 0, value: 0, shared: 0 };
        for sorted in &mut order {
            let mut shared = (before.first ^ sorted.first).leading_zeros() / 8;
            shared = shared.min(sorted.len).min(before.len);
            if shared == FIRST as u32 {
                let rest = key(before.place)[FIRST..].iter().zip(&key(sorted.place)[FIRST..]);
                shared += rest.take_while(|(before, byte)| before == byte).count() as u32;
            }
            // The one before is no greater, so it is the same where it shares all.
            if shared == sorted.len {
                return Err(DoubleArrayFault::Repeated { place: sorted.place as usize });
            }
            sorted.shared = shared;
            before = *sorted;
        }
        let shared = order.iter().map(|key| key.shared.min(255) as u8).collect();
        Ok(SortedKeys { keys, order, shared })
    }

    /// Which of the keys `start..end`, which share `depth` bytes, have another byte after these than the one before.
    fn changes(&self, start: usize, end: usize, depth: u32) -> impl Iterator<Item = (usize, &SortedKey)> {
        let capped = depth.min(255) as u8;
        let near = self.shared[start..end].iter().zip(start..).filter(move |&(&shared, _)| shared == capped);
        near.map(move |(_, place)| (place, &self.order[place])).filter(move |(_, key)| key.shared == depth)
    }

    /// How many nodes the trie has.
    fn nodes(&self) -> usize {
        self.order.iter().fold(1, |nodes: usize, key| nodes.saturating_add((key.len - key.shared) as usize))
    }

    /// Byte `at` of a key that is longer.
    #[inline]
    fn byte(&self, key: &SortedKey, at: usize) -> u8 {
        match at {
            ..FIRST => (key.first >> (8 * (FIRST - 1 - at))) as u8,
            _ => self.keys[key.place as usize].0.as_ref()[at],
        }
    }
}

/// A node on its way into the array: the keys `start..end`, in their order, which share `depth` bytes.
struct Node {
    unit: u32,
    start: u32,
    end: u32,
    depth: u32,
}

/// A set of bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct ByteSet([u64; 4]);

impl ByteSet {
    #[inline]
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    #[inline]
    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        let mut word = 0;
        std::iter::from_fn(move || {
            while *rest.get(word)? == 0 {
                word += 1;
            }
            let byte = (word * 64) as u8 | rest[word].trailing_zeros() as u8;
            rest[word] &= rest[word] - 1;
            Some(byte)
        })
    }

    #[inline]
    fn complement(&self) -> Self {
        ByteSet(self.0.map(|word| !word))
    }

    #[inline]
    fn and(&self, other: &Self) -> Self {
        ByteSet(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    /// `byte ^ label` of every byte in it.
    #[inline]
    fn exclusive_or(&self, label: u8) -> Self {
        /// Swaps neighbouring groups of bits; `LOW` has the lower group of each two.
        const LOW: [u64; 6] = [
            0x5555_5555_5555_5555,
            0x3333_3333_3333_3333,
            0x0F0F_0F0F_0F0F_0F0F,
            0x00FF_00FF_00FF_00FF,
            0x0000_FFFF_0000_FFFF,
            0x0000_0000_FFFF_FFFF,
        ];
        let mut words = self.0;
        for (at, word) in words.iter_mut().enumerate() {
            *word = self.0[at ^ usize::from(label >> 6)];
            for (bit, low) in LOW.iter().enumerate() {
                if label >> bit & 1 != 0 {
                    *word = (*word & low) << (1 << bit) | *word >> (1 << bit) & low;
                }
            }
        }
        ByteSet(words)
    }
}

/// What is taken of the units of a block, and of the bases that lead into it.
#[derive(Clone, Copy, Default)]
struct Block {
    units: ByteSet,
    bases: ByteSet,
    refusals: u32,
}

impl Block {
    /// A base, within the block, whose children for all labels, of which there is one at least, are free.
    #[inline]
    fn base_for(&self, labels: &[u8]) -> Option<u8> {
        if labels.len() > FEW_LABELS {
            return self.base_for_many(labels);
        }
        let (&label, others) = labels.split_first()?;
        for (word, taken) in self.units.0.iter().enumerate() {
            let mut free = !taken;
            while free != 0 {
                let base = ((word * 64) as u8 | free.trailing_zeros() as u8) ^ label;
                if !self.bases.contains(base) && !others.iter().any(|label| self.units.contains(base ^ label)) {
                    return Some(base);
                }
                free &= free - 1;
            }
        }
        None
    }

    fn base_for_many(&self, labels: &[u8]) -> Option<u8> {
        let free = self.units.complement();
        let mut bases = self.bases.complement();
        for &label in labels {
            bases = bases.and(&free.exclusive_or(label));
            if bases == ByteSet::default() {
                return None;
            }
        }
        bases.iter().next()
    }
}

/// For so many labels, trying the free units one by one is faster than trying all bases at once.
const FEW_LABELS: usize = 4;

struct Builder {
    units: Vec<Unit>,
    blocks: Vec<Block>,
    /// The blocks that still take nodes, the oldest first.
    open: VecDeque<usize>,
}

impl Builder {
    /// Begins with the block of the root, which takes nothing else.
    fn new(nodes: usize) -> Self {
        let mut units = Vec::with_capacity(nodes.min(MAX_UNITS).saturating_add(2 * BLOCK));
        units.extend((0..=u8::MAX).map(|at| pack(0, !at, NO_VALUE)));
        Builder { units, blocks: vec![Block::default()], open: VecDeque::new() }
    }

    fn insert<K: AsRef<[u8]>>(&mut self, keys: &SortedKeys<K>) -> Result<(), DoubleArrayFault> {
        let mut labels = Vec::with_capacity(BLOCK);
        let mut starts = Vec::with_capacity(BLOCK + 1);
        // Going down before going on, so that what is walked together lies together.
        let mut nodes = vec![Node { unit: ROOT, start: 0, end: keys.order.len() as u32, depth: 0 }];
        while let Some(Node { unit, mut start, end, depth }) = nodes.pop() {
            let mut value = NO_VALUE;
            // A key that ends here comes before those that go on.
            if let Some(key) = keys.order[start as usize..end as usize].first().filter(|key| key.len == depth) {
                value = key.value;
                start += 1;
            }
            let Some(first) = keys.order[start as usize..end as usize].first() else {
                let unit = &mut self.units[unit as usize];
                *unit = pack(0, label_of(unit), value);
                continue;
            };
            labels.clear();
            starts.clear();
            labels.push(keys.byte(first, depth as usize));
            starts.push(start);
            for (place, key) in keys.changes(start as usize + 1, end as usize, depth) {
                labels.push(keys.byte(key, depth as usize));
                starts.push(place as u32);
            }
            starts.push(end);
            let base = self.place(&labels)?;
            let unit = &mut self.units[unit as usize];
            *unit = pack(base, label_of(unit), value);
            let block = &mut self.blocks[base as usize / BLOCK];
            for (&label, between) in labels.iter().zip(starts.windows(2)).rev() {
                let unit = base ^ u32::from(label);
                block.units.insert(unit as u8);
                self.units[unit as usize] = pack(0, label, NO_VALUE);
                nodes.push(Node { unit, start: between[0], end: between[1], depth: depth + 1 });
            }
        }
        Ok(())
    }

    /// A base for a node with these labels.
    fn place(&mut self, labels: &[u8]) -> Result<u32, DoubleArrayFault> {
        let mut at = 0;
        while let Some(&block) = self.open.get(at) {
            let state = &mut self.blocks[block];
            if let Some(base) = state.base_for(labels) {
                state.bases.insert(base);
                return Ok((block * BLOCK) as u32 | u32::from(base));
            }
            state.refusals += 1;
            if labels.len() == 1 || state.refusals >= MAX_REFUSALS {
                self.open.remove(at);
            } else {
                at += 1;
            }
        }
        if self.open.len() >= OPEN_BLOCKS {
            self.open.pop_front();
        }
        let block = self.blocks.len();
        if block * BLOCK >= MAX_UNITS {
            return Err(DoubleArrayFault::TooLarge);
        }
        self.units.resize((block + 1) * BLOCK, pack(0, 0, NO_VALUE));
        let mut state = Block::default();
        state.bases.insert(0);
        self.blocks.push(state);
        self.open.push_back(block);
        Ok((block * BLOCK) as u32)
    }

    /// Labels the free units so that no walk takes one of them for a child.
    fn finish(mut self) -> Vec<Unit> {
        for (units, block) in self.units.chunks_mut(BLOCK).zip(&self.blocks).skip(1) {
            // Each base that is taken has a child here, so where a unit is free, a base is.
            let Some(free_base) = block.bases.complement().iter().next() else {
                continue;
            };
            for at in block.units.complement().iter() {
                units[usize::from(at)] = pack(0, at ^ free_base, NO_VALUE);
            }
        }
        self.units
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn trie(keys: &BTreeMap<Vec<u8>, u32>) -> DoubleArray {
        let mut keys: Vec<(&[u8], u32)> = keys.iter().map(|(key, &value)| (key.as_slice(), value)).collect();
        // In no order.
        keys.sort_by_key(|&(_, value)| value.wrapping_mul(0x9E37_79B9));
        DoubleArray::build(&keys).expect("distinct keys")
    }

    /// The keys that `bytes` begins with, the shortest first: their lengths and values.
    fn prefixes(trie: &DoubleArray, bytes: &[u8]) -> Vec<(usize, u32)> {
        let mut base = trie.root_base();
        let mut found = Vec::new();
        for (&byte, length) in bytes.iter().zip(1..) {
            let (is_child, next, value) = trie.child_unless(base, byte);
            if !is_child {
                break;
            }
            base = next;
            found.extend((value != NO_VALUE).then_some((length, value)));
        }
        found
    }

    fn assert_equal_to_the_map(keys: &BTreeMap<Vec<u8>, u32>, texts: &[Vec<u8>]) {
        let trie = trie(keys);
        for text in keys.keys().chain(texts) {
            assert_eq!(trie.get(text), keys.get(text).copied(), "{text:?}");
            let expected = (1..=text.len()).filter_map(|len| Some((len, *keys.get(&text[..len])?)));
            assert_eq!(prefixes(&trie, text), expected.collect::<Vec<_>>(), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn it_holds_what_a_map_holds(
            keys in prop::collection::btree_map("[ab]{1,6}|[ab]{14,18}|[a-e\u{0}é]{1,3}|b{15}[a\u{0}]{0,4}".prop_map(String::into_bytes), 0..u32::MAX, 0..80),
            texts in prop::collection::vec(prop::collection::vec(prop_oneof![0u8..3, 97u8..100, any::<u8>()], 0..6), 0..20),
        ) {
            assert_equal_to_the_map(&keys, &texts);
        }

        #[test]
        fn it_holds_any_bytes(
            keys in prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..4), 0..u32::MAX, 0..400),
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..200),
        ) {
            assert_equal_to_the_map(&keys, &texts);
        }
    }

    #[test]
    fn a_trie_of_all_pairs_of_bytes_is_full_and_right() {
        let pairs = (0..=u8::MAX).flat_map(|first| (0..=u8::MAX).map(move |second| vec![first, second]));
        let keys: BTreeMap<Vec<u8>, u32> = pairs.zip(0..).collect();
        let trie = trie(&keys);
        assert!(keys.iter().all(|(key, &value)| trie.get(key) == Some(value)));
        assert_eq!(trie.get(&[7]), None);
        assert_eq!(trie.get(&[7, 7, 0]), None);
        assert_eq!(trie.units.len(), BLOCK * (BLOCK + 2));
    }

    #[test]
    fn nothing_is_found_in_an_empty_trie() {
        let trie = trie(&BTreeMap::new());
        assert!((0..=u8::MAX).all(|byte| trie.root().step(byte).is_none()));
    }

    #[test]
    fn empty_and_equal_keys_are_refused() {
        let fault = |keys: &[(&str, u32)]| DoubleArray::build(keys).expect_err("a fault");
        let repeated = |keys| matches!(fault(keys), DoubleArrayFault::Repeated { place: 0 | 2 });
        assert!(repeated(&[("a", 0), ("b", 1), ("a", 1)]));
        assert!(repeated(&[("0123456789abcdefgh", 0), ("0123456789abcdefg", 1), ("0123456789abcdefgh", 1)]));
        assert_eq!(fault(&[("", 0)]), DoubleArrayFault::Empty { place: 0 });
        assert_eq!(fault(&[("a", u32::MAX)]), DoubleArrayFault::Value { place: 0 });
    }

    #[test]
    fn long_keys_take_units_in_proportion_to_their_bytes() {
        // Two children at every node, which fit badly into blocks that others have left.
        let keys: BTreeMap<Vec<u8>, u32> = (1..2000)
            .map(|len: u32| {
                ((0..len).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 24) as u8).chain([0xFF]).collect(), len)
            })
            .collect();
        let units = trie(&keys).units.len();
        assert!(units < 4000 * 4, "{units}");
    }
}
