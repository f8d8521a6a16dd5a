//! FNet: Mixing Tokens with Fourier Transforms (Lee-Thorp et al., 2021), <https://arxiv.org/abs/2105.03824>: BERT with the real part of a Fourier
//! transform in the place of attention.
//!
//! Names of fields and tensors are those of `transformers`' `FNetModel`.

use loquat_runtime::{
    Activation, Weights,
    graph::{GraphBuilder, GraphError, Index},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, MaskedLm, Model, ModelError, Source, Task,
    bert::POOLER,
    blocks,
    config::{Common, Expectation, Fields, check_dims, check_layers},
    embeddings::Embeddings,
};

const PREFIXES: &[&str] = &["fnet."];

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct FnetConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub use_tpu_fourier_optimizations: bool,
}

impl Default for FnetConfig {
    fn default() -> Self {
        FnetConfig {
            vocab_size: 32000,
            hidden_size: 768,
            num_hidden_layers: 12,
            intermediate_size: 3072,
            hidden_act: "gelu_new".to_owned(),
            max_position_embeddings: 512,
            type_vocab_size: 4,
            layer_norm_eps: 1e-12,
            use_tpu_fourier_optimizations: false,
        }
    }
}

/// An FNet whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Fnet {
    common: Common,
    config: FnetConfig,
    activation: Activation,
    eps: f32,
}

impl Fnet {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Fnet, ModelError> {
        let config: FnetConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ])?;
        fields.layers("num_hidden_layers", config.num_hidden_layers)?;
        fields.off("use_tpu_fourier_optimizations", config.use_tpu_fourier_optimizations)?;
        let eps = fields.eps("layer_norm_eps", config.layer_norm_eps)?;
        let activation = fields.activation("hidden_act", &config.hidden_act)?;
        Ok(Fnet { common: Common::parse(source)?, config, activation, eps })
    }

    fn embeddings(&self) -> Embeddings {
        let FnetConfig { vocab_size, type_vocab_size, max_position_embeddings, hidden_size, .. } = self.config;
        let width = ("hidden_size", hidden_size);
        Embeddings { vocab_size, type_vocab_size, max_position_embeddings, positions: Index::Positions, width }
    }
}

impl Model for Fnet {
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
        let mut x = blocks::linear(builder, x, "embeddings.projection", config.hidden_size)?;
        for layer in 0..config.num_hidden_layers {
            let name = |module: &str| format!("encoder.layer.{layer}.{module}");
            let mixed = builder.fourier(x, &name("fourier.self"))?;
            x = blocks::add_and_norm(builder, mixed, x, &name("fourier.output.LayerNorm"), self.eps)?;
            let inner = blocks::linear(builder, x, &name("intermediate.dense"), config.intermediate_size)?;
            let inner = builder.activation(inner, self.activation)?;
            let transformed = blocks::linear(builder, inner, &name("output.dense"), config.hidden_size)?;
            x = blocks::add_and_norm(builder, transformed, x, &name("output.LayerNorm"), self.eps)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction => head.pooler_output(POOLER),
            Task::FillMask => head.masked_lm(&MaskedLm {
                dense: "cls.predictions.transform.dense",
                activation: self.activation,
                norm: "cls.predictions.transform.LayerNorm",
                eps: self.eps,
                embeddings: "embeddings.word_embeddings.weight",
                tied: self.common.tied,
                decoder: "cls.predictions.decoder",
                bias: "cls.predictions.bias",
            }),
            Task::NextSentencePrediction => head.pooled_logits_of(POOLER, "cls.seq_relationship", 2),
            Task::TextClassification => head.pooled_logits(POOLER, "classifier"),
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering => head.question_answering("qa_outputs"),
            Task::MultipleChoice => head.pooled_logits_of(POOLER, "classifier", 1),
            Task::ReplacedTokenDetection => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let mut expectations = self.embeddings().expectations();
        expectations.push(Expectation {
            field: "intermediate_size",
            value: config.intermediate_size,
            tensor: "encoder.layer.0.intermediate.dense.weight",
            dim: 0,
        });
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        let layers = config.num_hidden_layers;
        check_layers(&self.common.file, weights, PREFIXES, "num_hidden_layers", layers, "encoder.layer.")
    }
}
