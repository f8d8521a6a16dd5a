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

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::{
    Arithmetic, Block, Epilogue, Grid, MicroKernel, PackedRhs,
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

pub(super) const SCALAR: MicroKernel = kernel("scalar-int4-4x8", Features::NONE, (4, 8), scalar::tile, 8);
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: MicroKernel = kernel("x86_64-avx2-int4-4x32", Features::AVX2_FMA, (4, 32), avx2::tile, 8);
#[cfg(target_arch = "x86_64")]
pub(super) const VNNI: MicroKernel =
    kernel("x86_64-avx512vnni-int4-4x64", Features::AVX512.union(Features::AVX512_VNNI), (4, 64), vnni::tile, 16);
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: MicroKernel = kernel("aarch64-neon-int4-4x32", Features::NEON, (4, 32), neon::tile, 4);

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
        /// Adding it leaves a number's nearest integer in the low bits.
        const ROUND: f32 = 12_582_912.0;
        // Magnitudes compare like the numbers that their bits are, and a NaN is above all others, so that it isn't lost.
        let largest = values.iter().fold(0, |most: u32, value| most.max(value.to_bits() & 0x7FFF_FFFF));
        let largest = f32::from_bits(largest);
        let (scale, factor) = if largest < LEAST { (0.0, 0.0) } else { (largest / STEPS, STEPS / largest) };
        let mut group = CodedGroup { scale, ..CodedGroup::zeroed() };
        let mut sum = 0i32;
        for ((value, high), low) in values.iter().zip(&mut group.high).zip(&mut group.low) {
            let integer = (value * factor + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
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

/// A vector of columns, of one instruction set.
///
/// # Safety
/// Of all functions: the machine has the instruction set, and pointers are valid for the lanes that are read or written.
trait Vector: Copy {
    const LANES: usize;
    /// Four weights of each column.
    type Weights: Copy;
    /// Sums of products of at most [`GROUP`] weights with bytes, for each column.
    type Sums: Copy;
    unsafe fn zero() -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `f16` to `f32`.
    unsafe fn load_f16(from: *const u16) -> Self;
    /// `self * factor * scale + addend`, in this order.
    unsafe fn scale_and_add(self, scale: f32, factor: Self, addend: Self) -> Self;
    /// The weights in the lower halves of a word's bytes, and those in the upper.
    unsafe fn weights(from: *const u32) -> [Self::Weights; 2];
    unsafe fn no_sums() -> Self::Sums;
    unsafe fn add_products(sums: Self::Sums, weights: Self::Weights, bytes: i32) -> Self::Sums;
    /// `256 * high + low + start`.
    unsafe fn total(high: Self::Sums, low: Self::Sums, start: i32) -> Self;
    /// A hint to fetch a line that is read later.
    unsafe fn prefetch(_line: *const u32) {}
}

/// Words ahead that a tile asks for: far enough for memory, and past the pages at whose ends the hardware's prefetchers stop.
const AHEAD: usize = 512;

/// A tile of `R` rows and so many strips.
///
/// # Safety
/// As for [`TileFn`], with `R` rows and `STRIPS` times `V::LANES` columns; inlined where the instruction set is enabled.
#[inline(always)]
unsafe fn tile<V: Vector, const STRIPS: usize, const R: usize>(t: &GroupedTile) {
    let mut group = t.b;
    for strip in 0..STRIPS {
        // SAFETY: the caller's: the panel is strips of `groups` groups, each the columns' scales and `WORDS` words of every column; there
        // are `R` coded rows of `groups` groups, and `c` takes as many rows.
        unsafe {
            let mut totals = [V::zero(); R];
            for i in 0..t.groups {
                let words = group.add(V::LANES / 2);
                let (mut high, mut low) = ([V::no_sums(); R], [V::no_sums(); R]);
                macro_rules! word {
                    ($($word:literal)*) => {$(
                        V::prefetch(words.wrapping_add($word * V::LANES + AHEAD));
                        let [first, second] = V::weights(words.add($word * V::LANES));
                        for row in 0..R {
                            let a = &*t.a.add(row * t.groups + i);
                            let [high, low] = [&mut high[row], &mut low[row]];
                            *high = V::add_products(*high, first, CodedGroup::word(&a.high, 2 * $word));
                            *low = V::add_products(*low, first, CodedGroup::word(&a.low, 2 * $word));
                            *high = V::add_products(*high, second, CodedGroup::word(&a.high, 2 * $word + 1));
                            *low = V::add_products(*low, second, CodedGroup::word(&a.low, 2 * $word + 1));
                        }
                    )*};
                }
                word!(0 1 2 3);
                let scales = V::load_f16(group.cast());
                for row in 0..R {
                    let a = &*t.a.add(row * t.groups + i);
                    totals[row] = V::total(high[row], low[row], a.start).scale_and_add(a.scale, scales, totals[row]);
                }
                group = group.add(group_len(V::LANES));
            }
            for (row, total) in totals.iter().enumerate() {
                total.store(t.c.add((row * STRIPS + strip) * V::LANES));
            }
        }
    }
}

/// `f16` in the low half of a word as the bits of an `f32` that is 2⁻¹¹² times as large: exact for all numbers.
#[cfg(any(target_arch = "aarch64", test))]
const HALF_FACTOR: f32 = f32::from_bits((127 + 112) << 23);

/// Defines `tile`, for the instruction set given.
macro_rules! tile {
    ($(#[$attribute:meta])* $vector:ty, $strips:literal) => {
        $(#[$attribute])*
        pub(super) unsafe fn tile(t: &GroupedTile) {
            // SAFETY: the caller's; the rows are those that the function is compiled for.
            unsafe {
                match t.rows {
                    1 => super::tile::<$vector, $strips, 1>(t),
                    2 => super::tile::<$vector, $strips, 2>(t),
                    3 => super::tile::<$vector, $strips, 3>(t),
                    _ => super::tile::<$vector, $strips, 4>(t),
                }
            }
        }
    };
}

mod scalar {
    use std::array::from_fn;

    use half::f16;

    use super::{GroupedTile, Vector};

    const LANES: usize = 8;

    impl Vector for [f32; LANES] {
        const LANES: usize = LANES;
        type Weights = [u32; LANES];
        type Sums = [i32; LANES];

        unsafe fn zero() -> Self {
            [0.0; LANES]
        }

        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's, here and below.
            unsafe { to.cast::<Self>().write_unaligned(self) }
        }

        unsafe fn load_f16(from: *const u16) -> Self {
            // SAFETY: as above.
            let bits = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
            bits.map(|bits| f16::from_bits(bits).to_f32())
        }

        unsafe fn scale_and_add(self, scale: f32, factor: Self, addend: Self) -> Self {
            from_fn(|lane| self[lane] * scale * factor[lane] + addend[lane])
        }

        unsafe fn weights(from: *const u32) -> [Self::Weights; 2] {
            // SAFETY: as above.
            let words = unsafe { from.cast::<[u32; LANES]>().read_unaligned() };
            [words.map(|word| word & 0x0F0F_0F0F), words.map(|word| word >> 4 & 0x0F0F_0F0F)]
        }

        unsafe fn no_sums() -> Self::Sums {
            [0; LANES]
        }

        unsafe fn add_products(sums: Self::Sums, weights: Self::Weights, bytes: i32) -> Self::Sums {
            from_fn(|lane| {
                let pairs = weights[lane].to_le_bytes().into_iter().zip(bytes.to_le_bytes());
                sums[lane] + pairs.map(|(weight, byte)| i32::from(weight) * i32::from(byte as i8)).sum::<i32>()
            })
        }

        unsafe fn total(high: Self::Sums, low: Self::Sums, start: i32) -> Self {
            from_fn(|lane| (256 * high[lane] + low[lane]).wrapping_add(start) as f32)
        }
    }

    tile!([f32; LANES], 1);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{GroupedTile, Vector};

    impl Vector for __m256 {
        const LANES: usize = 8;
        type Weights = __m256i;
        /// Sums of two neighbouring products each, in 16 bits: eight of at most 2 × 15 × 128 fit.
        type Sums = __m256i;

        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: the caller's, here and below.
            unsafe { _mm256_setzero_ps() }
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
        unsafe fn scale_and_add(self, scale: f32, factor: __m256, addend: __m256) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(_mm256_mul_ps(self, _mm256_set1_ps(scale)), factor, addend) }
        }

        #[inline(always)]
        unsafe fn weights(from: *const u32) -> [__m256i; 2] {
            // SAFETY: as above.
            unsafe {
                let (words, mask) = (_mm256_loadu_si256(from.cast()), _mm256_set1_epi8(15));
                [_mm256_and_si256(words, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(words), mask)]
            }
        }

        #[inline(always)]
        unsafe fn no_sums() -> __m256i {
            // SAFETY: as above.
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        unsafe fn add_products(sums: __m256i, weights: __m256i, bytes: i32) -> __m256i {
            // SAFETY: as above.
            unsafe { _mm256_add_epi16(sums, _mm256_maddubs_epi16(weights, _mm256_set1_epi32(bytes))) }
        }

        #[inline(always)]
        unsafe fn total(high: __m256i, low: __m256i, start: i32) -> __m256 {
            // SAFETY: as above.
            unsafe {
                let ones = _mm256_set1_epi16(1);
                let high = _mm256_slli_epi32::<8>(_mm256_madd_epi16(high, ones));
                let low = _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_set1_epi32(start));
                _mm256_cvtepi32_ps(_mm256_add_epi32(high, low))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(line: *const u32) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }

    tile!(
        #[target_feature(enable = "avx2,fma,f16c")]
        __m256,
        4
    );
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::*;

    use super::{GroupedTile, Vector};

    impl Vector for __m512 {
        const LANES: usize = 16;
        type Weights = __m512i;
        type Sums = __m512i;

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: the caller's, here and below.
            unsafe { _mm512_setzero_ps() }
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
        unsafe fn scale_and_add(self, scale: f32, factor: __m512, addend: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(_mm512_mul_ps(self, _mm512_set1_ps(scale)), factor, addend) }
        }

        #[inline(always)]
        unsafe fn weights(from: *const u32) -> [__m512i; 2] {
            // SAFETY: as above.
            unsafe {
                let (words, mask) = (_mm512_loadu_si512(from.cast()), _mm512_set1_epi32(0x0F0F_0F0F));
                [_mm512_and_si512(words, mask), _mm512_and_si512(_mm512_srli_epi32::<4>(words), mask)]
            }
        }

        #[inline(always)]
        unsafe fn no_sums() -> __m512i {
            // SAFETY: as above.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        unsafe fn add_products(sums: __m512i, weights: __m512i, bytes: i32) -> __m512i {
            // SAFETY: as above.
            unsafe { _mm512_dpbusd_epi32(sums, weights, _mm512_set1_epi32(bytes)) }
        }

        #[inline(always)]
        unsafe fn total(high: __m512i, low: __m512i, start: i32) -> __m512 {
            // SAFETY: as above.
            unsafe {
                let low = _mm512_add_epi32(low, _mm512_set1_epi32(start));
                _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32::<8>(high), low))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(line: *const u32) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }

    tile!(
        #[target_feature(enable = "avx512f,avx512vnni")]
        __m512,
        4
    );
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{GroupedTile, HALF_FACTOR, Vector};

    impl Vector for float32x4_t {
        const LANES: usize = 4;
        type Weights = int8x16_t;
        /// Sums of single products in 16 bits, of the first two columns and of the others: eight of at most 15 × 128 fit.
        type Sums = [int16x8_t; 2];

        #[inline(always)]
        unsafe fn zero() -> float32x4_t {
            // SAFETY: the caller's, here and below.
            unsafe { vdupq_n_f32(0.0) }
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
        unsafe fn scale_and_add(self, scale: f32, factor: float32x4_t, addend: float32x4_t) -> float32x4_t {
            // SAFETY: as above.
            unsafe { vfmaq_f32(addend, vmulq_n_f32(self, scale), factor) }
        }

        #[inline(always)]
        unsafe fn weights(from: *const u32) -> [int8x16_t; 2] {
            // SAFETY: as above.
            unsafe {
                let bytes = vreinterpretq_u8_u32(vld1q_u32(from));
                [vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes))]
            }
        }

        #[inline(always)]
        unsafe fn no_sums() -> [int16x8_t; 2] {
            // SAFETY: as above.
            unsafe { [vdupq_n_s16(0); 2] }
        }

        #[inline(always)]
        unsafe fn add_products(sums: [int16x8_t; 2], weights: int8x16_t, bytes: i32) -> [int16x8_t; 2] {
            // SAFETY: as above.
            unsafe {
                let bytes = vreinterpretq_s8_s32(vdupq_n_s32(bytes));
                [vmlal_s8(sums[0], vget_low_s8(weights), vget_low_s8(bytes)), vmlal_high_s8(sums[1], weights, bytes)]
            }
        }

        #[inline(always)]
        unsafe fn total(high: [int16x8_t; 2], low: [int16x8_t; 2], start: i32) -> float32x4_t {
            // SAFETY: as above.
            unsafe {
                let columns = |[first, second]: [int16x8_t; 2]| vpaddq_s32(vpaddlq_s16(first), vpaddlq_s16(second));
                let low = vaddq_s32(columns(low), vdupq_n_s32(start));
                vcvtq_f32_s32(vaddq_s32(vshlq_n_s32::<8>(columns(high)), low))
            }
        }
    }

    tile!(
        #[target_feature(enable = "neon")]
        float32x4_t,
        8
    );
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
