//! MobileBERT: a Compact Task-Agnostic BERT for Resource-Limited Devices (Sun et al., 2020), <https://arxiv.org/abs/2004.02984>: wide hidden
//! states, and layers that narrow them, work on what is left, and widen it again; several feed-forward blocks each, and norms that don't look
//! at the values.
//!
//! Names of fields and tensors are those of `transformers`' `MobileBertModel`.

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec, Weights,
    graph::{GraphBuilder, GraphError, Index, Neighbours, NodeId, Order, Table},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, Model, ModelError, Source, Task,
    bert::POOLER,
    blocks,
    config::{Common, Expectation, Fields, check_dims, check_layers, find},
};

const PREFIXES: &[&str] = &["mobilebert."];

const WORDS: &str = "embeddings.word_embeddings.weight";
const TYPES: &str = "embeddings.token_type_embeddings.weight";
const POSITIONS: &str = "embeddings.position_embeddings.weight";
const INNER: &str = "encoder.layer.0.intermediate.dense.weight";

/// What norms add to variances where the reference has it in its code.
const DEFAULT_EPS: f32 = 1e-5;

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct MobileBertConfig {
    pub vocab_size: usize,
    pub embedding_size: usize,
    pub hidden_size: usize,
    pub intra_bottleneck_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_feedforward_networks: usize,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub trigram_input: bool,
    pub use_bottleneck: bool,
    pub use_bottleneck_attention: bool,
    pub key_query_shared_bottleneck: bool,
    pub normalization_type: String,
    pub classifier_activation: bool,
}

impl Default for MobileBertConfig {
    fn default() -> Self {
        MobileBertConfig {
            vocab_size: 30522,
            embedding_size: 128,
            hidden_size: 512,
            intra_bottleneck_size: 128,
            num_hidden_layers: 24,
            num_attention_heads: 4,
            num_feedforward_networks: 4,
            intermediate_size: 512,
            hidden_act: "relu".to_owned(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            trigram_input: true,
            use_bottleneck: true,
            use_bottleneck_attention: false,
            key_query_shared_bottleneck: true,
            normalization_type: "no_norm".to_owned(),
            classifier_activation: true,
        }
    }
}

/// A MobileBERT whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct MobileBert {
    common: Common,
    config: MobileBertConfig,
    activation: Activation,
    eps: f32,
    /// Width inside of the layers.
    inner: usize,
    /// Whether norms look at the values.
    layer_norm: bool,
}

impl MobileBert {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<MobileBert, ModelError> {
        let config: MobileBertConfig = source.parse()?;
        let fields = Fields { file: &source.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ])?;
        fields.size("embedding_size", config.embedding_size, config.hidden_size)?;
        fields.layers("num_hidden_layers", config.num_hidden_layers)?;
        fields.layers("num_feedforward_networks", config.num_feedforward_networks)?;
        let (field, inner) = match config.use_bottleneck {
            true => ("intra_bottleneck_size", config.intra_bottleneck_size),
            false => ("hidden_size", config.hidden_size),
        };
        fields.sizes(&[(field, inner)])?;
        fields.heads("num_attention_heads", config.num_attention_heads, field, inner)?;
        let layer_norm = match config.normalization_type.as_str() {
            "no_norm" => false,
            "layer_norm" => true,
            other => {
                let expected = "\"no_norm\" or \"layer_norm\"";
                return Err(fields.error("normalization_type", format!("{other:?}"), expected));
            }
        };
        let eps = fields.eps("layer_norm_eps", config.layer_norm_eps)?;
        let activation = fields.activation("hidden_act", &config.hidden_act)?;
        Ok(MobileBert { common: Common::parse(source)?, config, activation, eps, inner, layer_norm })
    }

    fn norm(&self, builder: &mut GraphBuilder, x: NodeId, module: &str, eps: f32) -> Result<NodeId, GraphError> {
        match self.layer_norm {
            true => blocks::layer_norm(builder, x, module, eps),
            false => builder.affine(x, &format!("{module}.weight"), &format!("{module}.bias")),
        }
    }

    /// `norm(dense(x) + residual)`, by the names of the modules in `stem`.
    fn add_and_norm(
        &self,
        builder: &mut GraphBuilder,
        x: NodeId,
        residual: NodeId,
        stem: &str,
        eps: f32,
    ) -> Result<NodeId, GraphError> {
        let width = builder.shape(residual).width;
        let x = blocks::linear(builder, x, &format!("{stem}.dense"), width)?;
        let sum = builder.add(x, residual)?;
        self.norm(builder, sum, &format!("{stem}.LayerNorm"), eps)
    }

    fn embeddings(&self, builder: &mut GraphBuilder) -> Result<NodeId, GraphError> {
        let config = &self.config;
        let table = |name, rows, index| Table { name, rows, index };
        let words = [table(WORDS, config.vocab_size, Index::TokenIds)];
        let mut x = builder.embedding("embeddings.word_embeddings", &words, config.embedding_size)?;
        if config.trigram_input {
            x = builder.neighbours(x, Neighbours { offsets: vec![1, 0, -1], order: Order::Rows })?;
        }
        if config.trigram_input || config.embedding_size != config.hidden_size {
            x = blocks::linear(builder, x, "embeddings.embedding_transformation", config.hidden_size)?;
        }
        let places = [
            table(POSITIONS, config.max_position_embeddings, Index::Positions),
            table(TYPES, config.type_vocab_size, Index::TypeIds),
        ];
        let places = builder.embedding("embeddings.position_embeddings", &places, config.hidden_size)?;
        let sum = builder.add(x, places)?;
        self.norm(builder, sum, "embeddings.LayerNorm", DEFAULT_EPS)
    }

    fn layer(&self, builder: &mut GraphBuilder, x: NodeId, index: usize) -> Result<NodeId, GraphError> {
        let config = &self.config;
        let name = |module: &str| format!("encoder.layer.{index}.{module}");
        let narrowed = |builder: &mut GraphBuilder, module: &str| {
            let module = name(&format!("bottleneck.{module}"));
            let narrow = blocks::linear(builder, x, &format!("{module}.dense"), self.inner)?;
            self.norm(builder, narrow, &format!("{module}.LayerNorm"), self.eps)
        };
        // What queries and keys are made of, what values are, and what is added to the attention.
        let (for_scores, for_values, residual) = if !config.use_bottleneck {
            (x, x, x)
        } else {
            let input = narrowed(builder, "input")?;
            match (config.use_bottleneck_attention, config.key_query_shared_bottleneck) {
                (true, _) => (input, input, input),
                (false, true) => (narrowed(builder, "attention")?, x, input),
                (false, false) => (x, x, input),
            }
        };
        let project = |builder: &mut GraphBuilder, x, module: &str| {
            blocks::linear(builder, x, &name(&format!("attention.self.{module}")), self.inner)
        };
        let q = project(builder, for_scores, "query")?;
        let k = project(builder, for_scores, "key")?;
        let v = project(builder, for_values, "value")?;
        let head_dim = self.inner / config.num_attention_heads;
        let spec = AttentionSpec {
            heads: config.num_attention_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: false,
            arithmetic: Arithmetic::F32,
        };
        let attended = builder.attention(&name("attention.self"), q, k, v, spec)?;
        let mut inner = self.add_and_norm(builder, attended, residual, &name("attention.output"), self.eps)?;
        let up = |builder: &mut GraphBuilder, inner, stem: &str| {
            let module = name(&format!("{stem}intermediate.dense"));
            let up = blocks::linear(builder, inner, &module, config.intermediate_size)?;
            builder.activation(up, self.activation)
        };
        for network in 0..config.num_feedforward_networks - 1 {
            let stem = format!("ffn.{network}.");
            let wide = up(builder, inner, &stem)?;
            inner = self.add_and_norm(builder, wide, inner, &name(&format!("{stem}output")), self.eps)?;
        }
        let wide = up(builder, inner, "")?;
        let inner = self.add_and_norm(builder, wide, inner, &name("output"), DEFAULT_EPS)?;
        if !config.use_bottleneck {
            return Ok(inner);
        }
        self.add_and_norm(builder, inner, x, &name("output.bottleneck"), self.eps)
    }

    /// What classifiers of whole sequences read.
    fn pooled(&self, head: &mut HeadBuilder<'_>) -> Result<NodeId, HeadError> {
        if self.config.classifier_activation { head.pooled(POOLER) } else { head.first() }
    }

    /// `logits` over the vocabulary: the first columns are multiplied with the table of words, the others with a weight of their own.
    fn fill_mask(&self, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        let (width, extra) = (self.config.embedding_size, "cls.predictions.dense.weight");
        let x = head.dense(head.hidden, "cls.predictions.transform.dense", Some(self.activation))?;
        let x = blocks::layer_norm(head.builder, x, "cls.predictions.transform.LayerNorm", self.eps)?;
        let decoder = if self.common.tied { WORDS } else { "cls.predictions.decoder.weight" };
        let vocab = head.rows(decoder)?;
        let biases = ["cls.predictions.bias", "cls.predictions.decoder.bias"];
        let bias = if head.has(biases[0]) == self.common.tied { biases[0] } else { biases[1] };
        let first = head.builder.columns(x, 0, width)?;
        let mut logits = head.builder.linear(first, vocab, decoder, Some(bias))?;
        let rest = self.config.hidden_size - width;
        if rest > 0 {
            head.rows(extra)?;
            let second = head.builder.columns(x, width, rest)?;
            let more = head.builder.linear_transposed(second, vocab, extra, None)?;
            logits = head.builder.add(logits, more)?;
        }
        head.builder.output("logits", logits);
        Ok(())
    }

    fn pooled_logits(&self, head: &mut HeadBuilder<'_>, module: &str, outputs: Option<usize>) -> Result<(), HeadError> {
        head.rows(&format!("{module}.weight"))?;
        let pooled = self.pooled(head)?;
        match outputs {
            Some(outputs) => head.logits_of(pooled, module, outputs),
            None => head.logits(pooled, module),
        }
    }
}

impl Model for MobileBert {
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
        let mut x = self.embeddings(builder)?;
        for index in 0..self.config.num_hidden_layers {
            x = self.layer(builder, x, index)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::FeatureExtraction if self.config.classifier_activation => head.pooler_output(POOLER),
            Task::FeatureExtraction => {
                let first = head.first()?;
                head.builder.output("pooler_output", first);
                Ok(())
            }
            Task::FillMask => self.fill_mask(head),
            Task::NextSentencePrediction => self.pooled_logits(head, "cls.seq_relationship", Some(2)),
            Task::TextClassification => self.pooled_logits(head, "classifier", None),
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering => head.question_answering("qa_outputs"),
            Task::MultipleChoice => self.pooled_logits(head, "classifier", Some(1)),
            Task::ReplacedTokenDetection => Err(HeadError::Unknown),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let mut expectations = vec![
            expect("embedding_size", config.embedding_size, WORDS, 1),
            expect("vocab_size", config.vocab_size, WORDS, 0),
            expect("hidden_size", config.hidden_size, POSITIONS, 1),
            expect("max_position_embeddings", config.max_position_embeddings, POSITIONS, 0),
            expect("type_vocab_size", config.type_vocab_size, TYPES, 0),
            expect("intermediate_size", config.intermediate_size, INNER, 0),
        ];
        if config.use_bottleneck {
            let inner = "encoder.layer.0.bottleneck.input.dense.weight";
            expectations.push(expect("intra_bottleneck_size", config.intra_bottleneck_size, inner, 0));
        }
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        let (file, layers) = (&self.common.file, config.num_hidden_layers);
        check_layers(file, weights, PREFIXES, "num_hidden_layers", layers, "encoder.layer.")?;
        // The last network of a layer has a name of its own.
        let extra = |network: &usize| format!("encoder.layer.0.ffn.{network}.intermediate.dense.weight");
        let found = 1 + (0..).take_while(|network| find(weights, PREFIXES, &extra(network)).is_some()).count();
        if found == config.num_feedforward_networks || find(weights, PREFIXES, INNER).is_none() {
            return Ok(());
        }
        Err(ModelError::Contradiction {
            file: file.clone(),
            field: "num_feedforward_networks",
            value: config.num_feedforward_networks,
            weights: weights.files(),
            found: format!("{found} in its first layer"),
        })
    }
}
