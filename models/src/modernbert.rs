//! ModernBERT: Smarter, Better, Faster, Longer (Warner et al., 2024), <https://arxiv.org/abs/2412.13663>: rotary positions, norms before each
//! block, gated feed-forward blocks, no biases, and layers that see only neighbours between those that see everything.
//!
//! Names of fields and tensors are those of `transformers`' `ModernBertModel`.

use std::collections::BTreeMap;

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec, Pooling, Weights,
    graph::{DistanceBias, GraphBuilder, GraphError, Index, NodeId, Rotary, RowsOf, Table},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, Model, ModelError, Source, Task,
    config::{Common, Expectation, Fields, check_dims, check_layers},
};

const PREFIXES: &[&str] = &["model."];

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct ModernBertConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub hidden_activation: String,
    pub max_position_embeddings: usize,
    pub norm_eps: f64,
    pub norm_bias: bool,
    pub attention_bias: bool,
    pub mlp_bias: bool,
    pub decoder_bias: bool,
    pub classifier_bias: bool,
    pub classifier_activation: String,
    pub classifier_pooling: String,
    pub local_attention: usize,
    pub global_attn_every_n_layers: usize,
    pub layer_types: Option<Vec<String>>,
    pub global_rope_theta: f64,
    pub local_rope_theta: Option<f64>,
    pub rope_parameters: Option<BTreeMap<String, Option<RopeParameters>>>,
}

/// The rotary positions of one kind of layer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct RopeParameters {
    pub rope_type: String,
    pub rope_theta: Option<f64>,
}

impl Default for RopeParameters {
    fn default() -> Self {
        RopeParameters { rope_type: "default".to_owned(), rope_theta: None }
    }
}

impl Default for ModernBertConfig {
    fn default() -> Self {
        ModernBertConfig {
            vocab_size: 50368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: "gelu".to_owned(),
            max_position_embeddings: 8192,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            decoder_bias: true,
            classifier_bias: false,
            classifier_activation: "gelu".to_owned(),
            classifier_pooling: "cls".to_owned(),
            local_attention: 128,
            global_attn_every_n_layers: 3,
            layer_types: None,
            global_rope_theta: 160_000.0,
            local_rope_theta: Some(10_000.0),
            rope_parameters: None,
        }
    }
}

/// A ModernBERT whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernBert {
    common: Common,
    config: ModernBertConfig,
    activation: Activation,
    classifier_activation: Activation,
    eps: f32,
    /// For each layer, whether it sees only neighbours.
    local: Vec<bool>,
    global_theta: f32,
    local_theta: f32,
    mean_pooling: bool,
}

impl ModernBert {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<ModernBert, ModelError> {
        let config: ModernBertConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("num_attention_heads", config.num_attention_heads),
            ("local_attention", config.local_attention),
            ("global_attn_every_n_layers", config.global_attn_every_n_layers),
        ])?;
        fields.positions("max_position_embeddings", config.max_position_embeddings)?;
        fields.layers("num_hidden_layers", config.num_hidden_layers)?;
        fields.heads("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
        if !(config.hidden_size / config.num_attention_heads).is_multiple_of(2) {
            return Err(fields.error("num_attention_heads", config.num_attention_heads, "heads of an even width"));
        }
        let mean_pooling = match config.classifier_pooling.as_str() {
            "cls" => false,
            "mean" => true,
            other => return Err(fields.error("classifier_pooling", format!("{other:?}"), "\"cls\" or \"mean\"")),
        };
        let rope = |kind: &str| config.rope_parameters.as_ref().and_then(|all| all.get(kind)).cloned().flatten();
        let theta = |kind, otherwise: f64| {
            let rope = rope(kind).unwrap_or_default();
            fields.is("rope_type", &rope.rope_type, "default")?;
            match rope.rope_theta.unwrap_or(otherwise) {
                theta if theta.is_finite() && theta > 0.0 => Ok(theta as f32),
                theta => Err(fields.error("rope_theta", theta, "a finite number above 0")),
            }
        };
        let local_theta = theta("sliding_attention", config.local_rope_theta.unwrap_or(config.global_rope_theta))?;
        Ok(ModernBert {
            common: Common::parse(source)?,
            activation: fields.activation("hidden_activation", &config.hidden_activation)?,
            classifier_activation: fields.activation("classifier_activation", &config.classifier_activation)?,
            eps: fields.eps("norm_eps", config.norm_eps)?,
            local: local_layers(&fields, &config)?,
            global_theta: theta("full_attention", config.global_rope_theta)?,
            local_theta,
            mean_pooling,
            config,
        })
    }

    fn norm(&self, builder: &mut GraphBuilder, x: NodeId, module: &str) -> Result<NodeId, GraphError> {
        let weight = format!("{module}.weight");
        match self.config.norm_bias {
            true => builder.layer_norm(x, &weight, &format!("{module}.bias"), self.eps),
            false => builder.layer_norm_unshifted(x, &weight, self.eps),
        }
    }

    fn attention(&self, builder: &mut GraphBuilder, x: NodeId, layer: usize) -> Result<NodeId, GraphError> {
        let config = &self.config;
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        let name = |module: &str| format!("layers.{layer}.attn{module}");
        let [q, k, v] = [0, 1, 2].map(|part| rows(builder, x, &name(".Wqkv"), part, 3, width, config.attention_bias));
        let theta = if self.local[layer] { self.local_theta } else { self.global_theta };
        let head_dim = width / heads;
        let rotary = Rotary { head_dim, theta, positions: config.max_position_embeddings };
        let (q, k) = (builder.rotary(q?, rotary)?, builder.rotary(k?, rotary)?);
        let spec = AttentionSpec {
            heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: false,
            arithmetic: Arithmetic::F32,
        };
        let window = DistanceBias::Window {
            distance: config.local_attention / 2,
            leading: None,
            reach: config.max_position_embeddings - 1,
        };
        let attended = builder.biased_attention(&name(""), q, k, v?, spec, self.local[layer].then_some(window))?;
        rows(builder, attended, &name(".Wo"), 0, 1, width, config.attention_bias)
    }

    fn feed_forward(&self, builder: &mut GraphBuilder, x: NodeId, layer: usize) -> Result<NodeId, GraphError> {
        let config = &self.config;
        let name = |module: &str| format!("layers.{layer}.mlp.{module}");
        let [input, gate] =
            [0, 1].map(|part| rows(builder, x, &name("Wi"), part, 2, config.intermediate_size, config.mlp_bias));
        let input = builder.activation(input?, self.activation)?;
        let gated = builder.mul(input, gate?)?;
        rows(builder, gated, &name("Wo"), 0, 1, config.hidden_size, config.mlp_bias)
    }

    /// What all heads read: a linear layer, an activation and a norm.
    fn prediction_head(&self, head: &mut HeadBuilder<'_>, x: NodeId) -> Result<NodeId, HeadError> {
        head.rows("head.dense.weight")?;
        let x = rows(head.builder, x, "head.dense", 0, 1, self.config.hidden_size, self.config.classifier_bias)?;
        let x = head.builder.activation(x, self.classifier_activation)?;
        Ok(self.norm(head.builder, x, "head.norm")?)
    }
}

/// Which layers see only neighbours.
fn local_layers(fields: &Fields<'_>, config: &ModernBertConfig) -> Result<Vec<bool>, ModelError> {
    let Some(types) = &config.layer_types else {
        return Ok((0..config.num_hidden_layers).map(|layer| layer % config.global_attn_every_n_layers != 0).collect());
    };
    if types.len() != config.num_hidden_layers {
        let expected = format!("one for each of the {} layers", config.num_hidden_layers);
        return Err(fields.error("layer_types", format!("{} entries", types.len()), expected));
    }
    let kinds = types.iter().map(|kind| match kind.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => Err(fields.error("layer_types", format!("{other:?}"), "\"full_attention\" or \"sliding_attention\"")),
    });
    kinds.collect()
}

/// A linear layer that is one of several parts of a stored one, each `width` wide.
fn rows(
    builder: &mut GraphBuilder,
    x: NodeId,
    module: &str,
    part: usize,
    parts: usize,
    width: usize,
    bias: bool,
) -> Result<NodeId, GraphError> {
    let of = |name| RowsOf { name, first: part * width, rows: width, of: parts * width };
    let (weight, bias_name) = (format!("{module}.weight"), format!("{module}.bias"));
    builder.linear_rows(x, of(&weight), bias.then(|| of(&bias_name)))
}

impl Model for ModernBert {
    fn facts(&self) -> Facts<'_> {
        Facts {
            common: &self.common,
            hidden_size: self.config.hidden_size,
            max_positions: self.config.max_position_embeddings,
            vocab_size: self.config.vocab_size,
            prefixes: PREFIXES,
        }
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let name = "embeddings.tok_embeddings.weight";
        let table = Table { name, rows: self.config.vocab_size, index: Index::TokenIds };
        let x = builder.embedding("embeddings", &[table], self.config.hidden_size)?;
        let mut x = self.norm(builder, x, "embeddings.norm")?;
        for layer in 0..self.config.num_hidden_layers {
            // The embeddings' norm stands for the first layer's.
            let normed = if layer == 0 { x } else { self.norm(builder, x, &format!("layers.{layer}.attn_norm"))? };
            let attended = self.attention(builder, normed, layer)?;
            x = builder.add(attended, x)?;
            let normed = self.norm(builder, x, &format!("layers.{layer}.mlp_norm"))?;
            let transformed = self.feed_forward(builder, normed, layer)?;
            x = builder.add(transformed, x)?;
        }
        Ok(Encoder { last_hidden_state: self.norm(builder, x, "final_norm")? })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        let hidden = head.hidden;
        match task {
            Task::FeatureExtraction => Ok(()),
            Task::FillMask => {
                if self.config.decoder_bias {
                    head.rows("decoder.bias")?;
                }
                let x = self.prediction_head(head, hidden)?;
                let tied = "embeddings.tok_embeddings.weight";
                let decoder = if self.common.tied { tied } else { "decoder.weight" };
                let vocab = head.rows(decoder)?;
                let bias = self.config.decoder_bias.then_some("decoder.bias");
                let logits = head.builder.linear(x, vocab, decoder, bias)?;
                head.builder.output("logits", logits);
                Ok(())
            }
            Task::TextClassification => {
                let kind = if self.mean_pooling { Pooling::Mean } else { Pooling::Cls };
                let pooled = head.builder.pool(hidden, kind)?;
                let x = self.prediction_head(head, pooled)?;
                head.logits(x, "classifier")
            }
            Task::MultipleChoice => {
                let kind = if self.mean_pooling { Pooling::Mean } else { Pooling::Cls };
                let pooled = head.builder.pool(hidden, kind)?;
                let x = self.prediction_head(head, pooled)?;
                head.logits_of(x, "classifier", 1)
            }
            Task::TokenClassification => {
                let x = self.prediction_head(head, hidden)?;
                head.logits(x, "classifier")
            }
            Task::QuestionAnswering => {
                head.hidden = self.prediction_head(head, hidden)?;
                head.question_answering("classifier")
            }
            Task::NextSentencePrediction | Task::ReplacedTokenDetection => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let expectations = [
            expect("hidden_size", config.hidden_size, "embeddings.tok_embeddings.weight", 1),
            expect("vocab_size", config.vocab_size, "embeddings.tok_embeddings.weight", 0),
            expect("intermediate_size", config.intermediate_size, "layers.0.mlp.Wo.weight", 1),
        ];
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        check_layers(&self.common.file, weights, PREFIXES, "num_hidden_layers", config.num_hidden_layers, "layers.")
    }
}
