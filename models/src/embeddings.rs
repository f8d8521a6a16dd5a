//! The embeddings of BERT and of what came from it: rows of up to three tables, added and normalised.

use loquat_runtime::graph::{GraphBuilder, GraphError, Index, NodeId, Table};

use crate::{blocks, config::Expectation};

const WORDS: &str = "embeddings.word_embeddings.weight";
const TYPES: &str = "embeddings.token_type_embeddings.weight";
const POSITIONS: &str = "embeddings.position_embeddings.weight";

/// The sizes of the tables. Token types and positions may have none, with 0 rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Embeddings {
    pub(crate) vocab_size: usize,
    pub(crate) type_vocab_size: usize,
    pub(crate) max_position_embeddings: usize,
    /// How positions are counted.
    pub(crate) positions: Index,
    /// Columns of the tables, and the field that says how many there are.
    pub(crate) width: (&'static str, usize),
}

impl Embeddings {
    /// The sum of the rows, in the reference's order: words, types, positions.
    pub(crate) fn sum(&self, builder: &mut GraphBuilder) -> Result<NodeId, GraphError> {
        let table = |name, rows, index| Table { name, rows, index };
        let mut tables = vec![
            table(WORDS, self.vocab_size, Index::TokenIds),
            table(TYPES, self.type_vocab_size, Index::TypeIds),
            table(POSITIONS, self.max_position_embeddings, self.positions),
        ];
        tables.retain(|table| table.rows > 0);
        builder.embedding("embeddings", &tables, self.width.1)
    }

    /// The sum, normalised.
    pub(crate) fn normalised(&self, builder: &mut GraphBuilder, eps: f32) -> Result<NodeId, GraphError> {
        let x = self.sum(builder)?;
        blocks::layer_norm(builder, x, "embeddings.LayerNorm", eps)
    }

    /// What the tables' shapes say about the configuration.
    pub(crate) fn expectations(&self) -> Vec<Expectation> {
        let expect = |field, value, tensor, dim| Expectation { field, value, tensor, dim };
        let mut expectations = vec![
            expect(self.width.0, self.width.1, WORDS, 1),
            expect("vocab_size", self.vocab_size, WORDS, 0),
            expect("max_position_embeddings", self.max_position_embeddings, POSITIONS, 0),
            expect("type_vocab_size", self.type_vocab_size, TYPES, 0),
        ];
        expectations.retain(|expectation| expectation.value > 0);
        expectations
    }
}
