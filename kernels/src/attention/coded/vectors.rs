//! What attention does between its tiles, in whole vectors: operands become codes, scores become weights, sums become output.
//!
//! `PARTS` is [`Arithmetic::parts`](crate::Arithmetic): 1 where a value becomes a `bf16`, 2 where it becomes two. Codes lie as
//! `gemm::encode` has them.

use std::{arch::x86_64::*, ops::Range};

use pulp::{Simd, x86::V4};

use crate::{
    MatRef,
    gemm::{TILE_WORDS, bf16},
    math,
    transpose::transposed_16x16,
    view::SharedMat,
};

/// Keys or columns in a panel: two vectors.
pub(super) const NR: usize = 2 * LANES;

const LANES: usize = 16;

/// Codes rows of some columns, one every `stride` words of `coded`.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn code_rows<const PARTS: usize>(
    source: MatRef<'_>,
    rows: Range<usize>,
    columns: &Range<usize>,
    coded: &mut [f32],
    stride: usize,
) {
    for (coded, row) in coded.chunks_exact_mut(stride).zip(rows) {
        let (coded, _) = coded.as_chunks_mut::<TILE_WORDS>();
        let values = source.row(row)[columns.clone()].chunks(2 * LANES);
        for (coded, values) in coded.chunks_exact_mut(PARTS).zip(values) {
            for (part, coded) in coded.iter_mut().enumerate() {
                put(coded, code(bf16::load(values), part));
            }
        }
    }
}

/// Codes the keys of one head and transposes them into panels: row after row of words, `NR` keys wide, zeros beyond the last key.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn pack_keys<const PARTS: usize>(
    k: MatRef<'_>,
    keys: &Range<usize>,
    columns: &Range<usize>,
    panels: &mut [f32],
) {
    let tiles = columns.len().div_ceil(2 * LANES) * PARTS;
    let (rows, _) = panels.as_chunks_mut::<NR>();
    for (panel, first) in rows.chunks_exact_mut(tiles * TILE_WORDS).zip(keys.clone().step_by(NR)) {
        for (index, tile) in panel.chunks_exact_mut(TILE_WORDS).enumerate() {
            let (from, part) = (columns.start + index / PARTS * (2 * LANES), index % PARTS);
            let columns = from..columns.end.min(from + 2 * LANES);
            for half in 0..2 {
                let mut codes = [_mm512_setzero_ps(); LANES];
                for (codes, key) in codes.iter_mut().zip(first + half * LANES..keys.end) {
                    *codes = _mm512_castsi512_ps(code(bf16::load(&k.row(key)[columns.clone()]), part));
                }
                for (row, words) in tile.iter_mut().zip(transposed_16x16(codes)) {
                    put(half_of(row, half), _mm512_castps_si512(words));
                }
            }
        }
    }
}

/// Codes the values of one head into panels of `NR` columns, zeros beyond the last: a word holds the codes of two keys.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn pack_values<const PARTS: usize>(
    v: MatRef<'_>,
    keys: &Range<usize>,
    columns: &Range<usize>,
    panels: &mut [f32],
) {
    // Places 0, 16, 1, 17, …: the halves of a coded vector by turns.
    let numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let turns = _mm512_add_epi16(numbers, _mm512_slli_epi32::<16>(_mm512_add_epi16(numbers, _mm512_set1_epi32(16))));
    let tiles = keys.len().div_ceil(2 * LANES) * PARTS;
    let (rows, _) = panels.as_chunks_mut::<NR>();
    for (panel, first) in rows.chunks_exact_mut(tiles * TILE_WORDS).zip(columns.clone().step_by(NR)) {
        for (index, tile) in panel.chunks_exact_mut(TILE_WORDS).enumerate() {
            let (start, part) = (keys.start + index / PARTS * (2 * LANES), index % PARTS);
            for (pair, row) in tile.iter_mut().enumerate() {
                for half in 0..2 {
                    let from = (first + half * LANES).min(columns.end);
                    let columns = from..columns.end.min(from + LANES);
                    let value = |key: usize| match key < keys.end {
                        true => bf16::load_some(&v.row(key)[columns.clone()]),
                        false => _mm512_setzero_ps(),
                    };
                    let codes = code([value(start + 2 * pair), value(start + 2 * pair + 1)], part);
                    put(half_of(row, half), _mm512_permutexvar_epi16(turns, codes));
                }
            }
        }
    }
}

/// Turns a row of scores into weights, `exp(scale · x - m)`, `m` being the largest `scale · x`, and writes their codes, zeros for keys beyond the
/// first `seen`. Gives their sum: what [`exp_row`](crate::softmax::exp_row) gives, bit for bit.
///
/// The scores of `NR` keys lie together, those of the next `stride` further on.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
pub(super) fn weigh<const PARTS: usize>(
    simd: V4,
    scores: &[f32],
    stride: usize,
    seen: usize,
    scale: f32,
    codes: &mut [f32],
) -> f32 {
    /// Keys in the four vectors that take turns in adding up.
    const FOUR: usize = 4 * LANES;
    let panel = |panel: usize| {
        let scores = &scores[panel * stride..][..NR];
        [load(&scores[..LANES]), load(&scores[LANES..])]
    };
    let scale = _mm512_set1_ps(scale);
    let whole = seen / FOUR;
    // Of the keys beyond whole fours, those in vector `j`.
    let lanes = |j: usize| (seen % FOUR).saturating_sub(j * LANES).min(LANES);
    let mask = |lanes: usize| ((1u32 << lanes) - 1) as u16;

    let mut greatest = [_mm512_set1_ps(f32::NEG_INFINITY); 4];
    for i in 0..whole {
        let scores = [panel(2 * i), panel(2 * i + 1)];
        for j in 0..4 {
            greatest[j] = _mm512_max_ps(greatest[j], _mm512_mul_ps(scores[j / 2][j % 2], scale));
        }
    }
    for (j, greatest) in greatest.iter_mut().enumerate() {
        if lanes(j) > 0 {
            let score = _mm512_mul_ps(panel(2 * whole + j / 2)[j % 2], scale);
            *greatest = _mm512_mask_max_ps(*greatest, mask(lanes(j)), *greatest, score);
        }
    }
    let [a, b, c, d] = greatest;
    let greatest = _mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d));
    let greatest = _mm512_set1_ps(simd.reduce_max_f32s(pulp::cast(greatest)));

    let weight = |score: __m512| -> __m512 {
        pulp::cast(math::exp(simd, pulp::cast(_mm512_sub_ps(_mm512_mul_ps(score, scale), greatest))))
    };
    let mut sums = [_mm512_setzero_ps(); 4];
    let (codes, _) = codes.as_chunks_mut::<TILE_WORDS>();
    let (whole_codes, rest_codes) = codes.split_at_mut(2 * whole * PARTS);
    for (i, codes) in whole_codes.chunks_exact_mut(2 * PARTS).enumerate() {
        for (j, codes) in codes.chunks_exact_mut(PARTS).enumerate() {
            let [low, high] = panel(2 * i + j);
            let weights = [weight(low), weight(high)];
            sums[2 * j] = _mm512_add_ps(sums[2 * j], weights[0]);
            sums[2 * j + 1] = _mm512_add_ps(sums[2 * j + 1], weights[1]);
            put_parts::<PARTS>(codes, weights);
        }
    }
    for (i, codes) in rest_codes.chunks_exact_mut(PARTS).enumerate() {
        let mut weights = [_mm512_setzero_ps(); 2];
        for (half, weights) in weights.iter_mut().enumerate() {
            let j = 2 * i + half;
            if lanes(j) > 0 {
                *weights = _mm512_maskz_mov_ps(mask(lanes(j)), weight(panel(2 * whole + i)[half]));
                // A vector that isn't whole goes to the last sum.
                let place = if lanes(j) == LANES { j } else { 3 };
                sums[place] = _mm512_add_ps(sums[place], *weights);
            }
        }
        put_parts::<PARTS>(codes, weights);
    }
    let [a, b, c, d] = sums;
    simd.reduce_sum_f32s(pulp::cast(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d))))
}

/// Writes rows of `NR` sums, each times its factor, to rows from `row` on and columns `columns`, at most `NR`.
///
/// # Safety
/// The output has the rows and columns, and nobody else accesses them.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store(sums: &[f32], factors: &[f32], out: SharedMat<'_>, row: usize, columns: &Range<usize>) {
    let (sums, _) = sums.as_chunks::<NR>();
    for (i, (sums, factor)) in sums.iter().zip(factors).enumerate() {
        // SAFETY: the caller's.
        let target = unsafe { std::slice::from_raw_parts_mut(out.element(row + i, columns.start), columns.len()) };
        for (target, sums) in target.chunks_mut(LANES).zip(sums.chunks_exact(LANES)) {
            let values = _mm512_mul_ps(load(sums), _mm512_set1_ps(*factor));
            let mask = (1u32 << target.len()) - 1;
            // SAFETY: the mask leaves out what lies behind the end.
            unsafe { _mm512_mask_storeu_ps(target.as_mut_ptr(), mask as u16, values) };
        }
    }
}

/// Part `part` of the codes of 32 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn code(values: [__m512; 2], part: usize) -> __m512i {
    let high = bf16::round(values);
    if part == 0 { high } else { bf16::round(bf16::rest(values, high)) }
}

/// All parts, one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn put_parts<const PARTS: usize>(target: &mut [[f32; TILE_WORDS]], values: [__m512; 2]) {
    for (part, target) in target.iter_mut().enumerate().take(PARTS) {
        put(target, code(values, part));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    let values = &values[..LANES];
    // SAFETY: there is a vector of values.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn put(target: &mut [f32; LANES], words: __m512i) {
    // SAFETY: there is room for a vector.
    unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), words) };
}

/// The first or the second half of a panel's row.
#[inline]
fn half_of(row: &mut [f32; NR], half: usize) -> &mut [f32; LANES] {
    let (halves, _) = row.as_chunks_mut();
    &mut halves[half]
}
