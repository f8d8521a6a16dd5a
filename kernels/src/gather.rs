//! One row per sequence out of a ragged matrix.

use crate::{
    Exec, KernelError, MatMut, MatRef,
    error::expect_eq,
    ragged::{range, validate_lengths},
    row,
};

/// Which row of a sequence is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Select {
    /// The first: where BERT-like models put `[CLS]`.
    First,
    /// The last.
    Last,
}

/// Copies the selected row of each sequence of `x` to the row of `out` that has the sequence's number.
///
/// Sequence `i` is the rows `cu_seqlens[i] .. cu_seqlens[i + 1]` of `x`, counted from `cu_seqlens[0]`; one without rows gives zeros.
///
/// ```
/// use loquat_kernels::{Exec, MatMut, MatRef, gather::{Select, select_rows}};
///
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0];
/// let mut out = [0.0; 2];
/// let (x, out_view) = (MatRef::new(&x, 5, 1, 1)?, MatMut::new(&mut out, 2, 1, 1)?);
/// select_rows(Exec::Serial, Select::Last, x, &[0, 2, 5], out_view)?;
/// assert_eq!(out, [2.0, 5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the lengths don't ascend or don't end with the rows of `x`, or `out` isn't of shape `[sequences, columns of x]`.
pub fn select_rows(
    exec: Exec<'_>,
    select: Select,
    x: MatRef<'_>,
    cu_seqlens: &[u32],
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    validate_lengths(cu_seqlens, x.rows())?;
    let sequences = cu_seqlens.len() - 1;
    expect_eq("rows of the selection", out.rows(), sequences)?;
    expect_eq("columns of the selection", out.cols(), x.cols())?;
    let out = out.shared();
    exec.for_each_block(sequences, row::rows_per_block(x.cols()), &|_, start, len| {
        // SAFETY: `for_each_block` hands out every row once.
        let mut block = unsafe { out.rows_mut(start, len) };
        for i in 0..len {
            let rows = range(cu_seqlens, start + i);
            let target = block.row_mut(i);
            match select {
                _ if rows.is_empty() => target.fill(0.0),
                Select::First => target.copy_from_slice(x.row(rows.start)),
                Select::Last => target.copy_from_slice(x.row(rows.end - 1)),
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
