//! Words of up to eight bytes that were met before, with their ids.
//!
//! A word has one place, and the last that came there stays: 128 KiB in all, whatever the text. Real text repeats itself enough for this to
//! pay; where no word comes back, little is lost.

/// Places, by the upper bits of a word's hash; few for a fuzzer, which makes them anew for each file.
const BITS: u32 = if cfg!(fuzzing) { 4 } else { 12 };

/// Most ids of a word that is kept.
const IDS: usize = 4;

/// A word and its ids: half a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Seen {
    key: u64,
    ids: [u32; IDS],
    count: u32,
}

#[derive(Clone, Debug)]
pub(super) struct SeenWords(Box<[Seen; 1 << BITS]>);

impl SeenWords {
    pub(super) fn new() -> Self {
        SeenWords(Box::new([Seen::default(); 1 << BITS]))
    }

    /// Appends the ids of the word with this key, which is not 0: those that it was met with, else those that `find` appends.
    #[inline]
    pub(super) fn word(&mut self, key: u64, ids: &mut Vec<u32>, find: impl FnOnce(&mut Vec<u32>)) {
        let seen = &mut self.0[(key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - BITS)) as usize];
        let before = ids.len();
        if seen.key == key {
            // Copying all of them, whatever their number, needs no branch.
            ids.extend_from_slice(&seen.ids);
            ids.truncate(before + seen.count as usize);
            return;
        }
        find(ids);
        let found = &ids[before..];
        if let Some(kept) = seen.ids.get_mut(..found.len()) {
            kept.copy_from_slice(found);
            seen.key = key;
            seen.count = found.len() as u32;
        }
    }
}
