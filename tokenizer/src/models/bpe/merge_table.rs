//! What two neighbouring tokens merge to, and how soon.

/// Marks a pair that doesn't merge. Later than any merge.
pub(super) const NEVER: u32 = u32::MAX;

/// A merge of a pair of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    /// Its place in the list of merges: lower goes first. [`NEVER`] for pairs that don't merge.
    pub(super) rank: u32,
    /// The token that the two become.
    pub(super) id: u32,
}

impl Merge {
    pub(super) const NONE: Merge = Merge { rank: NEVER, id: 0 };
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    pair: (u32, u32),
    merge: Merge,
}

/// A hash table from pairs of ids to merges, at most half full.
#[derive(Debug)]
pub(crate) struct MergeTable {
    slots: Vec<Slot>,
    /// The hash's upper bits say where to begin; this many are not used.
    shift: u32,
    /// One bit of many for each pair that merges. Most pairs don't, and this is the part that stays in the processor's cache.
    filter: Vec<u64>,
    filter_shift: u32,
}

/// Bits of the filter for each merge.
const FILTER_BITS: usize = 16;

impl MergeTable {
    pub(super) fn with_capacity(merges: usize) -> Self {
        let size = merges.saturating_mul(2).next_power_of_two().max(2);
        let bits = merges.saturating_mul(FILTER_BITS).next_power_of_two().max(64);
        MergeTable {
            slots: vec![Slot { pair: (0, 0), merge: Merge::NONE }; size],
            shift: u64::BITS - size.trailing_zeros(),
            filter: vec![0; bits / 64],
            filter_shift: u64::BITS - bits.trailing_zeros(),
        }
    }

    #[inline]
    fn hash(left: u32, right: u32) -> u64 {
        let key = (u64::from(left) << 32) | u64::from(right);
        // Fibonacci hashing after a fold that lets the left token reach every bit.
        (key ^ (key >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The merge of `left` with `right`, [`Merge::NONE`] where they don't.
    #[inline]
    pub(super) fn get(&self, left: u32, right: u32) -> Merge {
        let hash = Self::hash(left, right);
        let bit = (hash >> self.filter_shift) as usize;
        if self.filter.get(bit / 64).is_none_or(|bits| bits >> (bit % 64) & 1 == 0) {
            return Merge::NONE;
        }
        let mask = self.slots.len() - 1;
        let mut at = (hash >> self.shift) as usize;
        loop {
            let slot = &self.slots[at & mask];
            if slot.pair == (left, right) || slot.merge.rank == NEVER {
                return slot.merge;
            }
            at += 1;
        }
    }

    /// Where a pair is listed twice, the last place counts, as the reference has it. The caller has made room.
    pub(super) fn insert(&mut self, left: u32, right: u32, merge: Merge) {
        let hash = Self::hash(left, right);
        let bit = (hash >> self.filter_shift) as usize;
        self.filter[bit / 64] |= 1 << (bit % 64);
        let mask = self.slots.len() - 1;
        let mut at = (hash >> self.shift) as usize;
        while self.slots[at].merge.rank != NEVER && self.slots[at].pair != (left, right) {
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot { pair: (left, right), merge };
    }
}
