//! XLNet: Generalized Autoregressive Pretraining for Language Understanding (Yang et al., 2019), <https://arxiv.org/abs/1906.08237>, as an
//! encoder: attention with sinusoids for distances and a term for tokens of the same segment.
//!
//! Names of fields and tensors are those of `transformers`' `XLNetModel`.

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec, Pooling, Weights,
    graph::{DistanceBias, GraphBuilder, GraphError, Index, NodeId, ProjectionOf, RowsOf, SegmentsOf, Table, TableOf},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, Model, ModelError, Source, Task, blocks,
    config::{Common, Expectation, Fields, check_dims, check_layers},
};

const PREFIXES: &[&str] = &["transformer."];

const WORDS: &str = "word_embedding.weight";

/// The longest sequence. The model has no limit, but vectors are kept for each distance; it was trained on 512.
const POSITIONS: usize = 1024;

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct XlnetConfig {
    #[serde(alias = "n_token")]
    pub vocab_size: usize,
    pub d_model: usize,
    pub n_layer: usize,
    pub n_head: usize,
    pub d_head: Option<usize>,
    pub d_inner: usize,
    pub ff_activation: String,
    pub attn_type: String,
    pub bi_data: bool,
    pub clamp_len: i64,
    pub layer_norm_eps: f64,
    pub summary_type: String,
    pub summary_use_proj: bool,
    pub summary_activation: Option<String>,
}

impl Default for XlnetConfig {
    fn default() -> Self {
        XlnetConfig {
            vocab_size: 32000,
            d_model: 1024,
            n_layer: 24,
            n_head: 16,
            d_head: None,
            d_inner: 4096,
            ff_activation: "gelu".to_owned(),
            attn_type: "bi".to_owned(),
            bi_data: false,
            clamp_len: -1,
            layer_norm_eps: 1e-12,
            summary_type: "last".to_owned(),
            summary_use_proj: true,
            summary_activation: Some("tanh".to_owned()),
        }
    }
}

/// An XLNet whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Xlnet {
    common: Common,
    config: XlnetConfig,
    activation: Activation,
    summary: Pooling,
    summary_activation: Option<Activation>,
    eps: f32,
}

impl Xlnet {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Xlnet, ModelError> {
        let config: XlnetConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("d_model", config.d_model),
            ("n_head", config.n_head),
            ("d_inner", config.d_inner),
        ])?;
        fields.layers("n_layer", config.n_layer)?;
        fields.heads("n_head", config.n_head, "d_model", config.d_model)?;
        let head_dim = config.d_model / config.n_head;
        if let Some(found) = config.d_head.filter(|&found| found != head_dim) {
            return Err(fields.error("d_head", found, format!("{head_dim}, a head's share of d_model")));
        }
        if !config.d_model.is_multiple_of(2) {
            return Err(fields.error("d_model", config.d_model, "an even number: half of it is sines"));
        }
        fields.is("attn_type", &config.attn_type, "bi")?;
        fields.off("bi_data", config.bi_data)?;
        let summary = match config.summary_type.as_str() {
            "last" | "cls_index" => Pooling::Last,
            "first" => Pooling::Cls,
            "mean" => Pooling::Mean,
            other => {
                let expected = "\"last\", \"first\" or \"mean\"";
                return Err(fields.error("summary_type", format!("{other:?}"), expected));
            }
        };
        let named = config.summary_activation.as_deref().filter(|name| !name.is_empty());
        let summary_activation = named.map(|name| fields.activation("summary_activation", name)).transpose()?;
        let eps = fields.eps("layer_norm_eps", config.layer_norm_eps)?;
        let activation = fields.activation("ff_activation", &config.ff_activation)?;
        Ok(Xlnet { common: Common::parse(source)?, config, activation, summary, summary_activation, eps })
    }

    fn attention(&self, builder: &mut GraphBuilder, x: NodeId, layer: usize) -> Result<NodeId, GraphError> {
        let config = &self.config;
        let width = config.d_model;
        let name = |tensor: &str| format!("layer.{layer}.rel_attn.{tensor}");
        let head_dim = width / config.n_head;
        // Queries meet keys, distances and segments with a bias each. The first is theirs, the others make up for the difference.
        let [content, distance, segment] = ["r_w_bias", "r_r_bias", "r_s_bias"].map(name);
        for tensor in ["q", "k", "v", "o", "r", "r_w_bias", "r_r_bias", "r_s_bias", "seg_embed"] {
            builder.folded(&[&name(tensor)]);
        }
        let q = builder.linear_transposed(x, width, &name("q"), Some(&content))?;
        let k = builder.linear_transposed(x, width, &name("k"), None)?;
        let v = builder.linear_transposed(x, width, &name("v"), None)?;
        let spec = AttentionSpec {
            heads: config.n_head,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: false,
            arithmetic: Arithmetic::F32,
        };
        let (keys, segments) = (name("r"), name("seg_embed"));
        let clamp = usize::try_from(config.clamp_len).ok().filter(|&clamp| clamp > 0);
        let bias = DistanceBias::Content {
            table: TableOf::Sinusoids { width, furthest: clamp.unwrap_or(POSITIONS).min(POSITIONS) },
            norm: None,
            keys: Some(ProjectionOf { weight: &keys, bias: None, transposed: true }),
            queries: None,
            buckets: None,
            query_bias: Some([&distance, &content]),
            segments: Some(SegmentsOf { table: &segments, query_bias: [&segment, &content] }),
            reach: POSITIONS - 1,
        };
        let attended = builder.biased_attention(&format!("layer.{layer}.rel_attn"), q, k, v, spec, Some(bias))?;
        builder.linear_rows(attended, RowsOf::all(&name("o"), width), None)
    }
}

impl Model for Xlnet {
    fn facts(&self) -> Facts<'_> {
        Facts {
            common: &self.common,
            hidden_size: self.config.d_model,
            max_positions: POSITIONS,
            vocab_size: self.config.vocab_size,
            prefixes: PREFIXES,
        }
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let words = [Table { name: WORDS, rows: self.config.vocab_size, index: Index::TokenIds }];
        let mut x = builder.embedding("word_embedding", &words, self.config.d_model)?;
        for layer in 0..self.config.n_layer {
            let name = |module: &str| format!("layer.{layer}.{module}");
            let attended = self.attention(builder, x, layer)?;
            x = blocks::add_and_norm(builder, attended, x, &name("rel_attn.layer_norm"), self.eps)?;
            let inner = blocks::linear(builder, x, &name("ff.layer_1"), self.config.d_inner)?;
            let inner = builder.activation(inner, self.activation)?;
            let transformed = blocks::linear(builder, inner, &name("ff.layer_2"), self.config.d_model)?;
            x = blocks::add_and_norm(builder, transformed, x, &name("ff.layer_norm"), self.eps)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction => Ok(()),
            Task::TextClassification => {
                let summary = self.summary(head)?;
                head.logits(summary, "logits_proj")
            }
            Task::MultipleChoice => {
                let summary = self.summary(head)?;
                head.logits_of(summary, "logits_proj", 1)
            }
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering => head.question_answering("qa_outputs"),
            Task::FillMask | Task::NextSentencePrediction | Task::ReplacedTokenDetection => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let expectations = [
            expect("d_model", config.d_model, WORDS, 1),
            expect("vocab_size", config.vocab_size, WORDS, 0),
            expect("n_head", config.n_head, "layer.0.rel_attn.q", 1),
            expect("d_inner", config.d_inner, "layer.0.ff.layer_1.weight", 0),
        ];
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        check_layers(&self.common.file, weights, PREFIXES, "n_layer", config.n_layer, "layer.")
    }
}

impl Xlnet {
    /// What classifiers of whole sequences read.
    fn summary(&self, head: &mut HeadBuilder<'_>) -> Result<NodeId, HeadError> {
        head.rows("logits_proj.weight")?;
        let pooled = head.builder.pool(head.hidden, self.summary)?;
        if self.config.summary_use_proj {
            return head.dense(pooled, "sequence_summary.summary", self.summary_activation);
        }
        match self.summary_activation {
            Some(activation) => Ok(head.builder.activation(pooled, activation)?),
            None => Ok(pooled),
        }
    }
}
