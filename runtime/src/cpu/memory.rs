//! Safe access to one value to write and any others to read, in one arena.

use loquat_kernels::{KernelError, MatMut, MatRef};

use super::Arena;
use crate::{
    batch::BatchView,
    graph::Rows,
    plan::{Place, Plan},
};

/// Where a step finds a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) place: Place,
    pub(super) rows: Rows,
    pub(super) width: usize,
    pub(super) row_stride: usize,
}

/// The memory of a run: arena and outputs, cut into values by the plan.
pub(super) struct Memory<'a, 'o> {
    plan: &'a Plan,
    tokens: usize,
    sequences: usize,
    values: &'a mut [f32],
    scratch: &'a mut [f32],
    one_each: &'a [u32],
    past_padding: &'a [u32],
    leading: &'a [u32],
    outputs: &'a mut [&'o mut [f32]],
}

/// The memory of one step.
pub(super) struct Borrowed<'b, 'o> {
    /// The value that the step computes.
    pub(super) out: MatMut<'b>,
    /// Every other value.
    pub(super) others: Others<'b, 'o>,
    pub(super) scratch: &'b mut [f32],
    /// 0, 1, … up to the number of sequences.
    pub(super) one_each: &'b [u32],
    /// Positions that padding isn't counted in, if the program counts so.
    pub(super) past_padding: &'b [u32],
    /// Leading tokens of each sequence, if the program treats them apart.
    pub(super) leading: &'b [u32],
}

/// All values but one, to read.
pub(super) struct Others<'b, 'o> {
    plan: &'b Plan,
    tokens: usize,
    sequences: usize,
    before: &'b [f32],
    after: &'b [f32],
    /// Where `after` starts in the arena.
    resume: usize,
    outputs_before: &'b [&'o mut [f32]],
    /// Those behind the output being written, if it is one.
    outputs_after: &'b [&'o mut [f32]],
}

impl<'a, 'o> Memory<'a, 'o> {
    pub(super) fn new(
        plan: &'a Plan,
        batch: BatchView<'_>,
        arena: &'a mut Arena,
        outputs: &'a mut [&'o mut [f32]],
    ) -> Memory<'a, 'o> {
        Memory {
            plan,
            tokens: batch.tokens(),
            sequences: batch.sequences(),
            values: &mut arena.values,
            scratch: &mut arena.scratch,
            one_each: arena.one_each.get(..=batch.sequences()).unwrap_or_default(),
            past_padding: &arena.past_padding,
            leading: &arena.leading,
            outputs,
        }
    }

    /// Borrows `out` to write and the rest to read.
    pub(super) fn borrow(&mut self, out: &Operand) -> Result<Borrowed<'_, 'o>, KernelError> {
        let rows = count(out.rows, self.tokens, self.sequences);
        let (target, before, after, resume, outputs_before, outputs_after): (_, _, _, _, _, &[_]) = match out.place {
            Place::Buffer(buffer) => {
                let range = self.plan.range(buffer, self.tokens, self.sequences);
                let (before, rest) = split(self.values, range.start)?;
                let (target, after) = split(rest, range.len())?;
                (target, &*before, &*after, range.end, &*self.outputs, &[])
            }
            Place::Output(output) => {
                let available = self.outputs.len();
                let missing = KernelError::Shape { what: "number of outputs", expected: output + 1, found: available };
                let (before, rest) = self.outputs.split_at_mut_checked(output).ok_or(missing.clone())?;
                let (target, after) = rest.split_first_mut().ok_or(missing)?;
                let resume = self.values.len();
                (&mut **target, &*self.values, &[], resume, &*before, &*after)
            }
        };
        Ok(Borrowed {
            out: MatMut::new(target, rows, out.width, out.row_stride)?,
            others: Others {
                plan: self.plan,
                tokens: self.tokens,
                sequences: self.sequences,
                before,
                after,
                resume,
                outputs_before,
                outputs_after,
            },
            scratch: self.scratch,
            one_each: self.one_each,
            past_padding: self.past_padding,
            leading: self.leading,
        })
    }
}

impl<'b> Others<'b, '_> {
    /// A value other than the one that is being written.
    pub(super) fn view(&self, operand: &Operand) -> Result<MatRef<'b>, KernelError> {
        // The plan never places a value that is still needed over the one being written, so every value is found; if it weren't, an
        // error would say so.
        let missing = KernelError::Shape { what: "number of values beside the result", expected: 1, found: 0 };
        let data = match operand.place {
            Place::Buffer(buffer) => {
                let range = self.plan.range(buffer, self.tokens, self.sequences);
                match range.start.checked_sub(self.resume) {
                    Some(start) => self.after.get(start..start + range.len()),
                    None => self.before.get(range),
                }
            }
            Place::Output(output) => match output.checked_sub(self.outputs_before.len()) {
                None => self.outputs_before.get(output).map(|output| &**output),
                Some(0) => None,
                Some(later) => self.outputs_after.get(later - 1).map(|output| &**output),
            },
        };
        let rows = count(operand.rows, self.tokens, self.sequences);
        MatRef::new(data.ok_or(missing)?, rows, operand.width, operand.row_stride)
    }
}

fn count(rows: Rows, tokens: usize, sequences: usize) -> usize {
    match rows {
        Rows::Tokens => tokens,
        Rows::Sequences => sequences,
    }
}

fn split(values: &mut [f32], at: usize) -> Result<(&mut [f32], &mut [f32]), KernelError> {
    let len = values.len();
    values.split_at_mut_checked(at).ok_or(KernelError::Shape { what: "arena", expected: at, found: len })
}
