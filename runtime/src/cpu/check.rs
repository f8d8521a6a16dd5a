//! Checks of a batch against the model, before anything runs.

use loquat_kernels::KernelError;

use crate::{batch::BatchView, graph::Index, plan::PlanOverflow};

/// A batch that can't be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// An id that its table has no row for.
    #[error(
        "sequence {sequence}, position {position}: {what} {found} is out of range, expected below {limit}, the rows of {table}"
    )]
    Index {
        /// What kind of id it is.
        what: &'static str,
        /// The sequence in the batch.
        sequence: usize,
        /// The token in the sequence.
        position: usize,
        /// The id.
        found: u32,
        /// The rows of the table.
        limit: usize,
        /// The table.
        table: String,
    },
    /// A sequence that is longer than the table of positions.
    #[error("sequence {sequence} has {found} tokens, expected at most {limit}, the positions of {table}: truncate it")]
    TooLong {
        /// The sequence in the batch.
        sequence: usize,
        /// Its length.
        found: usize,
        /// The positions that the table has rows for.
        limit: usize,
        /// The table.
        table: String,
    },
    /// The memory that the caller gave for the outputs doesn't fit the batch.
    #[error("output {output}: expected room for {expected} values, found {found}")]
    Output {
        /// Name of the output, or its number if there are too many or too few.
        output: String,
        /// Values that the batch gives.
        expected: usize,
        /// Values that there is room for.
        found: usize,
    },
    /// The batch takes more memory than can be addressed.
    #[error(transparent)]
    Plan(#[from] PlanOverflow),
    /// There isn't enough memory.
    #[error("no memory for the batch: {0}")]
    Memory(KernelError),
    /// A kernel refused its arguments.
    #[error("step {step}: {source}")]
    Kernel {
        /// The step.
        step: String,
        /// What the kernel found.
        source: KernelError,
    },
}

impl From<KernelError> for RunError {
    fn from(error: KernelError) -> Self {
        RunError::Memory(error)
    }
}

/// How large ids may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexLimits {
    limits: Vec<Limit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    index: Index,
    rows: usize,
    table: String,
}

impl IndexLimits {
    /// Adds a table. The smallest of one kind counts.
    pub(super) fn add(&mut self, index: Index, rows: usize, table: &str) {
        match self.limits.iter_mut().find(|limit| limit.index == index) {
            Some(known) if known.rows <= rows => {}
            Some(known) => *known = Limit { index, rows, table: table.to_owned() },
            None => self.limits.push(Limit { index, rows, table: table.to_owned() }),
        }
    }

    /// Rows of the smallest table that is indexed so, if there is one.
    pub fn rows(&self, index: Index) -> Option<usize> {
        self.limits.iter().find(|limit| limit.index == index).map(|limit| limit.rows)
    }

    /// The padding token that positions are counted without, if a table counts them so.
    pub(super) fn padding(&self) -> Option<u32> {
        self.limits.iter().find_map(|limit| limit.index.padding())
    }

    /// Checks every id of a batch.
    ///
    /// # Errors
    /// The first one that is out of range, by sequence and position.
    pub fn check(&self, batch: BatchView<'_>) -> Result<(), RunError> {
        for limit in &self.limits {
            let (what, ids) = match limit.index {
                Index::TokenIds => ("token id", batch.ids()),
                Index::TypeIds => ("token type id", batch.type_ids()),
                Index::Positions => {
                    check_lengths(limit, limit.rows, batch)?;
                    continue;
                }
                Index::PositionsPastPadding(padding) => {
                    // The padding token's own row and those before it are for no position.
                    check_lengths(limit, limit.rows.saturating_sub(padding as usize + 1), batch)?;
                    continue;
                }
            };
            // One pass without branches; where the culprit is matters only if there is one.
            let largest = ids.iter().fold(0, |largest, &id| largest.max(id));
            if !ids.is_empty() && largest as usize >= limit.rows {
                return Err(out_of_range(limit, what, ids, batch));
            }
        }
        Ok(())
    }
}

/// `most` is the longest sequence that the table has positions for.
fn check_lengths(limit: &Limit, most: usize, batch: BatchView<'_>) -> Result<(), RunError> {
    if batch.max_len() <= most {
        return Ok(());
    }
    let lengths = (0..batch.sequences()).map(|sequence| batch.token_range(sequence).len());
    match lengths.enumerate().find(|(_, len)| *len > most) {
        Some((sequence, found)) => Err(RunError::TooLong { sequence, found, limit: most, table: limit.table.clone() }),
        None => Ok(()),
    }
}

fn out_of_range(limit: &Limit, what: &'static str, ids: &[u32], batch: BatchView<'_>) -> RunError {
    let token = ids.iter().position(|&id| id as usize >= limit.rows).unwrap_or(0);
    let sequence = (0..batch.sequences()).find(|&sequence| batch.token_range(sequence).contains(&token)).unwrap_or(0);
    let position = token - batch.token_range(sequence).start;
    let table = limit.table.clone();
    RunError::Index { what, sequence, position, found: ids[token], limit: limit.rows, table }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;

    fn limits() -> IndexLimits {
        let mut limits = IndexLimits::default();
        limits.add(Index::TokenIds, 10, "words");
        limits.add(Index::TypeIds, 2, "types");
        limits.add(Index::Positions, 4, "positions");
        limits
    }

    #[test]
    fn an_id_out_of_range_is_named_by_sequence_and_position() {
        let batch = Batch::from_ids(&[vec![1, 2], vec![3, 9, 10]]).unwrap();
        let error = limits().check(batch.view()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sequence 1, position 2: token id 10 is out of range, expected below 10, the rows of words"
        );
        let mut batch = Batch::new();
        batch.push(&[1, 2], Some(&[0, 7])).unwrap();
        let error = limits().check(batch.view()).unwrap_err();
        assert!(matches!(error, RunError::Index { sequence: 0, position: 1, found: 7, limit: 2, .. }), "{error}");
    }

    #[test]
    fn a_sequence_beyond_the_positions_is_refused() {
        let batch = Batch::from_ids(&[vec![1; 4], vec![1; 5]]).unwrap();
        let error = limits().check(batch.view()).unwrap_err();
        assert_eq!(error, RunError::TooLong { sequence: 1, found: 5, limit: 4, table: "positions".into() });
        assert_eq!(limits().check(batch.view().slice(0..1)), Ok(()));
    }
}
