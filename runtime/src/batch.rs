//! Ragged batches: sequences one after another, never padded.

use std::ops::Range;

/// Sequences of token ids, ready to run.
///
/// A batch can't be inconsistent: every token has an id, a type and a position, and every sequence at least one token.
///
/// ```
/// use loquat_runtime::Batch;
///
/// let mut batch = Batch::new();
/// batch.push(&[101, 7592, 102], None)?;
/// batch.push(&[101, 102], Some(&[0, 1]))?;
/// assert_eq!(batch.tokens(), 5);
/// assert_eq!(batch.view().cu_seqlens(), [0, 3, 5]);
/// assert_eq!(batch.view().positions(), [0, 1, 2, 0, 1]);
/// # Ok::<(), loquat_runtime::BatchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    positions: Vec<u32>,
    cu_seqlens: Vec<u32>,
    max_len: usize,
}

/// A sequence that can't join a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A sequence without tokens.
    #[error("sequence {sequence} has no tokens: expected at least one")]
    Empty {
        /// Its index in the batch.
        sequence: usize,
    },
    /// Not as many type ids as ids.
    #[error("sequence {sequence}: expected {expected} token type ids, one for each id, found {found}")]
    TypeIds {
        /// Its index in the batch.
        sequence: usize,
        /// Number of ids.
        expected: usize,
        /// Number of type ids.
        found: usize,
    },
    /// More tokens than a batch can count.
    #[error("sequence {sequence}: the batch would hold more than {} tokens, split it", u32::MAX)]
    TooLarge {
        /// Its index in the batch.
        sequence: usize,
    },
}

impl Default for Batch {
    fn default() -> Self {
        Batch::new()
    }
}

impl Batch {
    /// A batch without sequences.
    pub fn new() -> Batch {
        Batch { ids: Vec::new(), type_ids: Vec::new(), positions: Vec::new(), cu_seqlens: vec![0], max_len: 0 }
    }

    /// A batch of the given sequences, with type 0 throughout.
    ///
    /// # Errors
    /// As [`push`](Batch::push).
    pub fn from_ids(sequences: &[impl AsRef<[u32]>]) -> Result<Batch, BatchError> {
        let mut batch = Batch::new();
        for sequence in sequences {
            batch.push(sequence.as_ref(), None)?;
        }
        Ok(batch)
    }

    /// Adds a sequence. Positions count from 0; without `type_ids` every token has type 0.
    ///
    /// # Errors
    /// If the sequence is empty, `type_ids` has another length, or the batch would reach 2³² tokens. The batch is unchanged then.
    pub fn push(&mut self, ids: &[u32], type_ids: Option<&[u32]>) -> Result<(), BatchError> {
        let sequence = self.sequences();
        if ids.is_empty() {
            return Err(BatchError::Empty { sequence });
        }
        if let Some(type_ids) = type_ids
            && type_ids.len() != ids.len()
        {
            return Err(BatchError::TypeIds { sequence, expected: ids.len(), found: type_ids.len() });
        }
        let len = u32::try_from(ids.len()).map_err(|_| BatchError::TooLarge { sequence })?;
        let start = u32::try_from(self.ids.len()).map_err(|_| BatchError::TooLarge { sequence })?;
        let end = start.checked_add(len).ok_or(BatchError::TooLarge { sequence })?;
        self.ids.extend_from_slice(ids);
        match type_ids {
            Some(type_ids) => self.type_ids.extend_from_slice(type_ids),
            None => self.type_ids.resize(self.ids.len(), 0),
        }
        self.positions.extend(0..len);
        self.cu_seqlens.push(end);
        self.max_len = self.max_len.max(ids.len());
        Ok(())
    }

    /// Removes all sequences and keeps the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.type_ids.clear();
        self.positions.clear();
        self.cu_seqlens.truncate(1);
        self.max_len = 0;
    }

    /// Number of tokens in all sequences.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Length of the longest sequence.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// The whole batch, to read.
    pub fn view(&self) -> BatchView<'_> {
        BatchView {
            ids: &self.ids,
            type_ids: &self.type_ids,
            positions: &self.positions,
            cu_seqlens: &self.cu_seqlens,
            max_len: self.max_len,
        }
    }
}

/// Some consecutive sequences of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchView<'a> {
    ids: &'a [u32],
    type_ids: &'a [u32],
    positions: &'a [u32],
    cu_seqlens: &'a [u32],
    max_len: usize,
}

impl<'a> BatchView<'a> {
    /// Token ids, `[tokens]`.
    pub fn ids(&self) -> &'a [u32] {
        self.ids
    }

    /// Token type ids, `[tokens]`.
    pub fn type_ids(&self) -> &'a [u32] {
        self.type_ids
    }

    /// Position of each token in its sequence, `[tokens]`.
    pub fn positions(&self) -> &'a [u32] {
        self.positions
    }

    /// Sequence `i` is tokens `cu_seqlens[i] - cu_seqlens[0] .. cu_seqlens[i + 1] - cu_seqlens[0]` of this view; `[sequences + 1]`.
    pub fn cu_seqlens(&self) -> &'a [u32] {
        self.cu_seqlens
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Length of the longest sequence.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// Where the tokens of sequence `i` lie in this view.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn token_range(&self, i: usize) -> Range<usize> {
        let base = self.cu_seqlens[0];
        (self.cu_seqlens[i] - base) as usize..(self.cu_seqlens[i + 1] - base) as usize
    }

    /// The given sequences of this view.
    ///
    /// # Panics
    /// If the range reaches beyond the view's sequences.
    pub fn slice(&self, sequences: Range<usize>) -> BatchView<'a> {
        let cu_seqlens = &self.cu_seqlens[sequences.start..=sequences.end];
        let base = self.cu_seqlens[0];
        let tokens = (cu_seqlens[0] - base) as usize..(cu_seqlens[cu_seqlens.len() - 1] - base) as usize;
        let lengths = cu_seqlens.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        BatchView {
            ids: &self.ids[tokens.clone()],
            type_ids: &self.type_ids[tokens.clone()],
            positions: &self.positions[tokens],
            max_len: lengths.max().unwrap_or(0),
            cu_seqlens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_the_batch_of_its_sequences() {
        let sequences: [&[u32]; 4] = [&[1, 2, 3], &[4], &[5, 6], &[7, 8, 9, 10]];
        let batch = Batch::from_ids(&sequences).unwrap();
        let part = batch.view().slice(1..3);
        assert_eq!(part.ids(), [4, 5, 6]);
        assert_eq!(part.positions(), [0, 0, 1]);
        assert_eq!(part.cu_seqlens(), [3, 4, 6]);
        assert_eq!((part.max_len(), part.token_range(1)), (2, 1..3));
        assert_eq!(part.slice(1..2).ids(), [5, 6]);
        assert_eq!(batch.view().slice(2..2).tokens(), 0);
    }

    #[test]
    fn a_refused_sequence_leaves_the_batch_as_it_was() {
        let mut batch = Batch::from_ids(&[[1, 2]]).unwrap();
        let before = batch.clone();
        assert_eq!(batch.push(&[], None), Err(BatchError::Empty { sequence: 1 }));
        let error = batch.push(&[1, 2, 3], Some(&[0])).unwrap_err();
        assert_eq!(error, BatchError::TypeIds { sequence: 1, expected: 3, found: 1 });
        assert_eq!(batch, before);
    }

    #[test]
    fn a_cleared_batch_is_a_new_one() {
        let mut batch = Batch::from_ids(&[[1, 2]]).unwrap();
        batch.clear();
        assert_eq!(batch, Batch::new());
    }
}
