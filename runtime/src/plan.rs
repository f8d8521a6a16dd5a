//! The memory plan: where each value lies in one arena, for every batch at once.
//!
//! All values have one row per token or per sequence, so the plan is made once, in `f32` per token and per sequence, and a run only
//! multiplies. The arena is the tokens' buffers, then the sequences' buffers.

use std::ops::Range;

use crate::graph::{Graph, NodeId, Rows};

/// Values in a cache line.
const LINE: usize = 16;

/// Where a node's value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a buffer of the plan.
    Buffer(usize),
    /// In the memory of an output, by its place in [`Graph::outputs`].
    Output(usize),
}

/// A range of the arena that holds one value, or several that are computed in place one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What its rows stand for.
    pub rows: Rows,
    /// Distance between rows, in values.
    pub row_stride: usize,
    /// Its start, in values per token or per sequence, inside the region of its kind.
    pub offset: usize,
    /// From the first node that writes it to the last one that reads it.
    pub live: Range<usize>,
}

/// Where every value of a graph lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    places: Vec<Place>,
    buffers: Vec<Buffer>,
    per_token: usize,
    per_sequence: usize,
}

/// A batch that needs more memory than can be addressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tokens} tokens at {per_token} values each are more than can be addressed: split the batch")]
pub struct PlanOverflow {
    /// Tokens of the batch.
    pub tokens: usize,
    /// Values per token.
    pub per_token: usize,
}

/// Distance between the rows of a buffer: whole cache lines, and an odd number of them. With a power of two the rows of a GEMM tile would
/// fall into the same few sets of the L1 cache and evict one another.
pub(crate) fn row_stride(width: usize) -> usize {
    let lines = width.div_ceil(LINE).max(1);
    (lines | 1) * LINE
}

impl Plan {
    /// Places the values of a graph: buffers that are never live together share memory.
    pub fn new(graph: &Graph) -> Plan {
        let mut plan = Plan::without_offsets(graph);
        plan.per_token = plan.place_all(Rows::Tokens);
        plan.per_sequence = plan.place_all(Rows::Sequences);
        plan
    }

    /// Where a node's value lies.
    pub fn place(&self, node: NodeId) -> Place {
        self.places[node.index()]
    }

    /// All buffers.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Arena size in values per token.
    pub fn per_token(&self) -> usize {
        self.per_token
    }

    /// Arena size in values per sequence.
    pub fn per_sequence(&self) -> usize {
        self.per_sequence
    }

    /// What the arena would take if no buffer shared memory, in values per token and per sequence.
    pub fn unshared(&self) -> (usize, usize) {
        let sum = |rows| {
            let buffers = self.buffers.iter().filter(move |buffer| buffer.rows == rows);
            buffers.map(|buffer| buffer.row_stride).sum()
        };
        (sum(Rows::Tokens), sum(Rows::Sequences))
    }

    /// Arena size in values for a batch.
    ///
    /// # Errors
    /// If it overflows.
    pub fn arena_len(&self, tokens: usize, sequences: usize) -> Result<usize, PlanOverflow> {
        let tokens_len = self.per_token.checked_mul(tokens);
        let sequences_len = self.per_sequence.checked_mul(sequences);
        tokens_len
            .zip(sequences_len)
            .and_then(|(a, b)| a.checked_add(b))
            .ok_or(PlanOverflow { tokens, per_token: self.per_token })
    }

    /// Where a buffer lies in the arena of a batch for which [`arena_len`](Plan::arena_len) gave a size.
    pub(crate) fn range(&self, buffer: usize, tokens: usize, sequences: usize) -> Range<usize> {
        let buffer = &self.buffers[buffer];
        let (base, rows) = match buffer.rows {
            Rows::Tokens => (0, tokens),
            Rows::Sequences => (self.per_token * tokens, sequences),
        };
        let start = base + buffer.offset * rows;
        start..start + buffer.row_stride * rows
    }

    /// Decides which values share a buffer because one is computed over the other, and how long each buffer lives.
    fn without_offsets(graph: &Graph) -> Plan {
        let uses = graph.uses();
        let output_of = |node: usize| graph.outputs().iter().position(|output| output.node.index() == node);
        let mut places: Vec<Place> = Vec::with_capacity(graph.nodes().len());
        let mut buffers: Vec<Buffer> = Vec::new();
        for (index, node) in graph.nodes().iter().enumerate() {
            for input in &node.inputs {
                if let Place::Buffer(buffer) = places[input.index()] {
                    buffers[buffer].live.end = index + 1;
                }
            }
            let reusable = |&&place: &&usize| {
                let input = node.inputs[place];
                uses[input.index()] == 1
                    && graph.node(input).shape == node.shape
                    && matches!(places[input.index()], Place::Buffer(_))
            };
            let place = match (output_of(index), node.op.in_place_inputs().iter().find(reusable)) {
                (Some(output), _) => Place::Output(output),
                (None, Some(&input)) => places[node.inputs[input].index()],
                (None, None) => {
                    buffers.push(Buffer {
                        rows: node.shape.rows,
                        row_stride: row_stride(node.shape.width),
                        offset: 0,
                        live: index..index + 1,
                    });
                    Place::Buffer(buffers.len() - 1)
                }
            };
            places.push(place);
        }
        Plan { places, buffers, per_token: 0, per_sequence: 0 }
    }

    /// Gives the buffers of one kind their offsets. Returns the size of the region.
    ///
    /// Two orders are tried, since neither is always better: largest first, and first come first served, which packs the alternating
    /// lifetimes of a plain stack of layers without gaps.
    fn place_all(&mut self, rows: Rows) -> usize {
        let of_kind: Vec<usize> = (0..self.buffers.len()).filter(|&index| self.buffers[index].rows == rows).collect();
        let mut largest_first = of_kind.clone();
        largest_first.sort_by_key(|&index| (std::cmp::Reverse(self.buffers[index].row_stride), index));
        let by_size = self.place_in(&largest_first);
        let by_time = self.place_in(&of_kind);
        if by_time <= by_size { by_time } else { self.place_in(&largest_first) }
    }

    /// Places buffers one after another, each at the lowest offset that is free for as long as it lives.
    fn place_in(&mut self, order: &[usize]) -> usize {
        let mut size = 0;
        for (placed, &index) in order.iter().enumerate() {
            let (live, len) = (self.buffers[index].live.clone(), self.buffers[index].row_stride);
            let mut neighbours: Vec<Range<usize>> = order[..placed]
                .iter()
                .map(|&other| &self.buffers[other])
                .filter(|other| other.live.start < live.end && live.start < other.live.end)
                .map(|other| other.offset..other.offset + other.row_stride)
                .collect();
            neighbours.sort_by_key(|range| range.start);
            let mut offset = 0;
            for taken in neighbours {
                if offset + len <= taken.start {
                    break;
                }
                offset = offset.max(taken.end);
            }
            self.buffers[index].offset = offset;
            size = size.max(offset + len);
        }
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphBuilder, Index, Table};
    use loquat_kernels::Activation;
    use proptest::prelude::*;

    /// A graph from a list of choices: each adds a node that reads earlier ones.
    fn graph_of(choices: &[(u8, usize, usize, bool)]) -> Graph {
        let mut builder = GraphBuilder::new("random");
        let tables = [Table { name: "words", rows: 3, index: Index::TokenIds }];
        let mut nodes = vec![builder.embedding("words", &tables, 8).unwrap()];
        let mut outputs = 0;
        for &(kind, a, b, output) in choices {
            let (x, y) = (nodes[a % nodes.len()], nodes[b % nodes.len()]);
            let width = 8 * (1 + b % 5);
            let name = format!("linear{}.weight", nodes.len());
            let node = match kind % 5 {
                0 | 1 => builder.linear(x, width, &name, None),
                2 => builder.activation(x, Activation::Tanh),
                3 => builder.add(x, y).or_else(|_| builder.l2_normalize(x)),
                _ => builder.select_first(x).or_else(|_| builder.l2_normalize(x)),
            };
            nodes.push(node.unwrap());
            if output {
                builder.output(format!("out{outputs}"), nodes[nodes.len() - 1]);
                outputs += 1;
            }
        }
        if outputs == 0 {
            builder.output("out", nodes[nodes.len() - 1]);
        }
        builder.finish().unwrap()
    }

    /// The arena range of a node's value, if it lies in the arena.
    fn range_of(plan: &Plan, node: usize, tokens: usize, sequences: usize) -> Option<Range<usize>> {
        match plan.place(NodeId(node)) {
            Place::Buffer(buffer) => Some(plan.range(buffer, tokens, sequences)),
            Place::Output(_) => None,
        }
    }

    proptest! {
        /// Walks the graph as a run would, and looks at every value that is still needed whenever one is written.
        #[test]
        fn no_value_is_overwritten_while_it_is_needed(
            choices in prop::collection::vec((any::<u8>(), 0usize..40, 0usize..40, any::<bool>()), 1..40),
            tokens in 1usize..50,
            sequences in 1usize..10,
        ) {
            let graph = graph_of(&choices);
            let plan = Plan::new(&graph);
            let (tokens_sum, sequences_sum) = plan.unshared();
            prop_assert!(plan.per_token() <= tokens_sum && plan.per_sequence() <= sequences_sum);
            let arena = plan.arena_len(tokens, sequences).unwrap();
            for (index, node) in graph.nodes().iter().enumerate() {
                let Some(target) = range_of(&plan, index, tokens, sequences) else { continue };
                prop_assert!(target.end <= arena);
                prop_assert!(target.start % 16 == 0);
                for earlier in 0..index {
                    let Some(range) = range_of(&plan, earlier, tokens, sequences) else { continue };
                    if range.start >= target.end || target.start >= range.end {
                        continue;
                    }
                    let id = NodeId(earlier);
                    let read_later = graph.nodes()[index + 1..].iter().any(|later| later.inputs.contains(&id));
                    prop_assert!(!read_later, "node {} overwrites {} too early", index, earlier);
                    if let Some(place) = node.inputs.iter().position(|input| *input == id) {
                        let shared = plan.place(id) == plan.place(NodeId(index));
                        prop_assert!(shared && node.op.in_place_inputs().contains(&place));
                        prop_assert!(node.inputs.iter().filter(|input| **input == id).count() == 1);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_lie_an_odd_number_of_cache_lines_apart() {
        for width in 1..3000 {
            let stride = row_stride(width);
            assert!(stride >= width && stride < width + 2 * LINE + LINE);
            assert_eq!(stride / LINE % 2, 1);
            assert_eq!(stride % LINE, 0);
        }
    }

    #[test]
    fn a_batch_that_is_too_large_is_an_error() {
        let plan = Plan::new(&graph_of(&[(0, 0, 1, false), (2, 0, 0, true)]));
        assert!(plan.arena_len(usize::MAX / 2, 1).is_err());
    }
}
