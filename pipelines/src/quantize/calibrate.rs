//! Choices that need texts: roundings that move results least, and which layers stay in half precision.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use loquat_runtime::{Options, Precision, graph::Op};

use super::{
    codes::{Coded, Integers},
    report::{self, batch, options, sentence_embeddings},
};
use crate::{
    Embeddings, Error, Progress, SentenceEmbeddings,
    model::{files::ModelFiles, load, modules::Modules},
};

/// Tokens whose activations are kept: more than a layer has inputs in small models, and few enough for memory.
const TOKENS: usize = 2048;

/// Texts that are run at once for them.
const BATCH: usize = 8;

/// Texts that layers are ranked on, and texts that a choice of layers is judged on.
const RANKING_TEXTS: usize = 32;
const JUDGING_TEXTS: usize = 128;

/// What is added to the diagonal of the inputs' second moments, of its mean: enough to invert them with fewer tokens than inputs.
const DAMPING: f64 = 0.01;

/// What a model does on calibration texts.
pub(super) struct Calibration {
    texts: Vec<String>,
    /// Embeddings of the texts.
    expected: Embeddings,
    /// Inputs of each layer by the name of its weight; layers that read the same share them.
    inputs: BTreeMap<String, Arc<Inputs>>,
    /// Weights of layers that read the same and are computed as one.
    units: Vec<Vec<String>>,
}

/// Activations that a layer reads.
#[derive(Debug)]
struct Inputs {
    /// `[width, tokens]`.
    columns: Vec<Vec<f32>>,
    /// Cholesky's factor of their second moments, as long as somebody holds it: it is as large as the weight, squared.
    factor: Mutex<Weak<Factor>>,
}

/// `R` upper triangular with `R Rᵀ = H`, where `H` holds the second moments in the order of their size.
#[derive(Debug)]
struct Factor {
    /// Place in the input of each place in the order: inputs with much energy first, while many are left to take up their errors.
    order: Vec<usize>,
    /// Row after row.
    upper: Vec<f64>,
}

impl Calibration {
    /// Runs the model on `texts`, as far as there is room for their activations.
    pub(super) fn new(
        files: &ModelFiles,
        modules: &Modules,
        threads: Option<usize>,
        texts: &[String],
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<Calibration, Error> {
        let texts = spread(texts, JUDGING_TEXTS.max(TOKENS / 8));
        let model = sentence_embeddings(files, threads, Precision::F32)?;
        let expected = model.encode(&texts)?;
        let options = Options { precision: Precision::F32, ..options(threads)? };
        let session = load::layers_session(files, modules, &options)?;
        let inspection = session.inspect();
        let Some(stage) = inspection.stages().first() else { return Err(Error::NoEmbeddedModel) };
        let graph = &stage.graph;
        // The output that holds what each layer reads, and the layers' weights.
        let mut readers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in graph.nodes() {
            let Op::Linear(linear) = &node.op else { continue };
            let input = graph.outputs().iter().find(|output| node.inputs.first() == Some(&output.node));
            if let (Some(input), Some(part)) = (input, graph.params()[linear.weight.index()].parts.first()) {
                readers.entry(&input.name).or_default().push(&part.name);
            }
        }
        let mut columns: BTreeMap<&str, Vec<Vec<f32>>> = BTreeMap::new();
        let mut tokens = 0;
        for chunk in texts.chunks(BATCH) {
            let batch = batch(&model, chunk)?;
            tokens += batch.tokens();
            let outputs = session.run(&batch)?;
            for name in readers.keys() {
                let Some(tensor) = outputs.get(name) else { continue };
                let width = tensor.shape[1];
                let columns = columns.entry(name).or_insert_with(|| vec![Vec::new(); width]);
                for row in tensor.data.chunks(width.max(1)) {
                    for (column, value) in columns.iter_mut().zip(row) {
                        column.push(*value);
                    }
                }
            }
            progress("calibration tokens", Progress { done: tokens.min(TOKENS), total: TOKENS });
            if tokens >= TOKENS {
                break;
            }
        }
        let mut inputs = BTreeMap::new();
        for (name, columns) in columns {
            let shared = Arc::new(Inputs { columns, factor: Mutex::default() });
            for weight in readers.get(name).into_iter().flatten() {
                inputs.insert((*weight).to_owned(), Arc::clone(&shared));
            }
        }
        let units = readers.into_values().map(|unit| unit.into_iter().map(str::to_owned).collect()).collect();
        Ok(Calibration { texts, expected, inputs, units })
    }

    /// The integers of a layer's weight that move its results least.
    ///
    /// Rounding each value to the nearest step takes no notice of inputs that go together: what one column's rounding does can be undone in
    /// the next. Here columns are rounded in turn, and each one's error is carried into those after it, weighted by the inputs'
    /// second moments (GPTQ, Frantar et al. 2022, <https://arxiv.org/abs/2210.17323>, in the form of Babai's nearest plane: with `R Rᵀ` the
    /// second moments and `R` upper triangular, the squared error of the results is `|(W - Q) R|²`, and column `c` of that product
    /// holds the errors of columns up to `c` alone).
    pub(super) fn coded(&self, layer: &str, values: &[f32], width: usize, integers: Integers) -> Coded {
        let mut coded = Coded::nearest(values, width, integers);
        let Some(inputs) = self.inputs.get(layer).filter(|inputs| inputs.columns.len() == width) else { return coded };
        let Some(factor) = inputs.factor() else { return coded };
        let rows = values.len() / width.max(1);
        let groups = width.div_ceil(coded.group);
        // Errors of the columns that are done, one column of the weight after another.
        let mut errors: Vec<Vec<f32>> = Vec::with_capacity(width);
        let mut carried = vec![0.0f32; rows];
        for (place, &column) in factor.order.iter().enumerate() {
            carried.fill(0.0);
            let own = factor.upper[place * width + place];
            for (before, errors) in errors.iter().enumerate() {
                let weight = (factor.upper[before * width + place] / own) as f32;
                for (carried, error) in carried.iter_mut().zip(errors) {
                    *carried += weight * error;
                }
            }
            let mut column_errors = Vec::with_capacity(rows);
            for (row, carried) in carried.iter().enumerate() {
                let value = values[row * width + column];
                let scale = coded.scales[row * groups + column / coded.group];
                let code = integers.code(value + carried, scale);
                coded.codes[row * width + column] = code as i8;
                column_errors.push(value - code * scale);
            }
            errors.push(column_errors);
        }
        coded
    }

    /// Weights, by the graph's names, whose products have to be computed in more than bytes for every text to keep `least_cosine`.
    ///
    /// Layers are ranked by what each costs alone, with all others in `bf16`; then the dearest ones are kept, one more at a time.
    pub(super) fn layers_to_keep(
        &self,
        folder: &Path,
        threads: Option<usize>,
        least_cosine: f64,
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<Vec<String>, Error> {
        let judged = self.sample(JUDGING_TEXTS);
        let ranked = self.sample(RANKING_TEXTS);
        let cosines = |high: &[&Vec<String>], sample: &[usize]| -> Result<(f64, f64), Error> {
            let keep_high = high.iter().flat_map(|unit| unit.iter().cloned()).collect();
            let mut builder =
                SentenceEmbeddings::builder().model(folder).precision(Precision::Int8).keep_high(keep_high);
            if let Some(threads) = threads {
                builder = builder.threads(threads);
            }
            let texts: Vec<&str> = sample.iter().map(|&index| self.texts[index].as_str()).collect();
            let found = builder.build()?.encode(&texts)?;
            let mut expected = Embeddings::with_capacity(self.expected.dim(), sample.len());
            sample.iter().filter_map(|&index| self.expected.row(index)).for_each(|row| expected.extend(row));
            report::cosines(&expected, &found)
        };
        if cosines(&[], &judged)?.1 >= least_cosine {
            return Ok(Vec::new());
        }
        let mut costs = Vec::with_capacity(self.units.len());
        for (index, unit) in self.units.iter().enumerate() {
            let others: Vec<&Vec<String>> = self.units.iter().filter(|other| *other != unit).collect();
            costs.push((1.0 - cosines(&others, &ranked)?.0, unit));
            progress("layers tried", Progress { done: index + 1, total: self.units.len() });
        }
        costs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let ranking: Vec<&Vec<String>> = costs.into_iter().map(|(_, unit)| unit).collect();
        let mut kept = 0;
        while kept < ranking.len() / 2 {
            kept += 1;
            progress("layers kept", Progress { done: kept, total: ranking.len() / 2 });
            if cosines(&ranking[..kept], &judged)?.1 >= least_cosine {
                break;
            }
        }
        Ok(ranking[..kept].iter().flat_map(|unit| unit.iter().cloned()).collect())
    }

    /// Numbers of at most `count` texts, evenly spread.
    fn sample(&self, count: usize) -> Vec<usize> {
        let count = count.min(self.texts.len());
        (0..count).map(|i| i * self.texts.len() / count).collect()
    }
}

/// At most `count` of the texts, evenly spread.
fn spread(texts: &[String], count: usize) -> Vec<String> {
    let count = count.min(texts.len());
    (0..count).map(|i| texts[i * texts.len() / count].clone()).collect()
}

impl Inputs {
    /// The factor, made by the first who asks; `None` if the activations are too odd to have one.
    fn factor(&self) -> Option<Arc<Factor>> {
        let mut slot = self.factor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(factor) = slot.upgrade() {
            return Some(factor);
        }
        let factor = Arc::new(Factor::of(&self.columns)?);
        *slot = Arc::downgrade(&factor);
        Some(factor)
    }
}

impl Factor {
    fn of(columns: &[Vec<f32>]) -> Option<Factor> {
        let width = columns.len();
        let energy: Vec<f32> = columns.iter().map(|column| dot(column, column)).collect();
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|&a, &b| energy[b].total_cmp(&energy[a]).then(a.cmp(&b)));
        let damping = DAMPING * energy.iter().map(|&energy| f64::from(energy)).sum::<f64>() / width.max(1) as f64;
        if !(damping > 0.0 && damping.is_finite()) {
            return None;
        }
        let mut upper = vec![0.0; width * width];
        // A few rows at a time, so that the other side is read from memory less often.
        const BLOCK: usize = 8;
        for first in (0..width).step_by(BLOCK) {
            for (j, &column) in order.iter().enumerate().skip(first) {
                for (i, &other) in order.iter().enumerate().take((first + BLOCK).min(j + 1)).skip(first) {
                    upper[i * width + j] = f64::from(dot(&columns[other], &columns[column]));
                }
            }
        }
        for j in (0..width).rev() {
            let (above, from_j) = upper.split_at_mut(j * width);
            let row = &mut from_j[..width];
            let rest = dot64(&row[j + 1..], &row[j + 1..]);
            let pivot = row[j] + damping - rest;
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row[j] = pivot.sqrt();
            for other in above.chunks_mut(width) {
                other[j] = (other[j] - dot64(&other[j + 1..], &row[j + 1..])) / row[j];
            }
        }
        Some(Factor { order, upper })
    }
}

/// A dot product in as many chains as vector units like.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn dot64(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(width: usize, tokens: usize) -> Vec<Vec<f32>> {
        let mut state = 5u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let common: Vec<f32> = (0..tokens).map(|_| next()).collect();
        (0..width).map(|i| common.iter().map(|c| c + next() * (0.1 + i as f32 * 0.05)).collect()).collect()
    }

    #[test]
    fn the_factor_gives_the_second_moments_back() {
        let columns = columns(13, 40);
        let factor = Factor::of(&columns).unwrap();
        let energy: f64 = columns.iter().map(|column| f64::from(dot(column, column))).sum();
        for (i, &one) in factor.order.iter().enumerate() {
            for (j, &other) in factor.order.iter().enumerate() {
                let product: f64 = (i.max(j)..13).map(|m| factor.upper[i * 13 + m] * factor.upper[j * 13 + m]).sum();
                let moment = f64::from(dot(&columns[one], &columns[other]));
                let expected = moment + if i == j { DAMPING * energy / 13.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-4, "{i}, {j}: {product} for {expected}");
            }
        }
    }

    #[test]
    fn calibrated_integers_move_results_less_than_the_nearest_ones() {
        let (width, tokens) = (24, 200);
        let columns = columns(width, tokens);
        let weights: Vec<f32> = (0..10 * width).map(|i| ((i * 7919 % 101) as f32 - 50.0) / 50.0).collect();
        let inputs = Arc::new(Inputs { columns: columns.clone(), factor: Mutex::default() });
        let calibration = Calibration {
            texts: Vec::new(),
            expected: Embeddings::with_capacity(1, 0),
            inputs: BTreeMap::from([("layer".to_owned(), inputs)]),
            units: Vec::new(),
        };
        let error = |coded: &Coded| -> f64 {
            let found = coded.values();
            let mut sum = 0.0;
            for row in 0..10 {
                let at = row * width..(row + 1) * width;
                for token in 0..tokens {
                    let moved = found[at.clone()].iter().zip(&weights[at.clone()]).zip(&columns);
                    let moved: f32 = moved.map(|((found, weight), column)| (found - weight) * column[token]).sum();
                    sum += f64::from(moved).powi(2);
                }
            }
            sum
        };
        for integers in [Integers::Int8, Integers::Int4 { group: 8 }] {
            let nearest = error(&Coded::nearest(&weights, width, integers));
            let calibrated = error(&calibration.coded("layer", &weights, width, integers));
            assert!(calibrated < 0.7 * nearest, "{integers:?}: {calibrated} against {nearest}");
        }
        let nearest = Coded::nearest(&weights, width, Integers::Int8);
        assert_eq!(calibration.coded("unknown", &weights, width, Integers::Int8), nearest);
    }
}
