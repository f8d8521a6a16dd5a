//! The same attention with both products on coded operands: scores from `bf16` queries and keys, sums of `bf16` values weighted by
//! `bf16` probabilities, or all of these split in two. The softmax in between stays in `f32`.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{AttentionSpec, PositionBias, add_bias};
use crate::{
    Arithmetic, Cpu, MatRef,
    buffer::{LINE, from_line},
    gemm::{CodedTile, MicroKernel, TILE_WORDS, TileFn, encode, encode_pair},
    softmax,
    transpose::transpose,
    view::SharedMat,
};

/// Where things lie in one worker's scratch, in words.
pub(super) struct Layout {
    /// Words of a coded row of queries or keys, and of one of probabilities.
    head_words: usize,
    key_words: usize,
    /// From one coded row to the next: an odd number of cache lines.
    head_stride: usize,
    key_stride: usize,
    parts: [usize; PARTS],
    /// With a line to spare: coded rows start at one.
    pub(super) len: usize,
}

/// Keys in panels, values in panels, a tile of coded queries, the tile's scores in panels, one row of scores, a tile of coded
/// probabilities, and a tile of results.
const PARTS: usize = 7;

impl Layout {
    pub(super) fn new(kernel: &MicroKernel, spec: &AttentionSpec, max_kv: usize) -> Option<Layout> {
        let (mr, nr) = (kernel.mr, kernel.nr);
        max_kv.checked_add(4 * TILE_WORDS)?.checked_mul(4 * nr)?;
        spec.head_dim.checked_add(4 * TILE_WORDS)?.checked_mul(4 * nr)?;
        let (head_words, key_words) = (kernel.arithmetic.words(spec.head_dim), kernel.arithmetic.words(max_kv));
        let odd = |words: usize| ((words / TILE_WORDS) | 1) * TILE_WORDS;
        let (head_stride, key_stride) = (odd(head_words), odd(key_words));
        let key_panels = max_kv.div_ceil(nr);
        let parts = [
            key_panels.checked_mul(nr)?.checked_mul(head_words)?,
            spec.head_dim.div_ceil(nr).checked_mul(nr)?.checked_mul(key_words)?,
            head_stride.checked_mul(mr.max(TILE_WORDS))?,
            key_panels.checked_mul(mr * nr)?,
            key_panels * nr,
            key_stride.checked_mul(mr)?,
            mr * nr,
        ];
        let len = parts.iter().try_fold(LINE, |len, part| len.checked_add(*part))?;
        Some(Layout { head_words, key_words, head_stride, key_stride, parts, len })
    }

    /// The parts of a worker's scratch.
    fn split<'a>(&self, scratch: &'a mut [f32]) -> [&'a mut [f32]; PARTS] {
        let mut scratch = from_line(scratch);
        self.parts.map(|len| scratch.split_off_mut(..len).unwrap_or_default())
    }
}

/// One head of one sequence for a block of queries.
pub(super) struct Head<'a> {
    pub(super) cpu: &'a Cpu,
    pub(super) kernel: &'static MicroKernel,
    pub(super) spec: &'a AttentionSpec,
    pub(super) layout: &'a Layout,
    pub(super) q: MatRef<'a>,
    pub(super) k: MatRef<'a>,
    pub(super) v: MatRef<'a>,
    pub(super) out: SharedMat<'a>,
    /// First column of the head.
    pub(super) column: usize,
    pub(super) first_query: usize,
    /// Where the first query stands in its sequence.
    pub(super) first_position: usize,
    /// With the number of the head.
    pub(super) bias: Option<(&'a PositionBias<'a>, usize)>,
    /// The first keys, which no bias is added for.
    pub(super) leading: usize,
    pub(super) queries: usize,
    pub(super) visible: usize,
    pub(super) keys: Range<usize>,
    pub(super) scratch: &'a mut [f32],
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Head {
            cpu, kernel, spec, layout, q, k, v, out, column, first_query, queries, visible, keys, scratch, ..
        } = self;
        let TileFn::Coded { run, enter, leave, .. } = kernel.tile else {
            unreachable!("{kernel:?} reads no codes");
        };
        let (arithmetic, mr, nr) = (kernel.arithmetic, kernel.mr, kernel.nr);
        let (head_dim, step_words) = (spec.head_dim, arithmetic.parts() * TILE_WORDS);
        let columns = column..column + head_dim;
        let [key_panels, value_panels, coded_queries, scores, row, weights, sums] = layout.split(scratch);
        let Layout { head_words, head_stride, key_stride, .. } = *layout;
        // Fewer keys than the scratch has room for take shorter rows.
        let key_words = arithmetic.words(keys.len()).min(layout.key_words);
        pack_keys(cpu, kernel, k, &keys, columns.clone(), head_words, coded_queries, key_panels);
        pack_values(cpu, arithmetic, v, &keys, columns.clone(), nr, key_words, value_panels);
        // SAFETY: the kernel is one of the level that `simd` stands for.
        unsafe { enter() };
        for start in (0..queries).step_by(mr) {
            let rows = mr.min(queries - start);
            let first = first_query + start;
            for (i, coded) in coded_queries.chunks_exact_mut(head_stride).enumerate().take(rows) {
                let words = bytemuck::cast_slice_mut(&mut coded[..head_words]);
                encode(cpu, arithmetic, &q.row(first + i)[columns.clone()], words);
            }
            let mut tile = CodedTile {
                rows,
                steps: head_words / step_words,
                a: coded_queries.as_ptr().cast(),
                a_stride: head_stride * size_of::<f32>(),
                b: key_panels.as_ptr().cast(),
                c: scores.as_mut_ptr().cast(),
                accumulate: false,
                prefetch: key_panels.as_ptr().cast(),
                prefetch_lines: 0,
            };
            for panel in 0..keys.len().div_ceil(nr) {
                tile.b = key_panels[panel * head_words * nr..].as_ptr().cast();
                tile.c = scores[panel * mr * nr..].as_mut_ptr().cast();
                // SAFETY: the queries have `mr` coded rows, the panel `head_words` rows of `nr`, and the scores of each panel room for
                // a tile.
                unsafe { run(&tile) };
            }
            let mut inverse_sums = [0.0; 64];
            for (i, inverse) in inverse_sums.iter_mut().enumerate().take(rows) {
                for (row, scores) in row.chunks_exact_mut(nr).zip(scores.chunks_exact(mr * nr)) {
                    row.copy_from_slice(&scores[i * nr..][..nr]);
                }
                let row = &mut row[..keys.len()];
                let seen = if spec.causal { (visible + start + i).min(keys.len()) } else { keys.len() };
                let scale = add_bias(row, spec.scale, self.bias, self.first_position + start + i, self.leading);
                let (seen, unseen) = row.split_at_mut(seen);
                let sum = softmax::exp_row(simd, seen, scale);
                unseen.fill(0.0);
                *inverse = if sum == 0.0 { 0.0 } else { 1.0 / sum };
                let words = &mut weights[i * key_stride..][..key_words];
                encode(cpu, arithmetic, row, bytemuck::cast_slice_mut(words));
            }
            for panel in 0..head_dim.div_ceil(nr) {
                // SAFETY: the weights have `mr` coded rows, the panel `key_words` rows of `nr`, and the sums room for a tile.
                unsafe {
                    run(&CodedTile {
                        steps: key_words / step_words,
                        a: weights.as_ptr().cast(),
                        a_stride: key_stride * size_of::<f32>(),
                        b: value_panels[panel * key_words * nr..].as_ptr().cast(),
                        c: sums.as_mut_ptr().cast(),
                        ..tile
                    });
                }
                let cols = nr.min(head_dim - panel * nr);
                for (i, (inverse, sums)) in inverse_sums.iter().zip(sums.chunks_exact(nr)).enumerate().take(rows) {
                    // SAFETY: rows of this block of queries and columns of this head belong to this work item alone.
                    let target =
                        unsafe { std::slice::from_raw_parts_mut(out.element(first + i, column + panel * nr), cols) };
                    for (target, sum) in target.iter_mut().zip(sums) {
                        *target = sum * inverse;
                    }
                }
            }
        }
        // SAFETY: as above.
        unsafe { leave() };
    }
}

/// Codes the keys of one head and transposes them into panels: row after row of words, `nr` keys wide, zeros beyond the last key.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn pack_keys(
    cpu: &Cpu,
    kernel: &MicroKernel,
    k: MatRef<'_>,
    keys: &Range<usize>,
    columns: Range<usize>,
    words: usize,
    group: &mut [f32],
    panels: &mut [f32],
) {
    let nr = kernel.nr;
    for (panel, first) in panels.chunks_exact_mut(words * nr).zip(keys.clone().step_by(nr)) {
        if keys.end - first < nr {
            panel.fill(0.0);
        }
        for start in (first..keys.end.min(first + nr)).step_by(TILE_WORDS) {
            let count = TILE_WORDS.min(keys.end - start);
            for (row, key) in group.chunks_exact_mut(words).zip(start..start + count) {
                encode(cpu, kernel.arithmetic, &k.row(key)[columns.clone()], bytemuck::cast_slice_mut(row));
            }
            if let Ok(coded) = MatRef::new(group, count, words, words) {
                transpose(cpu, coded, &mut panel[start - first..], nr);
            }
        }
    }
}

/// Codes the values of one head: a word holds those of two keys, so rows are taken in pairs.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn pack_values(
    cpu: &Cpu,
    arithmetic: Arithmetic,
    v: MatRef<'_>,
    keys: &Range<usize>,
    columns: Range<usize>,
    nr: usize,
    words: usize,
    panels: &mut [f32],
) {
    let parts = arithmetic.parts();
    for (panel, first) in panels.chunks_exact_mut(words * nr).zip(columns.clone().step_by(nr)) {
        let columns = first..columns.end.min(first + nr);
        if !(columns.len() == nr && keys.len().is_multiple_of(2 * TILE_WORDS)) {
            panel.fill(0.0);
        }
        for (pair, key) in keys.clone().step_by(2).enumerate() {
            let upper = &v.row(key)[columns.clone()];
            let lower = if key + 1 < keys.end { &v.row(key + 1)[columns.clone()] } else { &[] };
            let (step, row) = (pair / TILE_WORDS, pair % TILE_WORDS);
            let row = (step * parts * TILE_WORDS + row) * nr;
            let (high, low) = panel[row..].split_at_mut(nr);
            // Low parts, if the arithmetic has them, are a tile of rows further on.
            let low = if parts == 2 { &mut low[(TILE_WORDS - 1) * nr..][..nr] } else { &mut [] };
            encode_pair(cpu, upper, lower, high, low);
        }
    }
}
