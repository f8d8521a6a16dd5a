//! DeBERTa: Decoding-enhanced BERT with Disentangled Attention (He et al., 2020), <https://arxiv.org/abs/2006.03654>, from its second version on,
//! and DeBERTaV3 (He et al., 2021), <https://arxiv.org/abs/2111.09543>: BERT whose queries and keys are also multiplied with vectors for the
//! distance between them.
//!
//! Names of fields and tensors are those of `transformers`' `DebertaV2Model`.

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec, Weights,
    graph::{
        DistanceBias, GraphBuilder, GraphError, Index, LogBuckets, Neighbours, NodeId, NormOf, Order, ProjectionOf,
        TableOf,
    },
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, MaskedLm, Model, ModelError, Pooler, Source, Task,
    blocks::{self, LayerModules, LayerSizes},
    config::{Common, Expectation, Fields, check_dims, check_layers, find},
    embeddings::Embeddings,
};

pub(crate) const PREFIXES: &[&str] = &["deberta."];

/// The table of vectors for distances.
const DISTANCES: &str = "encoder.rel_embeddings.weight";

/// The fields of `config.json` that change the graph. Absent ones have the defaults of `transformers`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub struct DebertaConfig {
    pub vocab_size: usize,
    pub embedding_size: Option<usize>,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub attention_head_size: Option<usize>,
    pub intermediate_size: usize,
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub position_biased_input: bool,
    pub relative_attention: bool,
    pub max_relative_positions: i64,
    pub position_buckets: i64,
    pub pos_att_type: Option<PosAttType>,
    pub share_att_key: bool,
    pub norm_rel_ebd: String,
    pub conv_kernel_size: usize,
    pub conv_groups: usize,
    pub conv_act: String,
    pub talking_head: bool,
    pub pooler_hidden_act: String,
}

/// Which products with vectors for distances are added to the scores: `c2p` for those of queries, `p2c` for those of keys.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PosAttType {
    /// Separated by `|`.
    Text(String),
    /// One by one.
    List(Vec<String>),
}

impl Default for DebertaConfig {
    fn default() -> Self {
        DebertaConfig {
            vocab_size: 128100,
            embedding_size: None,
            hidden_size: 1536,
            num_hidden_layers: 24,
            num_attention_heads: 24,
            attention_head_size: None,
            intermediate_size: 6144,
            hidden_act: "gelu".to_owned(),
            max_position_embeddings: 512,
            type_vocab_size: 0,
            layer_norm_eps: 1e-7,
            position_biased_input: true,
            relative_attention: false,
            max_relative_positions: -1,
            position_buckets: -1,
            pos_att_type: None,
            share_att_key: false,
            norm_rel_ebd: "none".to_owned(),
            conv_kernel_size: 0,
            conv_groups: 1,
            conv_act: "tanh".to_owned(),
            talking_head: false,
            pooler_hidden_act: "gelu".to_owned(),
        }
    }
}

/// What both versions of DeBERTa share, with the configuration checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deberta {
    pub(crate) common: Common,
    pub(crate) config: DebertaConfig,
    pub(crate) sizes: LayerSizes,
    pooler_activation: Activation,
    conv_activation: Activation,
    /// Whether queries and keys are multiplied with vectors for distances.
    pub(crate) by_queries: bool,
    pub(crate) by_keys: bool,
    buckets: Option<LogBuckets>,
    /// Vectors for distances of either direction, and the field that says how many there are.
    span: (&'static str, usize),
}

impl Deberta {
    pub(crate) fn new(config: DebertaConfig, common: Common) -> Result<Deberta, ModelError> {
        let fields = Fields { file: &common.file };
        fields.sizes(&[
            ("vocab_size", config.vocab_size),
            ("embedding_size", config.embedding_size.unwrap_or(1)),
            ("hidden_size", config.hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("intermediate_size", config.intermediate_size),
        ])?;
        fields.positions("max_position_embeddings", config.max_position_embeddings)?;
        fields.layers("num_hidden_layers", config.num_hidden_layers)?;
        fields.heads("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
        fields.off("talking_head", config.talking_head)?;
        let head_dim = config.hidden_size / config.num_attention_heads;
        if let Some(found) = config.attention_head_size.filter(|&size| size != head_dim) {
            return Err(fields.error(
                "attention_head_size",
                found,
                format!("{head_dim}, a head's share of hidden_size"),
            ));
        }
        if config.conv_kernel_size > 0 && (config.conv_kernel_size.is_multiple_of(2) || config.conv_kernel_size > 99) {
            return Err(fields.error("conv_kernel_size", config.conv_kernel_size, "0, or an odd number up to 99"));
        }
        if config.conv_kernel_size > 0 && config.conv_groups != 1 {
            return Err(fields.error("conv_groups", config.conv_groups, 1));
        }
        let [by_queries, by_keys] = products(&fields, config.pos_att_type.as_ref())?;
        let span = |value: i64| usize::try_from(value).ok().filter(|&value| value > 0);
        let furthest = span(config.max_relative_positions).unwrap_or(config.max_position_embeddings);
        let buckets = match span(config.position_buckets) {
            Some(buckets) if config.relative_attention => {
                if buckets < 4 || !buckets.is_multiple_of(2) || furthest <= buckets / 2 + 1 {
                    let expected =
                        format!("an even number from 4 up, less than twice {furthest}, the furthest position");
                    return Err(fields.error("position_buckets", buckets, expected));
                }
                Some(LogBuckets { buckets, max_distance: furthest })
            }
            _ => None,
        };
        let (field, rows) = match buckets {
            Some(LogBuckets { buckets, .. }) => ("position_buckets", buckets),
            None if config.max_relative_positions > 0 => ("max_relative_positions", furthest),
            None => ("max_position_embeddings", furthest),
        };
        fields.positions(field, rows)?;
        let sizes = LayerSizes {
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            activation: fields.activation("hidden_act", &config.hidden_act)?,
            eps: fields.eps("layer_norm_eps", config.layer_norm_eps)?,
        };
        let conv_activation = fields.activation("conv_act", &config.conv_act)?;
        let pooler_activation = fields.activation("pooler_hidden_act", &config.pooler_hidden_act)?;
        Ok(Deberta {
            common,
            config,
            sizes,
            pooler_activation,
            conv_activation,
            by_queries,
            by_keys,
            buckets,
            span: (field, rows),
        })
    }

    fn embeddings(&self) -> Embeddings {
        let config = &self.config;
        Embeddings {
            vocab_size: config.vocab_size,
            type_vocab_size: config.type_vocab_size,
            max_position_embeddings: if config.position_biased_input { config.max_position_embeddings } else { 0 },
            positions: Index::Positions,
            width: match config.embedding_size {
                Some(width) => ("embedding_size", width),
                None => ("hidden_size", config.hidden_size),
            },
        }
    }

    /// The encoder. `project` makes the queries, keys and values of a layer; `vectors` names the weights and biases that make vectors for
    /// distances, those that queries and those that keys are multiplied with; `norm` says whether the table of distances is normalised first.
    pub(crate) fn encoder(
        &self,
        builder: &mut GraphBuilder,
        project: impl Fn(&mut GraphBuilder, NodeId, usize) -> Result<[NodeId; 3], GraphError>,
        vectors: impl Fn(usize) -> [(String, Option<String>); 2],
        norm: bool,
    ) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let config = &self.config;
        let mut x = self.embeddings().sum(builder)?;
        if builder.shape(x).width != config.hidden_size {
            x = builder.linear(x, config.hidden_size, "embeddings.embed_proj.weight", None)?;
        }
        x = blocks::layer_norm(builder, x, "embeddings.LayerNorm", self.sizes.eps)?;
        let head_dim = config.hidden_size / config.num_attention_heads;
        let products = 1 + usize::from(self.by_queries) + usize::from(self.by_keys);
        let spec = AttentionSpec {
            heads: config.num_attention_heads,
            head_dim,
            scale: 1.0 / ((head_dim * products) as f32).sqrt(),
            causal: false,
            arithmetic: Arithmetic::F32,
        };
        let norm = norm.then_some(NormOf {
            gamma: "encoder.LayerNorm.weight",
            beta: "encoder.LayerNorm.bias",
            eps: self.sizes.eps,
        });
        for layer in 0..config.num_hidden_layers {
            let [q, k, v] = project(builder, x, layer)?;
            let names = vectors(layer);
            let vectors_by = |there: bool, place: usize| {
                let (weight, bias): &(String, Option<String>) = &names[place];
                there.then_some(ProjectionOf { weight, bias: bias.as_deref(), transposed: false })
            };
            let (keys, queries) = (vectors_by(self.by_queries, 0), vectors_by(self.by_keys, 1));
            let distances = DistanceBias::Content {
                table: TableOf::Learned { name: DISTANCES, rows: 2 * self.span.1, width: config.hidden_size },
                norm,
                keys,
                queries,
                buckets: self.buckets,
                query_bias: None,
                segments: None,
                reach: config.max_position_embeddings - 1,
            };
            let distances = (config.relative_attention && products > 1).then_some(distances);
            let modules = LayerModules::bert(layer);
            let attended = builder.biased_attention(&modules.attention, q, k, v, spec, distances)?;
            let transformed = blocks::rest_of_post_norm_layer(builder, x, attended, &modules, &self.sizes)?;
            x = match layer {
                0 if config.conv_kernel_size > 0 => self.convolution(builder, x, transformed)?,
                _ => transformed,
            };
        }
        Ok(Encoder { last_hidden_state: x })
    }

    /// What the second version adds to its first layer: a convolution of what that layer read.
    fn convolution(&self, builder: &mut GraphBuilder, x: NodeId, residual: NodeId) -> Result<NodeId, GraphError> {
        // At most 99, as was checked.
        let reach = (self.config.conv_kernel_size / 2) as i32;
        let neighbours = Neighbours { offsets: (-reach..=reach).collect(), order: Order::Columns };
        let x = builder.neighbours(x, neighbours)?;
        builder.folded(&["encoder.conv.conv.weight"]);
        let x = blocks::linear(builder, x, "encoder.conv.conv", self.config.hidden_size)?;
        let x = builder.activation(x, self.conv_activation)?;
        blocks::add_and_norm(builder, x, residual, "encoder.conv.LayerNorm", self.sizes.eps)
    }

    /// The heads that both versions have.
    pub(crate) fn heads(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        let embeddings = "embeddings.word_embeddings.weight";
        let lm = MaskedLm {
            dense: "lm_predictions.lm_head.dense",
            activation: self.sizes.activation,
            norm: "lm_predictions.lm_head.LayerNorm",
            eps: self.sizes.eps,
            embeddings,
            tied: true,
            decoder: "lm_predictions.lm_head",
            bias: "lm_predictions.lm_head.bias",
        };
        match task {
            Task::FeatureExtraction => Ok(()),
            // The tensors tell which head it is: published configurations don't.
            Task::FillMask if head.has("cls.predictions.transform.dense.weight") => head.masked_lm(&MaskedLm {
                dense: "cls.predictions.transform.dense",
                norm: "cls.predictions.transform.LayerNorm",
                tied: self.common.tied,
                decoder: "cls.predictions.decoder",
                bias: "cls.predictions.bias",
                ..lm
            }),
            Task::FillMask => head.masked_lm(&lm),
            Task::TextClassification => head.pooled_logits(self.pooler(), "classifier"),
            Task::TokenClassification => head.logits(head.hidden, "classifier"),
            Task::QuestionAnswering => head.question_answering("qa_outputs"),
            Task::MultipleChoice | Task::NextSentencePrediction | Task::ReplacedTokenDetection => {
                Err(HeadError::Unknown)
            }
        }
    }

    pub(crate) fn pooler(&self) -> Pooler<'static> {
        Pooler { dense: "pooler.dense", activation: self.pooler_activation }
    }

    /// The table of distances has two rows for each: for keys before the query, and behind it.
    fn check_distances(&self, weights: &Weights) -> Result<(), ModelError> {
        let (field, span) = self.span;
        match find(weights, PREFIXES, DISTANCES) {
            Some(tensor) if tensor.shape.first() != Some(&(2 * span)) => Err(ModelError::Contradiction {
                file: self.common.file.clone(),
                field,
                value: span,
                weights: weights.files(),
                found: format!("{} of shape {:?}, with two rows for each", tensor.name, tensor.shape),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_tensors(&self, weights: &Weights) -> Result<(), ModelError> {
        let config = &self.config;
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let mut expectations = self.embeddings().expectations();
        expectations.extend([
            expect("hidden_size", config.hidden_size, "encoder.layer.0.attention.output.dense.weight", 0),
            expect("intermediate_size", config.intermediate_size, "encoder.layer.0.intermediate.dense.weight", 0),
        ]);
        check_dims(&self.common.file, weights, PREFIXES, &expectations)?;
        if config.relative_attention {
            self.check_distances(weights)?;
        }
        let layers = config.num_hidden_layers;
        check_layers(&self.common.file, weights, PREFIXES, "num_hidden_layers", layers, "encoder.layer.")
    }
}

/// Whether queries, and whether keys are multiplied with vectors for distances.
fn products(fields: &Fields<'_>, kinds: Option<&PosAttType>) -> Result<[bool; 2], ModelError> {
    let kinds: Vec<String> = match kinds {
        None => Vec::new(),
        Some(PosAttType::Text(text)) => text.to_lowercase().split('|').map(|kind| kind.trim().to_owned()).collect(),
        Some(PosAttType::List(list)) => list.clone(),
    };
    let expected = "\"c2p\" or \"p2c\", each once at most";
    let (mut by_queries, mut by_keys) = (false, false);
    for kind in kinds.iter().filter(|kind| !kind.is_empty()) {
        let seen = match kind.as_str() {
            "c2p" => std::mem::replace(&mut by_queries, true),
            "p2c" => std::mem::replace(&mut by_keys, true),
            _ => true,
        };
        if seen {
            return Err(fields.error("pos_att_type", format!("{kinds:?}"), expected));
        }
    }
    Ok([by_queries, by_keys])
}

/// A DeBERTa of the second or third version whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct DebertaV2 {
    deberta: Deberta,
    /// Whether the vectors for distances are normalised.
    norm: bool,
}

impl DebertaV2 {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<DebertaV2, ModelError> {
        let deberta = Deberta::new(source.parse()?, Common::parse(source)?)?;
        let norm = deberta.config.norm_rel_ebd.to_lowercase();
        let norm = deberta.config.relative_attention && norm.split('|').any(|part| part.trim() == "layer_norm");
        Ok(DebertaV2 { deberta, norm })
    }
}

impl Model for DebertaV2 {
    fn facts(&self) -> Facts<'_> {
        Facts {
            common: &self.deberta.common,
            hidden_size: self.deberta.config.hidden_size,
            max_positions: self.deberta.config.max_position_embeddings,
            vocab_size: self.deberta.config.vocab_size,
            prefixes: PREFIXES,
        }
    }

    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        let width = self.deberta.config.hidden_size;
        let name = |layer: usize, module: &str| format!("encoder.layer.{layer}.attention.self.{module}");
        let project = |builder: &mut GraphBuilder, x, layer| {
            let [q, k, v] = ["query_proj", "key_proj", "value_proj"]
                .map(|module| blocks::linear(builder, x, &name(layer, module), width));
            Ok([q?, k?, v?])
        };
        let shared = self.deberta.config.share_att_key;
        let modules = if shared { ["key_proj", "query_proj"] } else { ["pos_key_proj", "pos_query_proj"] };
        let vectors = |layer| {
            modules.map(|module| {
                let module = name(layer, module);
                (format!("{module}.weight"), Some(format!("{module}.bias")))
            })
        };
        self.deberta.encoder(builder, project, vectors, self.norm)
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            Task::MultipleChoice => head.pooled_logits_of(self.deberta.pooler(), "classifier", 1),
            task => self.deberta.heads(task, head),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        self.deberta.check_tensors(weights)
    }
}
