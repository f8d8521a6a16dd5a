//! L2 normalisation of matrix rows.

use pulp::{Simd, WithSimd};

use crate::{Cpu, Exec, MatMut, row, view::SharedMat};

/// Norms below this count as this, so that a row of zeros stays one; as `torch.nn.functional.normalize`.
const LEAST_NORM: f32 = 1e-12;

/// Divides each row of `x` by its Euclidean length, or by 1e-12 if that is more.
///
/// ```
/// use loquat_kernels::{Cpu, Exec, MatMut, normalize::l2_normalize};
///
/// let mut x = [3.0, 4.0, 0.0, 0.0];
/// l2_normalize(&Cpu::detect()?, Exec::Serial, MatMut::new(&mut x, 2, 2, 2)?);
/// assert_eq!(x, [0.6, 0.8, 0.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn l2_normalize(cpu: &Cpu, exec: Exec<'_>, x: MatMut<'_>) {
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
            let length = row::sum_of_squares(simd, row, 0.0).sqrt();
            // Unlike `f32::max`, keeps a `NaN`.
            let length = if length < LEAST_NORM { LEAST_NORM } else { length };
            let length = simd.splat_f32s(length);
            row::map::<S>(
                row,
                #[inline(always)]
                |x| simd.div_f32s(x, length),
            );
        }
    }
}

/// The definition, in `f64`.
pub mod reference {
    /// One row over its length.
    pub fn l2_normalize(row: &[f32]) -> Vec<f64> {
        let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(|x| f64::from(*x) / length).collect()
    }
}

#[cfg(test)]
mod tests;
