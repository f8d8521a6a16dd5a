//! The memory of one run.

use loquat_kernels::AlignedBuf;

use super::{Program, RunError};
use crate::{batch::BatchView, graph::Leading};

/// Memory that a [`Program`] runs in: values, kernels' scratch, and the lengths of one-row sequences.
///
/// It grows to what the largest batch so far needed and is then used again, so that a warm run allocates nothing.
#[derive(Debug)]
pub struct Arena {
    pub(super) values: AlignedBuf,
    pub(super) scratch: AlignedBuf,
    /// 0, 1, 2 …: the cumulative lengths of sequences with one row each.
    pub(super) one_each: Vec<u32>,
    /// Rows of the table of positions, where padding isn't counted.
    pub(super) past_padding: Vec<u32>,
    /// Leading tokens of each sequence.
    pub(super) leading: Vec<u32>,
}

impl Arena {
    /// An arena without memory.
    pub fn new() -> Arena {
        let empty = || AlignedBuf::zeroed(0).unwrap_or_else(|_| unreachable!("an empty buffer takes no memory"));
        Arena { values: empty(), scratch: empty(), one_each: Vec::new(), past_padding: Vec::new(), leading: Vec::new() }
    }

    /// Makes room for a batch run by `workers` threads.
    ///
    /// # Errors
    /// If there isn't enough memory.
    pub fn grow(&mut self, program: &Program, batch: BatchView<'_>, workers: usize) -> Result<(), RunError> {
        let values = program.plan().arena_len(batch.tokens(), batch.sequences())?;
        grow(&mut self.values, values)?;
        grow(&mut self.scratch, program.scratch_len(batch, workers)?)?;
        if self.one_each.len() <= batch.sequences() {
            // A batch counts its tokens in u32 and has no empty sequences, so its sequences fit too.
            self.one_each = (0..=batch.sequences() as u32).collect();
        }
        if let Some(padding) = program.limits().padding() {
            self.count_past(padding, batch);
        }
        if let Some(leading) = program.leading() {
            self.count_leading(leading, batch);
        }
        Ok(())
    }

    fn count_past(&mut self, padding: u32, batch: BatchView<'_>) {
        self.past_padding.clear();
        self.past_padding.reserve(batch.tokens());
        for sequence in 0..batch.sequences() {
            let mut position = padding;
            self.past_padding.extend(batch.ids()[batch.token_range(sequence)].iter().map(|&id| {
                if id == padding {
                    return padding;
                }
                position = position.saturating_add(1);
                position
            }));
        }
    }

    fn count_leading(&mut self, leading: Leading, batch: BatchView<'_>) {
        let count = |sequence| match leading {
            Leading::First => 1,
            Leading::Before(token) => {
                let ids = &batch.ids()[batch.token_range(sequence)];
                // A batch counts its tokens in u32.
                ids.iter().position(|&id| id == token).unwrap_or(0) as u32
            }
        };
        self.leading.clear();
        self.leading.extend((0..batch.sequences()).map(count));
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let integers = self.one_each.len() + self.past_padding.len() + self.leading.len();
        (self.values.len() + self.scratch.len()) * size_of::<f32>() + integers * size_of::<u32>()
    }
}

impl Default for Arena {
    fn default() -> Self {
        Arena::new()
    }
}

fn grow(buffer: &mut AlignedBuf, len: usize) -> Result<(), RunError> {
    if buffer.len() < len {
        // The old memory goes first, so that both are never held at once. An eighth more than asked for keeps a run of slowly growing
        // batches from allocating each time.
        *buffer = AlignedBuf::zeroed(0)?;
        *buffer = AlignedBuf::zeroed(len.saturating_add(len / 8))?;
    }
    Ok(())
}
