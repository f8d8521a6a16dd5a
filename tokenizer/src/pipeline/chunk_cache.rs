//! Texts between spaces that were met before, with their ids.
//!
//! Two tables without chains: a text has one place, and the last that came there stays. Together they take 3 MB, whatever the
//! text.

/// Longest text of the table of short ones.
const SHORT: usize = 15;
const SHORT_IDS: usize = 3;
const SHORT_BITS: u32 = 15;

const LONG: usize = 48;
const LONG_IDS: usize = 17;
const LONG_BITS: u32 = 14;

/// Half a cache line. The last byte of the key is the length of the text, or 0 where the place is free.
#[derive(Clone, Copy, Default)]
struct Short {
    key: u128,
    ids: [u32; SHORT_IDS],
    count: u32,
}

/// Two cache lines.
#[derive(Clone, Copy)]
struct Long {
    hash: u64,
    length: u8,
    count: u8,
    bytes: [u8; LONG],
    ids: [u32; LONG_IDS],
}

pub(super) struct ChunkCache {
    short: Box<[Short]>,
    long: Box<[Long]>,
}

impl Default for ChunkCache {
    fn default() -> Self {
        let free = Long { hash: 0, length: 0, count: 0, bytes: [0; LONG], ids: [0; LONG_IDS] };
        ChunkCache {
            short: vec![Short::default(); 1 << SHORT_BITS].into_boxed_slice(),
            long: vec![free; 1 << LONG_BITS].into_boxed_slice(),
        }
    }
}

/// Odd, and its products spread over the upper bits: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The bytes of a short text and its length.
#[inline]
fn key(text: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes[..text.len()].copy_from_slice(text);
    bytes[15] = text.len() as u8;
    u128::from_le_bytes(bytes)
}

/// Marks the key of a text that is a part of a chunk, and not its first.
const PART: u128 = 0x80 << 120;

#[inline]
fn short_place(key: u128) -> usize {
    let mixed = (key as u64).wrapping_mul(SPREAD) ^ (key >> 64) as u64;
    (mixed.wrapping_mul(SPREAD) >> (u64::BITS - SHORT_BITS)) as usize
}

fn hash(text: &[u8]) -> u64 {
    let mut hash = text.len() as u64;
    let mut mix = |eight: u64| hash = (hash.rotate_left(25) ^ eight).wrapping_mul(SPREAD);
    let (eights, rest) = text.as_chunks();
    eights.iter().for_each(|&eight| mix(u64::from_le_bytes(eight)));
    mix(rest.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)));
    hash ^ hash >> 32
}

#[inline]
fn long_place(hash: u64) -> usize {
    (hash.wrapping_mul(SPREAD) >> (u64::BITS - LONG_BITS)) as usize
}

impl ChunkCache {
    /// The ids of a text, which isn't empty.
    #[inline]
    pub(super) fn get(&self, text: &[u8]) -> Option<&[u32]> {
        if text.len() <= SHORT {
            if let Some(ids) = self.short(key(text)) {
                return Some(ids);
            }
        } else if text.len() > LONG {
            return None;
        }
        self.long(text)
    }

    #[inline]
    fn short(&self, key: u128) -> Option<&[u32]> {
        let short = self.short.get(short_place(key))?;
        if short.key == key { short.ids.get(..short.count as usize) } else { None }
    }

    /// The ids of a part of a chunk that isn't its first.
    #[inline]
    pub(super) fn get_part(&self, text: &[u8]) -> Option<&[u32]> {
        if text.len() <= SHORT { self.short(key(text) | PART) } else { None }
    }

    /// Keeps the ids of a part of a chunk that isn't its first, if both are short enough.
    pub(super) fn keep_part(&mut self, text: &[u8], ids: &[u32]) {
        if text.len() <= SHORT && ids.len() <= SHORT_IDS {
            self.keep_short(key(text) | PART, ids);
        }
    }

    fn keep_short(&mut self, key: u128, ids: &[u32]) {
        let mut short = Short { key, ids: [0; SHORT_IDS], count: ids.len() as u32 };
        short.ids[..ids.len()].copy_from_slice(ids);
        self.short[short_place(key)] = short;
    }

    fn long(&self, text: &[u8]) -> Option<&[u32]> {
        let hash = hash(text);
        let long = self.long.get(long_place(hash))?;
        let is_it = long.hash == hash && long.bytes.get(..usize::from(long.length)) == Some(text);
        if is_it { long.ids.get(..usize::from(long.count)) } else { None }
    }

    /// Keeps the ids of a text, if both are short enough.
    pub(super) fn keep(&mut self, text: &[u8], ids: &[u32]) {
        if text.len() <= SHORT && ids.len() <= SHORT_IDS {
            self.keep_short(key(text), ids);
        } else if text.len() <= LONG && ids.len() <= LONG_IDS {
            let hash = hash(text);
            let long = &mut self.long[long_place(hash)];
            long.hash = hash;
            long.length = text.len() as u8;
            long.count = ids.len() as u8;
            long.bytes[..text.len()].copy_from_slice(text);
            long.ids[..ids.len()].copy_from_slice(ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_until_another_takes_its_place() {
        let mut cache = ChunkCache::default();
        let texts: Vec<String> = (0..40_000).map(|n: u32| format!("{n}.").repeat(1 + n as usize % 9)).collect();
        for (text, id) in texts.iter().zip(0..) {
            assert_eq!(cache.get(text.as_bytes()), None, "{text}");
            let ids = vec![id; 1 + id as usize % 20];
            cache.keep(text.as_bytes(), &ids);
            let expected = (text.len() <= LONG && ids.len() <= LONG_IDS).then_some(&ids[..]);
            assert_eq!(cache.get(text.as_bytes()), expected, "{text}");
        }
        let kept = texts.iter().filter(|text| cache.get(text.as_bytes()).is_some()).count();
        assert!(kept > 10_000, "{kept}");
    }
}
