//! Softmax of matrix rows, and the part of it that attention uses on its scores.

use pulp::{Simd, WithSimd};

use crate::{Cpu, Exec, MatMut, math, row, view::SharedMat};

/// Replaces each `x` of `scores` by `exp(scale · x - m)`, `m` being the largest `scale · x`, and gives the sum of the results: at
/// least about 1, or `NaN` where softmax is undefined; 0 for an empty row.
///
/// Weights below 8.4e-39 become 0.
#[inline(always)]
pub(crate) fn exp_row<S: Simd>(simd: S, scores: &mut [f32], scale: f32) -> f32 {
    let scale = simd.splat_f32s(scale);
    let max = simd.splat_f32s(row::max_of(
        simd,
        scores,
        #[inline(always)]
        |x| simd.mul_f32s(x, scale),
    ));
    // Multiplied and subtracted in two roundings: in one, the largest could come out above 0, for huge scores by far.
    row::map_sum(
        simd,
        scores,
        #[inline(always)]
        |x| math::exp(simd, simd.sub_f32s(simd.mul_f32s(x, scale), max)),
    )
}

/// Replaces each row of `x` by its softmax, `exp(x - max) / Σ exp(x - max)`.
///
/// A row that holds a `NaN` or a positive infinity, or nothing but negative infinities, becomes `NaN`s, as in PyTorch.
///
/// ```
/// use loquat_kernels::{Cpu, Exec, MatMut, softmax::softmax};
///
/// let mut x = [1.0, 1.0, f32::NEG_INFINITY, 1.0, 1.0];
/// softmax(&Cpu::detect()?, Exec::Serial, MatMut::new(&mut x, 1, 5, 5)?);
/// assert_eq!(x, [0.25, 0.25, 0.0, 0.25, 0.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn softmax(cpu: &Cpu, exec: Exec<'_>, x: MatMut<'_>) {
    let (rows, cols) = (x.rows(), x.cols());
    let x = x.shared();
    exec.for_each_block(rows, row::rows_per_block(cols), &|_, start, len| {
        cpu.arch().dispatch(Rows { x, start, len });
    });
}

struct Rows<'a> {
    x: SharedMat<'a>,
    start: usize,
    len: usize,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: `for_each_block` hands out every row once.
        let mut block = unsafe { self.x.rows_mut(self.start, self.len) };
        for i in 0..self.len {
            let row = block.row_mut(i);
            let sum = simd.splat_f32s(exp_row(simd, row, 1.0));
            row::map::<S>(
                row,
                #[inline(always)]
                |x| simd.div_f32s(x, sum),
            );
        }
    }
}

/// The definition, in `f64`.
pub mod reference {
    /// Softmax of one row.
    pub fn softmax(row: &[f32]) -> Vec<f64> {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = row.iter().map(|x| (f64::from(*x) - f64::from(max)).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|e| e / sum).collect()
    }
}

#[cfg(test)]
mod tests;
