//! A trie of byte strings in one array.
//!
//! The child of a node for byte `b` is unit `base ^ b`, and is one where that unit's label is `b`. No two nodes have
//! the same base, so the label alone says whose child a unit is. (J. Aoe, "An efficient digital search algorithm by
//! using a double-array structure", 1989; the exclusive-or form is that of S. Yata's darts-clone.)

mod builder;
mod byte_set;
mod sorted_keys;

use builder::Builder;
use sorted_keys::SortedKeys;

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

/// So many keys are worth a second thread.
const MANY_KEYS: usize = 1 << 15;

/// Bases have 24 bits. An array of so many units takes 128 MiB, beyond which no vocabulary goes.
const MAX_UNITS: usize = 1 << 24;

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
    /// The key at this place is the same as one before.
    Repeated { place: usize },
    /// The value of the key at this place is `u32::MAX`, which stands for none.
    Value { place: usize },
    /// There are too many nodes.
    TooLarge,
}

impl DoubleArray {
    /// Takes distinct keys, none of them empty, in any order, with a value each that is not `u32::MAX`.
    pub(crate) fn build<K: AsRef<[u8]> + Sync>(keys: &[(K, u32)]) -> Result<Self, DoubleArrayFault> {
        Ok(DoubleArray { units: Builder::build(&SortedKeys::new(keys)?)?.into() })
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
        let repeated = |keys| matches!(fault(keys), DoubleArrayFault::Repeated { place: 2 });
        assert!(repeated(&[("a", 0), ("b", 1), ("a", 1)]));
        assert!(repeated(&[("0123456789abcdefgh", 0), ("0123456789abcdefg", 1), ("0123456789abcdefgh", 1)]));
        assert_eq!(fault(&[("", 0)]), DoubleArrayFault::Empty { place: 0 });
        assert_eq!(fault(&[("a", u32::MAX)]), DoubleArrayFault::Value { place: 0 });
    }

    #[test]
    fn many_keys_are_found_like_few() {
        // Some in groups of the same first bytes, some alone; some that others begin with.
        let key = |number: u32| {
            let number = number.wrapping_mul(0x9E37_79B9);
            let mut key = format!("{:x}", number % 7919).into_bytes();
            key.extend_from_slice(&number.to_be_bytes()[..(number % 5) as usize]);
            key
        };
        let keys: BTreeMap<Vec<u8>, u32> = (0..2 * MANY_KEYS as u32).map(|number| (key(number), number)).collect();
        assert!(keys.len() > MANY_KEYS);
        let texts: Vec<Vec<u8>> = (0..1000).map(|number| [key(number), key(number + 7)].concat()).collect();
        assert_equal_to_the_map(&keys, &texts);
        let listed: Vec<(&[u8], u32)> = keys.iter().map(|(key, &value)| (key.as_slice(), value)).collect();
        for (place, &again) in listed.iter().enumerate().step_by(9999) {
            let repeated = DoubleArray::build(&[&listed[..], &[again]].concat()).expect_err("a fault");
            let last = listed.len();
            assert_eq!(repeated, DoubleArrayFault::Repeated { place: last }, "{place}");
        }
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
