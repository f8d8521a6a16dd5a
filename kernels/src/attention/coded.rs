//! The same attention with both products on coded operands: scores from `bf16` queries and keys, sums of `bf16` values weighted by
//! `bf16` probabilities, or all of these split in two. The softmax in between stays in `f32`.

mod vectors;

use std::ops::Range;

use pulp::x86::V4;

use self::vectors::NR;
use super::{AttentionSpec, PositionBias, add_bias};
use crate::{
    Cpu, MatRef,
    buffer::{LINE, from_line},
    gemm::{CodedTile, MicroKernel, TILE_WORDS, TileFn},
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
    regions: [usize; REGIONS],
    /// With a line to spare: coded rows start at one.
    pub(super) len: usize,
}

/// Keys in panels, values in panels, a tile of coded queries, the tile's scores in panels, one row of scores, a tile of coded
/// probabilities, and a tile of results.
const REGIONS: usize = 7;

impl Layout {
    pub(super) fn new(kernel: &MicroKernel, spec: &AttentionSpec, max_kv: usize) -> Option<Layout> {
        debug_assert_eq!(kernel.nr, NR, "{kernel:?}");
        let mr = kernel.mr;
        max_kv.checked_add(4 * TILE_WORDS)?.checked_mul(4 * NR)?;
        spec.head_dim.checked_add(4 * TILE_WORDS)?.checked_mul(4 * NR)?;
        let (head_words, key_words) = (kernel.arithmetic.words(spec.head_dim), kernel.arithmetic.words(max_kv));
        let odd = |words: usize| ((words / TILE_WORDS) | 1) * TILE_WORDS;
        let (head_stride, key_stride) = (odd(head_words), odd(key_words));
        let key_panels = max_kv.div_ceil(NR);
        let regions = [
            key_panels.checked_mul(NR)?.checked_mul(head_words)?,
            spec.head_dim.div_ceil(NR).checked_mul(NR)?.checked_mul(key_words)?,
            head_stride.checked_mul(mr)?,
            key_panels.checked_mul(mr * NR)?,
            key_panels * NR,
            key_stride.checked_mul(mr)?,
            mr * NR,
        ];
        let len = regions.iter().try_fold(LINE, |len, region| len.checked_add(*region))?;
        Some(Layout { head_words, key_words, head_stride, key_stride, regions, len })
    }

    /// The regions of a worker's scratch.
    fn split<'a>(&self, scratch: &'a mut [f32]) -> [&'a mut [f32]; REGIONS] {
        let mut scratch = from_line(scratch);
        self.regions.map(|len| scratch.split_off_mut(..len).unwrap_or_default())
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

impl Head<'_> {
    pub(super) fn run(self) {
        let pulp::Arch::V4(simd) = self.cpu.arch() else {
            unreachable!("{:?} runs at a level with vectors of 512 bits", self.kernel);
        };
        // SAFETY: the kernel is one of the level, which has all of these instructions.
        unsafe {
            match self.kernel.arithmetic.parts() {
                1 => self.run_in_parts::<1>(simd),
                _ => self.run_in_parts::<2>(simd),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
    fn run_in_parts<const PARTS: usize>(self, simd: V4) {
        let Head { kernel, spec, layout, q, k, v, out, column, first_query, queries, visible, keys, scratch, .. } =
            self;
        let TileFn::Coded { run, enter, leave, .. } = kernel.tile else {
            unreachable!("{kernel:?} reads no codes");
        };
        let mr = kernel.mr;
        let step_words = PARTS * TILE_WORDS;
        let columns = column..column + spec.head_dim;
        let [key_panels, value_panels, coded_queries, scores, row, weights, sums] = layout.split(scratch);
        let Layout { head_words, head_stride, key_stride, .. } = *layout;
        // Fewer keys than the scratch has room for take shorter rows.
        let key_words = kernel.arithmetic.words(keys.len()).min(layout.key_words);
        vectors::pack_keys::<PARTS>(k, &keys, &columns, key_panels);
        vectors::pack_values::<PARTS>(v, &keys, &columns, value_panels);
        // SAFETY: the level has tiles.
        unsafe { enter() };
        for start in (0..queries).step_by(mr) {
            let rows = mr.min(queries - start);
            let first = first_query + start;
            vectors::code_rows::<PARTS>(q, first..first + rows, &columns, coded_queries, head_stride);
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
            let panel_words = mr * NR;
            for panel in 0..keys.len().div_ceil(NR) {
                tile.b = key_panels[panel * head_words * NR..].as_ptr().cast();
                tile.c = scores[panel * panel_words..].as_mut_ptr().cast();
                // SAFETY: the queries have `mr` coded rows, the panel `head_words` rows of `NR`, and the scores of each panel room for
                // a tile.
                unsafe { run(&tile) };
            }
            let mut inverse_sums = [0.0; 64];
            for (i, inverse) in inverse_sums.iter_mut().enumerate().take(rows) {
                let seen = if spec.causal { (visible + start + i).min(keys.len()) } else { keys.len() };
                let codes = &mut weights[i * key_stride..][..key_words];
                let scores = &scores[i * NR..];
                let sum = if self.bias.is_none() {
                    vectors::weigh::<PARTS>(simd, scores, panel_words, seen, spec.scale, codes)
                } else {
                    for (row, scores) in row.chunks_exact_mut(NR).zip(scores.chunks(panel_words)) {
                        row.copy_from_slice(&scores[..NR]);
                    }
                    let position = self.first_position + start + i;
                    let scale = add_bias(&mut row[..keys.len()], spec.scale, self.bias, position, self.leading);
                    vectors::weigh::<PARTS>(simd, row, NR, seen, scale, codes)
                };
                *inverse = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            }
            for (panel, from) in columns.clone().step_by(NR).enumerate() {
                // SAFETY: the weights have `mr` coded rows, the panel `key_words` rows of `NR`, and the sums room for a tile. Rows of this
                // block of queries and columns of this head belong to this work item alone.
                unsafe {
                    run(&CodedTile {
                        steps: key_words / step_words,
                        a: weights.as_ptr().cast(),
                        a_stride: key_stride * size_of::<f32>(),
                        b: value_panels[panel * key_words * NR..].as_ptr().cast(),
                        c: sums.as_mut_ptr().cast(),
                        ..tile
                    });
                    let columns = from..columns.end.min(from + NR);
                    vectors::store(sums, &inverse_sums[..rows], out, first, &columns);
                }
            }
        }
        // SAFETY: as above.
        unsafe { leave() };
    }
}

#[cfg(test)]
mod tests;
