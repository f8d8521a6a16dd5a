//! MPNet: Masked and Permuted Pre-training for Language Understanding (Song et al., 2020), <https://arxiv.org/abs/2004.09297>: BERT
//! without token types, with positions counted past the padding token's id, and a learned bias for distances in every attention.
//!
//! Names of fields and tensors are those of `transformers`' `MPNetModel`.

use loquat_runtime::{
    Activation, Weights,
    graph::{DistanceBias, GraphBuilder, GraphError, Index},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, Model, ModelError, Source, Task,
    blocks::{self, LayerModules, LayerSizes},
    config::{Common, Expectation, Fields, check_dims, check_layers},
    embeddings::Embeddings,
    roberta,
};

const PREFIXES: &[&str] = &["mpnet."];

/// Buckets of distances, whatever `relative_attention_num_buckets` says: the reference has them in its code.
const BUCKETS: usize = 32;

/// From this distance on all share the last bucket, as the reference has it in its code.
const MAX_DISTANCE: usize = 128;

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct MpnetConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub layer_norm_eps: f64,
    pub relative_attention_num_buckets: usize,
}

impl Default for MpnetConfig {
    fn default() -> Self {
        MpnetConfig {
            vocab_size: 30527,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".to_owned(),
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            relative_attention_num_buckets: BUCKETS,
        }
    }
}

/// The padding token, which the reference has in its code.
const PADDING: u32 = 1;

/// An MPNet whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Mpnet {
    common: Common,
    config: MpnetConfig,
    activation: Activation,
    eps: f32,
    positions: usize,
}

impl Mpnet {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Mpnet, ModelError> {
        let config: MpnetConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("relative_attention_num_buckets", config.relative_attention_num_buckets),
        ])?;
        fields.layers("num_hidden_layers", config.num_hidden_layers)?;
        fields.heads("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
        let eps = fields.eps("layer_norm_eps", config.layer_norm_eps)?;
        let activation = fields.activation("hidden_act", &config.hidden_act)?;
        let positions = fields.positions_past(PADDING, config.max_position_embeddings)?;
        if config.relative_attention_num_buckets < BUCKETS {
            let found = config.relative_attention_num_buckets;
            return Err(fields.error("relative_attention_num_buckets", found, format!("at least {BUCKETS}")));
        }
        Ok(Mpnet { common: Common::parse(source)?, config, activation, eps, positions })
    }

    fn embeddings(&self) -> Embeddings {
        Embeddings {
            vocab_size: self.config.vocab_size,
            type_vocab_size: 0,
            max_position_embeddings: self.config.max_position_embeddings,
            positions: Index::PositionsPastPadding(PADDING),
            width: ("hidden_size", self.config.hidden_size),
        }
    }
}

fn modules(index: usize) -> LayerModules {
    let name = |module: &str| format!("encoder.layer.{index}.{module}");
    LayerModules {
        attention: name("attention.attn"),
        query: name("attention.attn.q"),
        key: name("attention.attn.k"),
        value: name("attention.attn.v"),
        projection: name("attention.attn.o"),
        attention_norm: name("attention.LayerNorm"),
        up: name("intermediate.dense"),
        down: name("output.dense"),
        norm: name("output.LayerNorm"),
    }
}

impl Model for Mpnet {
    fn facts(&self) -> Facts<'_> {
        Facts {
            common: &self.common,
            hidden_size: self.config.hidden_size,
            max_positions: self.positions,
            vocab_size: self.config.vocab_size,
            prefixes: PREFIXES,
        }
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let config = &self.config;
        let mut x = self.embeddings().normalised(builder, self.eps)?;
        let sizes = LayerSizes {
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            activation: self.activation,
            eps: self.eps,
        };
        let bias = DistanceBias::Buckets {
            name: "encoder.relative_attention_bias.weight",
            rows: config.relative_attention_num_buckets,
            buckets: BUCKETS,
            max_distance: MAX_DISTANCE,
            reach: self.positions - 1,
        };
        for index in 0..config.num_hidden_layers {
            x = blocks::biased_post_norm_layer(builder, x, &modules(index), &sizes, Some(bias))?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        roberta::heads(task, head, self.eps, self.common.tied)
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let mut expectations = self.embeddings().expectations();
        expectations.extend([
            expect("intermediate_size", config.intermediate_size, "encoder.layer.0.intermediate.dense.weight", 0),
            expect("num_attention_heads", config.num_attention_heads, "encoder.relative_attention_bias.weight", 1),
            expect(
                "relative_attention_num_buckets",
                config.relative_attention_num_buckets,
                "encoder.relative_attention_bias.weight",
                0,
            ),
        ]);
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        let layers = config.num_hidden_layers;
        check_layers(&self.common.file, weights, PREFIXES, "num_hidden_layers", layers, "encoder.layer.")
    }
}
