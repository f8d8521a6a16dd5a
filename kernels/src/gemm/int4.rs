//! Weights of four bits for few rows, as in decoding: a product reads the weights at the speed of memory and decodes them in registers.
//!
//! Along the reduction, every [`GROUP`] weights of a column share a scale in `f16`; a weight is an integer from -8 to 7 times it.
//! Activations stay `f32`. Each output is, group by group, one chain of multiply-adds of integers, then one of the groups' sums
//! times their scales, whatever else is computed with it, so neither batch nor split changes its bits.
//!
//! A panel holds for each group first the columns' scales, then words of eight weights: the same lane of so many neighbouring vectors, and
//! where a panel has fewer than eight vectors, of so many neighbouring steps of the reduction.

use std::ops::Range;

use half::f16;

use super::{
    Arithmetic, Block, Epilogue, Grid, MicroKernel, PackedRhs,
    microkernel::{GroupedTile, TileFn, split_rows},
    table::ScratchTile,
};
use crate::{Cpu, Exec, Features, MatRef, view::SharedMat};

/// Weights that share a scale.
pub const GROUP: usize = 32;

/// Weights in a word.
const PER_WORD: usize = 8;

const fn kernel(
    name: &'static str,
    needs: Features,
    (mr, nr): (usize, usize),
    run: unsafe fn(&GroupedTile),
    lanes: usize,
) -> MicroKernel {
    MicroKernel { name, needs, arithmetic: Arithmetic::Int4, mr, nr, tile: TileFn::Grouped { run, lanes } }
}

pub(super) const SCALAR: MicroKernel = kernel("scalar-int4-1x8", Features::NONE, (1, 8), scalar::tile, 1);
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: MicroKernel = kernel("x86_64-avx2-int4-3x32", Features::AVX2_FMA, (3, 32), avx2::tile, 8);
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: MicroKernel = kernel("x86_64-avx512-int4-3x128", Features::AVX512, (3, 128), avx512::tile, 16);
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: MicroKernel = kernel("aarch64-neon-int4-3x32", Features::NEON, (3, 32), neon::tile, 4);

/// Words of a group in a panel of `nr` columns.
fn group_len(nr: usize) -> usize {
    nr / 2 + GROUP * nr / PER_WORD
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
    (nr, lanes): (usize, usize),
    k: usize,
    columns: Range<usize>,
    fill: &(dyn Fn(usize, &mut [f32]) + Sync),
    panel: &mut [f32],
) {
    let vectors = nr / lanes;
    let steps = PER_WORD / vectors;
    let (mut row, mut scales, mut codes) = (vec![0.0; k], vec![f16::ZERO; k.div_ceil(GROUP)], vec![0; k]);
    for (column, source) in columns.enumerate() {
        fill(source, &mut row);
        quantize(&row, &mut scales, &mut codes);
        let (vector, lane) = (column / lanes, column % lanes);
        let groups = panel.chunks_exact_mut(group_len(nr)).zip(codes.chunks(GROUP)).zip(&scales);
        for ((group, codes), scale) in groups {
            let (own_scales, words) = group.split_at_mut(nr / 2);
            bytemuck::cast_slice_mut::<f32, u16>(own_scales)[column] = scale.to_bits();
            let words: &mut [u32] = bytemuck::cast_slice_mut(words);
            for (step, code) in codes.iter().enumerate() {
                let nibble = step % steps * vectors + vector;
                words[step / steps * lanes + lane] |= ((code + 8) as u32) << (4 * nibble);
            }
        }
    }
}

/// What [`gemm`](super::gemm) does for weights of four bits. The shapes have been checked.
pub(super) fn gemm(
    cpu: &Cpu,
    exec: Exec<'_>,
    lhs: MatRef<'_>,
    rhs: &PackedRhs,
    epilogue: &Epilogue<'_>,
    out: SharedMat<'_>,
) {
    let grid = Grid::new(rhs.kernel(), exec.workers(), lhs.rows(), rhs.k(), rhs.panels());
    exec.for_each(grid.items(), &|_, item| run_block(cpu, lhs, rhs, epilogue, out, &grid.block(item)));
}

fn run_block(cpu: &Cpu, lhs: MatRef<'_>, rhs: &PackedRhs, epilogue: &Epilogue<'_>, out: SharedMat<'_>, block: &Block) {
    let MicroKernel { nr, mr, tile, .. } = *rhs.kernel();
    let TileFn::Grouped { run, .. } = tile else { return };
    // Without a reduction no tile is computed, and the zeros that the scratch starts with are the sums.
    let mut scratch = ScratchTile::new();
    for panel in block.panel..block.panel + block.panels {
        let col = panel * nr;
        let cols = nr.min(rhs.n() - col);
        for (start, rows) in split_rows(block.rows, mr) {
            let row = block.row + start;
            if rhs.k() > 0 {
                // SAFETY: the kernel is one of `cpu`'s level, so this machine has what it needs. `k` is 1 or more, rows `row .. row + rows` and `k` columns lie in
                // `lhs`, the panel is packed for the kernel and `k`, and the scratch tile holds `mr × nr` values.
                unsafe {
                    run(&GroupedTile {
                        rows,
                        k: rhs.k(),
                        a: lhs.as_ptr().add(row * lhs.row_stride()),
                        a_stride: lhs.row_stride(),
                        b: rhs.panel(panel).as_ptr().cast(),
                        c: scratch.as_mut_ptr(),
                    });
                }
            }
            epilogue.store(cpu, scratch.values(), nr, out, (row, rows), (col, cols));
        }
    }
}

/// Vectors of one instruction set.
///
/// # Safety
/// Of all functions: the machine has the instruction set, and pointers are valid for the lanes that are read or written.
trait Vector: Copy {
    const LANES: usize;
    type Words: Copy;
    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `f16` to `f32`.
    unsafe fn load_f16(from: *const u16) -> Self;
    unsafe fn multiply_add(self, factor: Self, addend: Self) -> Self;
    unsafe fn words(from: *const u32) -> Self::Words;
    /// The integers in the bits from `SHIFT` on.
    unsafe fn integers<const SHIFT: u32>(words: Self::Words) -> Self;
    /// A hint to fetch a line that is read later.
    unsafe fn prefetch(_line: *const u32) {}
}

/// Words ahead that a tile asks for: far enough for memory, and past the pages at whose ends the hardware's prefetchers stop.
const AHEAD: usize = 512;

/// A tile of `R` rows and `VECTORS` vectors of columns.
///
/// # Safety
/// As for [`TileFn`], with `R` rows and `VECTORS` times `V::LANES` columns; inlined where the instruction set is enabled.
#[inline(always)]
unsafe fn tile<V: Vector, const VECTORS: usize, const R: usize>(t: &GroupedTile) {
    let nr = VECTORS * V::LANES;
    let steps = PER_WORD / VECTORS;
    let mut group = t.b;
    // SAFETY: the caller's, with `k` 1 or more: a group of the panel is its columns' scales and the words of `GROUP` steps; `c` takes `nr` values in each row;
    // rows have `k` values.
    unsafe {
        for first in (0..t.k).step_by(GROUP) {
            let count = GROUP.min(t.k - first);
            let mut words = group.add(nr / 2);
            let mut sums = [[V::zero(); VECTORS]; R];
            let mut a = t.a.add(first);
            // The words of `steps` steps of the reduction, of which there may be fewer left.
            macro_rules! words {
                ($left:expr, $($nibble:literal)*) => {
                    let packed = V::words(words);
                    $(
                        if $nibble / VECTORS < $left {
                            let weights = V::integers::<{ 4 * $nibble }>(packed);
                            for (row, sums) in sums.iter_mut().enumerate() {
                                let value = V::splat(*a.add(row * t.a_stride + $nibble / VECTORS));
                                sums[$nibble % VECTORS] = weights.multiply_add(value, sums[$nibble % VECTORS]);
                            }
                        }
                    )*
                };
            }
            for _ in 0..count / steps {
                V::prefetch(words.wrapping_add(AHEAD));
                words!(steps, 0 1 2 3 4 5 6 7);
                words = words.add(V::LANES);
                a = a.add(steps);
            }
            if !count.is_multiple_of(steps) {
                words!(count % steps, 0 1 2 3 4 5 6 7);
            }
            for (row, sums) in sums.iter().enumerate() {
                for (vector, sum) in sums.iter().enumerate() {
                    let c = t.c.add(row * nr + vector * V::LANES);
                    let total = if first == 0 { V::zero() } else { V::load(c) };
                    V::load_f16(group.cast::<u16>().add(vector * V::LANES)).multiply_add(*sum, total).store(c);
                }
            }
            group = group.wrapping_add(nr / 2 + GROUP / steps * V::LANES);
        }
    }
}

/// `f16` in the low half of a word as the bits of an `f32` that is 2⁻¹¹² times as large: exact for all numbers.
#[cfg(any(target_arch = "aarch64", test))]
const HALF_FACTOR: f32 = f32::from_bits((127 + 112) << 23);

mod scalar {
    use half::f16;

    use super::{GroupedTile, Vector};

    impl Vector for f32 {
        const LANES: usize = 1;
        type Words = u32;

        unsafe fn zero() -> f32 {
            0.0
        }

        unsafe fn splat(value: f32) -> f32 {
            value
        }

        unsafe fn load(from: *const f32) -> f32 {
            // SAFETY: the caller's.
            unsafe { *from }
        }

        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's.
            unsafe { *to = self }
        }

        unsafe fn load_f16(from: *const u16) -> f32 {
            // SAFETY: the caller's.
            f16::from_bits(unsafe { *from }).to_f32()
        }

        unsafe fn multiply_add(self, factor: f32, addend: f32) -> f32 {
            self * factor + addend
        }

        unsafe fn words(from: *const u32) -> u32 {
            // SAFETY: the caller's.
            unsafe { *from }
        }

        unsafe fn integers<const SHIFT: u32>(words: u32) -> f32 {
            (words >> SHIFT & 15) as f32 - 8.0
        }
    }

    pub(super) unsafe fn tile(t: &GroupedTile) {
        // SAFETY: the caller's.
        unsafe { super::tile::<f32, 8, 1>(t) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{GroupedTile, Vector};

    impl Vector for __m256 {
        const LANES: usize = 8;
        type Words = __m256i;

        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: the caller's, here and below.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
        }

        #[inline(always)]
        unsafe fn multiply_add(self, factor: __m256, addend: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(self, factor, addend) }
        }

        #[inline(always)]
        unsafe fn words(from: *const u32) -> __m256i {
            // SAFETY: as above.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        unsafe fn integers<const SHIFT: u32>(words: __m256i) -> __m256 {
            // SAFETY: as above.
            unsafe {
                let codes = _mm256_srl_epi32(words, _mm_cvtsi32_si128(SHIFT as i32));
                let codes = _mm256_and_si256(codes, _mm256_set1_epi32(15));
                _mm256_cvtepi32_ps(_mm256_sub_epi32(codes, _mm256_set1_epi32(8)))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(line: *const u32) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn tile(t: &GroupedTile) {
        // SAFETY: the caller's; the rows are those that the function is compiled for.
        unsafe {
            match t.rows {
                1 => super::tile::<__m256, 4, 1>(t),
                2 => super::tile::<__m256, 4, 2>(t),
                _ => super::tile::<__m256, 4, 3>(t),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{GroupedTile, Vector};

    impl Vector for __m512 {
        const LANES: usize = 16;
        type Words = __m512i;

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: the caller's, here and below.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
        }

        #[inline(always)]
        unsafe fn multiply_add(self, factor: __m512, addend: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(self, factor, addend) }
        }

        #[inline(always)]
        unsafe fn words(from: *const u32) -> __m512i {
            // SAFETY: as above.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        /// Looks the low four bits of each lane up in a table of 16: one instruction for mask, conversion and offset.
        #[inline(always)]
        unsafe fn integers<const SHIFT: u32>(words: __m512i) -> __m512 {
            // SAFETY: as above.
            unsafe {
                let table = _mm512_setr_ps(
                    -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0,
                );
                _mm512_permutexvar_ps(_mm512_srli_epi32::<SHIFT>(words), table)
            }
        }

        #[inline(always)]
        unsafe fn prefetch(line: *const u32) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn tile(t: &GroupedTile) {
        // SAFETY: the caller's; the rows are those that the function is compiled for.
        unsafe {
            match t.rows {
                1 => super::tile::<__m512, 8, 1>(t),
                2 => super::tile::<__m512, 8, 2>(t),
                _ => super::tile::<__m512, 8, 3>(t),
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{GroupedTile, HALF_FACTOR, Vector};

    impl Vector for float32x4_t {
        const LANES: usize = 4;
        type Words = uint32x4_t;

        #[inline(always)]
        unsafe fn zero() -> float32x4_t {
            // SAFETY: the caller's, here and below.
            unsafe { vdupq_n_f32(0.0) }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vdupq_n_f32(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vld1q_f32(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { vst1q_f32(to, self) }
        }

        /// Moves exponent and fraction to where an `f32` has them, which makes it 2⁻¹¹² times as large.
        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> float32x4_t {
            // SAFETY: as above.
            unsafe {
                let bits = vmovl_u16(vld1_u16(from));
                let sign = vshlq_n_u32::<16>(vandq_u32(bits, vdupq_n_u32(0x8000)));
                let rest = vshlq_n_u32::<13>(vandq_u32(bits, vdupq_n_u32(0x7FFF)));
                vmulq_n_f32(vreinterpretq_f32_u32(vorrq_u32(sign, rest)), HALF_FACTOR)
            }
        }

        #[inline(always)]
        unsafe fn multiply_add(self, factor: float32x4_t, addend: float32x4_t) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vfmaq_f32(addend, self, factor) }
        }

        #[inline(always)]
        unsafe fn words(from: *const u32) -> uint32x4_t {
            // SAFETY: as above.
            unsafe { vld1q_u32(from) }
        }

        #[inline(always)]
        unsafe fn integers<const SHIFT: u32>(words: uint32x4_t) -> float32x4_t {
            // SAFETY: as above.
            unsafe {
                let codes = vshlq_u32(words, vdupq_n_s32(-(SHIFT as i32)));
                let codes = vandq_u32(codes, vdupq_n_u32(15));
                vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(codes), vdupq_n_s32(8)))
            }
        }
    }

    #[target_feature(enable = "neon")]
    pub(super) unsafe fn tile(t: &GroupedTile) {
        // SAFETY: the caller's; the rows are those that the function is compiled for.
        unsafe {
            match t.rows {
                1 => super::tile::<float32x4_t, 8, 1>(t),
                2 => super::tile::<float32x4_t, 8, 2>(t),
                _ => super::tile::<float32x4_t, 8, 3>(t),
            }
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

    #[test]
    fn the_factor_turns_moved_bits_into_the_number() {
        for bits in (0..0x7C00).step_by(7) {
            assert_eq!(f32::from_bits(bits << 13) * HALF_FACTOR, f16::from_bits(bits as u16).to_f32());
        }
    }
}
