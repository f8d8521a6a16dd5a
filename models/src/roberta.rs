//! RoBERTa: A Robustly Optimized BERT Pretraining Approach (Liu et al., 2019), <https://arxiv.org/abs/1907.11692>; XLM-RoBERTa
//! (Conneau et al., 2019), <https://arxiv.org/abs/1911.02116>; CamemBERT (Martin et al., 2019), <https://arxiv.org/abs/1911.03894>.
//!
//! The three are one architecture: BERT with positions counted past the padding token's id, and heads of its own. Names of fields
//! and tensors are those of `transformers`' `RobertaModel`.

use loquat_runtime::{
    Activation, Weights,
    graph::{GraphBuilder, GraphError, Index},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, MaskedLm, Model, ModelError, Source, Task,
    bert::{Bert, BertConfig, POOLER},
    config::{Common, Fields},
};

const PREFIXES: &[&str] = &["roberta.", "model."];

/// The fields of `config.json` that BERT hasn't, or whose defaults differ.
#[derive(Deserialize)]
struct RobertaFields {
    #[serde(default = "default_pad_token_id")]
    pad_token_id: u32,
    vocab_size: Option<usize>,
}

fn default_pad_token_id() -> u32 {
    1
}

/// A RoBERTa whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Roberta {
    bert: Bert,
    pad_token_id: u32,
    positions: usize,
}

impl Roberta {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Roberta, ModelError> {
        let config: BertConfig = source.parse()?;
        let fields: RobertaFields = source.parse()?;
        let config = BertConfig { vocab_size: fields.vocab_size.unwrap_or(50265), ..config };
        let bert = Bert::new(config, Common::parse(source)?)?;
        let positions =
            Fields { file: &source.file }.positions_past(fields.pad_token_id, bert.config.max_position_embeddings)?;
        Ok(Roberta { bert, pad_token_id: fields.pad_token_id, positions })
    }
}

/// The heads of RoBERTa, which MPNet took over.
pub(crate) fn heads(task: Task, head: &mut HeadBuilder<'_>, eps: f32, tied: bool) -> Result<(), HeadError> {
    match task {
        Task::FeatureExtraction => head.pooler_output(POOLER),
        Task::FillMask => head.masked_lm(&MaskedLm {
            dense: "lm_head.dense",
            activation: Activation::GeluErf,
            norm: "lm_head.layer_norm",
            eps,
            embeddings: "embeddings.word_embeddings.weight",
            tied,
            decoder: "lm_head.decoder",
            bias: "lm_head.bias",
        }),
        Task::TextClassification => {
            let first = head.first()?;
            let x = head.dense(first, "classifier.dense", Some(Activation::Tanh))?;
            head.logits(x, "classifier.out_proj")
        }
        Task::TokenClassification => head.logits(head.hidden, "classifier"),
        Task::QuestionAnswering => head.question_answering("qa_outputs"),
        Task::MultipleChoice => head.pooled_logits_of(POOLER, "classifier", 1),
        Task::NextSentencePrediction | Task::ReplacedTokenDetection => Err(HeadError::Unknown),
    }
}

impl Model for Roberta {
    fn facts(&self) -> Facts<'_> {
        Facts {
            common: &self.bert.common,
            hidden_size: self.bert.config.hidden_size,
            max_positions: self.positions,
            vocab_size: self.bert.config.vocab_size,
            prefixes: PREFIXES,
        }
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        self.bert.encoder_with(builder, Index::PositionsPastPadding(self.pad_token_id))
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        heads(task, head, self.bert.config.layer_norm_eps as f32, self.bert.common.tied)
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        self.bert.check_tensors(weights, PREFIXES)
    }
}
