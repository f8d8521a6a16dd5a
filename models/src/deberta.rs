//! The first version of DeBERTa (He et al., 2020), <https://arxiv.org/abs/2006.03654>: queries, keys and values of each head in one weight, a
//! vector for every distance.
//!
//! Names of fields and tensors are those of `transformers`' `DebertaModel`.

use loquat_runtime::{
    Weights,
    graph::{GraphBuilder, GraphError, NodeId, RowsOf},
};
use serde::Deserialize;

use crate::{
    Encoder, Facts, HeadBuilder, HeadError, Model, ModelError, Source, Task,
    config::Common,
    deberta_v2::{self, DebertaConfig, PREFIXES},
};

/// The fields of `config.json` whose defaults differ from those of the second version.
#[derive(Deserialize)]
#[serde(default)]
struct OwnDefaults {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
}

impl Default for OwnDefaults {
    fn default() -> Self {
        OwnDefaults {
            vocab_size: 50265,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
        }
    }
}

/// A DeBERTa of the first version whose configuration has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Deberta {
    deberta: deberta_v2::Deberta,
}

impl Deberta {
    /// Parses and checks a `config.json`.
    ///
    /// # Errors
    /// If the text isn't such a file, a field asks for maths that isn't implemented, or the sizes make no model.
    pub fn parse(source: &Source) -> Result<Deberta, ModelError> {
        let OwnDefaults { vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size } =
            source.parse()?;
        let config = DebertaConfig {
            vocab_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            // Fields of the second version say nothing here.
            attention_head_size: None,
            position_buckets: -1,
            conv_kernel_size: 0,
            ..source.parse()?
        };
        Ok(Deberta { deberta: deberta_v2::Deberta::new(config, Common::parse(source)?)? })
    }

    /// Queries, keys and values, whose rows take turns in the stored weight, head by head.
    fn project(&self, builder: &mut GraphBuilder, x: NodeId, layer: usize) -> Result<[NodeId; 3], GraphError> {
        let (width, heads) = (self.deberta.config.hidden_size, self.deberta.config.num_attention_heads);
        let name = |tensor: &str| format!("encoder.layer.{layer}.attention.self.{tensor}");
        let (weight, head_dim) = (name("in_proj.weight"), width / heads);
        let mut part = |place: usize, bias: Option<&str>| {
            let rows =
                |head| RowsOf { name: &weight, first: (3 * head + place) * head_dim, rows: head_dim, of: 3 * width };
            let parts: Vec<RowsOf<'_>> = (0..heads).map(rows).collect();
            builder.linear_parts(x, &parts, bias.map(|bias| RowsOf::all(bias, width)))
        };
        Ok([part(0, Some(&name("q_bias")))?, part(1, None)?, part(2, Some(&name("v_bias")))?])
    }
}

impl Model for Deberta {
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
        let vectors = |layer| {
            let name = |tensor: &str| format!("encoder.layer.{layer}.attention.self.{tensor}");
            [(name("pos_proj.weight"), None), (name("pos_q_proj.weight"), Some(name("pos_q_proj.bias")))]
        };
        self.deberta.encoder(builder, |builder, x, layer| self.project(builder, x, layer), vectors, false)
    }

    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError> {
        self.deberta.heads(task, head)
    }

    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError> {
        self.deberta.check_tensors(weights)
    }
}
