//! The arithmetics that products are computed in, and the form that each gives its operands.

use crate::Cpu;
#[cfg(target_arch = "x86_64")]
use crate::Features;

/// How a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arithmetic {
    /// `f32` multiply-adds.
    F32,
    /// Each value is split into two `bf16`, a high and a low part; three products of parts are added up in `f32`. The error is near that of
    /// `f32` (about 2⁻¹⁶ of a product's terms).
    Bf16x3,
    /// Values rounded to `bf16`, added up in `f32`.
    Bf16,
    /// Values rounded to bytes: the weights of an output column to 127 steps either way of its largest, the activations of a row to 254 steps
    /// from its least to its greatest. Products are added up exactly.
    Int8,
    /// Weights rounded to four bits, with a scale for each 32 of a column, activations to 15 bits and a sign, with a scale for each 32 of a row.
    /// For products that are limited by reading the weights, such as those of one row. See [`int4`](super::int4).
    Int4,
}

impl Arithmetic {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::F32 => "f32",
            Arithmetic::Bf16x3 => "bf16x3",
            Arithmetic::Bf16 => "bf16",
            Arithmetic::Int8 => "int8",
            Arithmetic::Int4 => "int4",
        }
    }

    /// Coded values that one value becomes.
    pub(crate) fn parts(self) -> usize {
        if self == Arithmetic::Bf16x3 { 2 } else { 1 }
    }

    /// Words of 32 bits that a left-hand row of `k` values takes in coded form.
    pub(crate) fn words(self, k: usize) -> usize {
        match self {
            Arithmetic::F32 | Arithmetic::Int4 => k,
            Arithmetic::Bf16 => k.div_ceil(32) * TILE_WORDS,
            Arithmetic::Bf16x3 => k.div_ceil(32) * 2 * TILE_WORDS,
            Arithmetic::Int8 => k.div_ceil(64) * TILE_WORDS,
        }
    }

    /// Rows of `nr` words behind those of a panel's weights: the columns' scales, and the sums of their codes.
    pub(super) fn trailing_rows(self) -> usize {
        if self == Arithmetic::Int8 { 2 } else { 0 }
    }
}

/// Words in a tile's row of 64 bytes, which all coded rows are made of.
pub(crate) const TILE_WORDS: usize = 16;

/// Writes a row in coded form, zeros behind its end: `words` is [`Arithmetic::words`] long. Gives the factor that the codes are to be
/// multiplied with, 1 where there is none.
///
/// * `Bf16`: two values a word, the first in the lower half.
/// * `Bf16x3`: the same by turns, 16 words of high parts and the 16 of the corresponding low ones.
/// * `Int8`: four values a word, the first in the lowest byte, as weights have it.
pub(crate) fn encode(cpu: &Cpu, arithmetic: Arithmetic, values: &[f32], words: &mut [u32]) -> f32 {
    debug_assert_eq!(words.len(), arithmetic.words(values.len()));
    match arithmetic {
        Arithmetic::F32 | Arithmetic::Int4 => {
            words.copy_from_slice(bytemuck::cast_slice(values));
            1.0
        }
        Arithmetic::Int8 => cpu.arch().dispatch(EncodeInt8 { values, words }),
        #[cfg(target_arch = "x86_64")]
        Arithmetic::Bf16 if cpu.features().contains(Features::AMX) => {
            // SAFETY: the level has the conversions.
            unsafe { x86::bf16(values, words) };
            1.0
        }
        #[cfg(target_arch = "x86_64")]
        Arithmetic::Bf16x3 if cpu.features().contains(Features::AMX) => {
            // SAFETY: as above.
            unsafe { x86::bf16x3(values, words) };
            1.0
        }
        Arithmetic::Bf16 => {
            encode_parts(values, words, 1);
            1.0
        }
        Arithmetic::Bf16x3 => {
            encode_parts(values, words, 2);
            1.0
        }
    }
}

/// Codes each value as so many `bf16`, without instructions for it.
fn encode_parts(values: &[f32], words: &mut [u32], parts: usize) {
    words.fill(0);
    for (tile, values) in words.chunks_exact_mut(parts * TILE_WORDS).zip(values.chunks(2 * TILE_WORDS)) {
        for (i, &value) in values.iter().enumerate() {
            let mut rest = value;
            for part in 0..parts {
                let rounded = reference::bf16(rest);
                tile[part * TILE_WORDS + i / 2] |= u32::from(rounded) << (16 * (i % 2));
                rest -= f32::from_bits(u32::from(rounded) << 16);
            }
        }
    }
}

struct EncodeInt8<'a> {
    values: &'a [f32],
    words: &'a mut [u32],
}

/// The largest magnitude that a weight is coded as.
const MOST: f32 = 127.0;

/// Adding it leaves a number's nearest integer in the low bits.
const ROUND: f32 = 12_582_912.0;

/// The nearest integer of a number below 2²² in magnitude; any, if it isn't.
#[inline(always)]
pub(super) fn nearest_integer(value: f32) -> i32 {
    (value + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32
}

/// The largest magnitude; NaN if there is one.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    // Magnitudes compare like the numbers that their bits are, and a NaN is above all others, so that it isn't lost.
    f32::from_bits(values.iter().fold(0, |most, value| most.max(value.to_bits() & 0x7FFF_FFFF)))
}

impl pulp::WithSimd for EncodeInt8<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f32 {
        let largest = largest(self.values);
        let factor = if largest > 0.0 { MOST / largest } else { 0.0 };
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(self.words);
        let (coded, rest) = bytes.split_at_mut(self.values.len());
        for (byte, value) in coded.iter_mut().zip(self.values) {
            *byte = (value * factor + ROUND).to_bits() as u8;
        }
        rest.fill(0);
        largest / MOST
    }
}

/// What the bytes of a row of activations stand for: `scale * (byte - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RowCode {
    /// Not finite if a value of the row isn't.
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl RowCode {
    /// Words that hold one.
    pub(super) const WORDS: usize = 2;

    #[inline(always)]
    pub(super) fn put(self, words: &mut [f32]) {
        words.copy_from_slice(&[self.scale, f32::from_bits(self.zero as u32)]);
    }

    #[inline(always)]
    pub(super) fn get(words: &[f32]) -> RowCode {
        RowCode { scale: words[0], zero: words[1].to_bits() as i32 }
    }
}

/// Writes a row of activations as bytes, four a word, zeros behind its end: `words` is [`Arithmetic::words`] long. The row's least value, or 0 if
/// that is less, becomes the byte `least`, which is even and has 255 more above it.
///
/// Unlike weights, activations are seldom even about zero: most of those that come from GELU are near the lower end.
pub(super) fn encode_row(cpu: &Cpu, values: &[f32], least: i32, words: &mut [u32]) -> RowCode {
    debug_assert!(least % 2 == 0 && words.len() == Arithmetic::Int8.words(values.len()));
    #[cfg(target_arch = "x86_64")]
    if cpu.features().contains(Features::AVX512) {
        // SAFETY: the level has the instructions.
        return unsafe { x86::int8_row(values, least, words) };
    }
    cpu.arch().dispatch(EncodeRow { values, least, words })
}

struct EncodeRow<'a> {
    values: &'a [f32],
    least: i32,
    words: &'a mut [u32],
}

impl pulp::WithSimd for EncodeRow<'_> {
    type Output = RowCode;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> RowCode {
        let ends = self.values.iter().fold(NO_ENDS, |(low, high), value| {
            let bits = value.to_bits();
            (low.max(bits), high.max(bits as i32))
        });
        let steps = Steps::new(ends, self.least);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(self.words);
        let (coded, rest) = bytes.split_at_mut(self.values.len());
        for (byte, value) in coded.iter_mut().zip(self.values) {
            *byte = (value * steps.factor + steps.round).to_bits() as u8;
        }
        rest.fill(0);
        steps.code
    }
}

/// The bits of the least value below 0 and of the greatest above, both 0 so far. A negative number's bits are the greater without sign the less it
/// is, a positive one's with sign the greater it is, and a NaN's are beyond all others.
const NO_ENDS: (u32, i32) = ((-0.0f32).to_bits(), 0);

/// How a row's values become bytes: the low one of what `value * factor + round` has for bits.
struct Steps {
    factor: f32,
    round: f32,
    code: RowCode,
}

impl Steps {
    /// Steps of a row with these ends, as [`NO_ENDS`] has them.
    #[inline(always)]
    fn new((low, high): (u32, i32), least: i32) -> Steps {
        let (low, high) = (f32::from_bits(low), f32::from_bits(high as u32));
        // One step less than there are, since both ends may be rounded outwards.
        let scale = high / (2.0 * MOST) - low / (2.0 * MOST);
        // Rows too small for a step count as zeros; those with a value that isn't finite are lost, as the scale says.
        if !(f32::MIN_POSITIVE..=f32::MAX).contains(&scale) {
            return Steps { factor: 0.0, round: ROUND + least as f32, code: RowCode { scale, zero: least } };
        }
        let factor = 1.0 / scale;
        // The integer that the least value is rounded to becomes `least`. As that is even, adding the difference before rounding instead of
        // behind changes nothing for it.
        let zero = least.wrapping_sub(nearest_integer(low * factor));
        Steps { factor, round: ROUND + zero as f32, code: RowCode { scale, zero } }
    }
}

/// The conversions, written so that they are plainly right.
pub(super) mod reference {
    /// The nearest `bf16`, ties to even; what is too small for a normal number is zero, as the instructions have it.
    #[inline(always)]
    pub(in super::super) fn bf16(value: f32) -> u16 {
        let bits = value.to_bits();
        let rounded = (bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16) as u16;
        let number = if bits & 0x7F80_0000 == 0 { (bits >> 16) as u16 & 0x8000 } else { rounded };
        if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { number }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{NO_ENDS, RowCode, Steps, TILE_WORDS};
    use crate::gemm::bf16::{load, load_some, rest, round};

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn store(words: &mut [u32], at: usize, value: __m512i) {
        let words = &mut words[at..at + TILE_WORDS];
        // SAFETY: there is room for 16 words.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) };
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16(values: &[f32], words: &mut [u32]) {
        for (i, values) in values.chunks(2 * TILE_WORDS).enumerate() {
            store(words, i * TILE_WORDS, round(load(values)));
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16x3(values: &[f32], words: &mut [u32]) {
        for (i, values) in values.chunks(2 * TILE_WORDS).enumerate() {
            let values = load(values);
            let high = round(values);
            store(words, 2 * i * TILE_WORDS, high);
            store(words, (2 * i + 1) * TILE_WORDS, round(rest(values, high)));
        }
    }

    /// What [`EncodeRow`](super::EncodeRow) does, in whole vectors.
    #[target_feature(enable = "avx512f")]
    pub(super) fn int8_row(values: &[f32], least: i32, words: &mut [u32]) -> RowCode {
        let (vectors, some) = values.as_chunks::<TILE_WORDS>();
        let (mut low, mut high) = (_mm512_set1_epi32(NO_ENDS.0 as i32), _mm512_set1_epi32(NO_ENDS.1));
        for values in vectors.iter().map(|values| load_all(values)).chain([load_some(some)]) {
            low = _mm512_max_epu32(low, _mm512_castps_si512(values));
            high = _mm512_max_epi32(high, _mm512_castps_si512(values));
        }
        let steps = Steps::new((_mm512_reduce_max_epu32(low), _mm512_reduce_max_epi32(high)), least);
        let (factor, round) = (_mm512_set1_ps(steps.factor), _mm512_set1_ps(steps.round));
        let codes = |values: __m512| {
            let numbers = _mm512_add_ps(_mm512_mul_ps(values, factor), round);
            _mm512_cvtepi32_epi8(_mm512_castps_si512(numbers))
        };
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
        let (coded, rest) = bytes.split_at_mut(values.len());
        let (coded, some_coded) = coded.as_chunks_mut::<TILE_WORDS>();
        for (bytes, values) in coded.iter_mut().zip(vectors) {
            // SAFETY: there is room for 16 bytes.
            unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), codes(load_all(values))) };
        }
        let mut last = [0; TILE_WORDS];
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(last.as_mut_ptr().cast(), codes(load_some(some))) };
        some_coded.copy_from_slice(&last[..some.len()]);
        rest.fill(0);
        steps.code
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_all(values: &[f32; TILE_WORDS]) -> __m512 {
        // SAFETY: there is a vector of values.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }
}
