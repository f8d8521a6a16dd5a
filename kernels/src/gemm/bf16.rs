//! Vectors of values as `bf16`, with the instructions for it.

use std::{arch::x86_64::*, mem::transmute};

use super::TILE_WORDS;

/// Two vectors of values, zeros behind the end.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) fn load(values: &[f32]) -> [__m512; 2] {
    // SAFETY: the masks leave out what lies behind the end.
    unsafe {
        if values.len() >= 2 * TILE_WORDS {
            [_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(TILE_WORDS))]
        } else {
            let mask = |skipped: usize| (1u32 << values.len().saturating_sub(skipped).min(TILE_WORDS)) - 1;
            [
                _mm512_maskz_loadu_ps(mask(0) as u16, values.as_ptr()),
                _mm512_maskz_loadu_ps(mask(TILE_WORDS) as u16, values.as_ptr().wrapping_add(TILE_WORDS)),
            ]
        }
    }
}

/// A vector of values, zeros behind the end.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load_some(values: &[f32]) -> __m512 {
    let mask = (1u32 << values.len().min(TILE_WORDS)) - 1;
    // SAFETY: the mask leaves out what lies behind the end.
    unsafe { _mm512_maskz_loadu_ps(mask as u16, values.as_ptr()) }
}

/// Rounded: the first vector becomes the lower half.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) fn round([first, second]: [__m512; 2]) -> __m512i {
    // SAFETY: both types are 64 bytes without meaning of their own.
    unsafe { transmute(_mm512_cvtne2ps_pbh(second, first)) }
}

/// What rounding has left.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) fn rest(values: [__m512; 2], rounded: __m512i) -> [__m512; 2] {
    [
        _mm512_sub_ps(values[0], widen(_mm512_castsi512_si256(rounded))),
        _mm512_sub_ps(values[1], widen(_mm512_extracti64x4_epi64::<1>(rounded))),
    ]
}

/// `bf16` as `f32`.
#[inline]
#[target_feature(enable = "avx512f")]
fn widen(values: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(values)))
}
