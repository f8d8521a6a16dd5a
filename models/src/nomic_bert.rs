//! Nomic Embed: Training a Reproducible Long Context Text Embedder (Nussbaum et al., 2024), <https://arxiv.org/abs/2402.01613>: BERT with rotary
//! positions, gated feed-forward blocks and no biases.
//!
//! Tensors go by the names that the checkpoints were published with, which `transformers` writes too; fields by those, or by the ones that
//! `transformers` gave them.

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec, Weights,
    graph::{GraphBuilder, GraphError, Index, NodeId, Rotary, RowsOf},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, MaskedLm, Model, ModelError, Source, Task,
    bert::POOLER,
    blocks,
    config::{Common, Expectation, Fields, check_dims, check_layers},
    embeddings::Embeddings,
};

const PREFIXES: &[&str] = &["nomic_bert.", "bert."];

/// The fields of `config.json` that change the graph, by transformers' names and by those that the checkpoints were published with.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct NomicBertConfig {
    pub vocab_size: Option<usize>,
    pub type_vocab_size: Option<usize>,
    pub hidden_size: Option<usize>,
    pub n_embd: Option<usize>,
    pub num_hidden_layers: Option<usize>,
    pub n_layer: Option<usize>,
    pub num_attention_heads: Option<usize>,
    pub n_head: Option<usize>,
    pub head_dim: Option<usize>,
    pub intermediate_size: Option<usize>,
    pub n_inner: Option<usize>,
    pub max_position_embeddings: Option<usize>,
    pub n_positions: Option<usize>,
    pub max_trained_positions: Option<usize>,
    pub layer_norm_eps: Option<f64>,
    pub layer_norm_epsilon: Option<f64>,
    pub hidden_act: Option<String>,
    pub activation_function: Option<String>,
    pub rope_parameters: Option<NomicRope>,
    pub rotary_emb_base: Option<f64>,
    pub rotary_emb_fraction: Option<f64>,
    pub rotary_emb_interleaved: bool,
    pub rotary_emb_scale_base: Option<f64>,
    pub rotary_scaling_factor: Option<f64>,
    pub qkv_proj_bias: bool,
    pub mlp_fc1_bias: bool,
    pub mlp_fc2_bias: bool,
    pub prenorm: bool,
    pub parallel_block: bool,
    pub use_rms_norm: Option<bool>,
    pub num_experts: Option<usize>,
}

/// The rotary positions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct NomicRope {
    pub rope_type: Option<String>,
    pub rope_theta: Option<f64>,
}

/// A NomicBERT whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct NomicBert {
    common: Common,
    vocab_size: usize,
    type_vocab_size: usize,
    /// The field that says so, and the width.
    hidden_size: (&'static str, usize),
    intermediate_size: (&'static str, usize),
    layers: (&'static str, usize),
    heads: usize,
    positions: usize,
    eps: f32,
    activation: Activation,
    theta: f32,
}

impl NomicBert {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<NomicBert, ModelError> {
        let config: NomicBertConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        // Of the two names of a field, the one that the file has.
        let either = |a: (&'static str, Option<usize>), b: (&'static str, Option<usize>), default| match (a.1, b.1) {
            (Some(value), _) => (a.0, value),
            (None, Some(value)) => (b.0, value),
            (None, None) => (a.0, default),
        };
        let hidden_size = either(("hidden_size", config.hidden_size), ("n_embd", config.n_embd), 768);
        let layers = either(("num_hidden_layers", config.num_hidden_layers), ("n_layer", config.n_layer), 12);
        let heads = either(("num_attention_heads", config.num_attention_heads), ("n_head", config.n_head), 12);
        let intermediate_size =
            either(("intermediate_size", config.intermediate_size), ("n_inner", config.n_inner), 4 * hidden_size.1);
        // Where angles are scaled, they are those of training up to there, and beyond would depend on the length.
        let published =
            ("n_positions", config.rotary_scaling_factor.and(config.max_trained_positions).or(config.n_positions));
        let positions = either(("max_position_embeddings", config.max_position_embeddings), published, 2048);
        let vocab_size = config.vocab_size.unwrap_or(30528);
        fields.sizes(&[("vocab_size", vocab_size), hidden_size, heads, intermediate_size])?;
        fields.positions(positions.0, positions.1)?;
        fields.layers(layers.0, layers.1)?;
        fields.heads(heads.0, heads.1, hidden_size.0, hidden_size.1)?;
        let head_dim = hidden_size.1 / heads.1;
        if !head_dim.is_multiple_of(2) {
            return Err(fields.error(heads.0, heads.1, "heads of an even width"));
        }
        if let Some(found) = config.head_dim.filter(|&found| found != head_dim) {
            return Err(fields.error("head_dim", found, format!("{head_dim}, a head's share of {}", hidden_size.0)));
        }
        for (field, value) in [
            ("qkv_proj_bias", config.qkv_proj_bias),
            ("mlp_fc1_bias", config.mlp_fc1_bias),
            ("mlp_fc2_bias", config.mlp_fc2_bias),
            ("prenorm", config.prenorm),
            ("parallel_block", config.parallel_block),
            ("use_rms_norm", config.use_rms_norm.unwrap_or(false)),
            ("rotary_emb_interleaved", config.rotary_emb_interleaved),
            ("num_experts", config.num_experts.is_some_and(|experts| experts > 0)),
        ] {
            fields.off(field, value)?;
        }
        if let Some(fraction) = config.rotary_emb_fraction.filter(|&fraction| fraction != 1.0) {
            return Err(fields.error("rotary_emb_fraction", fraction, 1));
        }
        if let Some(base) = config.rotary_emb_scale_base {
            return Err(fields.error("rotary_emb_scale_base", base, "none"));
        }
        let rope = config.rope_parameters.clone().unwrap_or_default();
        // Up to the positions of training, dynamic angles are the plain ones.
        if let Some(kind) = rope.rope_type.filter(|kind| kind != "default" && kind != "dynamic") {
            return Err(fields.error("rope_type", format!("{kind:?}"), "\"default\" or \"dynamic\""));
        }
        let theta = rope.rope_theta.or(config.rotary_emb_base).unwrap_or(1000.0);
        if !(theta.is_finite() && theta > 0.0) {
            return Err(fields.error("rope_theta", theta, "a finite number above 0"));
        }
        let activation = match (&config.hidden_act, config.activation_function.as_deref()) {
            (Some(name), _) => fields.activation("hidden_act", name)?,
            (None, None | Some("swiglu")) => Activation::Silu,
            (None, Some("geglu")) => Activation::GeluErf,
            (None, Some("glu")) => Activation::Sigmoid,
            (None, Some(other)) => {
                let expected = "\"swiglu\", \"geglu\" or \"glu\": only gated feed-forward blocks are there";
                return Err(fields.error("activation_function", format!("{other:?}"), expected));
            }
        };
        let eps = fields.eps("layer_norm_eps", config.layer_norm_eps.or(config.layer_norm_epsilon).unwrap_or(1e-12))?;
        Ok(NomicBert {
            common: Common::parse(source)?,
            vocab_size,
            type_vocab_size: config.type_vocab_size.unwrap_or(2),
            hidden_size,
            intermediate_size,
            layers,
            heads: heads.1,
            positions: positions.1,
            eps,
            activation,
            theta: theta as f32,
        })
    }

    fn embeddings(&self) -> Embeddings {
        Embeddings {
            vocab_size: self.vocab_size,
            type_vocab_size: self.type_vocab_size,
            max_position_embeddings: 0,
            positions: Index::Positions,
            width: self.hidden_size,
        }
    }

    fn attention(&self, builder: &mut GraphBuilder, x: NodeId, layer: usize) -> Result<NodeId, GraphError> {
        let width = self.hidden_size.1;
        let head_dim = width / self.heads;
        let module = format!("encoder.layers.{layer}.attn");
        let merged = format!("{module}.Wqkv.weight");
        let [q, k, v] = [0, 1, 2].map(|part| {
            let rows = RowsOf { name: &merged, first: part * width, rows: width, of: 3 * width };
            builder.linear_rows(x, rows, None)
        });
        let rotary = Rotary { head_dim, theta: self.theta, positions: self.positions };
        let (q, k) = (builder.rotary(q?, rotary)?, builder.rotary(k?, rotary)?);
        let spec = AttentionSpec {
            heads: self.heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: false,
            arithmetic: Arithmetic::F32,
        };
        let attended = builder.attention(&module, q, k, v?, spec)?;
        builder.linear(attended, width, &format!("{module}.out_proj.weight"), None)
    }

    fn feed_forward(&self, builder: &mut GraphBuilder, x: NodeId, layer: usize) -> Result<NodeId, GraphError> {
        let [gate, up, down] =
            ["fc12", "fc11", "fc2"].map(|module| format!("encoder.layers.{layer}.mlp.{module}.weight"));
        let gate = builder.linear(x, self.intermediate_size.1, &gate, None)?;
        let gate = builder.activation(gate, self.activation)?;
        let up = builder.linear(x, self.intermediate_size.1, &up, None)?;
        let gated = builder.mul(up, gate)?;
        builder.linear(gated, self.hidden_size.1, &down, None)
    }
}

impl Model for NomicBert {
    fn facts(&self) -> Facts<'_> {
        Facts {
            common: &self.common,
            hidden_size: self.hidden_size.1,
            max_positions: self.positions,
            vocab_size: self.vocab_size,
            prefixes: PREFIXES,
        }
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let x = self.embeddings().sum(builder)?;
        let mut x = blocks::layer_norm(builder, x, "emb_ln", self.eps)?;
        for layer in 0..self.layers.1 {
            let name = |norm: &str| format!("encoder.layers.{layer}.{norm}");
            let attended = self.attention(builder, x, layer)?;
            x = blocks::add_and_norm(builder, attended, x, &name("norm1"), self.eps)?;
            let transformed = self.feed_forward(builder, x, layer)?;
            x = blocks::add_and_norm(builder, transformed, x, &name("norm2"), self.eps)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction => head.pooler_output(POOLER),
            Task::FillMask => head.masked_lm(&MaskedLm {
                dense: "cls.predictions.transform.dense",
                activation: self.activation,
                norm: "cls.predictions.transform.layer_norm",
                eps: self.eps,
                embeddings: "embeddings.word_embeddings.weight",
                tied: self.common.tied,
                decoder: "cls.predictions.decoder",
                bias: "cls.predictions.bias",
            }),
            Task::TextClassification => head.pooled_logits(POOLER, "classifier"),
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering
            | Task::MultipleChoice
            | Task::NextSentencePrediction
            | Task::ReplacedTokenDetection => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let mut expectations = self.embeddings().expectations();
        let (field, value) = self.intermediate_size;
        expectations.push(Expectation { field, value, tensor: "encoder.layers.0.mlp.fc2.weight", dim: 1 });
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        check_layers(&self.common.file, weights, PREFIXES, self.layers.0, self.layers.1, "encoder.layers.")
    }
}
