//! Layer normalisation of matrix rows.

use pulp::{Simd, WithSimd};

use crate::{Cpu, Exec, KernelError, MatMut, MatRef, error::expect_eq, row, view::SharedMat};

/// Parameters of a layer norm over rows of a given width.
#[derive(Clone, Copy, Debug)]
pub struct NormParams<'a> {
    /// Multiplies the normalised row; one value per column.
    pub gamma: &'a [f32],
    /// Added last; one value per column.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

impl NormParams<'_> {
    pub(crate) fn validate(&self, cols: usize) -> Result<(), KernelError> {
        expect_eq("length of the norm's gamma", self.gamma.len(), cols)?;
        expect_eq("length of the norm's beta", self.beta.len(), cols)
    }
}

/// Replaces each row of `x` by `(x - mean) / √(variance + eps) · gamma + beta`, PyTorch's `layer_norm` (biased variance).
///
/// ```
/// use loquat_kernels::{Cpu, Exec, MatMut, norm::{NormParams, layer_norm}};
///
/// let mut x = [1.0, 3.0, 10.0, 30.0];
/// let params = NormParams { gamma: &[1.0, 1.0], beta: &[0.0, 0.5], eps: 0.0 };
/// layer_norm(&Cpu::detect()?, Exec::Serial, MatMut::new(&mut x, 2, 2, 2)?, params)?;
/// assert_eq!(x, [-1.0, 1.5, -1.0, 1.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If `gamma` or `beta` don't have a value for each column of `x`.
pub fn layer_norm(cpu: &Cpu, exec: Exec<'_>, x: MatMut<'_>, params: NormParams<'_>) -> Result<(), KernelError> {
    run(cpu, exec, Source::Itself, x, params)
}

/// As [`layer_norm`], from `x` to `out` of the same shape.
///
/// # Errors
/// If shapes or parameters disagree.
pub fn layer_norm_into(
    cpu: &Cpu,
    exec: Exec<'_>,
    x: MatRef<'_>,
    out: MatMut<'_>,
    params: NormParams<'_>,
) -> Result<(), KernelError> {
    run(cpu, exec, Source::Copy(x), out, params)
}

/// Adds `residual`, of the same shape, to `x`, and normalises each row as [`layer_norm`] while it is in cache.
///
/// # Errors
/// If shapes or parameters disagree.
pub fn add_layer_norm(
    cpu: &Cpu,
    exec: Exec<'_>,
    x: MatMut<'_>,
    residual: MatRef<'_>,
    params: NormParams<'_>,
) -> Result<(), KernelError> {
    run(cpu, exec, Source::Plus(residual), x, params)
}

/// What a row is made of before it is normalised.
#[derive(Clone, Copy)]
enum Source<'a> {
    Itself,
    Copy(MatRef<'a>),
    Plus(MatRef<'a>),
}

fn run(
    cpu: &Cpu,
    exec: Exec<'_>,
    source: Source<'_>,
    x: MatMut<'_>,
    params: NormParams<'_>,
) -> Result<(), KernelError> {
    let (rows, cols) = (x.rows(), x.cols());
    params.validate(cols)?;
    if let Source::Copy(other) | Source::Plus(other) = source {
        expect_eq("rows of the norm's input", other.rows(), rows)?;
        expect_eq("columns of the norm's input", other.cols(), cols)?;
    }
    let x = x.shared();
    exec.for_each_block(rows, row::rows_per_block(cols), &|_, start, len| {
        cpu.arch().dispatch(Rows { source, x, params, start, len });
    });
    Ok(())
}

struct Rows<'a> {
    source: Source<'a>,
    x: SharedMat<'a>,
    params: NormParams<'a>,
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
            match self.source {
                Source::Itself => {}
                Source::Copy(other) => row.copy_from_slice(other.row(self.start + i)),
                Source::Plus(other) => row::add(simd, row, other.row(self.start + i)),
            }
            normalize_row(simd, row, self.params);
        }
    }
}

/// Layer norm of one row in place. Two passes for mean and variance: the row is in the nearest cache, and the difference of two
/// large sums that a single pass takes loses digits.
#[inline(always)]
pub(crate) fn normalize_row<S: Simd>(simd: S, row: &mut [f32], params: NormParams<'_>) {
    let len = row.len() as f32;
    let mean = row::sum(simd, row) / len;
    let variance = row::sum_of_squares(simd, row, mean) / len;
    let mean = simd.splat_f32s(mean);
    let scale = simd.splat_f32s(1.0 / (variance + params.eps).sqrt());
    row::map_with::<S>(
        row,
        [params.gamma, params.beta],
        #[inline(always)]
        |x, gamma, beta| simd.mul_add_e_f32s(simd.mul_f32s(simd.sub_f32s(x, mean), scale), gamma, beta),
    );
}

/// The definition, in `f64`.
pub mod reference {
    use super::NormParams;

    /// Layer norm of one row.
    pub fn layer_norm(row: &[f64], params: NormParams<'_>) -> Vec<f64> {
        let len = row.len() as f64;
        let mean = row.iter().sum::<f64>() / len;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / len;
        let scale = 1.0 / (variance + f64::from(params.eps)).sqrt();
        row.iter()
            .zip(params.gamma.iter().zip(params.beta))
            .map(|(x, (gamma, beta))| (x - mean) * scale * f64::from(*gamma) + f64::from(*beta))
            .collect()
    }
}

#[cfg(test)]
mod tests;
