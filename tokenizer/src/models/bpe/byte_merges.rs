//! The merges of single bytes, with which every word of a byte-level model begins.

use super::merge_table::MergeTable;

/// The token of each byte, and the rank of the merge of each pair of bytes.
#[derive(Debug)]
pub(crate) struct ByteMerges {
    ids: Box<[u32; 256]>,
    pairs: Box<[u32]>,
}

impl ByteMerges {
    pub(super) fn new(merges: &MergeTable, ids: Box<[u32; 256]>) -> Self {
        let pair = |left: &u32| ids.map(|right| merges.rank(*left, right));
        let pairs = ids.iter().flat_map(pair).collect();
        ByteMerges { ids, pairs }
    }

    #[inline]
    pub(super) fn id(&self, byte: u8) -> u32 {
        self.ids[usize::from(byte)]
    }

    #[inline]
    pub(super) fn rank(&self, left: u8, right: u8) -> u32 {
        self.pairs[usize::from(left) << 8 | usize::from(right)]
    }
}
