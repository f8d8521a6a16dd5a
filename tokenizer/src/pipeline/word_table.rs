//! Words of up to sixteen bytes and their ids, found by one multiplication and one comparison.

/// An odd number whose products spread over the upper bits: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The most bytes of a word that is looked up here.
pub(super) const LONGEST: usize = 16;

/// The bytes of a word as a number, the first the lowest, zeros after the last. A word doesn't hold zeros, so that two words
/// are the same where their numbers are.
pub(super) type WordKey = [u64; 2];

/// The key of a word; `None` for an empty one, one of more than sixteen bytes or with a zero in it.
pub(super) fn word_key(word: &[u8]) -> Option<WordKey> {
    if word.is_empty() || word.len() > LONGEST || word.contains(&0) {
        return None;
    }
    let mut bytes = [0; LONGEST];
    bytes[..word.len()].copy_from_slice(word);
    let number = u128::from_le_bytes(bytes);
    Some([number as u64, (number >> 64) as u64])
}

#[derive(Clone, Copy, Debug, Default)]
struct ShortSlot {
    key: u64,
    id: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct LongSlot {
    key: WordKey,
    id: u32,
}

/// Open addressing, one table for words of up to eight bytes, one for the longer ones. No key is 0, which marks free slots.
#[derive(Debug)]
pub(super) struct WordTable {
    short: Vec<ShortSlot>,
    short_shift: u32,
    long: Vec<LongSlot>,
    long_shift: u32,
}

impl WordTable {
    /// Takes distinct words.
    pub(super) fn new(words: &[(WordKey, u32)]) -> Self {
        let long = words.iter().filter(|(key, _)| key[1] != 0).count();
        let bits = |entries: usize| (entries.max(1) * 2).next_power_of_two().trailing_zeros();
        let (short_bits, long_bits) = (bits(words.len() - long), bits(long));
        let mut table = WordTable {
            short: vec![ShortSlot::default(); 1 << short_bits],
            short_shift: u64::BITS - short_bits,
            long: vec![LongSlot::default(); 1 << long_bits],
            long_shift: u64::BITS - long_bits,
        };
        for &(key, id) in words {
            if key[1] == 0 {
                let mut at = (key[0].wrapping_mul(SPREAD) >> table.short_shift) as usize;
                while table.short[at].key != 0 {
                    at = (at + 1) & (table.short.len() - 1);
                }
                table.short[at] = ShortSlot { key: key[0], id };
            } else {
                let mut at = (mixed(key) >> table.long_shift) as usize;
                while table.long[at].key != [0, 0] {
                    at = (at + 1) & (table.long.len() - 1);
                }
                table.long[at] = LongSlot { key, id };
            }
        }
        table
    }

    /// The id of a word of up to eight bytes.
    #[inline]
    pub(super) fn short(&self, key: u64) -> Option<u32> {
        let mut at = (key.wrapping_mul(SPREAD) >> self.short_shift) as usize;
        loop {
            let slot = self.short.get(at)?;
            if slot.key == key {
                return Some(slot.id);
            }
            if slot.key == 0 {
                return None;
            }
            at = (at + 1) & (self.short.len() - 1);
        }
    }

    /// The id of a word of nine to sixteen bytes.
    #[inline]
    pub(super) fn long(&self, key: WordKey) -> Option<u32> {
        let mut at = (mixed(key) >> self.long_shift) as usize;
        loop {
            let slot = self.long.get(at)?;
            if slot.key == key {
                return Some(slot.id);
            }
            if slot.key == [0, 0] {
                return None;
            }
            at = (at + 1) & (self.long.len() - 1);
        }
    }
}

#[inline]
fn mixed(key: WordKey) -> u64 {
    (key[0].wrapping_mul(SPREAD) ^ key[1]).wrapping_mul(SPREAD)
}
