//! Each token beside its neighbours: what a convolution over a sequence multiplies with its weights.

use crate::{
    Exec, KernelError, MatMut, MatRef,
    error::expect_eq,
    ragged::{range, validate_lengths},
    row,
};

/// How the neighbours' values lie in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The rows one after another.
    Rows,
    /// All values of the first column, then those of the second, and so on, as the weights of a convolution are stored.
    Columns,
}

/// Puts into row `t` of `out` the rows `t + offset` of the same sequence of `x`, for each of `offsets`; zeros where there is none.
///
/// Sequence `i` is the rows `cu_seqlens[i] .. cu_seqlens[i + 1]`, counted from `cu_seqlens[0]`.
///
/// ```
/// use loquat_kernels::{Exec, MatMut, MatRef, neighbours::{Order, beside}};
///
/// let (x, mut out) = ([1.0, 2.0, 3.0], [f32::NAN; 6]);
/// let (x, target) = (MatRef::new(&x, 3, 1, 1)?, MatMut::new(&mut out, 3, 2, 2)?);
/// beside(Exec::Serial, &[-1, 0], Order::Rows, x, &[0, 2, 3], target)?;
/// assert_eq!(out, [0.0, 1.0, 1.0, 2.0, 0.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the lengths don't ascend or don't end with the rows of `x`, or `out` isn't of shape `[rows of x, offsets × columns of x]`.
pub fn beside(
    exec: Exec<'_>,
    offsets: &[i32],
    order: Order,
    x: MatRef<'_>,
    cu_seqlens: &[u32],
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    validate_lengths(cu_seqlens, x.rows())?;
    expect_eq("rows of the neighbours", out.rows(), x.rows())?;
    expect_eq("columns of the neighbours", out.cols(), x.cols().saturating_mul(offsets.len()))?;
    let (rows, cols) = (out.rows(), out.cols());
    let out = out.shared();
    exec.for_each_block(rows, row::rows_per_block(cols), &|_, start, len| {
        // SAFETY: `for_each_block` hands out every row once.
        let mut block = unsafe { out.rows_mut(start, len) };
        // The sequence of the block's first row: the last one that starts there or before and isn't empty.
        let base = cu_seqlens[0] as usize;
        let mut sequence = cu_seqlens.partition_point(|&first| first as usize - base <= start) - 1;
        for i in 0..len {
            while range(cu_seqlens, sequence).end <= start + i {
                sequence += 1;
            }
            let tokens = range(cu_seqlens, sequence);
            let target = block.row_mut(i);
            for (place, &offset) in offsets.iter().enumerate() {
                let neighbour = (start + i).checked_add_signed(offset as isize).filter(|row| tokens.contains(row));
                match (order, neighbour) {
                    (Order::Rows, Some(row)) => target[place * x.cols()..][..x.cols()].copy_from_slice(x.row(row)),
                    (Order::Rows, None) => target[place * x.cols()..][..x.cols()].fill(0.0),
                    (Order::Columns, Some(row)) => {
                        let targets = target[place..].iter_mut().step_by(offsets.len());
                        targets.zip(x.row(row)).for_each(|(target, value)| *target = *value);
                    }
                    (Order::Columns, None) => {
                        target[place..].iter_mut().step_by(offsets.len()).for_each(|target| *target = 0.0);
                    }
                }
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{values, with_teams};

    #[test]
    fn neighbours_are_those_of_the_same_sequence() {
        let (cols, lengths) = (5, [3usize, 0, 1, 130, 0, 2]);
        let rows: usize = lengths.iter().sum();
        let data = values(rows * 7, 1);
        let x = MatRef::new(&data, rows, cols, 7).unwrap();
        for base in [0, 100] {
            let mut cu = vec![base];
            lengths.iter().for_each(|&len| cu.push(cu[cu.len() - 1] + len as u32));
            for (offsets, order) in
                [(&[1, 0, -1][..], Order::Rows), (&[-1, 0, 1], Order::Columns), (&[-140, 2], Order::Rows)]
            {
                let mut expected = Vec::new();
                for sequence in 0..lengths.len() {
                    let tokens = range(&cu, sequence);
                    for row in tokens.clone() {
                        let of =
                            |offset: i32| row.checked_add_signed(offset as isize).filter(|row| tokens.contains(row));
                        let value = |offset, col: usize| of(offset).map_or(0.0, |row| x.row(row)[col]);
                        match order {
                            Order::Rows => {
                                offsets.iter().for_each(|&o| expected.extend((0..cols).map(|c| value(o, c))))
                            }
                            Order::Columns => {
                                (0..cols).for_each(|c| expected.extend(offsets.iter().map(|&o| value(o, c))))
                            }
                        }
                    }
                }
                let run = |exec: Exec<'_>| {
                    let width = cols * offsets.len();
                    let mut out = vec![f32::NAN; rows * width];
                    beside(exec, offsets, order, x, &cu, MatMut::new(&mut out, rows, width, width).unwrap()).unwrap();
                    out
                };
                assert_eq!(run(Exec::Serial), expected, "{offsets:?} {order:?}");
                with_teams(|team| assert_eq!(run(team), expected, "{offsets:?} {order:?}"));
            }
        }
    }

    #[test]
    fn shapes_that_disagree_are_refused() {
        let (data, mut out) = ([0.0; 12], [0.0; 24]);
        let x = MatRef::new(&data, 4, 3, 3).unwrap();
        let mut run = |cu: &[u32], rows, cols| {
            beside(Exec::Serial, &[0, 1], Order::Rows, x, cu, MatMut::new(&mut out, rows, cols, cols).unwrap())
        };
        assert!(run(&[0, 4], 4, 6).is_ok());
        assert!(run(&[0, 4], 3, 6).is_err());
        assert!(run(&[0, 4], 4, 5).is_err());
        assert!(run(&[0, 3], 4, 6).is_err());
    }
}
