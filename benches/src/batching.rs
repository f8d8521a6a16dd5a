//! How a peer that pads its batches gets ragged work: sorted by length and cut into batches, the way its users do it.
//! `benches/peers/protocol.py` does the same for the Python workers.

/// Batch sizes that a padding peer is tried with.
pub const BATCH_SIZES: [usize; 3] = [1, 8, 32];

/// Sequences of similar length, padded with id 0 to the longest.
#[derive(Debug, Clone, PartialEq)]
pub struct PaddedBatch {
    /// Where each row belongs in the request.
    pub rows: Vec<usize>,
    /// The length of the longest sequence.
    pub longest: usize,
    /// `[rows, longest]` token ids.
    pub ids: Vec<u32>,
    /// The length of each sequence.
    pub lengths: Vec<usize>,
}

impl PaddedBatch {
    /// Whether nothing is padded, so that no mask is needed.
    pub fn uniform(&self) -> bool {
        self.lengths.iter().all(|&length| length == self.longest)
    }

    /// `[rows, longest]`: 1 for a token, 0 for padding.
    pub fn mask(&self) -> Vec<u32> {
        self.lengths
            .iter()
            .flat_map(|&length| (0..self.longest).map(move |position| u32::from(position < length)))
            .collect()
    }
}

/// Sorts by length, longest first so that buffers grow once, and cuts into batches of `size`.
pub fn batches(sequences: &[Vec<u32>], size: usize) -> Vec<PaddedBatch> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(sequences[row].len()));
    order
        .chunks(size.max(1))
        .map(|rows| {
            let lengths: Vec<usize> = rows.iter().map(|&row| sequences[row].len()).collect();
            let longest = lengths.iter().copied().max().unwrap_or(0);
            let mut ids = vec![0; rows.len() * longest];
            for (target, &row) in ids.chunks_mut(longest.max(1)).zip(rows) {
                target[..sequences[row].len()].copy_from_slice(&sequences[row]);
            }
            PaddedBatch { rows: rows.to_vec(), longest, ids, lengths }
        })
        .collect()
}

/// The batch sizes worth trying for `count` sequences, without two that mean the same.
pub fn batch_sizes(count: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = BATCH_SIZES.iter().map(|&size| size.min(count)).collect();
    sizes.dedup();
    sizes
}

/// Copies the rows of a batch's embeddings to their places in `out`, `dim` values each.
pub fn scatter(batch: &PaddedBatch, values: &[f32], dim: usize, out: &mut [f32]) {
    for (&row, value) in batch.rows.iter().zip(values.chunks_exact(dim)) {
        out[row * dim..][..dim].copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_sequence_once_longest_first() {
        let sequences: Vec<Vec<u32>> = [3, 1, 2, 3, 5].iter().map(|&length| vec![7; length]).collect();
        let cut = batches(&sequences, 2);
        assert_eq!(cut.iter().map(|batch| batch.longest).collect::<Vec<_>>(), [5, 3, 1]);
        assert_eq!(cut.iter().flat_map(|batch| batch.rows.clone()).collect::<Vec<_>>(), [4, 0, 3, 2, 1]);
        assert_eq!(cut[1].mask(), [1, 1, 1, 1, 1, 0]);
        assert_eq!(cut[1].ids, [7, 7, 7, 7, 7, 0]);
        assert!(!cut[1].uniform() && cut[2].uniform());
    }

    #[test]
    fn scattered_rows_are_in_the_order_of_the_request() {
        let sequences = vec![vec![1], vec![2, 2], vec![3, 3, 3]];
        let mut out = vec![0.0; 6];
        for batch in batches(&sequences, 2) {
            let values: Vec<f32> =
                batch.ids.chunks(batch.longest).flat_map(|ids| [ids[0] as f32, -(ids[0] as f32)]).collect();
            scatter(&batch, &values, 2, &mut out);
        }
        assert_eq!(out, [1.0, -1.0, 2.0, -2.0, 3.0, -3.0]);
    }

    #[test]
    fn sizes_that_mean_the_same_are_tried_once() {
        assert_eq!(batch_sizes(1), [1]);
        assert_eq!(batch_sizes(8), [1, 8]);
        assert_eq!(batch_sizes(256), [1, 8, 32]);
    }
}
