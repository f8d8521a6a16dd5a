//! What happens to a tile on its way from the accumulators to the output.

use pulp::{Simd, WithSimd};

use super::ScratchTile;
use crate::{Activation, Cpu, KernelError, MatRef, activation, error::expect_eq, view::SharedMat};

/// The values of a tile, as an epilogue takes them.
pub(super) trait TileValues<S: Simd>: Copy {
    /// The vectors of a row.
    fn row(self, simd: S, row: usize) -> impl Iterator<Item = S::f32s>;
}

/// Values that lie in rows of `nr`.
#[derive(Clone, Copy)]
struct InRows<'a> {
    values: &'a [f32],
    nr: usize,
}

impl<S: Simd> TileValues<S> for InRows<'_> {
    #[inline(always)]
    fn row(self, _: S, row: usize) -> impl Iterator<Item = S::f32s> {
        S::as_simd_f32s(&self.values[row * self.nr..][..self.nr]).0.iter().copied()
    }
}

/// Where a tile goes: rows `row .. row + rows`, columns `col .. col + cols` of `out`, of `nr` that the tile has.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) out: SharedMat<'a>,
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) col: usize,
    pub(super) cols: usize,
    pub(super) nr: usize,
}

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

    /// Finishes the tile in `acc`, rows of `nr` values, and writes it to its target.
    #[inline]
    pub(super) fn store(&self, cpu: &Cpu, acc: &[f32], target: Target<'_>) {
        let values = InRows { values: acc, nr: target.nr };
        cpu.arch().dispatch(StoreTile { epilogue: self, values, target });
    }

    /// The same for values that are made on the way, by instructions that AVX-512 has.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn store_v4(&self, simd: pulp::x86::V4, values: impl TileValues<pulp::x86::V4>, target: Target<'_>) {
        simd.vectorize(StoreTileV4 { simd, tile: StoreTile { epilogue: self, values, target } });
    }
}

struct StoreTile<'a, V> {
    epilogue: &'a Epilogue<'a>,
    values: V,
    target: Target<'a>,
}

impl WithSimd for StoreTile<'_, InRows<'_>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.by_activation(simd);
    }
}

#[cfg(target_arch = "x86_64")]
struct StoreTileV4<'a, V> {
    simd: pulp::x86::V4,
    tile: StoreTile<'a, V>,
}

#[cfg(target_arch = "x86_64")]
impl<V: TileValues<pulp::x86::V4>> pulp::NullaryFnOnce for StoreTileV4<'_, V> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.tile.by_activation(self.simd);
    }
}

impl<V> StoreTile<'_, V> {
    #[inline(always)]
    fn by_activation<S: Simd>(self, simd: S)
    where
        V: TileValues<S>,
    {
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

    #[inline(always)]
    fn run<S: Simd>(self, simd: S, act: impl Fn(S::f32s) -> S::f32s)
    where
        V: TileValues<S>,
    {
        let StoreTile { epilogue, values, target: Target { out, row, rows, col, cols, nr } } = self;
        // Columns beyond the matrix exist in the panel alone. Their operands are zeros from here, so that the last panel goes
        // through the same arithmetic as every other.
        let full = cols == nr;
        let mut bias = [0.0; ScratchTile::WIDEST];
        if let Some(values) = epilogue.bias {
            bias[..cols].copy_from_slice(&values[col..col + cols]);
        }
        let bias = &bias[..nr];
        for i in 0..rows {
            let values = values.row(simd, i);
            // SAFETY: the tile lies inside `out`, and this work item alone writes it.
            let target = unsafe { std::slice::from_raw_parts_mut(out.element(row + i, col), cols) };
            let residual = epilogue.residual.map(|residual| &residual.row(row + i)[col..col + cols]);
            if full {
                finish(simd, &act, values, bias, residual, target);
            } else {
                let mut padded_residual = [0.0; ScratchTile::WIDEST];
                let mut padded_target = [0.0; ScratchTile::WIDEST];
                if let Some(values) = residual {
                    padded_residual[..cols].copy_from_slice(values);
                }
                let residual = residual.map(|_| &padded_residual[..nr]);
                finish(simd, &act, values, bias, residual, &mut padded_target[..nr]);
                target.copy_from_slice(&padded_target[..cols]);
            }
        }
    }
}

/// One row of a tile: all slices are `nr` long, a multiple of every vector length, and there are as many values.
#[inline(always)]
fn finish<S: Simd>(
    simd: S,
    act: &impl Fn(S::f32s) -> S::f32s,
    values: impl Iterator<Item = S::f32s>,
    bias: &[f32],
    residual: Option<&[f32]>,
    target: &mut [f32],
) {
    let (bias, _) = S::as_simd_f32s(bias);
    let (target, _) = S::as_mut_simd_f32s(target);
    match residual {
        None => {
            for ((target, value), bias) in target.iter_mut().zip(values).zip(bias) {
                *target = act(simd.add_f32s(value, *bias));
            }
        }
        Some(residual) => {
            let (residual, _) = S::as_simd_f32s(residual);
            for (((target, value), bias), residual) in target.iter_mut().zip(values).zip(bias).zip(residual) {
                *target = simd.add_f32s(act(simd.add_f32s(value, *bias)), *residual);
            }
        }
    }
}
