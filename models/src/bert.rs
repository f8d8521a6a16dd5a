//! BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding (Devlin et al., 2018), <https://arxiv.org/abs/1810.04805>.
//!
//! Names of fields and tensors are those of `transformers`' `BertModel`.

use loquat_runtime::{
    Activation, Weights,
    graph::{GraphBuilder, GraphError, Index},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, MaskedLm, Model, ModelError, Pooler, Source, Task,
    blocks::{self, LayerModules, LayerSizes},
    config::{Common, Expectation, Fields, check_dims, check_layers},
    embeddings::Embeddings,
};

/// What checkpoints put before the names of tensors: nothing, or the model's name where a head stands beside it.
const PREFIXES: &[&str] = &["bert.", "model."];

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct BertConfig {
    /// Rows of the table of words.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Inner width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Activation of the feed-forward layers.
    pub hidden_act: String,
    /// Rows of the table of positions: the longest sequence.
    pub max_position_embeddings: usize,
    /// Rows of the table of token types.
    pub type_vocab_size: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Only `absolute` is supported.
    pub position_embedding_type: String,
    /// Only `false` is supported: a decoder masks the future.
    pub is_decoder: bool,
    /// Only `false` is supported.
    pub add_cross_attention: bool,
}

impl Default for BertConfig {
    fn default() -> Self {
        BertConfig {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".to_owned(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".to_owned(),
            is_decoder: false,
            add_cross_attention: false,
        }
    }
}

/// A BERT whose configuration has been checked.
///
/// ```
/// use loquat_models::{Model, Source, bert::Bert};
///
/// let text = r#"{"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}"#.to_owned();
/// let bert = Bert::parse(&Source { file: "config.json".to_owned(), text })?;
/// assert_eq!((bert.hidden_size(), bert.max_positions()), (64, 512));
/// # Ok::<(), loquat_models::ModelError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bert {
    pub(crate) common: Common,
    pub(crate) config: BertConfig,
    pub(crate) activation: Activation,
}

impl Bert {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Bert, ModelError> {
        Bert::new(source.parse()?, Common::parse(source)?)
    }

    pub(crate) fn new(config: BertConfig, common: Common) -> Result<Bert, ModelError> {
        let fields = Fields { file: &common.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ])?;
        fields.layers("num_hidden_layers", config.num_hidden_layers)?;
        fields.heads("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
        fields.is("position_embedding_type", &config.position_embedding_type, "absolute")?;
        fields.eps("layer_norm_eps", config.layer_norm_eps)?;
        fields.off("is_decoder", config.is_decoder)?;
        fields.off("add_cross_attention", config.add_cross_attention)?;
        let activation = fields.activation("hidden_act", &config.hidden_act)?;
        Ok(Bert { config, activation, common })
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    fn eps(&self) -> f32 {
        self.config.layer_norm_eps as f32
    }

    pub(crate) fn embeddings(&self, positions: Index) -> Embeddings {
        let BertConfig { vocab_size, type_vocab_size, max_position_embeddings, hidden_size, .. } = self.config;
        let width = ("hidden_size", hidden_size);
        Embeddings { vocab_size, type_vocab_size, max_position_embeddings, positions, width }
    }

    pub(crate) fn layer_sizes(&self) -> LayerSizes {
        LayerSizes {
            heads: self.config.num_attention_heads,
            intermediate: self.config.intermediate_size,
            activation: self.activation,
            eps: self.eps(),
        }
    }

    /// The encoder, with positions counted as `positions` says.
    pub(crate) fn encoder_with(&self, builder: &mut GraphBuilder, positions: Index) -> Result<Encoder, GraphError> {
        let config = &self.config;
        let mut x = self.embeddings(positions).normalised(builder, self.eps())?;
        let sizes = self.layer_sizes();
        for index in 0..config.num_hidden_layers {
            x = blocks::post_norm_layer(builder, x, &LayerModules::bert(index), &sizes)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    /// Checks the tensors that BERT and RoBERTa share.
    pub(crate) fn check_tensors(&self, weights: &Weights, prefixes: &[&str]) -> Result<(), ModelError> {
        let config = &self.config;
        let mut expectations = self.embeddings(Index::Positions).expectations();
        expectations.push(Expectation {
            field: "intermediate_size",
            value: config.intermediate_size,
            tensor: "encoder.layer.0.intermediate.dense.weight",
            dim: 0,
        });
        check_dims(&self.common.file, weights, prefixes, &expectations)?;
        let layers = config.num_hidden_layers;
        check_layers(&self.common.file, weights, prefixes, "num_hidden_layers", layers, "encoder.layer.")
    }
}

/// The pooler of BERT and of what came from it.
pub(crate) const POOLER: Pooler<'_> = Pooler { dense: "pooler.dense", activation: Activation::Tanh };

impl Model for Bert {
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
        self.encoder_with(builder, Index::Positions)
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction => head.pooler_output(POOLER),
            Task::FillMask => head.masked_lm(&MaskedLm {
                dense: "cls.predictions.transform.dense",
                activation: self.activation,
                norm: "cls.predictions.transform.LayerNorm",
                eps: self.eps(),
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
        self.check_tensors(weights, PREFIXES)
    }
}
