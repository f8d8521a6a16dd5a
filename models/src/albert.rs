//! ALBERT: A Lite BERT for Self-supervised Learning of Language Representations (Lan et al., 2019), <https://arxiv.org/abs/1909.11942>:
//! BERT with narrow embeddings that a linear layer widens, and layers that share their weights.
//!
//! Names of fields and tensors are those of `transformers`' `AlbertModel`.

use loquat_runtime::{
    Activation, Weights,
    graph::{GraphBuilder, GraphError, Index},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, MaskedLm, Model, ModelError, Pooler, Source, Task,
    blocks::{self, LayerModules, LayerSizes},
    config::{Common, Expectation, Fields, check_dims},
    embeddings::Embeddings,
};

const PREFIXES: &[&str] = &["albert."];

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct AlbertConfig {
    pub vocab_size: usize,
    pub embedding_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_hidden_groups: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub inner_group_num: usize,
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub position_embedding_type: String,
}

impl Default for AlbertConfig {
    fn default() -> Self {
        AlbertConfig {
            vocab_size: 30000,
            embedding_size: 128,
            hidden_size: 4096,
            num_hidden_layers: 12,
            num_hidden_groups: 1,
            num_attention_heads: 64,
            intermediate_size: 16384,
            inner_group_num: 1,
            hidden_act: "gelu_new".to_owned(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".to_owned(),
        }
    }
}

/// An ALBERT whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Albert {
    common: Common,
    config: AlbertConfig,
    activation: Activation,
    eps: f32,
}

impl Albert {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Albert, ModelError> {
        let config: AlbertConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("embedding_size", config.embedding_size),
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ])?;
        fields.layers("num_hidden_layers", config.num_hidden_layers)?;
        fields.layers("inner_group_num", config.inner_group_num)?;
        fields.size("num_hidden_groups", config.num_hidden_groups, config.num_hidden_layers)?;
        fields.heads("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
        fields.is("position_embedding_type", &config.position_embedding_type, "absolute")?;
        let eps = fields.eps("layer_norm_eps", config.layer_norm_eps)?;
        let activation = fields.activation("hidden_act", &config.hidden_act)?;
        Ok(Albert { common: Common::parse(source)?, config, activation, eps })
    }

    fn embeddings(&self) -> Embeddings {
        let AlbertConfig { vocab_size, type_vocab_size, max_position_embeddings, embedding_size, .. } = self.config;
        let width = ("embedding_size", embedding_size);
        Embeddings { vocab_size, type_vocab_size, max_position_embeddings, positions: Index::Positions, width }
    }

    /// The group of weights that a layer uses.
    fn group(&self, layer: usize) -> usize {
        // Whole numbers in place of the reference's quotient of quotients, which they equal.
        layer * self.config.num_hidden_groups / self.config.num_hidden_layers
    }
}

fn modules(group: usize, inner: usize) -> LayerModules {
    let name = |module: &str| format!("encoder.albert_layer_groups.{group}.albert_layers.{inner}.{module}");
    LayerModules {
        attention: name("attention"),
        query: name("attention.query"),
        key: name("attention.key"),
        value: name("attention.value"),
        projection: name("attention.dense"),
        attention_norm: name("attention.LayerNorm"),
        up: name("ffn"),
        down: name("ffn_output"),
        norm: name("full_layer_layer_norm"),
    }
}

const POOLER: Pooler<'_> = Pooler { dense: "pooler", activation: Activation::Tanh };

impl Model for Albert {
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
        let config = &self.config;
        let x = self.embeddings().normalised(builder, self.eps)?;
        let mut x = blocks::linear(builder, x, "encoder.embedding_hidden_mapping_in", config.hidden_size)?;
        let sizes = LayerSizes {
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            activation: self.activation,
            eps: self.eps,
        };
        for layer in 0..config.num_hidden_layers {
            for inner in 0..config.inner_group_num {
                x = blocks::post_norm_layer(builder, x, &modules(self.group(layer), inner), &sizes)?;
            }
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction => head.pooler_output(POOLER),
            Task::FillMask => head.masked_lm(&MaskedLm {
                dense: "predictions.dense",
                activation: self.activation,
                norm: "predictions.LayerNorm",
                eps: self.eps,
                embeddings: "embeddings.word_embeddings.weight",
                tied: self.common.tied,
                decoder: "predictions.decoder",
                bias: "predictions.bias",
            }),
            Task::NextSentencePrediction => Err(HeadError::Unknown),
            Task::TextClassification => head.pooled_logits(POOLER, "classifier"),
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering => head.question_answering("qa_outputs"),
            Task::MultipleChoice => head.pooled_logits_of(POOLER, "classifier", 1),
            Task::ReplacedTokenDetection => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let layer = "encoder.albert_layer_groups.0.albert_layers.0.ffn.weight";
        let mut expectations = self.embeddings().expectations();
        expectations.extend([
            expect("hidden_size", config.hidden_size, "encoder.embedding_hidden_mapping_in.weight", 0),
            expect("intermediate_size", config.intermediate_size, layer, 0),
        ]);
        check_dims(&self.common.file, weights, PREFIXES, &expectations)
    }
}
