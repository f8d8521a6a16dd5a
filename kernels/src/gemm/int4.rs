//! Weights of four bits: for products that are limited by reading the weights, such as those of one row in decoding.
//!
//! Along the reduction, every [`GROUP`] weights of a column share a scale in `f16`; a weight is an integer from -8 to 7 times it.
//! Activations are coded too, each group of a row for itself: an integer of 32,512 steps either way of zero, in two bytes, times the
//! scale that takes the group's largest magnitude to the last step. That is finer than the `f16` or `bf16` that such weights meet elsewhere,
//! and instructions for products of bytes take a whole word of weights at a time. The products of a group add up exactly; a column's
//! sum then takes one multiply-add a group, in order, so neither rows, batch nor split changes its bits.
//!
//! A panel is a few strips, each as many columns as a vector has lanes. A strip is read front to back: for each group first the columns'
//! scales, then four words of each column. Byte `i` of word `w` holds the weights `8 w + i` (the lower half) and `8 w + 4 + i`, each with 8 added.

mod tile;

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::{
    Arithmetic, Block, Epilogue, Grid, MicroKernel, PackedRhs,
    arithmetic::{largest, nearest_integer},
    microkernel::{GroupedTile, TileFn, split_rows},
    table::ScratchTile,
};
use crate::{Cpu, Exec, Features, KernelError, MatMut, MatRef, view::SharedMat};

/// Weights that share a scale.
pub const GROUP: usize = 32;

/// Steps that a group's largest activation is away from zero: the upper of the two bytes that hold them stays within ±127.
const STEPS: f32 = 127.0 * 256.0;

/// Four weights of a column and the next four, a byte for one of each.
const WEIGHTS_PER_WORD: usize = 8;

/// Words of a column in a group.
const WORDS: usize = GROUP / WEIGHTS_PER_WORD;

const fn kernel(
    name: &'static str,
    needs: Features,
    (mr, nr): (usize, usize),
    run: unsafe fn(&GroupedTile),
    lanes: usize,
) -> MicroKernel {
    MicroKernel { name, needs, arithmetic: Arithmetic::Int4, mr, nr, tile: TileFn::Grouped { run, lanes } }
}

pub(super) const SCALAR: MicroKernel = kernel("scalar-int4-4x8", Features::NONE, (4, 8), tile::scalar::tile, 8);
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: MicroKernel = kernel("x86_64-avx2-int4-4x32", Features::AVX2_FMA, (4, 32), tile::avx2::tile, 8);
#[cfg(target_arch = "x86_64")]
pub(super) const VNNI: MicroKernel =
    kernel("x86_64-avx512vnni-int4-4x64", Features::AVX512.union(Features::AVX512_VNNI), (4, 64), tile::vnni::tile, 16);
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: MicroKernel = kernel("aarch64-neon-int4-4x32", Features::NEON, (4, 32), tile::neon::tile, 4);

/// Words of a group in a strip.
const fn group_len(lanes: usize) -> usize {
    lanes / 2 + WORDS * lanes
}

/// Words of a panel of `nr` columns.
pub(super) fn panel_len(nr: usize, k: usize) -> usize {
    k.div_ceil(GROUP) * group_len(nr)
}

/// The scale of each group and the integers of a row of weights. `codes` is as long as `row`, `scales` has an entry for each group.
///
/// Weights that are such integers times a scale already are kept exactly, whatever multiple of [`GROUP`] shares the scale. Others get, of several
/// scales, the one with the least squared error.
///
/// ```
/// use loquat_kernels::int4;
/// let row: Vec<f32> = (0..32).map(|i| (i - 16) as f32 * 0.1).collect();
/// let (mut scales, mut codes) = ([half::f16::ZERO; 1], [0; 32]);
/// int4::quantize(&row, &mut scales, &mut codes);
/// assert!(row.iter().zip(codes).all(|(value, code)| (value - f32::from(code) * scales[0].to_f32()).abs() < 0.11));
/// ```
///
/// # Panics
/// If the lengths disagree.
pub fn quantize(row: &[f32], scales: &mut [f16], codes: &mut [i8]) {
    assert_eq!((scales.len(), codes.len()), (row.len().div_ceil(GROUP), row.len()), "lengths disagree");
    for ((row, codes), scale) in row.chunks(GROUP).zip(codes.chunks_mut(GROUP)).zip(scales) {
        *scale = grid(row).unwrap_or_else(|| nearest(row));
        let inverse = 1.0 / scale.to_f32();
        for (code, &value) in codes.iter_mut().zip(row) {
            *code = nearest_code(value, inverse);
        }
    }
}

/// The value with the greatest magnitude; NaN if there is one.
fn extreme(row: &[f32]) -> f32 {
    row.iter().fold(0.0, |most: f32, &value| if value.abs() <= most.abs() || most.is_nan() { most } else { value })
}

/// The scale that all values are small multiples of.
fn grid(row: &[f32]) -> Option<f16> {
    let extreme = extreme(row);
    let steps = (1..=8u8).rev().map(f32::from).flat_map(|steps| [-steps, steps]);
    steps.map(|steps| f16::from_f32(extreme / steps)).find(|scale| {
        let (scale, inverse) = (scale.to_f32(), 1.0 / scale.to_f32());
        scale.is_finite() && row.iter().all(|&value| f32::from(nearest_code(value, inverse)) * scale == value)
    })
}

/// Of several scales the one with the least squared error.
fn nearest(row: &[f32]) -> f16 {
    let extreme = extreme(row);
    if !extreme.is_finite() {
        return f16::NAN;
    }
    let candidates = [-8.0, 7.0, -8.5, 7.5, -9.0, 8.0].map(|steps| f16::from_f32(extreme / steps));
    let error = |scale: &f16| {
        let (scale, inverse) = (scale.to_f32(), 1.0 / scale.to_f32());
        row.iter().map(|&value| (f32::from(nearest_code(value, inverse)) * scale - value).powi(2)).sum::<f32>()
    };
    candidates
        .into_iter()
        .map(|scale| (error(&scale), scale))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(f16::ZERO, |(_, scale)| scale)
}

/// The nearest integer, within the range of four bits. Zero for what has no scale.
#[inline]
fn nearest_code(value: f32, inverse: f32) -> i8 {
    (value * inverse).round_ties_even().clamp(-8.0, 7.0) as i8
}

/// Writes the panel of the weight rows `columns`.
pub(super) fn pack_panel(
    lanes: usize,
    k: usize,
    columns: Range<usize>,
    fill: &(dyn Fn(usize, &mut [f32]) + Sync),
    panel: &mut [f32],
) {
    let groups = k.div_ceil(GROUP);
    let (mut row, mut scales, mut codes) = (vec![0.0; k], vec![f16::ZERO; groups], vec![0; k]);
    for (column, source) in columns.enumerate() {
        fill(source, &mut row);
        quantize(&row, &mut scales, &mut codes);
        let lane = column % lanes;
        let strip = &mut panel[column / lanes * groups * group_len(lanes)..];
        for ((group, codes), scale) in strip.chunks_exact_mut(group_len(lanes)).zip(codes.chunks(GROUP)).zip(&scales) {
            let (own_scales, words) = group.split_at_mut(lanes / 2);
            bytemuck::cast_slice_mut::<f32, u16>(own_scales)[lane] = scale.to_bits();
            let words: &mut [u32] = bytemuck::cast_slice_mut(words);
            for (i, code) in codes.iter().enumerate() {
                let (word, byte, half) = (i / WEIGHTS_PER_WORD, i % 4, i % WEIGHTS_PER_WORD / 4);
                words[word * lanes + lane] |= ((code + 8) as u32) << (8 * byte + 4 * half);
            }
        }
    }
}

/// A group of a row of activations in coded form: each is `scale` times 256 times its high byte and once its low one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct CodedGroup {
    /// Not finite if an activation isn't.
    scale: f32,
    /// What the 8 that is added to every weight must be made up for with: -8 times the integers' sum.
    start: i32,
    high: [i8; GROUP],
    low: [i8; GROUP],
}

impl CodedGroup {
    /// Values that it takes in the scratch.
    const LEN: usize = size_of::<CodedGroup>() / size_of::<f32>();

    #[inline(always)]
    fn new(values: &[f32; GROUP]) -> CodedGroup {
        /// Groups with nothing larger count as zeros: their steps would be too small for a number.
        const LEAST: f32 = 1e-30;
        let largest = largest(values);
        let (scale, factor) = if largest < LEAST { (0.0, 0.0) } else { (largest / STEPS, STEPS / largest) };
        let mut group = CodedGroup { scale, ..CodedGroup::zeroed() };
        let mut sum = 0i32;
        for ((value, high), low) in values.iter().zip(&mut group.high).zip(&mut group.low) {
            let integer = nearest_integer(value * factor);
            *low = integer as i8;
            *high = (integer.wrapping_sub(i32::from(*low)) >> 8) as i8;
            sum = sum.wrapping_add(integer);
        }
        group.start = sum.wrapping_mul(-8);
        group
    }

    /// Four neighbouring bytes in a word.
    #[inline(always)]
    fn word(bytes: &[i8; GROUP], index: usize) -> i32 {
        bytemuck::pod_read_unaligned(&bytemuck::bytes_of(bytes)[4 * index..4 * index + 4])
    }
}

/// Codes a row, zeros behind its end.
struct CodeRow<'a> {
    values: &'a [f32],
    groups: &'a mut [CodedGroup],
}

impl pulp::WithSimd for CodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let (whole, rest) = self.values.as_chunks::<GROUP>();
        let (groups, last) = self.groups.split_at_mut(whole.len());
        for (group, values) in groups.iter_mut().zip(whole) {
            *group = CodedGroup::new(values);
        }
        if let [last, ..] = last {
            let mut values = [0.0; GROUP];
            values[..rest.len()].copy_from_slice(rest);
            *last = CodedGroup::new(&values);
        }
    }
}

/// Number of `f32` that products of so many rows need as scratch; `None` if the number overflows.
pub(super) fn scratch_len(rows: usize, k: usize) -> Option<usize> {
    k.div_ceil(GROUP).checked_mul(CodedGroup::LEN)?.checked_mul(rows)
}

/// What [`gemm`](super::gemm) does for weights of four bits. The shapes have been checked.
pub(super) fn gemm(
    cpu: &Cpu,
    exec: Exec<'_>,
    lhs: MatRef<'_>,
    rhs: &PackedRhs,
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
    out: SharedMat<'_>,
) -> Result<(), KernelError> {
    let needed = super::scratch_len(rhs, lhs.rows(), exec.workers())?;
    let found = scratch.len();
    let coded = scratch.get_mut(..needed);
    let coded = coded.ok_or(KernelError::Shape { what: "GEMM scratch", expected: needed, found })?;
    let stride = rhs.k().div_ceil(GROUP) * CodedGroup::LEN;
    let target = MatMut::new(coded, lhs.rows(), stride, stride)?.shared();
    exec.for_each(lhs.rows(), &|_, row| {
        // SAFETY: each item takes the one row that is its own.
        let mut target = unsafe { target.rows_mut(row, 1) };
        cpu.arch().dispatch(CodeRow { values: lhs.row(row), groups: bytemuck::cast_slice_mut(target.row_mut(0)) });
    });
    let coded: &[CodedGroup] = bytemuck::cast_slice(coded);
    let grid = Grid::new(rhs.kernel(), exec.workers(), lhs.rows(), stride, rhs.panels());
    exec.for_each(grid.items(), &|_, item| run_block(cpu, coded, rhs, epilogue, out, &grid.block(item)));
    Ok(())
}

fn run_block(
    cpu: &Cpu,
    coded: &[CodedGroup],
    rhs: &PackedRhs,
    epilogue: &Epilogue<'_>,
    out: SharedMat<'_>,
    block: &Block,
) {
    let MicroKernel { nr, mr, tile, .. } = *rhs.kernel();
    let TileFn::Grouped { run, .. } = tile else { return };
    let groups = rhs.k().div_ceil(GROUP);
    let mut scratch = ScratchTile::new();
    for panel in block.panel..block.panel + block.panels {
        let col = panel * nr;
        let cols = nr.min(rhs.n() - col);
        for (start, rows) in split_rows(block.rows, mr) {
            let row = block.row + start;
            // SAFETY: the kernel is one of `cpu`'s level, so this machine has what it needs. Rows `row .. row + rows` of `groups` each are
            // coded, the panel is packed for the kernel and for `groups`, and the scratch tile holds `mr × nr` values.
            unsafe {
                run(&GroupedTile {
                    rows,
                    groups,
                    a: coded[row * groups..].as_ptr(),
                    b: rhs.panel(panel).as_ptr().cast(),
                    c: scratch.as_mut_ptr(),
                });
            }
            epilogue.store(cpu, scratch.values(), nr, out, (row, rows), (col, cols));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the codes stand for.
    fn decoded(row: &[f32]) -> Vec<f32> {
        let (mut scales, mut codes) = (vec![f16::ZERO; row.len().div_ceil(GROUP)], vec![0; row.len()]);
        quantize(row, &mut scales, &mut codes);
        codes.iter().enumerate().map(|(i, code)| f32::from(*code) * scales[i / GROUP].to_f32()).collect()
    }

    #[test]
    fn what_is_on_a_grid_stays_as_it_is() {
        for group in [32, 64] {
            for offset in [0, 5, 8] {
                let scale = |i: usize| f16::from_f32(0.013 * (1 + i / group) as f32).to_f32();
                let row: Vec<f32> = (0..200).map(|i| ((i * 7 + offset) % 16) as f32 - 8.0).collect();
                let row: Vec<f32> = row.iter().enumerate().map(|(i, code)| code * scale(i)).collect();
                assert_eq!(decoded(&row), row, "groups of {group}");
            }
        }
        // No code of the first half is an extreme one.
        let mut row = vec![0.03; 64];
        (row[3], row[40]) = (0.05, 0.07);
        let row: Vec<f32> =
            row.iter().map(|code: &f32| (code * 100.0).round() * f16::from_f32(0.01).to_f32()).collect();
        assert_eq!(decoded(&row), row);
        assert_eq!(decoded(&[0.0; 40]), [0.0; 40]);
        assert_eq!(decoded(&[]), []);
    }

    #[test]
    fn errors_are_below_a_step() {
        for seed in 0..50 {
            let row: Vec<f32> =
                (0..97).map(|i| ((i * i + seed * 31) as f32 * 0.7).sin() * (1.0 + seed as f32)).collect();
            for (row, decoded) in row.chunks(GROUP).zip(decoded(&row).chunks(GROUP)) {
                let step = extreme(row).abs() / 7.0;
                for (value, decoded) in row.iter().zip(decoded) {
                    assert!((value - decoded).abs() <= 1.01 * step, "{value} became {decoded}");
                }
            }
        }
    }

    #[test]
    fn tiny_huge_and_odd_values_give_no_surprise() {
        assert!(decoded(&[1e-12; 32]).iter().all(|value| value.abs() <= 1e-8));
        assert!(decoded(&[1e30; 32]).iter().all(|value| !value.is_finite()));
        assert!(decoded(&[1.0, f32::NAN, 2.0]).iter().all(|value| value.is_nan()));
    }

    /// Every level gives a group the same code, and finite values come back within half a step.
    #[test]
    fn activations_come_back_within_half_a_step() {
        let wave = |scale: f32| -> Vec<f32> { (0..70).map(|i| ((i * i) as f32 * 0.7).sin() * scale).collect() };
        let ending = |end: f32| [&wave(1.0)[..69], &[end]].concat();
        let finite = [wave(1.0), wave(f32::MAX), wave(1e-25), wave(1e-35), vec![0.0; 40], ending(f32::MAX), vec![]];
        let cases = finite.map(|row| (row, true)).into_iter();
        for (row, finite) in cases.chain([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|bad| (ending(bad), false))) {
            let coded = Cpu::available().into_iter().map(|cpu| {
                let mut groups = vec![CodedGroup::zeroed(); row.len().div_ceil(GROUP)];
                cpu.arch().dispatch(CodeRow { values: &row, groups: &mut groups });
                groups
            });
            let coded: Vec<Vec<CodedGroup>> = coded.collect();
            let bytes: Vec<&[u8]> = coded.iter().map(|groups| bytemuck::cast_slice(groups)).collect();
            assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]), "{row:?}");
            assert_eq!(coded[0].iter().all(|group| group.scale.is_finite()), finite, "{row:?}");
            for (values, group) in row.chunks(GROUP).zip(&coded[0]).filter(|(_, group)| group.scale.is_finite()) {
                let integers =
                    group.high.iter().zip(&group.low).map(|(&high, &low)| 256 * i32::from(high) + i32::from(low));
                let integers: Vec<i32> = integers.collect();
                assert_eq!(group.start, -8 * integers.iter().sum::<i32>(), "{row:?}");
                assert!(integers[values.len()..].iter().all(|&integer| integer == 0), "{row:?}");
                // What is too small for a step counts as zero.
                let half = 0.5 * f64::from(group.scale) * (1.0 + 1e-3) + 1e-30;
                for (&value, &integer) in values.iter().zip(&integers) {
                    let found = f64::from(group.scale) * f64::from(integer);
                    assert!((found - f64::from(value)).abs() <= half, "{value} became {found}");
                }
            }
        }
    }
}
