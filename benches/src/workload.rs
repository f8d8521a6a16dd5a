//! The work that every contender does: fixed token ids, kept in `benches/workloads.json`.

use std::path::Path;

use serde::Deserialize;

use crate::Result;

/// Sequences of token ids, special tokens included.
#[derive(Debug, Clone, Deserialize)]
pub struct Workload {
    /// `COUNTxTOKENS`, or `mixed`.
    pub name: String,
    /// The ids.
    pub sequences: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct File {
    workloads: Vec<Workload>,
}

/// The workloads in the order of the table.
pub fn all() -> Result<Vec<Workload>> {
    Ok(serde_json::from_str::<File>(include_str!("../workloads.json"))?.workloads)
}

/// The size of a BERT encoder, from its `config.json`; DistilBERT has names of its own.
#[derive(Debug, Clone, Deserialize)]
pub struct EncoderSize {
    /// Width of a hidden state.
    #[serde(alias = "dim")]
    pub hidden_size: usize,
    /// Number of layers.
    #[serde(alias = "n_layers")]
    pub num_hidden_layers: usize,
    /// Width inside the feed-forward block.
    #[serde(alias = "hidden_dim")]
    pub intermediate_size: usize,
}

impl EncoderSize {
    /// Reads a model folder's `config.json`.
    pub fn of(model: &Path) -> Result<EncoderSize> {
        let path = model.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }
}

impl Workload {
    /// The number of real tokens.
    pub fn tokens(&self) -> u64 {
        self.sequences.iter().map(|ids| ids.len() as u64).sum()
    }

    /// Floating-point operations of the encoder's matrix products on the real tokens: four `hidden × hidden` and two
    /// `hidden × intermediate` products, and the two products of attention with the sequence's own length. A
    /// contender that pads does more, which its rate then doesn't count.
    pub fn flops(&self, size: &EncoderSize) -> u64 {
        let (hidden, intermediate) = (size.hidden_size as u64, size.intermediate_size as u64);
        let linear = 2 * (4 * hidden * hidden + 2 * hidden * intermediate);
        let per_layer: u64 = self
            .sequences
            .iter()
            .map(|ids| ids.len() as u64)
            .map(|length| length * (linear + 4 * length * hidden))
            .sum();
        per_layer * size.num_hidden_layers as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_have_the_shapes_that_their_names_say() {
        for workload in all().expect("the file in the tree parses") {
            if workload.name == "mixed" {
                assert_eq!(workload.sequences.len(), 256);
                continue;
            }
            let (count, length) = workload.name.split_once('x').expect("a name like 32x128");
            assert_eq!(workload.sequences.len().to_string(), count);
            assert!(workload.sequences.iter().all(|ids| ids.len().to_string() == length), "{}", workload.name);
        }
    }

    #[test]
    fn flops_count_linear_layers_and_attention() {
        let size = EncoderSize { hidden_size: 4, num_hidden_layers: 2, intermediate_size: 8 };
        let workload = Workload { name: "2".into(), sequences: vec![vec![0; 3], vec![0; 1]] };
        // 4·(4·4) + 2·(4·8) = 128 multiply-adds a token; attention 2·L·4 multiply-adds a token.
        assert_eq!(workload.flops(&size), 2 * 2 * (4 * 128 + 3 * 3 * 2 * 4 + 2 * 4));
    }
}
