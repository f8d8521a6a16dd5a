//! A tile of a product with weights of four bits, by the vectors of each instruction set.

use super::{CodedGroup, group_len};
use crate::gemm::microkernel::GroupedTile;

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
        pub(in super::super) unsafe fn tile(t: &GroupedTile) {
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

pub(super) mod scalar {
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
pub(super) mod avx2 {
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
pub(super) mod vnni {
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
pub(super) mod neon {
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
    use half::f16;

    use super::HALF_FACTOR;

    #[test]
    fn the_factor_turns_moved_bits_into_the_number() {
        for bits in (0..0x7C00).step_by(7) {
            assert_eq!(f32::from_bits(bits << 13) * HALF_FACTOR, f16::from_bits(bits as u16).to_f32());
        }
    }
}
