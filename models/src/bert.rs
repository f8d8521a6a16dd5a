//! BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding (Devlin et al., 2018), <https://arxiv.org/abs/1810.04805>.
//!
//! Names of fields and tensors are those of `transformers`' `BertModel`.

use loquat_runtime::{
    Activation, Weights,
    graph::{Graph, GraphBuilder, GraphError, Index, NodeId, Table},
};
use serde::Deserialize;

use crate::{
    ModelError, Source, blocks,
    config::{Expectation, Fields, check_dims, check_layers, find},
    registry::{Encoder, Model},
};

/// What checkpoints put before the names of tensors: nothing, or the model's name where a head stands beside it.
const PREFIXES: &[&str] = &["bert.", "model."];

/// What sizes may be: ids have 32 bits.
const MAX_SIZE: usize = u32::MAX as usize;

/// What the number of layers may be: far more than anybody trains, far less than memory holds nodes.
const MAX_LAYERS: usize = 4096;

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
#[derive(Clone, Debug, PartialEq)]
pub struct Bert {
    config: BertConfig,
    activation: Activation,
    file: String,
}

impl Bert {
    /// Checks a configuration. `file` is what to call it in messages.
    ///
    /// # Errors
    /// If a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn new(config: BertConfig, file: &str) -> Result<Bert, ModelError> {
        let fields = Fields { file };
        for (field, value) in [
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ] {
            fields.size(field, value, MAX_SIZE)?;
        }
        fields.size("num_hidden_layers", config.num_hidden_layers, MAX_LAYERS)?;
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let expected = format!("a divisor of hidden_size, which is {}", config.hidden_size);
            return Err(fields.error("num_attention_heads", config.num_attention_heads, expected));
        }
        if config.position_embedding_type != "absolute" {
            let found = format!("{:?}", config.position_embedding_type);
            return Err(fields.error("position_embedding_type", found, "\"absolute\""));
        }
        if !(config.layer_norm_eps >= 0.0 && config.layer_norm_eps.is_finite()) {
            return Err(fields.error("layer_norm_eps", config.layer_norm_eps, "a finite number from 0 up"));
        }
        fields.off("is_decoder", config.is_decoder)?;
        fields.off("add_cross_attention", config.add_cross_attention)?;
        let activation = fields.activation("hidden_act", &config.hidden_act)?;
        Ok(Bert { config, activation, file: file.to_owned() })
    }

    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// As [`new`](Bert::new), and if the text isn't such a file.
    pub fn parse(source: &Source) -> Result<Bert, ModelError> {
        Bert::new(source.parse()?, &source.file)
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    fn layer(&self, builder: &mut GraphBuilder, x: NodeId, index: usize) -> Result<NodeId, GraphError> {
        let name = |module: &str| format!("encoder.layer.{index}.{module}");
        let eps = self.config.layer_norm_eps as f32;
        let attended = blocks::self_attention(
            builder,
            x,
            &name("attention.self"),
            [&name("attention.self.query"), &name("attention.self.key"), &name("attention.self.value")],
            self.config.num_attention_heads,
        )?;
        let projected = blocks::linear(builder, attended, &name("attention.output.dense"), self.config.hidden_size)?;
        let x = blocks::add_and_norm(builder, projected, x, &name("attention.output.LayerNorm"), eps)?;
        let transformed = blocks::feed_forward(
            builder,
            x,
            &name("intermediate.dense"),
            &name("output.dense"),
            self.config.intermediate_size,
            self.activation,
        )?;
        blocks::add_and_norm(builder, transformed, x, &name("output.LayerNorm"), eps)
    }
}

/// The graph of a BERT with the outputs `last_hidden_state` `[tokens, hidden_size]` and, if `pooler` is set, `pooler_output`
/// `[sequences, hidden_size]`.
///
/// ```
/// use loquat_models::bert::{Bert, BertConfig, build};
///
/// let config = BertConfig { num_hidden_layers: 2, ..BertConfig::default() };
/// let graph = build(&Bert::new(config, "config.json")?, true)?;
/// let names: Vec<&str> = graph.outputs().iter().map(|output| output.name.as_str()).collect();
/// assert_eq!(names, ["last_hidden_state", "pooler_output"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the sizes make no consistent graph.
pub fn build(bert: &Bert, pooler: bool) -> Result<Graph, ModelError> {
    let error = |source| ModelError::Graph { file: bert.file.clone(), source };
    let mut builder = GraphBuilder::new("bert");
    let encoder = bert.encoder(&mut builder).map_err(error)?;
    builder.output("last_hidden_state", encoder.last_hidden_state);
    if pooler {
        let pooled = bert.pooler(&mut builder, encoder.last_hidden_state).map_err(error)?;
        builder.output("pooler_output", pooled);
    }
    builder.finish().map_err(error)
}

impl Bert {
    /// The hidden state of each sequence's first token through a linear layer and tanh.
    fn pooler(&self, builder: &mut GraphBuilder, hidden: NodeId) -> Result<NodeId, GraphError> {
        let first = builder.select_first(hidden)?;
        let pooled = blocks::linear(builder, first, "pooler.dense", self.config.hidden_size)?;
        builder.activation(pooled, Activation::Tanh)
    }
}

impl Model for Bert {
    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn max_positions(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let config = &self.config;
        let table = |name, rows, index| Table { name, rows, index };
        // Added in the reference's order: words, types, positions.
        let tables = [
            table("embeddings.word_embeddings.weight", config.vocab_size, Index::TokenIds),
            table("embeddings.token_type_embeddings.weight", config.type_vocab_size, Index::TypeIds),
            table("embeddings.position_embeddings.weight", config.max_position_embeddings, Index::Positions),
        ];
        let x = builder.embedding("embeddings", &tables, config.hidden_size)?;
        let mut x = blocks::layer_norm(builder, x, "embeddings.LayerNorm", config.layer_norm_eps as f32)?;
        for index in 0..config.num_hidden_layers {
            x = self.layer(builder, x, index)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn graph(&self, weights: &Weights) -> Result<Graph, ModelError> {
        build(self, find(weights, PREFIXES, "pooler.dense.bias").is_some())
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let expectations = [
            expect("hidden_size", config.hidden_size, "embeddings.word_embeddings.weight", 1),
            expect("vocab_size", config.vocab_size, "embeddings.word_embeddings.weight", 0),
            expect(
                "max_position_embeddings",
                config.max_position_embeddings,
                "embeddings.position_embeddings.weight",
                0,
            ),
            expect("type_vocab_size", config.type_vocab_size, "embeddings.token_type_embeddings.weight", 0),
            expect("intermediate_size", config.intermediate_size, "encoder.layer.0.intermediate.dense.weight", 0),
        ];
        check_dims(&self.file, weights, PREFIXES, &expectations)?;
        let layers = config.num_hidden_layers;
        check_layers(&self.file, weights, PREFIXES, "num_hidden_layers", layers, "encoder.layer.")
    }
}
