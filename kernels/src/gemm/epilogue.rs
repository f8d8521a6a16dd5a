//! What happens to a tile on its way from the accumulators to the output.

use pulp::{Simd, WithSimd};

use super::ScratchTile;
use crate::{Activation, Cpu, KernelError, MatRef, activation, error::expect_eq, view::SharedMat};

/// What is done to each element of a product before it is stored: `act(acc + bias) + residual`.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// Added to every row; one value per output column.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// Added last; same shape as the output.
    pub residual: Option<MatRef<'a>>,
}

impl Epilogue<'_> {
    pub(super) fn validate(&self, rows: usize, cols: usize) -> Result<(), KernelError> {
        if let Some(bias) = self.bias {
            expect_eq("length of the bias", bias.len(), cols)?;
        }
        if let Some(residual) = self.residual {
            expect_eq("rows of the residual", residual.rows(), rows)?;
            expect_eq("columns of the residual", residual.cols(), cols)?;
        }
        Ok(())
    }

    /// Finishes the tile in `acc`, rows of `nr` values, and writes it to rows `row .. row + rows`, columns `col .. col + cols` of `out`.
    #[inline]
    pub(super) fn store(
        &self,
        cpu: &Cpu,
        acc: &[f32],
        nr: usize,
        out: SharedMat<'_>,
        (row, rows): (usize, usize),
        (col, cols): (usize, usize),
    ) {
        cpu.arch().dispatch(StoreTile { epilogue: self, acc, nr, out, row, rows, col, cols });
    }
}

struct StoreTile<'a> {
    epilogue: &'a Epilogue<'a>,
    acc: &'a [f32],
    nr: usize,
    out: SharedMat<'a>,
    row: usize,
    rows: usize,
    col: usize,
    cols: usize,
}

impl WithSimd for StoreTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // One loop per activation, so that the choice isn't made again for each vector. Closures over vectors must be inlined: one
        // that isn't is compiled without the level's instructions, and each of its operations becomes a call.
        macro_rules! by_activation {
            ($($variant:ident)*) => {
                match self.epilogue.activation {
                    None => self.run(
                        simd,
                        #[inline(always)]
                        |x| x,
                    ),
                    $(Some(Activation::$variant) => self.run(
                        simd,
                        #[inline(always)]
                        |x| activation::apply_vec(simd, Activation::$variant, x),
                    ),)*
                }
            };
        }
        by_activation!(Relu GeluErf GeluTanh Silu Tanh Sigmoid)
    }
}

impl StoreTile<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S, act: impl Fn(S::f32s) -> S::f32s) {
        let StoreTile { epilogue, acc, nr, out, row, rows, col, cols } = self;
        // Columns beyond the matrix exist in the panel alone. Their operands are zeros from here, so that the last panel goes
        // through the same arithmetic as every other.
        let full = cols == nr;
        let mut bias = [0.0; ScratchTile::WIDEST];
        if let Some(values) = epilogue.bias {
            bias[..cols].copy_from_slice(&values[col..col + cols]);
        }
        let bias = &bias[..nr];
        for i in 0..rows {
            let acc = &acc[i * nr..][..nr];
            // SAFETY: the tile lies inside `out`, and this work item alone writes it.
            let target = unsafe { std::slice::from_raw_parts_mut(out.element(row + i, col), cols) };
            let residual = epilogue.residual.map(|residual| &residual.row(row + i)[col..col + cols]);
            if full {
                finish(simd, &act, acc, bias, residual, target);
            } else {
                let mut padded_residual = [0.0; ScratchTile::WIDEST];
                let mut padded_target = [0.0; ScratchTile::WIDEST];
                if let Some(values) = residual {
                    padded_residual[..cols].copy_from_slice(values);
                }
                let residual = residual.map(|_| &padded_residual[..nr]);
                finish(simd, &act, acc, bias, residual, &mut padded_target[..nr]);
                target.copy_from_slice(&padded_target[..cols]);
            }
        }
    }
}

/// One row of a tile: all slices are `nr` long, a multiple of every vector length.
#[inline(always)]
fn finish<S: Simd>(
    simd: S,
    act: &impl Fn(S::f32s) -> S::f32s,
    acc: &[f32],
    bias: &[f32],
    residual: Option<&[f32]>,
    target: &mut [f32],
) {
    let (acc, _) = S::as_simd_f32s(acc);
    let (bias, _) = S::as_simd_f32s(bias);
    let (target, _) = S::as_mut_simd_f32s(target);
    match residual {
        None => {
            for ((target, acc), bias) in target.iter_mut().zip(acc).zip(bias) {
                *target = act(simd.add_f32s(*acc, *bias));
            }
        }
        Some(residual) => {
            let (residual, _) = S::as_simd_f32s(residual);
            for (((target, acc), bias), residual) in target.iter_mut().zip(acc).zip(bias).zip(residual) {
                *target = simd.add_f32s(act(simd.add_f32s(*acc, *bias)), *residual);
            }
        }
    }
}
