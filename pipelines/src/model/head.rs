//! From an encoder's hidden states to one vector per text: pooling and what comes after it, as part of the graph.

use loquat_runtime::{
    Activation, Outputs, Pooling,
    graph::{GraphBuilder, GraphError, NodeId},
};

use super::modules::{Dense, DenseActivation, LayerNorm, Modules, PoolingMode, Step};
use crate::{Embeddings, Error};

/// The output of a model with modules after its encoder.
pub(crate) const SENTENCE_EMBEDDING: &str = "sentence_embedding";

/// What to read from a run's outputs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    /// Outputs that stand side by side in an embedding, with their widths.
    parts: Vec<(String, usize)>,
    /// Whether the embedding is normalised here, because it exists as a whole only here.
    normalize: bool,
    cut: Option<Cut>,
}

/// Embeddings of which only the beginning is given.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cut {
    dim: usize,
    /// Whether what is left is scaled to length 1.
    normalize: bool,
}

/// Why a head can't be put on an encoder.
#[derive(Debug)]
pub(crate) enum HeadProblem {
    Graph(GraphError),
    /// A module's configuration contradicts what comes before it.
    Module {
        folder: String,
        problem: String,
    },
}

impl From<GraphError> for HeadProblem {
    fn from(error: GraphError) -> Self {
        HeadProblem::Graph(error)
    }
}

impl Head {
    /// Adds the modules after the encoder to the graph; `hidden` is the encoder's `[tokens, width]`.
    pub(crate) fn build(builder: &mut GraphBuilder, hidden: NodeId, modules: &Modules) -> Result<Self, HeadProblem> {
        if let [mode] = modules.pooling.as_slice() {
            let mut x = builder.pool(hidden, pooling(*mode))?;
            for step in &modules.steps {
                x = match step {
                    Step::Dense(layer) => dense(builder, x, layer)?,
                    Step::LayerNorm(layer) => layer_norm(builder, x, layer)?,
                    Step::Normalize => builder.l2_normalize(x)?,
                };
            }
            let width = builder.shape(x).width;
            builder.output(SENTENCE_EMBEDDING, x);
            return Ok(Head { parts: vec![(SENTENCE_EMBEDDING.to_owned(), width)], normalize: false, cut: None });
        }
        let mut parts = Vec::with_capacity(modules.pooling.len());
        for (position, mode) in modules.pooling.iter().enumerate() {
            let x = builder.pool(hidden, pooling(*mode))?;
            let name = format!("{SENTENCE_EMBEDDING}.{position}");
            parts.push((name.clone(), builder.shape(x).width));
            builder.output(name, x);
        }
        for step in &modules.steps {
            let (folder, class) = match step {
                Step::Dense(layer) => (&layer.folder, "Dense"),
                Step::LayerNorm(layer) => (&layer.folder, "LayerNorm"),
                Step::Normalize => continue,
            };
            let problem =
                format!("a {class} module after {} pooling modes isn't supported, only after one", parts.len());
            return Err(HeadProblem::Module { folder: folder.clone(), problem });
        }
        Ok(Head { parts, normalize: !modules.steps.is_empty(), cut: None })
    }

    /// Keeps the first `dim` values of each embedding, and scales those to length 1 if `normalize`.
    pub(crate) fn truncate(&mut self, dim: usize, normalize: bool) {
        self.cut = Some(Cut { dim, normalize });
    }

    /// Names of the graph's outputs that are read.
    pub(crate) fn outputs(&self) -> Vec<String> {
        self.parts.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Values per embedding.
    pub(crate) fn dim(&self) -> usize {
        self.cut.map_or_else(|| self.whole(), |cut| cut.dim.min(self.whole()))
    }

    fn whole(&self) -> usize {
        self.parts.iter().map(|(_, width)| width).sum()
    }

    /// Adds a run's embeddings to `embeddings`.
    pub(crate) fn append(&self, outputs: &Outputs, embeddings: &mut Embeddings) -> Result<(), Error> {
        let parts: Vec<&[f32]> = self
            .parts
            .iter()
            .map(|(name, _)| {
                outputs
                    .get(name)
                    .map(|tensor| tensor.data.as_slice())
                    .ok_or_else(|| Error::NoOutput { name: name.clone() })
            })
            .collect::<Result<_, _>>()?;
        if let ([values], None) = (parts.as_slice(), self.cut) {
            embeddings.extend(values);
            return Ok(());
        }
        let mut row = Vec::with_capacity(self.whole());
        for sequence in 0..outputs.cu_seqlens().len().saturating_sub(1) {
            row.clear();
            for (values, (_, width)) in parts.iter().zip(&self.parts) {
                row.extend_from_slice(&values[sequence * width..][..*width]);
            }
            if self.normalize {
                normalize(&mut row);
            }
            if let Some(cut) = self.cut {
                row.truncate(cut.dim);
                if cut.normalize {
                    normalize(&mut row);
                }
            }
            embeddings.extend(&row);
        }
        Ok(())
    }
}

fn normalize(row: &mut [f32]) {
    let length = crate::similarity::norm(row).max(1e-12) as f32;
    row.iter_mut().for_each(|value| *value /= length);
}

/// The weights of a `Dense` go by `2_Dense/linear.weight`: its folder, then the name in its own file.
fn dense(builder: &mut GraphBuilder, x: NodeId, layer: &Dense) -> Result<NodeId, HeadProblem> {
    let width = builder.shape(x).width;
    if width != layer.in_features {
        return Err(HeadProblem::Module {
            folder: layer.folder.clone(),
            problem: format!("in_features is {}, but what comes before it has {width} values", layer.in_features),
        });
    }
    let name = |tensor: &str| super::files::join(&layer.folder, tensor);
    let bias = layer.bias.then(|| name("linear.bias"));
    let mut out = builder.linear(x, layer.out_features, &name("linear.weight"), bias.as_deref())?;
    if let Some(activation) = layer.activation {
        out = builder.activation(out, kernel(activation))?;
    }
    if layer.residual {
        let residual = if layer.in_features == layer.out_features {
            x
        } else {
            builder.linear(x, layer.out_features, &name("residual.weight"), None)?
        };
        out = builder.add(out, residual)?;
    }
    Ok(out)
}

/// The weights of a `LayerNorm` go by `2_LayerNorm/norm.weight`.
fn layer_norm(builder: &mut GraphBuilder, x: NodeId, layer: &LayerNorm) -> Result<NodeId, HeadProblem> {
    /// What PyTorch has unless told otherwise, and the module doesn't say.
    const EPS: f32 = 1e-5;
    let width = builder.shape(x).width;
    if width != layer.dimension {
        return Err(HeadProblem::Module {
            folder: layer.folder.clone(),
            problem: format!("dimension is {}, but what comes before it has {width} values", layer.dimension),
        });
    }
    let name = |tensor: &str| super::files::join(&layer.folder, tensor);
    Ok(builder.layer_norm(x, &name("norm.weight"), &name("norm.bias"), EPS)?)
}

fn pooling(mode: PoolingMode) -> Pooling {
    match mode {
        PoolingMode::Cls => Pooling::Cls,
        PoolingMode::Max => Pooling::Max,
        PoolingMode::Mean => Pooling::Mean,
        PoolingMode::MeanSqrtLen => Pooling::MeanSqrtLen,
        PoolingMode::WeightedMean => Pooling::WeightedMean,
        PoolingMode::Last => Pooling::Last,
    }
}

fn kernel(activation: DenseActivation) -> Activation {
    match activation {
        DenseActivation::Tanh => Activation::Tanh,
        DenseActivation::Relu => Activation::Relu,
        DenseActivation::Gelu => Activation::GeluErf,
        DenseActivation::Silu => Activation::Silu,
        DenseActivation::Sigmoid => Activation::Sigmoid,
    }
}
