//! Ragged attention against a plain reference at awkward shapes, and its invariance.

use std::num::NonZeroUsize;

use super::*;
use crate::{Team, gather::Select};

/// Deterministic values in `-2 .. 2`.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}

fn cumulative(lengths: &[usize], base: u32) -> Vec<u32> {
    let mut cu = vec![base];
    for len in lengths {
        cu.push(cu[cu.len() - 1] + *len as u32);
    }
    cu
}

/// The definition, in `f64`.
fn reference(
    spec: &AttentionSpec,
    bias: Option<PositionBias<'_>>,
    q: MatRef<'_>,
    k: MatRef<'_>,
    v: MatRef<'_>,
    cu_q: &[u32],
    cu_kv: &[u32],
) -> Vec<f64> {
    let width = spec.heads * spec.head_dim;
    let mut out = vec![0.0; q.rows() * width];
    for sequence in 0..cu_q.len() - 1 {
        let (queries, keys) = (range(cu_q, sequence), range(cu_kv, sequence));
        for head in 0..spec.heads {
            let columns = head * spec.head_dim..(head + 1) * spec.head_dim;
            for (i, query) in queries.clone().enumerate() {
                let seen = if spec.causal {
                    (keys.len() + i + 1).saturating_sub(queries.len()).min(keys.len())
                } else {
                    keys.len()
                };
                let scores: Vec<f64> = keys
                    .clone()
                    .enumerate()
                    .take(seen)
                    .map(|(j, key)| {
                        let dot = |a: &[f32], b: &[f32]| -> f64 {
                            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                        };
                        let (query, key) = (&q.row(query)[columns.clone()], &k.row(key)[columns.clone()]);
                        let mut score = dot(query, key);
                        let mut added = 0.0;
                        let position = bias.map_or(0, |bias| bias.first_position(queries.len(), keys.len())) + i;
                        match bias.map(|bias| bias.kind) {
                            Some(Kind::Distance(_) | Kind::Window { .. })
                                if bias.is_some_and(|bias| j < bias.leading_keys(sequence)) => {}
                            Some(Kind::Window { distance }) if j.abs_diff(position) > distance => {
                                added = f64::NEG_INFINITY;
                            }
                            Some(Kind::Window { .. }) => {}
                            Some(Kind::Distance(bias)) => added = bias.row(head, position, keys.len())[j].into(),
                            Some(Kind::Content(bias)) => {
                                score += bias.products(position, j, query, key, &columns, dot);
                                score += bias.constants(head, keys.start, position, j, query, &columns, dot);
                            }
                            None => {}
                        }
                        score * f64::from(spec.scale) + added
                    })
                    .collect();
                let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for (weight, key) in weights.iter().zip(keys.clone()) {
                    for column in columns.clone() {
                        out[query * width + column] += weight / sum * f64::from(v.row(key)[column]);
                    }
                }
            }
        }
    }
    out
}

struct Case {
    spec: AttentionSpec,
    queries: Vec<usize>,
    keys: Vec<usize>,
    /// The reach of a bias for distances.
    reach: Option<usize>,
    /// Whether it is one for content, and which of its tables it has.
    content: Option<[bool; 2]>,
    /// Whether a bias for content has offsets and segments.
    segments: bool,
    /// How far queries see, and whether a bias for distances says so.
    window: Option<(usize, bool)>,
    /// Which token a lone query is.
    lone: Select,
    /// Keys of each sequence that have no bias.
    leading: Option<Vec<u32>>,
}

impl Case {
    fn new(heads: usize, head_dim: usize, causal: bool, lengths: &[usize]) -> Case {
        let spec = AttentionSpec {
            heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal,
            arithmetic: Arithmetic::F32,
        };
        Case {
            spec,
            queries: lengths.to_vec(),
            keys: lengths.to_vec(),
            reach: None,
            content: None,
            segments: false,
            window: None,
            lone: Select::Last,
            leading: None,
        }
    }

    /// Queries, keys and values as column ranges of one merged matrix when both sides have the same rows, as after a merged
    /// projection.
    fn run(&self, cpu: &Cpu, exec: Exec<'_>, base: u32) -> (Vec<f32>, Vec<f64>) {
        let mut expected = Vec::new();
        (self.run_beside(cpu, exec, base, Some(&mut expected)), expected)
    }

    /// The result alone: the definition takes longer.
    fn result(&self, cpu: &Cpu, exec: Exec<'_>, base: u32) -> Vec<f32> {
        self.run_beside(cpu, exec, base, None)
    }

    fn run_beside(&self, cpu: &Cpu, exec: Exec<'_>, base: u32, expected: Option<&mut Vec<f64>>) -> Vec<f32> {
        let width = self.spec.heads * self.spec.head_dim;
        let (cu_q, cu_kv) = (cumulative(&self.queries, base), cumulative(&self.keys, base));
        let (nq, nk) = (self.queries.iter().sum::<usize>(), self.keys.iter().sum::<usize>());
        let stride = 3 * width + 5;
        let data = values(nq.max(nk) * stride, 9);
        let q = MatRef::new(&data, nq, width, stride).unwrap();
        let merged = MatRef::new(&data, nk, 3 * width, stride).unwrap();
        let (k, v) = (merged.columns(width, width).unwrap(), merged.columns(2 * width, width).unwrap());
        let max_kv = self.keys.iter().copied().max().unwrap_or(0);
        let mut out = vec![f32::NAN; nq * width];
        let target = MatMut::new(&mut out, nq, width, width).unwrap();
        let columns = self.reach.map_or(1, |reach| 2 * reach + 1);
        let biases = values(self.spec.heads * columns, 5);
        let biases = MatRef::new(&biases, self.spec.heads, columns, columns).unwrap();
        // Distances share rows of the tables the further they are, and the first and last rows are for none.
        let rows: Vec<u32> =
            (0..columns).map(|column| 3 + 30 - (column.abs_diff(columns / 2).isqrt() as u32)).collect();
        let tables = values(2 * 40 * (width + 3), 6);
        let table = |place: usize| MatRef::new(&tables[place * 40 * (width + 3)..], 40, width, width + 3).unwrap();
        let types: Vec<u32> = (0..nk as u32).map(|token| token / 3 % 2).collect();
        let (offsets, sides, vectors) =
            (values(self.spec.heads * 40, 7), values(self.spec.heads * 2, 8), values(2 * width, 3));
        let segments = Segments {
            types: &types,
            vectors: MatRef::new(&vectors, 2, width, width).unwrap(),
            offsets: MatRef::new(&sides, self.spec.heads, 2, 2).unwrap(),
        };
        let offsets = MatRef::new(&offsets, self.spec.heads, 40, 40).unwrap();
        let bias = self.reach.map(|_| match self.content {
            None => PositionBias::from(RelativeBias::new(biases).unwrap()),
            Some([keys, queries]) => {
                let bias = ContentBias::new(&rows, keys.then(|| table(0)), queries.then(|| table(1))).unwrap();
                if self.segments { bias.offsets(offsets).segments(segments).into() } else { bias.into() }
            }
        });
        let (distance, by_bias) = self.window.unwrap_or_default();
        let mask = |column: usize| if column.abs_diff(max_kv) <= distance { 0.0 } else { f32::NEG_INFINITY };
        let mask: Vec<f32> = (0..2 * max_kv + 1).map(mask).collect();
        let bias = match self.window {
            Some(_) if by_bias => {
                Some(RelativeBias::new(MatRef::new(&mask, 1, mask.len(), mask.len()).unwrap()).unwrap().into())
            }
            Some(_) => Some(PositionBias::window(distance)),
            None => bias,
        };
        let bias = bias.map(|bias| match &self.leading {
            Some(leading) => bias.lone(self.lone).leading(leading),
            None => bias.lone(self.lone),
        });
        // Scratch content must not matter.
        let len = biased_scratch_len(cpu, &self.spec, bias, max_kv, exec.workers()).unwrap();
        let mut scratch = vec![f32::NAN; len];
        biased_attention(cpu, exec, &self.spec, bias, q, k, v, &cu_q, &cu_kv, &mut scratch, target).unwrap();
        if let Some(expected) = expected {
            *expected = reference(&self.spec, bias, q, k, v, &cu_q, &cu_kv);
        }
        out
    }
}

impl ContentBias<'_> {
    /// The part of it that doesn't look at the key.
    #[allow(clippy::too_many_arguments)]
    fn constants(
        &self,
        head: usize,
        start: usize,
        position: usize,
        key_position: usize,
        query: &[f32],
        columns: &std::ops::Range<usize>,
        dot: impl Fn(&[f32], &[f32]) -> f64,
    ) -> f64 {
        let row = self.rows()[self.reach() + key_position - position] as usize;
        let (offsets, segments) = self.extras();
        let offset = offsets.map_or(0.0, |offsets| f64::from(offsets.row(head)[row]));
        let Some(segments) = segments else { return offset };
        let side = usize::from(segments.types[start + position] != segments.types[start + key_position]);
        let vector = &segments.vectors.row(side)[columns.clone()];
        offset + dot(query, vector) + f64::from(segments.offsets.row(head)[side])
    }

    /// What it adds to a score before it is scaled.
    fn products(
        &self,
        position: usize,
        key_position: usize,
        query: &[f32],
        key: &[f32],
        columns: &std::ops::Range<usize>,
        dot: impl Fn(&[f32], &[f32]) -> f64,
    ) -> f64 {
        let row = self.rows()[self.reach() + key_position - position] as usize;
        let [keys, queries] = self.tables();
        keys.map_or(0.0, |table| dot(query, &table.row(row)[columns.clone()]))
            + queries.map_or(0.0, |table| dot(key, &table.row(row)[columns.clone()]))
    }
}

/// Weights sum to one and values are below 2, so errors stay near the rounding of the scores.
const TOLERANCE: f64 = 3e-6;

/// Probabilities below one times values below two: half a unit of the last bit of either, and of the scores', which the scale keeps near one.
#[test]
fn coded_products_match_the_reference_within_their_precision() {
    let lengths: [&[usize]; 5] = [&[1], &[0, 3, 0], &[5, 1, 17, 33], &[64, 31, 100], &[32]];
    for cpu in Cpu::available() {
        for (arithmetic, tolerance) in [(Arithmetic::Bf16x3, 2e-4), (Arithmetic::Bf16, 6e-2)] {
            for (heads, head_dim) in [(1, 1), (2, 10), (3, 11), (2, 16), (3, 32), (1, 33), (2, 64)] {
                for (lengths, causal) in lengths.into_iter().flat_map(|each| [(each, false), (each, true)]) {
                    let mut case = Case::new(heads, head_dim, causal, lengths);
                    case.spec.arithmetic = arithmetic;
                    let coded = case.spec.kernel(&cpu).arithmetic == arithmetic;
                    let (found, expected) = case.run(&cpu, Exec::Serial, 0);
                    let worst = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                    assert!(
                        worst <= if coded { tolerance } else { TOLERANCE } && found.len() == expected.len(),
                        "{} {arithmetic:?} {heads}x{head_dim} {lengths:?} causal {causal}: {worst:.2e}",
                        cpu.level()
                    );
                }
            }
        }
    }
}

#[test]
fn every_level_matches_the_reference_at_awkward_shapes() {
    let lengths: [&[usize]; 4] = [&[1], &[0, 3, 0], &[5, 1, 17, 33], &[64, 31, 100]];
    for cpu in Cpu::available() {
        for (heads, head_dim) in [(1, 1), (2, 10), (3, 11), (2, 16), (3, 32), (1, 33), (2, 64)] {
            for lengths in lengths {
                for causal in [false, true] {
                    let (found, expected) = Case::new(heads, head_dim, causal, lengths).run(&cpu, Exec::Serial, 0);
                    let worst = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                    assert!(
                        worst <= TOLERANCE,
                        "{} {heads}x{head_dim} {lengths:?} causal {causal}: max abs error {worst:.2e}",
                        cpu.level()
                    );
                    assert_eq!(found.len(), expected.len());
                }
            }
        }
    }
}

#[test]
fn queries_and_keys_may_differ_in_number() {
    for cpu in Cpu::available() {
        for causal in [false, true] {
            let mut case = Case::new(2, 12, causal, &[]);
            case.queries = vec![1, 3, 2, 0];
            case.keys = vec![9, 3, 0, 4];
            let (found, expected) = case.run(&cpu, Exec::Serial, 0);
            for (a, b) in found.iter().zip(&expected) {
                assert!((f64::from(*a) - b).abs() <= TOLERANCE, "{}: {a} {b}", cpu.level());
            }
        }
    }
}

#[test]
fn batch_base_and_threads_do_not_change_a_bit() {
    let team = Team::new(NonZeroUsize::new(3).unwrap()).unwrap();
    let arithmetics = [Arithmetic::F32, Arithmetic::Bf16x3, Arithmetic::Bf16];
    for (cpu, arithmetic) in Cpu::available().into_iter().flat_map(|cpu| arithmetics.map(|each| (cpu, each))) {
        let mut case = Case::new(3, 20, false, &[QUERY_BLOCK * 2 + 9, 1, 40]);
        case.spec.arithmetic = arithmetic;
        let (serial, _) = case.run(&cpu, Exec::Serial, 0);
        let lease = team.lease_blocking();
        assert_eq!(serial, case.run(&cpu, Exec::Team(&lease), 0).0, "{}: threads", cpu.level());
        assert_eq!(serial, case.run(&cpu, Exec::Serial, 77).0, "{}: base", cpu.level());
        // The first sequence alone: its values are the first that the generator gives.
        let mut alone = Case::new(3, 20, false, &[QUERY_BLOCK * 2 + 9]);
        alone.spec.arithmetic = arithmetic;
        for exec in [Exec::Serial, Exec::Team(&lease)] {
            let (found, _) = alone.run(&cpu, exec, 0);
            assert_eq!(serial[..found.len()], found[..], "{}: alone", cpu.level());
        }
    }
}

#[test]
fn a_bias_for_distances_is_added_wherever_a_query_stands() {
    let team = Team::new(NonZeroUsize::new(3).unwrap()).unwrap();
    for cpu in Cpu::available() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16x3] {
            // Long enough that a head's queries are cut into blocks for several workers.
            let mut case = Case { reach: Some(260), ..Case::new(2, 12, false, &[1, 7, 261, 40]) };
            case.spec.arithmetic = arithmetic;
            let (found, expected) = case.run(&cpu, Exec::Serial, 0);
            let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-4, "{} {arithmetic:?}: {error:e}", cpu.level());
            let lease = team.lease_blocking();
            let (shared, _) = case.run(&cpu, Exec::Team(&lease), 5);
            assert!(shared == found, "{} {arithmetic:?}: several workers", cpu.level());
        }
    }
}

#[test]
fn leading_keys_have_no_bias() {
    for cpu in Cpu::available() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16x3] {
            let leading = Some(vec![1, 0, 7, 3]);
            let mut case = Case { reach: Some(40), leading, ..Case::new(2, 12, false, &[1, 7, 41, 2]) };
            case.spec.arithmetic = arithmetic;
            let (found, expected) = case.run(&cpu, Exec::Serial, 0);
            let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-4, "{} {arithmetic:?}: {error:e}", cpu.level());
            case.leading = None;
            assert_ne!(case.run(&cpu, Exec::Serial, 0).0, found);
        }
    }
}

#[test]
fn a_window_gives_the_bits_of_a_mask() {
    let team = Team::new(NonZeroUsize::new(3).unwrap()).unwrap();
    // The longest takes several work items on one worker.
    let lengths = [1, 7, 64, WINDOW_BLOCK + 70, 40];
    for cpu in Cpu::available() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16x3] {
            for (distance, head_dim, leading) in [
                (0, 12, None),
                (5, 32, None),
                (64, 12, None),
                (100, 48, None),
                (usize::MAX, 12, None),
                (9, 12, Some(vec![0, 3, 0, 130, 40])),
            ] {
                let name = format!("{} {arithmetic:?}, {distance} to each side", cpu.level());
                let case = |by_bias, queries: &[usize], lone| {
                    let mut case = Case::new(2, head_dim, false, &lengths);
                    case.spec.arithmetic = arithmetic;
                    let (queries, leading) = (queries.to_vec(), leading.clone());
                    Case { window: Some((distance, by_bias)), queries, leading, lone, ..case }
                };
                let window = case(false, &lengths, Select::Last);
                let (found, expected) = window.run(&cpu, Exec::Serial, 0);
                let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                assert!(error < 1e-4, "{name}: {error:e}");
                assert!(case(true, &lengths, Select::Last).result(&cpu, Exec::Serial, 0) == found, "{name}: a mask");
                let lease = team.lease_blocking();
                assert!(window.result(&cpu, Exec::Team(&lease), 5) == found, "{name}: several workers");
                for lone in [Select::First, Select::Last] {
                    let [window, mask] = [false, true].map(|by_bias| case(by_bias, &[1; 5], lone));
                    let (window, mask) = (window.result(&cpu, Exec::Serial, 0), mask.result(&cpu, Exec::Serial, 0));
                    assert!(window == mask, "{name}: {lone:?} alone");
                }
            }
        }
    }
}

#[test]
fn a_window_takes_scratch_for_what_it_sees() {
    let (cpu, spec) = (Cpu::detect().unwrap(), Case::new(2, 64, false, &[3]).spec);
    let of = |bias, keys| biased_scratch_len(&cpu, &spec, bias, keys, 1).unwrap();
    let window = Some(PositionBias::window(64));
    assert_eq!(of(window, 8192), of(window, 4096));
    assert!(of(window, 8192) * 4 < of(None, 8192));
    assert_eq!(of(window, 100), of(None, 100));
}

#[test]
fn a_bias_for_content_multiplies_queries_and_keys_with_rows_for_their_distance() {
    let team = Team::new(NonZeroUsize::new(3).unwrap()).unwrap();
    for cpu in Cpu::available() {
        for (heads, head_dim) in [(2, 12), (1, 33)] {
            for tables in [[true, false], [false, true], [true, true]] {
                let case = Case {
                    reach: Some(260),
                    content: Some(tables),
                    ..Case::new(heads, head_dim, false, &[1, 7, 261, 0, 40])
                };
                let (found, expected) = case.run(&cpu, Exec::Serial, 0);
                let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                assert!(error < 2e-5, "{} {heads}x{head_dim} {tables:?}: {error:e}", cpu.level());
                let lease = team.lease_blocking();
                let (shared, _) = case.run(&cpu, Exec::Team(&lease), 5);
                assert!(shared == found, "{} {heads}x{head_dim} {tables:?}: several workers", cpu.level());
            }
        }
    }
}

#[test]
fn segments_and_offsets_are_added_for_each_head() {
    let team = Team::new(NonZeroUsize::new(3).unwrap()).unwrap();
    for cpu in Cpu::available() {
        let content = Some([true, false]);
        let case = Case { reach: Some(130), content, segments: true, ..Case::new(2, 12, false, &[1, 7, 131, 40]) };
        let (found, expected) = case.run(&cpu, Exec::Serial, 0);
        let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(error < 2e-5, "{}: {error:e}", cpu.level());
        let lease = team.lease_blocking();
        assert_eq!(case.run(&cpu, Exec::Team(&lease), 5).0, found, "{}: several workers", cpu.level());
        let lone = Case { queries: vec![1], lone: Select::Last, keys: vec![40], ..case };
        let (found, expected) = lone.run(&cpu, Exec::Serial, 0);
        let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(error < 2e-5, "{}: a lone query: {error:e}", cpu.level());
    }
}

#[test]
fn a_lone_query_with_a_bias_gives_the_bits_that_it_gives_among_the_others() {
    let width = 2 * 12;
    for cpu in Cpu::available() {
        for content in [None, Some([true, true])] {
            for lone in [Select::First, Select::Last] {
                // The values of a case are numbered by row, so that its only query is the first row of both.
                let case = Case { queries: vec![1], reach: Some(50), content, lone, ..Case::new(2, 12, false, &[40]) };
                let (found, expected) = case.run(&cpu, Exec::Serial, 0);
                let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                assert!(error < 2e-5, "{} {content:?} {lone:?}: {error:e}", cpu.level());
                if lone == Select::First {
                    let whole = Case { reach: Some(50), content, ..Case::new(2, 12, false, &[40]) };
                    assert_eq!(whole.run(&cpu, Exec::Serial, 0).0[..width], found[..], "{}", cpu.level());
                }
            }
        }
    }
}

#[test]
fn tables_for_content_that_do_not_fit_are_refused() {
    let data = values(4 * 8, 1);
    let table = |rows: usize, cols: usize| MatRef::new(&data, rows, cols, cols).unwrap();
    assert!(ContentBias::new(&[0, 1, 3], Some(table(4, 8)), None).is_ok());
    assert!(ContentBias::new(&[0, 1], Some(table(4, 8)), None).is_err(), "a row for distance 0");
    assert!(ContentBias::new(&[0, 1, 3], None, Some(table(3, 8))).is_err(), "rows up to 3");
    let bias: PositionBias = ContentBias::new(&[0, 1, 3], Some(table(4, 8)), None).unwrap().into();
    assert!(bias.check(2, 8, &[0, 2], &[0, 2]).is_ok());
    assert!(bias.check(2, 7, &[0, 2], &[0, 2]).is_err(), "columns for every head");
    assert!(bias.check(2, 8, &[0, 3], &[0, 3]).is_err(), "from one end to the other");
}

#[test]
fn a_bias_that_does_not_fit_is_refused() {
    let cpu = Cpu::detect().unwrap();
    let spec = Case::new(2, 4, false, &[3]).spec;
    let data = values(3 * 8, 1);
    let m = MatRef::new(&data, 3, 8, 8).unwrap();
    let mut scratch = vec![0.0; scratch_len(&cpu, &spec, 3, 1).unwrap()];
    let mut run = |heads: usize, columns: usize, cu_q: &[u32]| -> Result<(), KernelError> {
        let biases = vec![0.0; heads * columns];
        let bias = RelativeBias::new(MatRef::new(&biases, heads, columns, columns)?)?.into();
        let rows = cu_q[cu_q.len() - 1] as usize;
        let mut out = [0.0; 24];
        let out = MatMut::new(&mut out[..rows * 8], rows, 8, 8)?;
        let q = MatRef::new(&data[..rows * 8], rows, 8, 8)?;
        biased_attention(&cpu, Exec::Serial, &spec, Some(bias), q, m, m, cu_q, &[0, 3], &mut scratch, out)
    };
    assert!(run(2, 5, &[0, 3]).is_ok());
    assert!(run(1, 5, &[0, 3]).is_ok(), "one row for all heads");
    assert!(run(3, 5, &[0, 3]).is_err(), "a row for each head");
    assert!(run(2, 3, &[0, 3]).is_err(), "from one end to the other");
    assert!(run(2, 4, &[0, 3]).is_err(), "a column for distance 0");
    assert!(run(2, 5, &[0, 1]).is_ok(), "a lone query");
    assert!(run(2, 5, &[0, 2]).is_err(), "as many queries as keys, or one");
}

#[test]
fn lengths_that_lie_are_refused() {
    let cpu = Cpu::detect().unwrap();
    let spec = AttentionSpec { heads: 1, head_dim: 4, scale: 0.5, causal: false, arithmetic: Arithmetic::F32 };
    let data = [0.0; 16];
    let mut scratch = vec![0.0; scratch_len(&cpu, &spec, 4, 1).unwrap()];
    let mut out = [0.0; 16];
    let mut run = |cu_q: &[u32], cu_kv: &[u32], scratch_len: usize| {
        let m = MatRef::new(&data, 4, 4, 4).unwrap();
        let out = MatMut::new(&mut out, 4, 4, 4).unwrap();
        attention(&cpu, Exec::Serial, &spec, m, m, m, cu_q, cu_kv, &mut scratch[..scratch_len], out)
    };
    let len = scratch_len(&cpu, &spec, 4, 1).unwrap();
    assert!(run(&[0, 4], &[0, 4], len).is_ok());
    assert!(run(&[], &[0, 4], len).is_err());
    assert!(run(&[0, 5], &[0, 4], len).is_err());
    assert!(run(&[0, 4], &[0, 6, 4], len).is_err());
    assert!(run(&[0, 2, 4], &[0, 4], len).is_err());
    assert!(run(&[0, 4], &[0, 4], len - 1).is_err());
    assert!(scratch_len(&cpu, &spec, usize::MAX / 2, 8).is_err());
}

#[test]
fn values_give_the_same_bits_copied_or_in_place() {
    const KEYS: usize = COPIED_VALUES + 44;
    for cpu in Cpu::available() {
        // All queries copy the values, one alone reads them where they lie.
        let all = Case::new(2, 32, false, &[KEYS]);
        let mut first = Case::new(2, 32, false, &[KEYS]);
        first.queries = vec![1];
        let ((all, expected), (first, _)) = (all.run(&cpu, Exec::Serial, 0), first.run(&cpu, Exec::Serial, 0));
        assert_eq!(all[..first.len()], first[..], "{}", cpu.level());
        let worst = all.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(worst <= TOLERANCE, "{}: max abs error {worst:.2e}", cpu.level());
    }
}
