//! ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators (Clark et al., 2020), <https://arxiv.org/abs/2003.10555>:
//! BERT with embeddings that may be narrower than the layers, and heads of its own for both of its models.
//!
//! Names of fields and tensors are those of `transformers`' `ElectraModel`.

use loquat_runtime::{
    Activation, Weights,
    graph::{GraphBuilder, GraphError, Index, NodeId},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, MaskedLm, Model, ModelError, Source, Task,
    blocks::{self, LayerModules, LayerSizes},
    config::{Common, Expectation, Fields, check_dims, check_layers},
    embeddings::Embeddings,
};

const PREFIXES: &[&str] = &["electra."];

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct ElectraConfig {
    pub vocab_size: usize,
    pub embedding_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub position_embedding_type: String,
    pub is_decoder: bool,
    pub summary_type: String,
    pub summary_use_proj: bool,
    pub summary_activation: Option<String>,
}

impl Default for ElectraConfig {
    fn default() -> Self {
        ElectraConfig {
            vocab_size: 30522,
            embedding_size: 128,
            hidden_size: 256,
            num_hidden_layers: 12,
            num_attention_heads: 4,
            intermediate_size: 1024,
            hidden_act: "gelu".to_owned(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".to_owned(),
            is_decoder: false,
            summary_type: "first".to_owned(),
            summary_use_proj: true,
            summary_activation: Some("gelu".to_owned()),
        }
    }
}

/// An ELECTRA whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Electra {
    common: Common,
    config: ElectraConfig,
    activation: Activation,
    summary_activation: Option<Activation>,
    eps: f32,
}

impl Electra {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Electra, ModelError> {
        let config: ElectraConfig = source.parse()?;
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
        fields.heads("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
        fields.is("position_embedding_type", &config.position_embedding_type, "absolute")?;
        fields.is("summary_type", &config.summary_type, "first")?;
        fields.off("is_decoder", config.is_decoder)?;
        let eps = fields.eps("layer_norm_eps", config.layer_norm_eps)?;
        let activation = fields.activation("hidden_act", &config.hidden_act)?;
        let named = config.summary_activation.as_deref().filter(|name| !name.is_empty());
        let summary_activation = named.map(|name| fields.activation("summary_activation", name)).transpose()?;
        Ok(Electra { common: Common::parse(source)?, config, activation, summary_activation, eps })
    }

    fn embeddings(&self) -> Embeddings {
        let ElectraConfig { vocab_size, type_vocab_size, max_position_embeddings, embedding_size, .. } = self.config;
        let width = ("embedding_size", embedding_size);
        Embeddings { vocab_size, type_vocab_size, max_position_embeddings, positions: Index::Positions, width }
    }

    /// What multiple choice reads: the first token's hidden state, as the fields `summary_…` say.
    fn summary(&self, head: &mut HeadBuilder<'_>) -> Result<NodeId, HeadError> {
        let first = head.first()?;
        if self.config.summary_use_proj {
            return head.dense(first, "sequence_summary.summary", self.summary_activation);
        }
        match self.summary_activation {
            Some(activation) => Ok(head.builder.activation(first, activation)?),
            None => Ok(first),
        }
    }
}

impl Model for Electra {
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
        let mut x = self.embeddings().normalised(builder, self.eps)?;
        if config.embedding_size != config.hidden_size {
            x = blocks::linear(builder, x, "embeddings_project", config.hidden_size)?;
        }
        let sizes = LayerSizes {
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            activation: self.activation,
            eps: self.eps,
        };
        for index in 0..config.num_hidden_layers {
            x = blocks::post_norm_layer(builder, x, &LayerModules::bert(index), &sizes)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction => Ok(()),
            Task::FillMask => head.masked_lm(&MaskedLm {
                dense: "generator_predictions.dense",
                activation: Activation::GeluErf,
                norm: "generator_predictions.LayerNorm",
                eps: self.eps,
                embeddings: "embeddings.word_embeddings.weight",
                tied: self.common.tied,
                decoder: "generator_lm_head",
                bias: "generator_lm_head.bias",
            }),
            Task::ReplacedTokenDetection => {
                let x = head.dense(head.hidden, "discriminator_predictions.dense", Some(self.activation))?;
                head.logits_of(x, "discriminator_predictions.dense_prediction", 1)
            }
            Task::TextClassification => {
                let first = head.first()?;
                let x = head.dense(first, "classifier.dense", Some(Activation::GeluErf))?;
                head.logits(x, "classifier.out_proj")
            }
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering => head.question_answering("qa_outputs"),
            Task::MultipleChoice => {
                head.rows("classifier.weight")?;
                let summary = self.summary(head)?;
                head.logits_of(summary, "classifier", 1)
            }
            Task::NextSentencePrediction => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let mut expectations = self.embeddings().expectations();
        expectations.extend([
            expect("hidden_size", config.hidden_size, "encoder.layer.0.attention.self.query.weight", 0),
            expect("intermediate_size", config.intermediate_size, "encoder.layer.0.intermediate.dense.weight", 0),
        ]);
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        let layers = config.num_hidden_layers;
        check_layers(&self.common.file, weights, PREFIXES, "num_hidden_layers", layers, "encoder.layer.")
    }
}
