//! A small random encoder, its weights as a safetensors file, and what it computes, written out in `f64` without any of the library's code.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec, Batch, Pooling, Weights,
    graph::{Graph, GraphBuilder, GraphError, Index, NodeId, Table},
};

/// Sizes of a tiny encoder.
#[derive(Clone, Copy, Debug)]
pub struct Tiny {
    pub hidden: usize,
    pub heads: usize,
    pub inner: usize,
    pub layers: usize,
    pub vocab: usize,
    pub positions: usize,
    pub causal: bool,
}

/// Sizes that no tile divides.
pub const AWKWARD: Tiny = Tiny { hidden: 36, heads: 3, inner: 50, layers: 2, vocab: 37, positions: 70, causal: false };

/// Sizes that all tiles divide.
pub const EVEN: Tiny = Tiny { hidden: 64, heads: 4, inner: 128, layers: 2, vocab: 40, positions: 300, causal: false };

const EPS: f64 = 1e-5;

/// Pseudo-random numbers from -1 to 1; the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end
    }

    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Tensors by name: shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Tiny {
    /// Random weights, scaled so that hidden states stay of order 1.
    pub fn tensors(&self) -> Tensors {
        let mut random = Random::new(7);
        let mut tensors = Tensors::new();
        let mut add = |name: &str, shape: &[usize], center: f32, spread: f32| {
            let count = shape.iter().product();
            let values = (0..count).map(|_| center + spread * random.unit()).collect();
            tensors.insert(name.to_owned(), (shape.to_vec(), values));
        };
        let h = self.hidden;
        add("words.weight", &[self.vocab, h], 0.0, 1.0);
        add("types.weight", &[3, h], 0.0, 0.5);
        add("positions.weight", &[self.positions, h], 0.0, 0.5);
        add("LayerNorm.weight", &[h], 1.0, 0.2);
        add("LayerNorm.bias", &[h], 0.0, 0.2);
        for layer in 0..self.layers {
            for module in ["query", "key", "value", "output"] {
                add(&format!("{layer}.{module}.weight"), &[h, h], 0.0, 1.7 / (h as f32).sqrt());
                add(&format!("{layer}.{module}.bias"), &[h], 0.0, 0.2);
            }
            add(&format!("{layer}.up.weight"), &[self.inner, h], 0.0, 1.7 / (h as f32).sqrt());
            add(&format!("{layer}.up.bias"), &[self.inner], 0.0, 0.2);
            add(&format!("{layer}.down.weight"), &[h, self.inner], 0.0, 1.7 / (self.inner as f32).sqrt());
            add(&format!("{layer}.down.bias"), &[h], 0.0, 0.2);
            for norm in ["norm1", "norm2"] {
                add(&format!("{layer}.{norm}.weight"), &[h], 1.0, 0.2);
                add(&format!("{layer}.{norm}.bias"), &[h], 0.0, 0.2);
            }
        }
        add("pooler.weight", &[h, h], 0.0, 1.7 / (h as f32).sqrt());
        add("pooler.bias", &[h], 0.0, 0.2);
        tensors
    }

    pub fn weights(&self) -> Weights {
        Weights::from_vec("tiny.safetensors", safetensors(&self.tensors())).unwrap()
    }

    /// The encoder alone.
    pub fn encoder(&self, b: &mut GraphBuilder) -> Result<NodeId, GraphError> {
        let h = self.hidden;
        let tables = [
            Table { name: "words.weight", rows: self.vocab, index: Index::TokenIds },
            Table { name: "types.weight", rows: 3, index: Index::TypeIds },
            Table { name: "positions.weight", rows: self.positions, index: Index::Positions },
        ];
        let x = b.embedding("embeddings", &tables, h)?;
        let mut x = b.layer_norm(x, "LayerNorm.weight", "LayerNorm.bias", EPS as f32)?;
        let head_dim = h / self.heads;
        let spec = AttentionSpec {
            heads: self.heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: self.causal,
            arithmetic: Arithmetic::F32,
        };
        for layer in 0..self.layers {
            let linear = |b: &mut GraphBuilder, x, module: &str, width| {
                b.linear(x, width, &format!("{layer}.{module}.weight"), Some(&format!("{layer}.{module}.bias")))
            };
            let norm = |b: &mut GraphBuilder, x, module: &str| {
                b.layer_norm(x, &format!("{layer}.{module}.weight"), &format!("{layer}.{module}.bias"), EPS as f32)
            };
            let (q, k, v) = (linear(b, x, "query", h)?, linear(b, x, "key", h)?, linear(b, x, "value", h)?);
            let attended = b.attention(&format!("{layer}.attention"), q, k, v, spec)?;
            let projected = linear(b, attended, "output", h)?;
            let sum = b.add(projected, x)?;
            x = norm(b, sum, "norm1")?;
            let up = linear(b, x, "up", self.inner)?;
            let up = b.activation(up, Activation::GeluErf)?;
            let down = linear(b, up, "down", h)?;
            let sum = b.add(x, down)?;
            x = norm(b, sum, "norm2")?;
        }
        Ok(x)
    }

    /// The outputs `hidden`, `pooled` (first token, linear, tanh), `mean` (normalised) and `last` (the last token's row).
    pub fn graph(&self) -> Graph {
        let mut b = GraphBuilder::new("tiny");
        let x = self.encoder(&mut b).unwrap();
        b.output("hidden", x);
        let first = b.select_first(x).unwrap();
        let pooled = b.linear(first, self.hidden, "pooler.weight", Some("pooler.bias")).unwrap();
        let pooled = b.activation(pooled, Activation::Tanh).unwrap();
        b.output("pooled", pooled);
        let mean = b.pool(x, Pooling::Mean).unwrap();
        let mean = b.l2_normalize(mean).unwrap();
        b.output("mean", mean);
        let last = b.select_last(x).unwrap();
        b.output("last", last);
        b.finish().unwrap()
    }

    /// A batch with a sequence of each length, of random ids and types.
    pub fn batch(&self, lengths: &[usize]) -> Batch {
        let mut random = Random::new(11);
        let mut batch = Batch::new();
        for &len in lengths {
            let ids: Vec<u32> = (0..len).map(|_| random.below(self.vocab) as u32).collect();
            let types: Vec<u32> = (0..len).map(|_| random.below(3) as u32).collect();
            batch.push(&ids, Some(&types)).unwrap();
        }
        batch
    }

    /// The hidden states of one sequence, row after row.
    pub fn reference(&self, tensors: &Tensors, ids: &[u32], types: &[u32]) -> Vec<Vec<f64>> {
        let get = |name: &str| {
            let (_, values) = &tensors[name];
            values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>()
        };
        let row = |table: &str, row: usize| get(table)[row * self.hidden..][..self.hidden].to_vec();
        let linear = |module: &str, x: &[f64]| -> Vec<f64> {
            let (weight, bias) = (get(&format!("{module}.weight")), get(&format!("{module}.bias")));
            weight
                .chunks(x.len())
                .zip(&bias)
                .map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b)
                .collect()
        };
        let norm = |module: &str, x: &[f64]| -> Vec<f64> {
            let (gamma, beta) = (get(&format!("{module}.weight")), get(&format!("{module}.bias")));
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let scale = 1.0 / (variance + EPS).sqrt();
            x.iter().zip(gamma.iter().zip(&beta)).map(|(x, (g, b))| (x - mean) * scale * g + b).collect()
        };
        let sum = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };

        let mut x: Vec<Vec<f64>> = ids
            .iter()
            .zip(types)
            .enumerate()
            .map(|(position, (&id, &kind))| {
                let tokens = sum(&row("words.weight", id as usize), &row("types.weight", kind as usize));
                norm("LayerNorm", &sum(&tokens, &row("positions.weight", position)))
            })
            .collect();
        for layer in 0..self.layers {
            let name = |module: &str| format!("{layer}.{module}");
            let project = |module: &str| x.iter().map(|x| linear(&name(module), x)).collect::<Vec<_>>();
            let (q, k, v) = (project("query"), project("key"), project("value"));
            let attended = self.attend(&q, &k, &v);
            x = x
                .iter()
                .zip(&attended)
                .map(|(x, attended)| {
                    let x = norm(&name("norm1"), &sum(x, &linear(&name("output"), attended)));
                    let up: Vec<f64> = linear(&name("up"), &x).into_iter().map(gelu).collect();
                    norm(&name("norm2"), &sum(&x, &linear(&name("down"), &up)))
                })
                .collect();
        }
        x
    }

    fn attend(&self, q: &[Vec<f64>], k: &[Vec<f64>], v: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let head_dim = self.hidden / self.heads;
        let mut out = vec![vec![0.0; self.hidden]; q.len()];
        for head in 0..self.heads {
            let columns = head * head_dim..(head + 1) * head_dim;
            for (i, q) in q.iter().enumerate() {
                let seen = if self.causal { i + 1 } else { k.len() };
                let scores: Vec<f64> = k[..seen]
                    .iter()
                    .map(|k| {
                        let dot: f64 = q[columns.clone()].iter().zip(&k[columns.clone()]).map(|(q, k)| q * k).sum();
                        (dot / (head_dim as f64).sqrt()).exp()
                    })
                    .collect();
                let total: f64 = scores.iter().sum();
                for column in columns.clone() {
                    out[i][column] = scores.iter().zip(v).map(|(score, v)| score / total * v[column]).sum();
                }
            }
        }
        out
    }
}

fn gelu(x: f64) -> f64 {
    // Φ by Simpson's rule over the error function's integral: slow and plain.
    let (end, steps) = (x / std::f64::consts::SQRT_2, 200);
    let h = end / f64::from(steps);
    let f = |t: f64| (-t * t).exp();
    let inner: f64 = (1..steps).map(|i| f(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    let erf = (f(0.0) + inner + f(end)) * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI;
    0.5 * x * (1.0 + erf)
}

/// A safetensors file of `f32` tensors, written by the format's own crate.
pub fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (name.clone(), shape.clone(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    write(
        &stored.iter().map(|(n, s, b)| (n.clone(), safetensors::Dtype::F32, s.clone(), b.clone())).collect::<Vec<_>>(),
    )
}

/// A safetensors file of any tensors.
pub fn write(tensors: &[(String, safetensors::Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (name.clone(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// Bits of values, for comparisons that allow no difference at all.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The largest absolute difference; NaN if any is.
pub fn max_error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |worst: f32, difference| if difference.is_nan() { f32::NAN } else { worst.max(difference) })
}
