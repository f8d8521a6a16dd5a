//! DistilBERT, a distilled version of BERT (Sanh et al., 2019), <https://arxiv.org/abs/1910.01108>: BERT without token types and pooler.
//!
//! Names of fields and tensors are those of `transformers`' `DistilBertModel`.

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

const PREFIXES: &[&str] = &["distilbert."];

/// The reference has it in its code.
const EPS: f32 = 1e-12;

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct DistilBertConfig {
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub dim: usize,
    pub hidden_dim: usize,
    pub activation: String,
}

impl Default for DistilBertConfig {
    fn default() -> Self {
        DistilBertConfig {
            vocab_size: 30522,
            max_position_embeddings: 512,
            n_layers: 6,
            n_heads: 12,
            dim: 768,
            hidden_dim: 3072,
            activation: "gelu".to_owned(),
        }
    }
}

/// A DistilBERT whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct DistilBert {
    common: Common,
    config: DistilBertConfig,
    activation: Activation,
}

impl DistilBert {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<DistilBert, ModelError> {
        let config: DistilBertConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("n_heads", config.n_heads),
            ("dim", config.dim),
            ("hidden_dim", config.hidden_dim),
        ])?;
        fields.layers("n_layers", config.n_layers)?;
        fields.heads("n_heads", config.n_heads, "dim", config.dim)?;
        let activation = fields.activation("activation", &config.activation)?;
        Ok(DistilBert { common: Common::parse(source)?, config, activation })
    }

    fn embeddings(&self) -> Embeddings {
        Embeddings {
            vocab_size: self.config.vocab_size,
            type_vocab_size: 0,
            max_position_embeddings: self.config.max_position_embeddings,
            positions: Index::Positions,
            width: ("dim", self.config.dim),
        }
    }
}

fn modules(index: usize) -> LayerModules {
    let name = |module: &str| format!("transformer.layer.{index}.{module}");
    LayerModules {
        attention: name("attention"),
        query: name("attention.q_lin"),
        key: name("attention.k_lin"),
        value: name("attention.v_lin"),
        projection: name("attention.out_lin"),
        attention_norm: name("sa_layer_norm"),
        up: name("ffn.lin1"),
        down: name("ffn.lin2"),
        norm: name("output_layer_norm"),
    }
}

/// What classifiers of whole sequences read.
fn pre_classifier(head: &mut HeadBuilder<'_>) -> Result<NodeId, HeadError> {
    let first = head.first()?;
    head.dense(first, "pre_classifier", Some(Activation::Relu))
}

impl Model for DistilBert {
    fn facts(&self) -> Facts<'_> {
        Facts {
            common: &self.common,
            hidden_size: self.config.dim,
            max_positions: self.config.max_position_embeddings,
            vocab_size: self.config.vocab_size,
            prefixes: PREFIXES,
        }
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let config = &self.config;
        let mut x = self.embeddings().normalised(builder, EPS)?;
        let sizes = LayerSizes {
            heads: config.n_heads,
            intermediate: config.hidden_dim,
            activation: self.activation,
            eps: EPS,
        };
        for index in 0..config.n_layers {
            x = blocks::post_norm_layer(builder, x, &modules(index), &sizes)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction => Ok(()),
            Task::FillMask => head.masked_lm(&MaskedLm {
                dense: "vocab_transform",
                activation: self.activation,
                norm: "vocab_layer_norm",
                eps: EPS,
                embeddings: "embeddings.word_embeddings.weight",
                tied: self.common.tied,
                decoder: "vocab_projector",
                bias: "vocab_projector.bias",
            }),
            Task::TextClassification => {
                let x = pre_classifier(head)?;
                head.logits(x, "classifier")
            }
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering => head.question_answering("qa_outputs"),
            Task::MultipleChoice => {
                let x = pre_classifier(head)?;
                head.logits_of(x, "classifier", 1)
            }
            Task::NextSentencePrediction | Task::ReplacedTokenDetection => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let mut expectations = self.embeddings().expectations();
        expectations.push(Expectation {
            field: "hidden_dim",
            value: config.hidden_dim,
            tensor: "transformer.layer.0.ffn.lin1.weight",
            dim: 0,
        });
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        check_layers(&self.common.file, weights, PREFIXES, "n_layers", config.n_layers, "transformer.layer.")
    }
}
