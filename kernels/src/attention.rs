//! Fused attention over ragged batches: scores, softmax and the weighted sum for one head at a time, in cache.
//!
//! One work item is a (sequence, head, block of queries). It transposes the head's keys into panels once, then takes the
//! queries tile by tile: scores for the whole key row, softmax in place, and the product with the values, all with the GEMM
//! microkernel. There is no mask tensor: a sequence's keys are simply those between its two cumulative lengths.

mod bias;
#[cfg(target_arch = "x86_64")]
mod coded;

use pulp::{Simd, WithSimd};

pub use bias::{ContentBias, PositionBias, RelativeBias, Segments};
use bias::{ContentLayout, ContentScores, Kind};

use crate::{
    Cpu, Exec, KernelError, MatMut, MatRef,
    error::expect_eq,
    gemm::{Arithmetic, MicroKernel, Prefetch, ScratchTile, Tile, TileFn, kernel_for, split_rows},
    ragged::{range, validate_lengths},
    softmax,
    transpose::transpose,
    view::SharedMat,
};

/// The attention of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Number of heads.
    pub heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Multiplies the scores: usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Whether a query sees only keys up to its own position, the last query sitting at the last key.
    pub causal: bool,
    /// How both products are computed: in `f32`, or, where the level has a kernel for it, in one of the kinds of `bf16`.
    pub arithmetic: Arithmetic,
}

impl AttentionSpec {
    /// The microkernel that computes the products at the level of `cpu`.
    pub fn kernel(&self, cpu: &Cpu) -> &'static MicroKernel {
        let arithmetic = match self.arithmetic {
            Arithmetic::Bf16 | Arithmetic::Bf16x3 => self.arithmetic,
            _ => Arithmetic::F32,
        };
        kernel_for(cpu, arithmetic, self.head_dim)
    }
}

/// Queries of one work item where heads alone are too few for the workers: enough to pay for transposing the keys again.
const QUERY_BLOCK: usize = 112;

/// From so many keys on, values are copied even if they fill whole panels where they lie: a head's rows are a page or more apart,
/// which every tile of queries pays for again.
const COPIED_VALUES: usize = 256;

/// Queries of one work item of an attention with a window, where heads are enough: their keys stay in cache, and few keys are packed twice.
const WINDOW_BLOCK: usize = 4 * QUERY_BLOCK;

/// The most queries of a work item whose keys are those of a window. Coded kernels visit all keys of the item for each of its queries.
fn window_block(kernel: &MicroKernel) -> usize {
    if matches!(kernel.tile, TileFn::Coded { .. }) { QUERY_BLOCK } else { WINDOW_BLOCK }
}

/// Scales scores and adds what a bias for distances has for the query at `position`, beyond the first `leading`; gives the scale that is left to
/// apply.
#[inline(always)]
fn add_bias(
    scores: &mut [f32],
    scale: f32,
    bias: Option<(&PositionBias<'_>, usize)>,
    position: usize,
    leading: usize,
) -> f32 {
    let Some((bias, head)) = bias else { return scale };
    let keys = scores.len();
    let leading = leading.min(keys);
    match &bias.kind {
        Kind::Content(_) => scale,
        Kind::Window { distance } => {
            let first = position.saturating_sub(*distance).clamp(leading, keys);
            let end = position.saturating_add(*distance).saturating_add(1).clamp(leading, keys);
            scores[leading..first].fill(f32::NEG_INFINITY);
            scores[end..].fill(f32::NEG_INFINITY);
            scale
        }
        Kind::Distance(bias) => {
            for score in &mut scores[..leading] {
                *score *= scale;
            }
            for (score, bias) in scores.iter_mut().zip(bias.row(head, position, keys)).skip(leading) {
                *score = *score * scale + bias;
            }
            1.0
        }
    }
}

/// Number of `f32` that [`attention`] needs as scratch, for sequences of up to `max_kv` keys.
///
/// # Errors
/// If the number overflows.
pub fn scratch_len(cpu: &Cpu, spec: &AttentionSpec, max_kv: usize, workers: usize) -> Result<usize, KernelError> {
    biased_scratch_len(cpu, spec, None, max_kv, workers)
}

/// Number of `f32` that [`biased_attention`] needs as scratch, for sequences of up to `max_kv` keys.
///
/// # Errors
/// If the number overflows.
pub fn biased_scratch_len(
    cpu: &Cpu,
    spec: &AttentionSpec,
    bias: Option<PositionBias<'_>>,
    max_kv: usize,
    workers: usize,
) -> Result<usize, KernelError> {
    let content = bias.as_ref().and_then(PositionBias::content);
    let spec = &in_f32_for(content, spec);
    let kernel = spec.kernel(cpu);
    let visited = bias.as_ref().map_or(max_kv, |bias| bias.most_seen(window_block(kernel), max_kv));
    let len = match kernel.tile {
        #[cfg(target_arch = "x86_64")]
        TileFn::Coded { .. } => coded::Layout::new(kernel, spec, visited).map(|layout| layout.len),
        _ => Layout::new(kernel, spec, content, visited).map(|layout| layout.len),
    };
    let too_large = KernelError::TooLarge { what: "attention scratch", rows: workers, cols: max_kv };
    len.and_then(|len| len.checked_mul(workers)).ok_or(too_large)
}

/// Computes `softmax(scale · q kᵀ) v` for every head of every sequence.
///
/// `q` is `[queries, heads * head_dim]`, `k` and `v` are `[keys, heads * head_dim]`, `out` has the shape of `q`; all may be
/// column ranges of wider matrices. Sequence `i` has the queries `cu_q[i] .. cu_q[i + 1]` and the keys `cu_kv[i] .. cu_kv[i + 1]`,
/// both counted from the first entry. A sequence without keys gives zeros. `scratch` is [`scratch_len`] values long, of any content.
///
/// # Errors
/// If shapes, lengths or the scratch disagree.
#[allow(clippy::too_many_arguments)]
pub fn attention(
    cpu: &Cpu,
    exec: Exec<'_>,
    spec: &AttentionSpec,
    q: MatRef<'_>,
    k: MatRef<'_>,
    v: MatRef<'_>,
    cu_q: &[u32],
    cu_kv: &[u32],
    scratch: &mut [f32],
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    biased_attention(cpu, exec, spec, None, q, k, v, cu_q, cu_kv, scratch, out)
}

/// Products with the tables of a bias for content have `f32` kernels alone.
fn in_f32_for(content: Option<&ContentBias<'_>>, spec: &AttentionSpec) -> AttentionSpec {
    let arithmetic = if content.is_some() { Arithmetic::F32 } else { spec.arithmetic };
    AttentionSpec { arithmetic, ..*spec }
}

/// Computes `softmax(scale · q kᵀ + bias) v`, otherwise as [`attention`], with [`biased_scratch_len`] values of scratch. With a bias, a sequence
/// has as many queries as keys, or one. A bias for content is computed in `f32`, and the whole attention with it.
///
/// # Errors
/// As [`attention`], and if the bias doesn't have a row for each head or doesn't reach from one end of a sequence to the other.
#[allow(clippy::too_many_arguments)]
pub fn biased_attention(
    cpu: &Cpu,
    exec: Exec<'_>,
    spec: &AttentionSpec,
    bias: Option<PositionBias<'_>>,
    q: MatRef<'_>,
    k: MatRef<'_>,
    v: MatRef<'_>,
    cu_q: &[u32],
    cu_kv: &[u32],
    scratch: &mut [f32],
    out: MatMut<'_>,
) -> Result<(), KernelError> {
    let width = spec.heads.saturating_mul(spec.head_dim);
    expect_eq("columns of the queries", q.cols(), width)?;
    expect_eq("columns of the keys", k.cols(), width)?;
    expect_eq("columns of the values", v.cols(), width)?;
    expect_eq("columns of the output", out.cols(), width)?;
    expect_eq("rows of the values", v.rows(), k.rows())?;
    expect_eq("rows of the output", out.rows(), q.rows())?;
    let max_q = validate_lengths(cu_q, q.rows())?;
    let max_kv = validate_lengths(cu_kv, k.rows())?;
    expect_eq("sequences of the keys", cu_kv.len(), cu_q.len())?;
    if let Some(bias) = bias {
        bias.check(spec.heads, width, cu_q, cu_kv)?;
    }
    let content = bias.as_ref().and_then(PositionBias::content);
    let spec = &in_f32_for(content, spec);
    let kernel = spec.kernel(cpu);
    let workers = exec.workers();
    let needed = biased_scratch_len(cpu, spec, bias, max_kv, workers)?;
    if scratch.len() < needed {
        return Err(KernelError::Shape { what: "attention scratch", expected: needed, found: scratch.len() });
    }
    let visited = bias.as_ref().map_or(max_kv, |bias| bias.most_seen(window_block(kernel), max_kv));
    let layout = match kernel.tile {
        #[cfg(target_arch = "x86_64")]
        TileFn::Coded { .. } => coded::Layout::new(kernel, spec, visited).map(AnyLayout::Coded),
        _ => Layout::new(kernel, spec, content, visited).map(AnyLayout::InPlace),
    };
    let Some(layout) = layout else { return Ok(()) };
    let own_len = needed / workers;

    let sequences = cu_q.len() - 1;
    let heads = sequences * spec.heads;
    let windowed = bias.as_ref().is_some_and(PositionBias::is_window);
    let block_len = match workers > 1 && heads < 4 * workers {
        true => QUERY_BLOCK,
        false if windowed => window_block(kernel),
        false => max_q.max(1),
    };
    let query_blocks = max_q.div_ceil(block_len);
    let scratch = MatMut::new(scratch, workers, own_len, own_len)?.shared();
    let out = out.shared();
    exec.for_each(heads * query_blocks, &|worker, item| {
        let (head, block) = (item / query_blocks, item % query_blocks);
        let (sequence, head) = (head / spec.heads, head % spec.heads);
        let leading = bias.as_ref().map_or(0, |bias| bias.leading_keys(sequence));
        let bias = bias.as_ref().map(|bias| (bias, head));
        let queries = range(cu_q, sequence);
        let keys = range(cu_kv, sequence);
        let first = block * block_len;
        if first >= queries.len() || spec.head_dim == 0 {
            return;
        }
        let count = block_len.min(queries.len() - first);
        let column = head * spec.head_dim;
        if keys.is_empty() {
            for row in queries.start + first..queries.start + first + count {
                // SAFETY: rows of this block of queries and columns of this head belong to this work item alone.
                unsafe { std::slice::from_raw_parts_mut(out.element(row, column), spec.head_dim) }.fill(0.0);
            }
            return;
        }
        // SAFETY: every worker has a row of the scratch for itself.
        let mut own = unsafe { scratch.rows_mut(worker, 1) };
        let first_query = queries.start + first;
        let first_position = bias.map_or(0, |(bias, _)| bias.first_position(queries.len(), keys.len())) + first;
        // How many of the sequence's keys the first query of this block sees, if it is causal.
        let visible = (keys.len() + first + 1).saturating_sub(queries.len());
        // The keys that no query of this block sees are as if they weren't there.
        let seen = seen_by(bias, first_position..first_position + count, leading, keys.len());
        let (first_position, visible) = (first_position - seen.start, visible.saturating_sub(seen.start));
        let keys = keys.start + seen.start..keys.start + seen.end;
        let (queries, scratch) = (count, own.row_mut(0));
        macro_rules! head {
            ($head:path, $layout:expr) => {{
                use $head as Head;
                let layout = $layout;
                Head {
                    cpu,
                    kernel,
                    spec,
                    layout,
                    q,
                    k,
                    v,
                    out,
                    column,
                    first_query,
                    first_position,
                    bias,
                    leading,
                    queries,
                    visible,
                    keys,
                    scratch,
                }
            }};
        }
        match &layout {
            AnyLayout::InPlace(layout) => cpu.arch().dispatch(head!(self::Head, layout)),
            #[cfg(target_arch = "x86_64")]
            AnyLayout::Coded(layout) => head!(coded::Head, layout).run(),
        }
    });
    Ok(())
}

/// The keys, of so many, that queries at these positions see: all of them but with a window.
#[inline(always)]
fn seen_by(
    bias: Option<(&PositionBias<'_>, usize)>,
    positions: std::ops::Range<usize>,
    leading: usize,
    keys: usize,
) -> std::ops::Range<usize> {
    bias.map_or(0..keys, |(bias, _)| bias.seen(positions, leading, keys))
}

/// Where things lie in one worker's scratch, for either kind of kernel.
enum AnyLayout {
    InPlace(Layout),
    #[cfg(target_arch = "x86_64")]
    Coded(coded::Layout),
}

/// Where things lie in one worker's scratch.
struct Layout {
    /// Row stride of the scores: the keys in whole panels.
    scores_stride: usize,
    /// Start of the transposed keys: panel after panel, `head_dim` rows of `nr` keys.
    keys: usize,
    /// Start of the copied values: panel after panel, a row of `nr` for each key.
    values: usize,
    /// Start of what a bias for content needs.
    content: usize,
    content_layout: Option<ContentLayout>,
    len: usize,
}

impl Layout {
    fn new(
        kernel: &MicroKernel,
        spec: &AttentionSpec,
        content: Option<&ContentBias<'_>>,
        max_kv: usize,
    ) -> Option<Layout> {
        let padded = max_kv.checked_next_multiple_of(kernel.nr)?;
        // An odd number of cache lines between score rows, so that the rows of a tile don't fall into the same cache sets.
        let scores_stride = padded.checked_next_multiple_of(32)?.checked_add(16)?;
        let keys = scores_stride.checked_mul(kernel.mr)?;
        let values = keys.checked_add(padded.checked_mul(spec.head_dim)?)?;
        let value_len = match values_in_place(kernel, spec, max_kv, usize::MAX) {
            true => 0,
            false => max_kv.checked_mul(spec.head_dim.checked_next_multiple_of(kernel.nr)?)?,
        };
        let content_layout = match content {
            Some(bias) => Some(ContentLayout::new(kernel, spec.head_dim, bias.most_rows(max_kv), scores_stride)?),
            None => None,
        };
        let content = values.checked_add(value_len)?.checked_next_multiple_of(16)?;
        let len = content.checked_add(content_layout.as_ref().map_or(0, |layout| layout.len))?;
        let len = len.checked_next_multiple_of(16)?;
        Some(Layout { scores_stride, keys, values, content, content_layout, len })
    }
}

/// Whether the kernel reads the values of `keys` keys where they lie, for so many tiles of queries.
fn values_in_place(kernel: &MicroKernel, spec: &AttentionSpec, keys: usize, tiles: usize) -> bool {
    spec.head_dim.is_multiple_of(kernel.nr) && (keys < COPIED_VALUES || tiles == 1)
}

/// One head of one sequence for a block of queries.
struct Head<'a> {
    cpu: &'a Cpu,
    kernel: &'static MicroKernel,
    spec: &'a AttentionSpec,
    layout: &'a Layout,
    q: MatRef<'a>,
    k: MatRef<'a>,
    v: MatRef<'a>,
    out: SharedMat<'a>,
    /// First column of the head.
    column: usize,
    first_query: usize,
    /// Where the first query stands in its sequence.
    first_position: usize,
    /// With the number of the head.
    bias: Option<(&'a PositionBias<'a>, usize)>,
    /// The first keys, which no bias for distances is added for.
    leading: usize,
    queries: usize,
    visible: usize,
    keys: std::ops::Range<usize>,
    scratch: &'a mut [f32],
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Head {
            cpu, kernel, spec, layout, q, k, v, out, column, first_query, queries, visible, keys, scratch, ..
        } = self;
        let first_position = self.first_position;
        let (head_dim, nr) = (spec.head_dim, kernel.nr);
        let columns = column..column + head_dim;
        let (scores, panels) = scratch.split_at_mut(layout.keys);
        let (key_panels, panels) = panels.split_at_mut(layout.values - layout.keys);
        let (value_panels, content_scratch) = panels.split_at_mut(layout.content - layout.values);
        pack_keys(cpu, k, &keys, columns.clone(), nr, key_panels);
        let content = self.bias.and_then(|(bias, head)| Some((bias.content()?, head)));
        let mut content = match (content, &layout.content_layout) {
            (Some(bias), Some(content)) => Some(ContentScores::new(
                cpu,
                kernel,
                bias,
                layout,
                content,
                columns.clone(),
                (first_position, queries),
                (keys.clone(), key_panels),
                content_scratch,
            )),
            _ => None,
        };
        let (values, value_stride, value_panel_len) =
            if values_in_place(kernel, spec, keys.len(), queries.div_ceil(kernel.mr)) {
                (v.as_ptr().wrapping_add(keys.start * v.row_stride() + column), v.row_stride(), nr)
            } else {
                pack_values(v, &keys, columns, nr, value_panels);
                (value_panels.as_ptr(), nr, keys.len() * nr)
            };
        let mut tile = ScratchTile::new();
        for (start, rows) in split_rows(queries, kernel.mr) {
            let row = first_query + start;
            let position = first_position + start;
            let seen = seen_by(self.bias, position..position + rows, self.leading, keys.len());
            for panel in seen.start / nr..seen.end.div_ceil(nr) {
                // SAFETY: the kernel is the one of the level that `simd` stands for. The query rows lie in `q` and have `head_dim`
                // columns from `column`; the panel holds `head_dim × nr` values, and the scores have room for whole panels.
                unsafe {
                    kernel.run(&Tile {
                        rows,
                        k: head_dim,
                        a: q.as_ptr().add(row * q.row_stride() + column),
                        a_stride: q.row_stride(),
                        b: key_panels[panel * head_dim * nr..].as_ptr(),
                        b_stride: nr,
                        c: scores[panel * nr..].as_mut_ptr(),
                        c_stride: layout.scores_stride,
                        prefetch: Prefetch::nothing(key_panels.as_ptr()),
                    });
                }
            }
            if let Some(content) = &mut content {
                // SAFETY: kernel and queries are those above.
                unsafe { content.multiply(kernel, q, (row, rows), column..column + head_dim) };
            }
            let mut inverse_sums = [0.0; 64];
            for (i, inverse) in inverse_sums.iter_mut().enumerate().take(rows) {
                let past = if spec.causal { (visible + start + i).min(seen.end) } else { seen.end };
                let row = &mut scores[i * layout.scores_stride..][seen.clone()];
                if let Some(content) = &content {
                    content.add(row, i, position + i);
                }
                let scale = add_bias(row, spec.scale, self.bias, position + i - seen.start, self.leading);
                let (past, unseen) = row.split_at_mut(past.saturating_sub(seen.start));
                let sum = softmax::exp_row(simd, past, scale);
                unseen.fill(0.0);
                // Without a visible key all weights are zero, and so is the result. A NaN among the scores stays one.
                *inverse = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            }
            for panel in 0..head_dim.div_ceil(nr) {
                // SAFETY: as above; the scores have a column for each key, and each key a value row of `nr` values: in place where
                // `head_dim` is a multiple of `nr`, else padded.
                unsafe {
                    kernel.run(&Tile {
                        rows,
                        k: seen.len(),
                        a: scores.as_ptr().add(seen.start),
                        a_stride: layout.scores_stride,
                        b: values.wrapping_add(panel * value_panel_len + seen.start * value_stride),
                        b_stride: value_stride,
                        c: tile.as_mut_ptr(),
                        c_stride: nr,
                        prefetch: Prefetch::nothing(scores.as_ptr()),
                    });
                }
                let cols = nr.min(head_dim - panel * nr);
                for (i, inverse) in inverse_sums.iter().enumerate().take(rows) {
                    // SAFETY: rows of this block of queries and columns of this head belong to this work item alone.
                    let target =
                        unsafe { std::slice::from_raw_parts_mut(out.element(row + i, column + panel * nr), cols) };
                    for (target, value) in target.iter_mut().zip(tile.row(i, nr)) {
                        *target = value * inverse;
                    }
                }
            }
        }
    }
}

/// Transposes the keys of one head into panels: `panel[d * nr + key]`, zeros beyond the last key.
#[inline(always)]
fn pack_keys(
    cpu: &Cpu,
    k: MatRef<'_>,
    keys: &std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    nr: usize,
    panels: &mut [f32],
) {
    let head_dim = columns.len();
    for (panel, first) in panels.chunks_exact_mut(head_dim * nr).zip(keys.clone().step_by(nr)) {
        let count = nr.min(keys.end - first);
        if count < nr {
            panel.fill(0.0);
        }
        transpose(cpu, k.block(first..first + count, columns.clone()), panel, nr);
    }
}

/// Copies the values of one head into panels: `panel[key * nr + d]`, zeros beyond the last column.
#[inline(always)]
fn pack_values(
    v: MatRef<'_>,
    keys: &std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    nr: usize,
    panels: &mut [f32],
) {
    for (panel, first) in panels.chunks_exact_mut(keys.len() * nr).zip(columns.clone().step_by(nr)) {
        let count = nr.min(columns.end - first);
        for (target, key) in panel.chunks_exact_mut(nr).zip(keys.clone()) {
            target[..count].copy_from_slice(&v.row(key)[first..first + count]);
            target[count..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests;
