//! A trie of byte strings in one array.
//!
//! The child of a node for byte `b` is unit `base ^ b`, and is one where that unit's label is `b`. No two nodes have
//! the same base, so the label alone says whose child a unit is. (J. Aoe, "An efficient digital search algorithm by
//! using a double-array structure", 1989; the exclusive-or form is that of S. Yata's darts-clone.)

use std::collections::VecDeque;

/// One node: 24 bits of base, 8 bits of label, and the value of the key that ends here.
#[derive(Clone, Copy, Debug)]
struct Unit {
    base_and_label: u32,
    value: u32,
}

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

/// A block that had no place for so many nodes takes no more, which keeps building linear.
const MAX_REFUSALS: u32 = 16;

/// A trie of byte strings with a value each.
#[derive(Debug)]
pub(crate) struct DoubleArray {
    units: Vec<Unit>,
}

/// Why a trie can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DoubleArrayFault {
    /// The key at this place is not greater than the one before it, or empty.
    Unsorted { place: usize },
    /// The value of the key at this place is `u32::MAX`, which stands for none.
    Value { place: usize },
    /// There are too many nodes.
    TooLarge,
}

impl DoubleArray {
    /// Takes distinct keys, none of them empty, in ascending order of their bytes, with a value each that is not
    /// `u32::MAX`.
    pub(crate) fn build<K: AsRef<[u8]>>(keys: &[(K, u32)]) -> Result<Self, DoubleArrayFault> {
        let nodes = nodes(keys)?;
        let mut builder = Builder::default();
        builder.insert(&nodes)?;
        Ok(DoubleArray { units: builder.finish() })
    }

    /// Where a walk begins.
    #[inline]
    pub(crate) fn root(&self) -> Cursor<'_> {
        Cursor { units: &self.units, base: self.units.first().map_or(0, Unit::base), value: NO_VALUE }
    }

    /// The base of the root.
    pub(crate) fn root_base(&self) -> u32 {
        self.units.first().map_or(0, Unit::base)
    }

    /// Whether `byte` leads to a child from a node with this base; and if so, the child's base and its value
    /// ([`NO_VALUE`] for none).
    #[inline]
    pub(crate) fn child_unless(&self, base: u32, byte: u8) -> (bool, u32, u32) {
        match self.units.get((base ^ u32::from(byte)) as usize) {
            Some(unit) => (unit.label() == byte, unit.base(), unit.value),
            None => (false, 0, NO_VALUE),
        }
    }

    /// The value of exactly this key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<u32> {
        key.iter().try_fold(self.root(), |cursor, &byte| cursor.step(byte))?.value()
    }
}

impl Unit {
    #[inline]
    fn new(base: u32, label: u8, value: u32) -> Self {
        Unit { base_and_label: base << 8 | u32::from(label), value }
    }

    #[inline]
    fn base(&self) -> u32 {
        self.base_and_label >> 8
    }

    #[inline]
    fn label(&self) -> u8 {
        self.base_and_label as u8
    }
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
        (unit.label() == byte).then_some(Cursor { base: unit.base(), value: unit.value, ..self })
    }

    /// The value of the key that ends here, if one does.
    #[inline]
    pub(crate) fn value(self) -> Option<u32> {
        (self.value != NO_VALUE).then_some(self.value)
    }
}

/// A node on its way into the array. Nodes are in the order of a walk that goes down before it goes on, so the first
/// child of a node is the node after it.
struct Node {
    /// The next child of the same parent; 0 where there is none.
    sibling: u32,
    value: u32,
    label: u8,
    has_children: bool,
}

/// The trie of the keys, the root first.
fn nodes<K: AsRef<[u8]>>(keys: &[(K, u32)]) -> Result<Vec<Node>, DoubleArrayFault> {
    let node = |label| Node { sibling: 0, value: NO_VALUE, label, has_children: false };
    let mut nodes = vec![node(0)];
    // The nodes of the key before, but the root.
    let mut path: Vec<u32> = Vec::new();
    let mut before: &[u8] = &[];
    for (place, (key, value)) in keys.iter().enumerate() {
        let key = key.as_ref();
        let shared = before.iter().zip(key).take_while(|(before, byte)| before == byte).count();
        let in_order = match (before.get(shared), key.get(shared)) {
            (Some(before), Some(byte)) => before < byte,
            (_, byte) => byte.is_some(),
        };
        if !in_order {
            return Err(DoubleArrayFault::Unsorted { place });
        }
        if *value == NO_VALUE {
            return Err(DoubleArrayFault::Value { place });
        }
        if nodes.len() + key.len() > MAX_UNITS {
            return Err(DoubleArrayFault::TooLarge);
        }
        if let Some(&elder) = path.get(shared) {
            nodes[elder as usize].sibling = nodes.len() as u32;
        }
        path.truncate(shared);
        for &byte in &key[shared..] {
            let parent = path.last().map_or(0, |&parent| parent as usize);
            nodes[parent].has_children = true;
            path.push(nodes.len() as u32);
            nodes.push(node(byte));
        }
        if let Some(last) = nodes.last_mut() {
            last.value = *value;
        }
        before = key;
    }
    Ok(nodes)
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
        let mut words: [u64; 4] = std::array::from_fn(|at| self.0[at ^ usize::from(label >> 6)]);
        for (bit, low) in LOW.into_iter().enumerate() {
            if label >> bit & 1 != 0 {
                words = words.map(|word| (word & low) << (1 << bit) | word >> (1 << bit) & low);
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
    /// A base, within the block, whose children for all labels are free.
    #[inline]
    fn base_for(&self, labels: &[u8]) -> Option<u8> {
        let free = self.units.complement();
        if let [label] = labels {
            return free.iter().map(|unit| unit ^ label).find(|&base| !self.bases.contains(base));
        }
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

struct Builder {
    units: Vec<Unit>,
    blocks: Vec<Block>,
    /// The blocks that still take nodes, the oldest first.
    open: VecDeque<usize>,
}

impl Default for Builder {
    /// The block of the root, which takes nothing else.
    fn default() -> Self {
        let no_child = |at: u8| Unit::new(0, !at, NO_VALUE);
        Builder { units: (0..=u8::MAX).map(no_child).collect(), blocks: vec![Block::default()], open: VecDeque::new() }
    }
}

impl Builder {
    fn insert(&mut self, nodes: &[Node]) -> Result<(), DoubleArrayFault> {
        let mut unit_of = vec![ROOT; nodes.len()];
        let mut labels = Vec::with_capacity(BLOCK);
        for (parent, node) in nodes.iter().enumerate().filter(|(_, node)| node.has_children) {
            let children = std::iter::successors(Some(parent + 1), |&child| match nodes[child].sibling {
                0 => None,
                sibling => Some(sibling as usize),
            });
            labels.clear();
            labels.extend(children.clone().map(|child| nodes[child].label));
            let base = self.place(&labels)?;
            let unit = &mut self.units[unit_of[parent] as usize];
            *unit = Unit::new(base, unit.label(), node.value);
            for child in children {
                let Node { label, value, .. } = nodes[child];
                let unit = base ^ u32::from(label);
                self.blocks[unit as usize / BLOCK].units.insert(unit as u8);
                self.units[unit as usize] = Unit::new(0, label, value);
                unit_of[child] = unit;
            }
        }
        Ok(())
    }

    /// A base for a node with these labels.
    fn place(&mut self, labels: &[u8]) -> Result<u32, DoubleArrayFault> {
        for &block in &self.open {
            let state = &mut self.blocks[block];
            if let Some(base) = state.base_for(labels) {
                state.bases.insert(base);
                return Ok((block * BLOCK) as u32 | u32::from(base));
            }
            state.refusals += 1;
        }
        let blocks = &self.blocks;
        self.open.retain(|&block| blocks[block].refusals < MAX_REFUSALS);
        if self.open.len() >= OPEN_BLOCKS {
            self.open.pop_front();
        }
        let block = self.blocks.len();
        if block * BLOCK >= MAX_UNITS {
            return Err(DoubleArrayFault::TooLarge);
        }
        self.units.resize((block + 1) * BLOCK, Unit::new(0, 0, NO_VALUE));
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
                units[usize::from(at)] = Unit::new(0, at ^ free_base, NO_VALUE);
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
        let keys: Vec<(&[u8], u32)> = keys.iter().map(|(key, &value)| (key.as_slice(), value)).collect();
        DoubleArray::build(&keys).expect("sorted keys")
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
            keys in prop::collection::btree_map("[ab]{1,6}|[a-e\u{0}é]{1,3}".prop_map(String::into_bytes), 0..u32::MAX, 0..80),
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
    fn keys_out_of_order_are_refused() {
        let place = |keys: &[(&str, u32)]| DoubleArray::build(keys).expect_err("a fault");
        assert_eq!(place(&[("b", 0), ("a", 1)]), DoubleArrayFault::Unsorted { place: 1 });
        assert_eq!(place(&[("a", 0), ("a", 1)]), DoubleArrayFault::Unsorted { place: 1 });
        assert_eq!(place(&[("", 0)]), DoubleArrayFault::Unsorted { place: 0 });
        assert_eq!(place(&[("a", u32::MAX)]), DoubleArrayFault::Value { place: 0 });
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
