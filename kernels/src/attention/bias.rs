//! What an attention adds to its scores for where query and key stand.

use std::ops::Range;

use super::{Layout, pack_keys};
use crate::{
    Cpu, KernelError, MatRef,
    error::expect_eq,
    gather::Select,
    gemm::{MicroKernel, Prefetch, Tile, split_rows},
};

/// What is added to the scores of an attention for the distance between query and key, or how far queries see.
///
/// A sequence has as many queries as keys, or a lone one, which is its [last](Select::Last) token unless [`lone`](Self::lone) says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct PositionBias<'a> {
    pub(super) kind: Kind<'a>,
    lone: Select,
    /// Keys of each sequence that nothing is added for.
    leading: Option<&'a [u32]>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Distance(RelativeBias<'a>),
    Content(ContentBias<'a>),
    Window { distance: usize },
}

/// Where windows end, counted from a sequence's first key: after a whole number of the blocks in which rows are summed and codes are multiplied.
/// What is beyond would add zeros, so the bits are those of all keys.
const WINDOW_ALIGNMENT: usize = 64;

impl<'a> From<RelativeBias<'a>> for PositionBias<'a> {
    fn from(bias: RelativeBias<'a>) -> Self {
        PositionBias { kind: Kind::Distance(bias), lone: Select::Last, leading: None }
    }
}

impl<'a> From<ContentBias<'a>> for PositionBias<'a> {
    fn from(bias: ContentBias<'a>) -> Self {
        PositionBias { kind: Kind::Content(bias), lone: Select::Last, leading: None }
    }
}

impl<'a> PositionBias<'a> {
    /// Queries see the keys that are up to `distance` tokens before them or behind them, and no others. Those don't cost anything.
    pub fn window(distance: usize) -> PositionBias<'a> {
        PositionBias { kind: Kind::Window { distance }, lone: Select::Last, leading: None }
    }

    pub(super) fn is_window(&self) -> bool {
        matches!(self.kind, Kind::Window { .. })
    }

    /// The keys, of so many, that queries at these positions see, and those up to the next multiples of [`WINDOW_ALIGNMENT`]; `leading` keys are
    /// seen by all.
    #[inline(always)]
    pub(super) fn seen(&self, positions: Range<usize>, leading: usize, keys: usize) -> Range<usize> {
        let Kind::Window { distance } = self.kind else { return 0..keys };
        let first = if leading > 0 { 0 } else { positions.start.saturating_sub(distance).min(keys) };
        let end = positions.end.saturating_add(distance).min(keys).max(leading.min(keys));
        let end = end.checked_next_multiple_of(WINDOW_ALIGNMENT).map_or(keys, |end| end.min(keys));
        first / WINDOW_ALIGNMENT * WINDOW_ALIGNMENT..end
    }

    /// The most keys that so many neighbouring queries see, in sequences of up to `max_kv` keys.
    pub(super) fn most_seen(&self, queries: usize, max_kv: usize) -> usize {
        match self.kind {
            Kind::Window { distance } if self.leading.is_none() => {
                distance.saturating_mul(2).saturating_add(queries + 2 * WINDOW_ALIGNMENT).min(max_kv)
            }
            _ => max_kv,
        }
    }

    /// The same where the lone query of a sequence is this token of it.
    pub fn lone(self, token: Select) -> PositionBias<'a> {
        PositionBias { lone: token, ..self }
    }

    /// The same with nothing added for the first keys of sequence `i`, as many as `counts[i]`, wherever the query stands, or with these keys
    /// seen from everywhere. A bias for content is for all keys.
    pub fn leading(self, counts: &'a [u32]) -> PositionBias<'a> {
        PositionBias { leading: Some(counts), ..self }
    }

    /// The first keys of a sequence that nothing is added for.
    pub(super) fn leading_keys(&self, sequence: usize) -> usize {
        self.leading.and_then(|counts| counts.get(sequence)).map_or(0, |count| *count as usize)
    }

    /// The part of the bias that is for content.
    pub(super) fn content(&self) -> Option<&ContentBias<'a>> {
        match &self.kind {
            Kind::Content(content) => Some(content),
            Kind::Distance(_) | Kind::Window { .. } => None,
        }
    }

    /// The largest distance that it has values for.
    fn reach(&self) -> usize {
        match &self.kind {
            Kind::Distance(bias) => bias.reach(),
            Kind::Content(bias) => bias.reach(),
            Kind::Window { .. } => usize::MAX,
        }
    }

    /// Checks that there is something for each head, each distance and each query.
    pub(super) fn check(&self, heads: usize, width: usize, cu_q: &[u32], cu_kv: &[u32]) -> Result<(), KernelError> {
        match &self.kind {
            Kind::Window { .. } => {}
            Kind::Distance(bias) if bias.values.rows() == 1 => {}
            Kind::Distance(bias) => expect_eq("rows of the relative bias", bias.values.rows(), heads)?,
            Kind::Content(bias) => {
                bias.check(heads, width, cu_kv.last().zip(cu_kv.first()).map_or(0, |(a, b)| (a - b) as usize))?
            }
        }
        if let Some(counts) = self.leading {
            expect_eq("sequences with leading keys", counts.len(), cu_q.len() - 1)?;
        }
        for (position, (q, kv)) in cu_q.windows(2).zip(cu_kv.windows(2)).enumerate() {
            let (queries, keys) = ((q[1] - q[0]) as usize, (kv[1] - kv[0]) as usize);
            if keys > self.reach().saturating_add(1) {
                let (expected, found) = (keys - 1, self.reach());
                return Err(KernelError::Shape { what: "reach of the relative bias", expected, found });
            }
            if queries != keys && queries != 1 {
                let expected = format!("1, or as many as keys, which are {keys}");
                return Err(KernelError::Lengths { position, found: queries, expected });
            }
        }
        Ok(())
    }

    /// Where the first of a sequence's queries stands in it.
    pub(super) fn first_position(&self, queries: usize, keys: usize) -> usize {
        match self.lone {
            Select::Last => keys - queries,
            Select::First => 0,
        }
    }
}

/// What is added to a score for the distance between its key and its query, different in each head.
#[derive(Clone, Copy, Debug)]
pub struct RelativeBias<'a> {
    pub(super) values: MatRef<'a>,
}

impl<'a> RelativeBias<'a> {
    /// `values` is `[heads, 2 * reach + 1]`, or has one row for all heads: column `reach + d` is for a key that stands `d` tokens behind its
    /// query, or `-d` before it.
    ///
    /// # Errors
    /// If the number of columns is even, so that none of them is for distance 0.
    pub fn new(values: MatRef<'a>) -> Result<RelativeBias<'a>, KernelError> {
        expect_centre("columns of a relative bias", values.cols())?;
        Ok(RelativeBias { values })
    }

    /// The largest distance that it has values for.
    pub fn reach(&self) -> usize {
        self.values.cols() / 2
    }

    /// What `head` adds to the scores of the first `keys` keys for the query at `position`.
    #[inline(always)]
    pub(super) fn row(&self, head: usize, position: usize, keys: usize) -> &'a [f32] {
        let row = if self.values.rows() == 1 { 0 } else { head };
        &self.values.row(row)[self.reach() - position..][..keys]
    }
}

/// Of distances, as many are for keys before the query as for keys behind it.
fn expect_centre(what: &'static str, columns: usize) -> Result<(), KernelError> {
    if columns.is_multiple_of(2) {
        return Err(KernelError::Shape { what, expected: columns + 1, found: columns });
    }
    Ok(())
}

/// The positions of disentangled attention (He et al., 2020), <https://arxiv.org/abs/2006.03654>: to the product of a query and a key come those of
/// the query and of the key with vectors for the distance between the two, all before they are scaled.
#[derive(Clone, Copy, Debug)]
pub struct ContentBias<'a> {
    rows: &'a [u32],
    keys: Option<MatRef<'a>>,
    queries: Option<MatRef<'a>>,
    offsets: Option<MatRef<'a>>,
    segments: Option<Segments<'a>>,
}

/// What is added for whether a query and a key are of the same segment.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    /// The segment of each key, and of the query at its place.
    pub types: &'a [u32],
    /// What queries are multiplied with, `[2, heads * head_dim]`: a row for keys of the same segment, one for all others.
    pub vectors: MatRef<'a>,
    /// What is added to the two products of each head, `[heads, 2]`.
    pub offsets: MatRef<'a>,
}

impl<'a> ContentBias<'a> {
    /// `rows[reach + d]` is the row of both tables that is for a key `d` tokens behind its query, or `-d` before it. `keys` are the vectors that
    /// queries are multiplied with, `queries` those that keys are multiplied with; both are `[rows, heads * head_dim]`.
    ///
    /// # Errors
    /// If the number of distances is even, so that none of them is 0, or a table lacks a row.
    pub fn new(
        rows: &'a [u32],
        keys: Option<MatRef<'a>>,
        queries: Option<MatRef<'a>>,
    ) -> Result<ContentBias<'a>, KernelError> {
        expect_centre("distances of a content bias", rows.len())?;
        let last = rows.iter().copied().max().unwrap_or(0) as usize;
        for table in [keys, queries].into_iter().flatten() {
            if last >= table.rows() {
                let what = "rows of a table of distances";
                return Err(KernelError::Shape { what, expected: last + 1, found: table.rows() });
            }
        }
        Ok(ContentBias { rows, keys, queries, offsets: None, segments: None })
    }

    /// The same with `offsets`, `[heads, rows]`, added for each row of the tables.
    pub fn offsets(self, offsets: MatRef<'a>) -> ContentBias<'a> {
        ContentBias { offsets: Some(offsets), ..self }
    }

    /// The same with what segments add.
    pub fn segments(self, segments: Segments<'a>) -> ContentBias<'a> {
        ContentBias { segments: Some(segments), ..self }
    }

    fn check(&self, heads: usize, width: usize, keys: usize) -> Result<(), KernelError> {
        for table in [self.keys, self.queries].into_iter().flatten() {
            expect_eq("columns of a table of distances", table.cols(), width)?;
        }
        if let Some(offsets) = self.offsets {
            let rows = self.rows.iter().copied().max().unwrap_or(0) as usize + 1;
            expect_eq("rows of the offsets for distances", offsets.rows(), heads)?;
            if offsets.cols() < rows {
                let what = "columns of the offsets for distances";
                return Err(KernelError::Shape { what, expected: rows, found: offsets.cols() });
            }
        }
        if let Some(segments) = self.segments {
            expect_eq("number of segments", segments.types.len(), keys)?;
            expect_eq("rows of the vectors for segments", segments.vectors.rows(), 2)?;
            expect_eq("columns of the vectors for segments", segments.vectors.cols(), width)?;
            expect_eq("rows of the offsets for segments", segments.offsets.rows(), heads)?;
            expect_eq("columns of the offsets for segments", segments.offsets.cols(), 2)?;
        }
        Ok(())
    }

    /// The largest distance that it has rows for.
    pub fn reach(&self) -> usize {
        self.rows.len() / 2
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> &'a [u32] {
        self.rows
    }

    #[cfg(test)]
    pub(super) fn extras(&self) -> (Option<MatRef<'a>>, Option<Segments<'a>>) {
        (self.offsets, self.segments)
    }

    #[cfg(test)]
    pub(super) fn tables(&self) -> [Option<MatRef<'a>>; 2] {
        [self.keys, self.queries]
    }

    /// The rows, between the first and the last, that queries from position `first` on need for so many keys.
    fn needed(&self, first: usize, queries: usize, keys: usize) -> Range<usize> {
        let furthest_before = self.reach() - (first + queries - 1);
        let rows = &self.rows[furthest_before..=self.reach() + keys - 1 - first];
        let (least, most) = rows.iter().fold((u32::MAX, 0), |(least, most), &row| (least.min(row), most.max(row)));
        least as usize..most as usize + 1
    }

    /// The most rows that sequences of up to so many keys need.
    pub(super) fn most_rows(&self, max_kv: usize) -> usize {
        let reach = max_kv.clamp(1, self.reach() + 1) - 1;
        let rows = &self.rows[self.reach() - reach..=self.reach() + reach];
        let (least, most) = rows.iter().fold((u32::MAX, 0), |(least, most), &row| (least.min(row), most.max(row)));
        (most - least) as usize + 1
    }
}

/// Where the products with the tables lie in one worker's scratch.
pub(super) struct ContentLayout {
    /// Row stride of the queries' products: the rows of the table in whole panels.
    rows_stride: usize,
    /// Start of the queries' products, behind the table's panels.
    by_query: usize,
    /// Start of the keys' products.
    by_key: usize,
    pub(super) len: usize,
}

impl ContentLayout {
    pub(super) fn new(kernel: &MicroKernel, head_dim: usize, rows: usize, scores_stride: usize) -> Option<Self> {
        let padded = rows.checked_next_multiple_of(kernel.nr)?;
        let rows_stride = padded.checked_next_multiple_of(32)?.checked_add(16)?;
        let by_query = padded.checked_mul(head_dim)?.checked_next_multiple_of(16)?;
        let by_key = by_query.checked_add(rows_stride.checked_mul(kernel.mr)?)?;
        let len = by_key.checked_add(rows.checked_next_multiple_of(kernel.mr)?.checked_mul(scores_stride)?)?;
        Some(ContentLayout { rows_stride, by_query, by_key, len })
    }
}

/// The products of one head's queries and keys with the rows of the tables that are for their distances.
pub(super) struct ContentScores<'a> {
    bias: &'a ContentBias<'a>,
    head: usize,
    /// The first key.
    start: usize,
    /// For each query of the tile at hand, what keys of the same segment and what others add.
    by_segment: [[f32; 2]; 64],
    /// The rows of the tables.
    rows: Range<usize>,
    rows_stride: usize,
    keys_stride: usize,
    panels: &'a [f32],
    /// `[mr, rows]`, of the tile of queries at hand.
    by_query: &'a mut [f32],
    /// `[rows, keys]`.
    by_key: &'a [f32],
}

impl<'a> ContentScores<'a> {
    /// Multiplies the keys, which lie in panels, for queries from position `first` on; `columns` are those of the head.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        cpu: &Cpu,
        kernel: &MicroKernel,
        (bias, head): (&'a ContentBias<'a>, usize),
        layout: &Layout,
        content: &ContentLayout,
        columns: Range<usize>,
        (first, queries): (usize, usize),
        (keys, key_panels): (Range<usize>, &[f32]),
        scratch: &'a mut [f32],
    ) -> ContentScores<'a> {
        let (start, keys) = (keys.start, keys.len());
        let rows = bias.needed(first, queries, keys);
        let (head_dim, nr) = (columns.len(), kernel.nr);
        let (panels, rest) = scratch.split_at_mut(content.by_query);
        let (by_query, by_key) = rest.split_at_mut(content.by_key - content.by_query);
        if let Some(table) = bias.keys {
            pack_keys(cpu, table, &rows, columns.clone(), nr, panels);
        }
        if let Some(table) = bias.queries {
            for (start, count) in split_rows(rows.len(), kernel.mr) {
                for panel in 0..keys.div_ceil(nr) {
                    // SAFETY: the kernel is one of the level that this runs at. The rows lie in the table and have `head_dim` columns from
                    // the head's first; the panel holds `head_dim × nr` values, and the products have room for whole panels.
                    unsafe {
                        kernel.run(&Tile {
                            rows: count,
                            k: head_dim,
                            a: table.as_ptr().add((rows.start + start) * table.row_stride() + columns.start),
                            a_stride: table.row_stride(),
                            b: key_panels[panel * head_dim * nr..].as_ptr(),
                            b_stride: nr,
                            c: by_key[start * layout.scores_stride + panel * nr..].as_mut_ptr(),
                            c_stride: layout.scores_stride,
                            prefetch: Prefetch::nothing(key_panels.as_ptr()),
                        });
                    }
                }
            }
        }
        ContentScores {
            bias,
            head,
            start,
            by_segment: [[0.0; 2]; 64],
            rows,
            rows_stride: content.rows_stride,
            keys_stride: layout.scores_stride,
            panels,
            by_query,
            by_key,
        }
    }

    /// Multiplies a tile of queries: `rows` rows of `q` from `first` on, and the columns of the head.
    ///
    /// # Safety
    /// The kernel is of a level that the CPU has, and `q` has the rows and columns.
    #[inline(always)]
    pub(super) unsafe fn multiply(
        &mut self,
        kernel: &MicroKernel,
        q: MatRef<'_>,
        (first, rows): (usize, usize),
        columns: Range<usize>,
    ) {
        if let Some(segments) = self.bias.segments {
            for (i, sums) in self.by_segment.iter_mut().enumerate().take(rows) {
                let query = &q.row(first + i)[columns.clone()];
                for (side, sum) in sums.iter_mut().enumerate() {
                    let vector = &segments.vectors.row(side)[columns.clone()];
                    let product: f32 = query.iter().zip(vector).map(|(a, b)| a * b).sum();
                    *sum = product + segments.offsets.row(self.head)[side];
                }
            }
        }
        if self.bias.keys.is_none() {
            return;
        }
        let head_dim = columns.len();
        // SAFETY: the caller vouches for the row and the column.
        let queries = unsafe { q.as_ptr().add(first * q.row_stride() + columns.start) };
        for panel in 0..self.rows.len().div_ceil(kernel.nr) {
            // SAFETY: the caller vouches for kernel and queries; the panel holds `head_dim × nr` values, and the products have room for
            // `mr` rows of whole panels.
            unsafe {
                kernel.run(&Tile {
                    rows,
                    k: head_dim,
                    a: queries,
                    a_stride: q.row_stride(),
                    b: self.panels[panel * head_dim * kernel.nr..].as_ptr(),
                    b_stride: kernel.nr,
                    c: self.by_query[panel * kernel.nr..].as_mut_ptr(),
                    c_stride: self.rows_stride,
                    prefetch: Prefetch::nothing(self.panels.as_ptr()),
                });
            }
        }
    }

    /// Adds to the scores of query `i` of the tile, which stands at `position`.
    #[inline(always)]
    pub(super) fn add(&self, scores: &mut [f32], i: usize, position: usize) {
        let rows = &self.bias.rows[self.bias.reach() - position..][..scores.len()];
        if self.bias.keys.is_some() {
            let products = &self.by_query[i * self.rows_stride..][..self.rows.len()];
            for (score, &row) in scores.iter_mut().zip(rows) {
                *score += products[row as usize - self.rows.start];
            }
        }
        if self.bias.queries.is_some() {
            for (key, (score, &row)) in scores.iter_mut().zip(rows).enumerate() {
                *score += self.by_key[(row as usize - self.rows.start) * self.keys_stride + key];
            }
        }
        if let Some(offsets) = self.bias.offsets {
            let offsets = offsets.row(self.head);
            scores.iter_mut().zip(rows).for_each(|(score, &row)| *score += offsets[row as usize]);
        }
        if let Some(segments) = self.bias.segments {
            let (own, [same, other]) = (segments.types[self.start + position], self.by_segment[i]);
            for (score, &segment) in scores.iter_mut().zip(&segments.types[self.start..]) {
                *score += if segment == own { same } else { other };
            }
        }
    }
}
