//! One vector per sequence from the vectors of its tokens.

use pulp::{Simd, WithSimd};

use crate::{
    Cpu, Exec, KernelError, MatMut, MatRef,
    error::expect_eq,
    gather::{self, Select},
    ragged::{range, validate_lengths},
    view::SharedMat,
};

/// How the rows of a sequence become one; the modes of sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first row, where BERT-like models put `[CLS]`.
    Cls,
    /// The largest value of each column.
    Max,
    /// Their sum over the square root of their number.
    MeanSqrtLen,
    /// The last row.
    Last,
    /// Their mean with weights 1, 2, 3, …, so that what comes later counts for more.
    WeightedMean,
}

/// Pools the rows of each sequence of `x` into the row of `out` that has the sequence's number.
///
/// Sequence `i` is the rows `cu_seqlens[i] .. cu_seqlens[i + 1]` of `x`, counted from `cu_seqlens[0]`; one without rows gives zeros.
///
/// ```
/// use loquat_kernels::{Cpu, Exec, MatMut, MatRef, pooling::{Pooling, pool}};
///
/// let x = [1.0, 2.0, 3.0, 6.0, 9.0, 9.0]; // three tokens of width 2
/// let mut out = [0.0; 4];
/// let (x, out_view) = (MatRef::new(&x, 3, 2, 2)?, MatMut::new(&mut out, 2, 2, 2)?);
/// pool(&Cpu::detect()?, Exec::Serial, Pooling::Mean, x, &[0, 2, 3], out_view)?;
/// assert_eq!(out, [2.0, 4.0, 9.0, 9.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the lengths don't ascend or don't end with the rows of `x`, or `out` isn't of shape `[sequences, columns of x]`.
pub fn pool(
    cpu: &Cpu,
    exec: Exec<'_>,
    kind: Pooling,
    x: MatRef<'_>,
    cu_seqlens: &[u32],
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    let reduction = match kind {
        Pooling::Cls => return gather::select_rows(exec, Select::First, x, cu_seqlens, out),
        Pooling::Last => return gather::select_rows(exec, Select::Last, x, cu_seqlens, out),
        Pooling::Mean => Reduction::Mean,
        Pooling::MeanSqrtLen => Reduction::MeanSqrtLen,
        Pooling::Max => Reduction::Max,
        Pooling::WeightedMean => Reduction::WeightedMean,
    };
    /// Columns of one work item: some cache lines of each row, few enough that a single sequence occupies several workers.
    const COLUMNS: usize = 128;
    validate_lengths(cu_seqlens, x.rows())?;
    let sequences = cu_seqlens.len() - 1;
    expect_eq("rows of the pooled output", out.rows(), sequences)?;
    expect_eq("columns of the pooled output", out.cols(), x.cols())?;
    let blocks = x.cols().div_ceil(COLUMNS);
    let out = out.shared();
    exec.for_each(sequences * blocks, &|_, item| {
        let (sequence, block) = (item / blocks, item % blocks);
        let column = block * COLUMNS;
        let width = COLUMNS.min(x.cols() - column);
        cpu.arch().dispatch(Block { reduction, x, rows: range(cu_seqlens, sequence), column, width, out, sequence });
    });
    Ok(())
}

#[derive(Clone, Copy)]
enum Reduction {
    Mean,
    MeanSqrtLen,
    WeightedMean,
    Max,
}

/// Some columns of one sequence.
struct Block<'a> {
    reduction: Reduction,
    x: MatRef<'a>,
    rows: std::ops::Range<usize>,
    column: usize,
    width: usize,
    out: SharedMat<'a>,
    sequence: usize,
}

/// Vectors that are reduced together.
const GROUP: usize = 4;
/// `f32` in a group of the widest vectors.
const WIDEST_GROUP: usize = 16 * GROUP;

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Block { reduction, x, rows, column, width, out, sequence } = self;
        // SAFETY: the columns lie inside the row, and this work item alone writes them.
        let out = unsafe { std::slice::from_raw_parts_mut(out.element(sequence, column), width) };
        if rows.is_empty() {
            return out.fill(0.0);
        }
        let count = rows.len() as f32;
        for (i, target) in out.chunks_mut(GROUP * S::F32_LANES).enumerate() {
            let start = column + i * GROUP * S::F32_LANES;
            let columns = start..start + target.len();
            let pooled = match reduction {
                Reduction::Mean => divide(simd, sum::<S, false>(simd, x, rows.clone(), columns), count),
                Reduction::MeanSqrtLen => divide(simd, sum::<S, false>(simd, x, rows.clone(), columns), count.sqrt()),
                Reduction::WeightedMean => {
                    // Half of n (n + 1), which a product of floats would round twice.
                    let weights = (rows.len() as f64 * (rows.len() as f64 + 1.0) / 2.0) as f32;
                    divide(simd, sum::<S, true>(simd, x, rows.clone(), columns), weights)
                }
                Reduction::Max => max(simd, x, rows.clone(), columns),
            };
            let mut padded = [0.0; WIDEST_GROUP];
            S::as_mut_simd_f32s(&mut padded).0[..GROUP].copy_from_slice(&pooled);
            target.copy_from_slice(&padded[..target.len()]);
        }
    }
}

/// A group of one row; zeros beyond the columns.
#[inline(always)]
fn load<S: Simd>(row: &[f32], columns: std::ops::Range<usize>) -> [S::f32s; GROUP] {
    let values = &row[columns];
    if let Some(full) = pulp::as_arrays::<GROUP, _>(S::as_simd_f32s(values).0).0.first() {
        return *full;
    }
    let mut padded = [0.0; WIDEST_GROUP];
    padded[..values.len()].copy_from_slice(values);
    pulp::as_arrays::<GROUP, _>(S::as_simd_f32s(&padded).0).0[0]
}

/// Sums of columns over rows, `WEIGHTED` with 1, 2, 3, …. In two levels, so that the error grows with the number of blocks and not of rows.
#[inline(always)]
fn sum<S: Simd, const WEIGHTED: bool>(
    simd: S,
    x: MatRef<'_>,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) -> [S::f32s; GROUP] {
    const BLOCK: usize = 32;
    let mut total = [simd.splat_f32s(0.0); GROUP];
    for first in rows.clone().step_by(BLOCK) {
        let mut block = [simd.splat_f32s(0.0); GROUP];
        for row in first..rows.end.min(first + BLOCK) {
            let weight = simd.splat_f32s((row - rows.start + 1) as f32);
            for (sum, x) in block.iter_mut().zip(load::<S>(x.row(row), columns.clone())) {
                *sum = simd.add_f32s(*sum, if WEIGHTED { simd.mul_f32s(x, weight) } else { x });
            }
        }
        for (total, block) in total.iter_mut().zip(block) {
            *total = simd.add_f32s(*total, block);
        }
    }
    total
}

#[inline(always)]
fn divide<S: Simd>(simd: S, mut values: [S::f32s; GROUP], by: f32) -> [S::f32s; GROUP] {
    let by = simd.splat_f32s(by);
    for x in &mut values {
        *x = simd.div_f32s(*x, by);
    }
    values
}

/// Largest values of columns over rows; `NaN` if there is one.
#[inline(always)]
fn max<S: Simd>(
    simd: S,
    x: MatRef<'_>,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) -> [S::f32s; GROUP] {
    let mut largest = load::<S>(x.row(rows.start), columns.clone());
    for row in rows.skip(1) {
        for (largest, x) in largest.iter_mut().zip(load::<S>(x.row(row), columns.clone())) {
            // The levels differ in what `max` does with a `NaN`: keep one that is there, and take one that comes, which the
            // comparison with it says no to.
            let is_nan = simd.not_m32s(simd.equal_f32s(*largest, *largest));
            let keep = simd.or_m32s(is_nan, simd.less_than_or_equal_f32s(x, *largest));
            *largest = simd.select_f32s(keep, *largest, x);
        }
    }
    largest
}

/// The definitions, in `f64`.
pub mod reference {
    use super::Pooling;

    /// Pools the rows of one sequence; `width` zeros if there are none.
    pub fn pool(kind: Pooling, rows: &[&[f32]], width: usize) -> Vec<f64> {
        let column = |j: usize| rows.iter().map(move |row| f64::from(row[j]));
        let count = rows.len() as f64;
        let value = |j: usize| match kind {
            _ if rows.is_empty() => 0.0,
            Pooling::Mean => column(j).sum::<f64>() / count,
            Pooling::MeanSqrtLen => column(j).sum::<f64>() / count.sqrt(),
            Pooling::Max => column(j).fold(f64::NEG_INFINITY, f64::max),
            Pooling::Cls => f64::from(rows[0][j]),
            Pooling::Last => f64::from(rows[rows.len() - 1][j]),
            Pooling::WeightedMean => {
                let weighted = column(j).zip(1..).map(|(value, weight)| value * f64::from(weight));
                weighted.sum::<f64>() / (count * (count + 1.0) / 2.0)
            }
        };
        (0..width).map(value).collect()
    }
}

#[cfg(test)]
mod tests;
