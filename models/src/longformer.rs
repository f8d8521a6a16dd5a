//! Longformer: The Long-Document Transformer (Beltagy et al., 2020), <https://arxiv.org/abs/2004.05150>: RoBERTa whose tokens see their
//! neighbours, and a few tokens, by the task, that see everything and are seen from everywhere.
//!
//! Names of fields and tensors are those of `transformers`' `LongformerModel`.

use loquat_runtime::{
    Arithmetic, AttentionSpec, Weights,
    graph::{DistanceBias, GraphBuilder, GraphError, Index, Leading, NodeId},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, Model, ModelError, Source, Task,
    bert::{Bert, BertConfig},
    blocks::{self, LayerModules},
    config::{Common, Fields},
    roberta,
};

const PREFIXES: &[&str] = &["longformer."];

/// The fields of `config.json` that BERT hasn't, or whose defaults differ.
#[derive(Deserialize)]
#[serde(default)]
struct LongformerFields {
    attention_window: Window,
    pad_token_id: u32,
    sep_token_id: u32,
}

/// How many neighbours a token sees, half of them to each side: in all layers, or in each.
#[derive(Deserialize)]
#[serde(untagged)]
enum Window {
    All(usize),
    Each(Vec<usize>),
}

impl Default for LongformerFields {
    fn default() -> Self {
        LongformerFields { attention_window: Window::All(512), pad_token_id: 1, sep_token_id: 2 }
    }
}

/// A Longformer whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Longformer {
    bert: Bert,
    /// Neighbours to each side, for every layer.
    windows: Vec<usize>,
    pad_token_id: u32,
    sep_token_id: u32,
    positions: usize,
}

impl Longformer {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Longformer, ModelError> {
        let own: LongformerFields = source.parse()?;
        let bert = Bert::new(source.parse::<BertConfig>()?, Common::parse(source)?)?;
        let fields = Fields { file: &source.file };
        let layers = bert.config.num_hidden_layers;
        let windows = match own.attention_window {
            Window::All(window) => vec![window; layers],
            Window::Each(windows) => windows,
        };
        if windows.len() != layers {
            let expected = format!("one for each of the {layers} layers");
            return Err(fields.error("attention_window", format!("{} entries", windows.len()), expected));
        }
        if let Some(window) = windows.iter().find(|&&window| window == 0 || !window.is_multiple_of(2)) {
            return Err(fields.error("attention_window", window, "an even number above 0"));
        }
        let positions = fields.positions_past(own.pad_token_id, bert.config.max_position_embeddings)?;
        Ok(Longformer {
            bert,
            windows: windows.into_iter().map(|window| window / 2).collect(),
            pad_token_id: own.pad_token_id,
            sep_token_id: own.sep_token_id,
            positions,
        })
    }

    /// Which tokens see everything, as the reference has it for its heads.
    fn leading(&self, task: Task) -> Option<Leading> {
        match task {
            Task::TextClassification => Some(Leading::First),
            Task::QuestionAnswering => Some(Leading::Before(self.sep_token_id)),
            _ => None,
        }
    }

    /// The attention of a layer. Tokens that see everything do so with projections of their own.
    fn attention(
        &self,
        builder: &mut GraphBuilder,
        x: NodeId,
        layer: usize,
        modules: &LayerModules,
        leading: Option<Leading>,
    ) -> Result<NodeId, GraphError> {
        let config = &self.bert.config;
        let head_dim = config.hidden_size / config.num_attention_heads;
        let spec = AttentionSpec {
            heads: config.num_attention_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: false,
            arithmetic: Arithmetic::F32,
        };
        let project =
            |builder: &mut GraphBuilder, x, module: &str| blocks::linear(builder, x, module, config.hidden_size);
        let [q, k, v] = [&modules.query, &modules.key, &modules.value].map(|module| project(builder, x, module));
        let window = DistanceBias::Window { distance: self.windows[layer], leading, reach: self.positions - 1 };
        let local = builder.biased_attention(&modules.attention, q?, k?, v?, spec, Some(window))?;
        let Some(leading) = leading else { return Ok(local) };
        let queries = match leading {
            Leading::First => builder.select_first(x)?,
            Leading::Before(_) => x,
        };
        let global = |module: &str| format!("{module}_global");
        let q = project(builder, queries, &global(&modules.query))?;
        let k = project(builder, x, &global(&modules.key))?;
        let v = project(builder, x, &global(&modules.value))?;
        let everything = builder.attention(&global(&modules.attention), q, k, v, spec)?;
        builder.lead(everything, local, leading)
    }
}

impl Model for Longformer {
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
        self.encoder_for(Task::FeatureExtraction, builder)
    }

    fn encoder_for(&self, task: Task, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        builder.prefixes(PREFIXES);
        let positions = Index::PositionsPastPadding(self.pad_token_id);
        let sizes = self.bert.layer_sizes();
        let mut x = self.bert.embeddings(positions).normalised(builder, sizes.eps)?;
        for layer in 0..self.windows.len() {
            let modules = LayerModules::bert(layer);
            let attended = self.attention(builder, x, layer, &modules, self.leading(task))?;
            x = blocks::rest_of_post_norm_layer(builder, x, attended, &modules, &sizes)?;
        }
        Ok(Encoder { last_hidden_state: x })
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        match task {
            // The tokens that see everything would be those behind the question, in a place of their own.
            Task::MultipleChoice => Err(HeadError::Unknown),
            task => roberta::heads(task, head, self.bert.layer_sizes().eps, self.bert.common.tied),
        }
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        self.bert.check_tensors(weights, PREFIXES)
    }
}
