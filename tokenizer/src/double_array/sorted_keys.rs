//! The keys of a trie in the order of their bytes.

use super::{DoubleArrayFault, MANY_KEYS, MAX_UNITS, NO_VALUE};
use crate::both::both;

/// Bytes of a key that are compared, and looked at, without going to the key itself: few pieces of a vocabulary have more.
const FIRST: usize = 16;

/// The first bytes of a key, the first the highest, with zeros after the last.
fn first_bytes(key: &[u8]) -> u128 {
    if let Some(bytes) = key.first_chunk() {
        return u128::from_be_bytes(*bytes);
    }
    // What the last eight have in common with the first falls out.
    if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
        let rest = u64::from_be_bytes(*last).checked_shl(8 * (FIRST - key.len()) as u32).unwrap_or(0);
        return u128::from(u64::from_be_bytes(*first)) << 64 | u128::from(rest);
    }
    key.iter().rev().fold(0, |bytes, &byte| bytes >> 8 | u128::from(byte) << 120)
}

/// A key among the others.
#[derive(Clone, Copy)]
pub(super) struct SortedKey {
    first: u128,
    pub(super) place: u32,
    pub(super) len: u32,
    pub(super) value: u32,
}

/// Sorts keys by their first bytes; many of them on two threads.
fn sort(keys: &mut [SortedKey]) {
    let by_first = |keys: &mut [SortedKey]| keys.sort_unstable_by_key(|key| key.first);
    if keys.len() < MANY_KEYS {
        return by_first(keys);
    }
    let (before, _, after) = keys.select_nth_unstable_by_key(keys.len() / 2, |key| key.first);
    both(|| by_first(before), || by_first(&mut *after));
}

/// Keys in ascending order of their bytes, equal ones in that of their places.
pub(super) struct SortedKeys<'a, K> {
    keys: &'a [(K, u32)],
    pub(super) order: Vec<SortedKey>,
}

impl<'a, K: AsRef<[u8]>> SortedKeys<'a, K> {
    pub(super) fn new(keys: &'a [(K, u32)]) -> Result<Self, DoubleArrayFault> {
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
            order.push(SortedKey { first, place, len, value: *value });
        }
        sort(&mut order);
        let sorted = SortedKeys { keys, order: Vec::new() };
        // The few that begin alike.
        for alike in order.chunk_by_mut(|before, key| before.first == key.first).filter(|alike| alike.len() > 1) {
            alike.sort_unstable_by(|a, b| sorted.bytes(a).cmp(sorted.bytes(b)).then(a.place.cmp(&b.place)));
        }
        Ok(SortedKeys { order, ..sorted })
    }

    fn bytes(&self, key: &SortedKey) -> &'a [u8] {
        self.keys[key.place as usize].0.as_ref()
    }

    /// How many bytes two keys both begin with.
    #[inline]
    pub(super) fn shared(&self, before: &SortedKey, key: &SortedKey) -> u32 {
        let shared = (before.first ^ key.first).leading_zeros() / 8;
        let shared = shared.min(key.len).min(before.len);
        if shared < FIRST as u32 {
            return shared;
        }
        let rest = self.bytes(before)[FIRST..].iter().zip(&self.bytes(key)[FIRST..]);
        shared + rest.take_while(|(before, byte)| before == byte).count() as u32
    }

    /// Whether the key after another begins with the same `bytes`, no more than four.
    pub(super) fn begin_alike(before: &SortedKey, key: &SortedKey, bytes: u32) -> bool {
        before.len >= bytes && key.len >= bytes && (before.first ^ key.first).leading_zeros() >= 8 * bytes
    }

    /// Byte `at` of a key that is longer.
    #[inline]
    pub(super) fn byte(&self, key: &SortedKey, at: usize) -> u8 {
        match at {
            ..FIRST => (key.first >> (8 * (FIRST - 1 - at))) as u8,
            _ => self.bytes(key)[at],
        }
    }
}
