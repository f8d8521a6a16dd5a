//! What position alone decides, computed once and shared by the steps that need the same: biases and vectors for distances, and the sines and
//! cosines of rotations and of Fourier transforms.

use std::sync::Arc;

use loquat_kernels::{
    Arithmetic, ContentBias, Cpu, Epilogue, Exec, KernelError, MatMut, MatRef, PackedRhs, PositionBias, RelativeBias,
    RhsShape, Segments, fourier::Fourier, gemm, norm,
};

use super::load::Params;
use crate::graph::{AttentionBias, DistanceTable, LogBuckets, Norm, ParamId, Projection, Rotary, SegmentTerm};

/// A matrix without gaps.
#[derive(Debug, PartialEq)]
pub(super) struct Dense {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Dense {
    /// Sines and then cosines of distances from `-furthest` to `furthest`, the first twice, for an even number of rows.
    fn sinusoids(width: usize, furthest: usize) -> Dense {
        let rows = 2 * (furthest + 1);
        // In f32, as the reference has them.
        let frequency = |i: usize| 1.0 / 10000f32.powf((2 * i) as f32 / width as f32);
        let frequencies: Vec<f32> = (0..width / 2).map(frequency).collect();
        let mut values = Vec::with_capacity(rows * width);
        for row in 0..rows {
            let distance = row.max(1) as f32 - (furthest + 1) as f32;
            let angles = || frequencies.iter().map(|frequency| f64::from(distance * frequency));
            values.extend(angles().map(|angle| angle.sin() as f32));
            values.extend(angles().map(|angle| angle.cos() as f32));
        }
        Dense { values, rows, columns: width }
    }

    fn view(&self) -> Result<MatRef<'_>, KernelError> {
        MatRef::new(&self.values, self.rows, self.columns, self.columns)
    }
}

/// Biases of an attention.
#[derive(Debug, PartialEq)]
pub(super) enum StepBias {
    /// `[rows, 2 * reach + 1]`, with a row for each head or one for all.
    Distance(Dense),
    /// How many tokens queries see to each side, in sequences of up to `reach + 1` tokens.
    Window { distance: usize, reach: usize },
    /// Vectors for distances, and which row of them each of the `2 * reach + 1` distances has.
    Content {
        rows: Vec<u32>,
        keys: Option<Dense>,
        queries: Option<Dense>,
        offsets: Option<Dense>,
        segments: Option<StepSegments>,
    },
}

/// What segments add.
#[derive(Debug, PartialEq)]
pub(super) struct StepSegments {
    /// `[2, heads × head_dim]`.
    vectors: Dense,
    /// `[heads, 2]`.
    offsets: Dense,
}

/// The turns of a head for every position, each `[positions, head_dim / 2]`.
#[derive(Debug, PartialEq)]
pub(super) struct StepRotary {
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
    pub(super) positions: usize,
    pub(super) half: usize,
}

/// Tables that steps share.
pub(super) struct PositionTables<'a> {
    params: &'a Params<'a>,
    cpu: Cpu,
    exec: Exec<'a>,
    biases: Vec<(AttentionBias, Arc<StepBias>)>,
    rotations: Vec<(Rotary, Arc<StepRotary>)>,
    transforms: Vec<Arc<Fourier>>,
}

impl<'a> PositionTables<'a> {
    /// No tables yet. `exec` says which threads make them.
    pub(super) fn new(params: &'a Params<'a>, cpu: Cpu, exec: Exec<'a>) -> PositionTables<'a> {
        PositionTables { params, cpu, exec, biases: Vec::new(), rotations: Vec::new(), transforms: Vec::new() }
    }

    /// The biases of an attention.
    pub(super) fn bias(&mut self, bias: &AttentionBias, heads: usize) -> Result<Arc<StepBias>, KernelError> {
        if let Some((_, known)) = self.biases.iter().find(|(known, _)| known == bias) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(match bias {
            AttentionBias::Buckets { table, buckets, max_distance, reach } => {
                StepBias::buckets(*buckets, *max_distance, *reach, heads, &self.params.matrix(*table))
            }
            AttentionBias::Window { distance, reach, .. } => StepBias::Window { distance: *distance, reach: *reach },
            AttentionBias::Content { table, norm, keys, queries, buckets, query_bias, segments, reach } => {
                let table = self.normalised(table, norm.as_ref())?;
                let keys = keys.as_ref().map(|keys| self.project(&table, keys)).transpose()?;
                let queries = queries.as_ref().map(|queries| self.project(&table, queries)).transpose()?;
                let offsets = query_bias.zip(keys.as_ref()).map(|(bias, keys)| self.offsets(bias, keys, heads));
                let segments = segments.as_ref().map(|SegmentTerm { table, query_bias }| {
                    let vectors = self.dense(*table);
                    StepSegments { offsets: self.offsets(*query_bias, &vectors, heads), vectors }
                });
                StepBias::Content {
                    rows: rows_of_distances(*buckets, table.rows, *reach),
                    keys,
                    queries,
                    offsets,
                    segments,
                }
            }
        });
        self.biases.push((bias.clone(), Arc::clone(&made)));
        Ok(made)
    }

    /// The turns of a rotation.
    pub(super) fn rotary(&mut self, rotary: &Rotary) -> Arc<StepRotary> {
        if let Some((_, known)) = self.rotations.iter().find(|(known, _)| known == rotary) {
            return Arc::clone(known);
        }
        let made = Arc::new(StepRotary::new(rotary));
        self.rotations.push((*rotary, Arc::clone(&made)));
        made
    }

    /// The matrices of a Fourier transform of so many columns.
    pub(super) fn fourier(&mut self, width: usize) -> Result<Arc<Fourier>, KernelError> {
        if let Some(known) = self.transforms.iter().find(|known| known.width() == width) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Fourier::new(&self.cpu, self.exec, width)?);
        self.transforms.push(Arc::clone(&made));
        Ok(made)
    }

    fn dense(&self, param: ParamId) -> Dense {
        let (values, columns) = (self.params.matrix(param), self.params.width(param));
        Dense { rows: values.len() / columns.max(1), values, columns }
    }

    /// What it adds to the product of a query with each vector, `[heads, vectors]`, that the query has the first bias and not the second.
    fn offsets(&self, bias: [ParamId; 2], vectors: &Dense, heads: usize) -> Dense {
        let [first, second] = bias.map(|bias| self.params.vector(bias));
        let head_dim = vectors.columns / heads.max(1);
        let mut values = Vec::with_capacity(heads * vectors.rows);
        for columns in (0..heads).map(|head| head * head_dim..(head + 1) * head_dim) {
            for vector in vectors.values.chunks_exact(vectors.columns.max(1)) {
                let difference = first[columns.clone()].iter().zip(&second[columns.clone()]).map(|(a, b)| a - b);
                values.push(difference.zip(&vector[columns.clone()]).map(|(a, b)| a * b).sum());
            }
        }
        Dense { values, rows: heads, columns: vectors.rows }
    }

    fn normalised(&self, table: &DistanceTable, norm: Option<&Norm>) -> Result<Dense, KernelError> {
        let Dense { mut values, rows, columns } = match table {
            DistanceTable::Learned(table) => self.dense(*table),
            DistanceTable::Sinusoids { width, furthest } => Dense::sinusoids(*width, *furthest),
        };
        if let Some(norm) = norm {
            let norm = self.params.norm(norm);
            norm::layer_norm(&self.cpu, self.exec, MatMut::new(&mut values, rows, columns, columns)?, norm.params())?;
        }
        Ok(Dense { values, rows, columns })
    }

    /// A linear layer on a table, in `f32`.
    fn project(&self, table: &Dense, projection: &Projection) -> Result<Dense, KernelError> {
        let weight = self.params.matrix(projection.weight);
        let (k, n) = (table.columns, weight.len() / table.columns.max(1));
        let shapes = [RhsShape { arithmetic: Arithmetic::F32, k, n }];
        let row = |_: usize, row: usize, out: &mut [f32]| out.copy_from_slice(&weight[row * k..][..k]);
        let mut made = Dense { values: vec![0.0; table.rows * n], rows: table.rows, columns: n };
        for packed in PackedRhs::pack_all(&self.cpu, self.exec, &shapes, &row)? {
            let bias = projection.bias.map(|bias| self.params.vector(bias));
            let epilogue = Epilogue { bias: bias.as_deref(), activation: None, residual: None };
            let mut scratch = vec![0.0; gemm::scratch_len(&packed, table.rows, self.exec.workers())?];
            let out = MatMut::new(&mut made.values, table.rows, n, n)?;
            gemm(&self.cpu, self.exec, table.view()?, &packed, &epilogue, &mut scratch, out)?;
        }
        Ok(made)
    }
}

impl StepBias {
    /// `table` is `[rows, heads]`.
    fn buckets(buckets: usize, max_distance: usize, reach: usize, heads: usize, table: &[f32]) -> StepBias {
        let columns = 2 * reach + 1;
        let places: Vec<usize> = (0..columns).map(|column| bucket(buckets, max_distance, reach, column)).collect();
        let of = |head: usize| places.iter().map(move |&bucket| (head, bucket));
        let values = (0..heads).flat_map(of).map(|(head, bucket)| table[bucket * heads + head]).collect();
        StepBias::Distance(Dense { values, rows: heads, columns })
    }

    /// As the kernel takes it, for tokens of these types.
    pub(super) fn view<'a>(&'a self, types: &'a [u32]) -> Result<PositionBias<'a>, KernelError> {
        match self {
            StepBias::Distance(values) => Ok(RelativeBias::new(values.view()?)?.into()),
            StepBias::Window { distance, .. } => Ok(PositionBias::window(*distance)),
            StepBias::Content { rows, keys, queries, offsets, segments } => {
                let [keys, queries] = [keys, queries].map(|table| table.as_ref().map(Dense::view).transpose());
                let mut bias = ContentBias::new(rows, keys?, queries?)?;
                if let Some(offsets) = offsets {
                    bias = bias.offsets(offsets.view()?);
                }
                if let Some(StepSegments { vectors, offsets }) = segments {
                    bias = bias.segments(Segments { types, vectors: vectors.view()?, offsets: offsets.view()? });
                }
                Ok(bias.into())
            }
        }
    }

    /// The largest distance that it has values for.
    pub(super) fn reach(&self) -> usize {
        match self {
            StepBias::Distance(values) => values.columns / 2,
            StepBias::Window { reach, .. } => *reach,
            StepBias::Content { rows, .. } => rows.len() / 2,
        }
    }

    /// Pairs of a query and a key that are seen, of so many keys and as many queries or one.
    pub(super) fn pairs(&self, queries: u64, keys: u64) -> u64 {
        match self {
            StepBias::Window { distance, .. } if (*distance as u64) < keys.saturating_sub(1) => {
                let distance = *distance as u64;
                if queries == 1 { distance + 1 } else { keys * (2 * distance + 1) - distance * (distance + 1) }
            }
            _ => queries * keys,
        }
    }

    /// Products of vectors that it takes for a head of so many queries and keys.
    pub(super) fn products(&self, queries: u64, keys: u64) -> u64 {
        let StepBias::Content { keys: for_queries, queries: for_keys, .. } = self else { return 0 };
        let rows = |table: &Dense| (table.rows as u64).min((queries + keys).saturating_sub(1));
        for_queries.as_ref().map_or(0, |table| queries * rows(table))
            + for_keys.as_ref().map_or(0, |table| keys * rows(table))
    }
}

/// The row of a table that column `reach + d` stands for, with a key `d` tokens behind its query.
fn rows_of_distances(buckets: Option<LogBuckets>, rows: usize, reach: usize) -> Vec<u32> {
    let (middle, last) = (rows / 2, rows - 1);
    let row = |column: usize| {
        let distance = column.abs_diff(reach);
        let distance = buckets.map_or(distance, |buckets| log_bucket(buckets, distance));
        let row = if column > reach { middle.saturating_sub(distance) } else { (middle + distance).min(last) };
        row as u32
    };
    (0..=2 * reach).map(row).collect()
}

/// The bucket of a distance, from 0.
fn log_bucket(LogBuckets { buckets, max_distance }: LogBuckets, distance: usize) -> usize {
    let middle = buckets / 2;
    if distance <= middle {
        return distance;
    }
    // In f32, as the reference computes it: where a bucket ends depends on the rounding.
    let share = (distance as f32 / middle as f32).ln() / (((max_distance - 1) as f64 / middle as f64) as f32).ln();
    (share * (middle - 1) as f32).ceil() as usize + middle
}

/// The bucket of column `reach + d`, for a key `d` tokens behind its query.
fn bucket(buckets: usize, max_distance: usize, reach: usize, column: usize) -> usize {
    let half = buckets / 2;
    let exact = half / 2;
    let distance = column.abs_diff(reach);
    let first = if column > reach { half } else { 0 };
    if distance < exact {
        return first + distance;
    }
    // In f32, as the reference computes it: where a bucket ends depends on the rounding.
    let share = (distance as f32 / exact as f32).ln() / (max_distance as f64 / exact as f64).ln() as f32;
    let further = (share * (half - exact) as f32) as usize;
    first + (exact + further).min(half - 1)
}

impl StepRotary {
    fn new(rotary: &Rotary) -> StepRotary {
        let half = rotary.head_dim / 2;
        // Frequencies and angles in f32, as the reference has them: at large positions their rounding shows.
        let frequency = |i: usize| 1.0 / rotary.theta.powf((2 * i) as f32 / rotary.head_dim as f32);
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let row = |position: usize| frequencies.iter().map(move |frequency| position as f32 * frequency);
        let angles: Vec<f32> = (0..rotary.positions).flat_map(row).collect();
        StepRotary {
            cos: angles.iter().map(|angle| f64::from(*angle).cos() as f32).collect(),
            sin: angles.iter().map(|angle| f64::from(*angle).sin() as f32).collect(),
            positions: rotary.positions,
            half,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_a_bucket_each_and_far_ones_share() {
        let of = |distance: isize| bucket(32, 128, 200, 200usize.checked_add_signed(distance).unwrap());
        let expected = [
            (0, 0),
            (-1, 1),
            (-7, 7),
            (1, 17),
            (7, 23),
            (-8, 8),
            (-11, 8),
            (-12, 9),
            (8, 24),
            (-127, 15),
            (-128, 15),
            (200, 31),
        ];
        for (distance, bucket) in expected {
            assert_eq!(of(distance), bucket, "distance {distance}");
        }
    }

    #[test]
    fn each_head_has_its_own_column_of_the_table() {
        let table: Vec<f32> = (0..64).map(|value| value as f32).collect();
        let StepBias::Distance(step) = StepBias::buckets(32, 128, 200, 2, &table) else {
            panic!("it is for distances")
        };
        assert_eq!((step.rows, step.columns, step.values.len()), (2, 401, 802));
        assert_eq!((step.values[200], step.values[401 + 200]), (0.0, 1.0), "distance 0");
        assert_eq!((step.values[201], step.values[401 + 199]), (34.0, 3.0), "behind and before");
    }

    #[test]
    fn a_window_counts_the_pairs_that_it_sees() {
        let of = |distance, keys: u64| StepBias::Window { distance, reach: 99 }.pairs(keys, keys);
        for (distance, keys) in [(0, 1), (0, 5), (2, 9), (3, 4), (7, 4), (2, 2)] {
            let seen = |query: u64| (0..keys).filter(|key: &u64| key.abs_diff(query) <= distance as u64).count() as u64;
            assert_eq!(of(distance, keys), (0..keys).map(seen).sum::<u64>(), "{distance} {keys}");
        }
    }

    #[test]
    fn steps_that_need_the_same_table_share_it() {
        let weights = crate::Weights::from_vec("empty", b"\x02\0\0\0\0\0\0\0{}".to_vec()).unwrap();
        let (params, cpu) = (Params::none(&weights), Cpu::detect().unwrap());
        let mut tables = PositionTables::new(&params, cpu, Exec::Serial);
        let rotary = Rotary { head_dim: 4, theta: 10000.0, positions: 3 };
        let (first, second) = (tables.rotary(&rotary), tables.rotary(&rotary));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!((first.cos.len(), first.cos[0], first.sin[0]), (6, 1.0, 0.0));
        assert!((f64::from(first.sin[5]) - 0.02f64.sin()).abs() < 1e-7);
        assert!(!Arc::ptr_eq(&first, &tables.rotary(&Rotary { theta: 5.0, ..rotary })));
    }

    /// Values that PyTorch gave for 256 buckets of distances up to 512, as DeBERTa v3 has them.
    #[test]
    fn far_distances_share_rows_of_the_table() {
        let buckets = Some(LogBuckets { buckets: 256, max_distance: 512 });
        let rows = rows_of_distances(buckets, 512, 600);
        let of = |distance: isize| rows[600usize.checked_add_signed(distance).unwrap()];
        for (distance, bucket) in DEBERTA {
            assert_eq!(of(-distance), 256 + bucket as u32, "a key {distance} before its query");
            assert_eq!(of(distance), 256 - bucket as u32, "a key {distance} behind its query");
        }
        assert_eq!((of(-600), of(600)), (511, 0), "the table ends");
        assert_eq!(rows_of_distances(None, 6, 4), [6, 6, 5, 4, 3, 2, 1, 0, 0].map(|row: u32| row.min(5)));
    }

    const DEBERTA: [(isize, u8); 14] = [
        (1, 1),
        (64, 64),
        (127, 127),
        (128, 128),
        (129, 129),
        (130, 130),
        (140, 137),
        (200, 169),
        (256, 192),
        (300, 207),
        (400, 233),
        (500, 254),
        (510, 255),
        (511, 255),
    ];
}
