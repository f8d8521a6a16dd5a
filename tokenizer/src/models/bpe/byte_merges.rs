//! The merges of single bytes, with which every word of a byte-level model begins.

use super::merge_table::{MergeTable, NEVER};
use crate::TokenizerError;
use crate::compiled::{Reader, Writer};
use crate::numbers::Numbers;

/// The token of each byte, and the rank of the merge of each pair of bytes.
#[derive(Debug)]
pub(crate) struct ByteMerges {
    ids: Box<[u32; 256]>,
    pairs: Numbers<u32>,
}

impl ByteMerges {
    pub(super) fn new(merges: &MergeTable, ids: Box<[u32; 256]>) -> Self {
        let pair = |left: &u32| ids.map(|right| merges.rank(*left, right));
        let pairs: Vec<u32> = ids.iter().flat_map(pair).collect();
        ByteMerges { ids, pairs: pairs.into() }
    }

    /// Of bytes of ASCII; no other has a merge.
    pub(super) fn of_ascii(merges: &MergeTable, ids: Box<[u32; 256]>) -> Self {
        let rank = |pair: usize| match (pair >> 8, pair & 0xFF) {
            (left @ ..0x80, right @ ..0x80) => merges.rank(ids[left], ids[right]),
            _ => NEVER,
        };
        let pairs: Vec<u32> = (0..256 * 256).map(rank).collect();
        ByteMerges { ids, pairs: pairs.into() }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.numbers("bytes", &self.ids[..]);
        writer.numbers("pairs", &self.pairs);
    }

    pub(crate) fn read(reader: &Reader) -> Result<Self, TokenizerError> {
        let ids: Numbers<u32> = reader.exactly("bytes", 256)?;
        Ok(ByteMerges {
            ids: Box::new(std::array::from_fn(|byte| ids.get(byte).copied().unwrap_or_default())),
            pairs: reader.exactly("pairs", 256 * 256)?,
        })
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
