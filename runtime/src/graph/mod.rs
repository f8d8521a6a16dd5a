//! The graph that a model is: a closed set of high-level operations over ragged matrices.
//!
//! Every value is a row-major `f32` matrix whose number of rows is known only at run time: one row per token or one per
//! sequence of the batch ([`Rows`]). Its width is fixed. There is no padded batch dimension and no mask.
//!
//! Models make a graph with [`GraphBuilder`], [passes](crate::passes) rewrite it, and the back end lowers it.

mod builder;
mod display;
mod op;
mod rewrite;
mod verify;

pub use builder::{DistanceBias, GraphBuilder, NormOf, ProjectionOf, RowsOf, SegmentsOf, Table, TableOf};
pub use loquat_kernels::{gather::Select, neighbours::Order};
pub(crate) use op::MAX_TABLES;
pub use op::{
    Affine, Attention, AttentionBias, DistanceTable, Index, Leading, Linear, LogBuckets, Lookup, Neighbours, Norm, Op,
    Projection, Rotary, SegmentTerm,
};
pub(crate) use rewrite::Rewrite;

use std::fmt;

/// What the rows of a value stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// One row per token of the batch.
    Tokens,
    /// One row per sequence of the batch.
    Sequences,
}

/// Shape of a value: `rows × width`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// What the rows stand for.
    pub rows: Rows,
    /// Number of columns.
    pub width: usize,
}

/// A node of one graph, by its place in the order of execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// Place in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// A parameter of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(crate) usize);

impl ParamId {
    /// Place in [`Graph::params`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// A parameter: one tensor of the weights, or several put together along their first dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The tensors, in order.
    pub parts: Vec<Part>,
    /// Number of values in one entry of the first dimension: the input width of a weight `[out, in]`, the width of a table,
    /// `None` for a vector.
    pub width: Option<usize>,
}

/// One tensor of a [`Param`], or some rows of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of the tensor, as the reference implementation calls it.
    pub name: String,
    /// The first row that is used.
    pub first: usize,
    /// How many rows are used.
    pub rows: usize,
    /// The tensor's first dimension; its last one if it is transposed.
    pub of: usize,
    /// Whether rows are columns of the stored tensor.
    pub transposed: bool,
    /// Whether the tensor's last dimension may be stored as several.
    pub folded: bool,
}

impl Param {
    /// The first dimension of all parts together.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }
}

/// One operation with the values that it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// What it reads; each comes earlier in [`Graph::nodes`].
    pub inputs: Vec<NodeId>,
    /// Shape of the result.
    pub shape: Shape,
    /// The name of the module in the reference implementation that this node stands for.
    pub name: String,
}

/// A named result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name, such as `last_hidden_state`.
    pub name: String,
    /// The node that computes it.
    pub node: NodeId,
}

/// A model as operations in the order of execution.
///
/// A graph that [`GraphBuilder::finish`] returns is consistent, and passes keep it so.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) prefixes: Vec<String>,
    pub(crate) params: Vec<Param>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Output>,
    /// Weights whose products aren't computed in bytes or less.
    pub(crate) kept_high: Vec<String>,
}

impl Graph {
    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the weights may put before a parameter's name, such as `bert.`.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// All parameters.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// All nodes, inputs before the nodes that read them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The results.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(crate) fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }

    /// The same graph with only the named outputs, in the order given, and without the nodes that only others needed.
    ///
    /// # Errors
    /// [`GraphError::UnknownOutput`] if the graph has no output of that name, [`GraphError::NoOutputs`] if `names` is empty.
    pub fn with_outputs<S: AsRef<str>>(&self, names: &[S]) -> Result<Graph, GraphError> {
        let outputs = names
            .iter()
            .map(|name| {
                let name = name.as_ref();
                self.outputs.iter().find(|output| output.name == name).cloned().ok_or_else(|| {
                    let available = self.outputs.iter().map(|output| output.name.as_str());
                    GraphError::UnknownOutput {
                        name: name.to_owned(),
                        available: available.collect::<Vec<_>>().join(", "),
                    }
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut graph = Graph { outputs, ..self.clone() };
        graph.remove_dead();
        graph.verify()?;
        Ok(graph)
    }

    /// The same graph with what every linear layer makes as an output as well, by the layer's name, and what it reads, by the name of the
    /// first layer that does and `.input`; for whoever wants to see how far a precision strays, and where.
    pub fn with_layer_outputs(&self) -> Graph {
        let mut graph = self.clone();
        let mut add = |node: NodeId, name: String| {
            if !graph.outputs.iter().any(|output| output.node == node || output.name == name) {
                graph.outputs.push(Output { name, node });
            }
        };
        for (index, node) in self.nodes.iter().enumerate() {
            if matches!(node.op, Op::Linear(_)) {
                add(NodeId(index), node.name.clone());
                node.inputs.first().into_iter().for_each(|&input| add(input, format!("{}.input", node.name)));
            }
        }
        graph
    }

    /// Whether the products of a weight stay above 8 bits.
    pub(crate) fn keeps_high(&self, weight: ParamId) -> bool {
        self.param(weight).parts.iter().any(|part| self.kept_high.contains(&part.name))
    }

    /// Which tokens lead, if some do.
    pub(crate) fn leading(&self) -> Option<Leading> {
        self.nodes.iter().find_map(|node| node.op.leading())
    }

    /// How many nodes and outputs read each node.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for node in &self.nodes {
            for input in &node.inputs {
                uses[input.0] += 1;
            }
        }
        for output in &self.outputs {
            uses[output.node.0] += 1;
        }
        uses
    }

    /// Drops the nodes that no output depends on, and the parameters that no node is left to read. Returns the dropped nodes' names.
    pub(crate) fn remove_dead(&mut self) -> Vec<String> {
        let mut alive = vec![false; self.nodes.len()];
        for output in &self.outputs {
            alive[output.node.0] = true;
        }
        for index in (0..self.nodes.len()).rev() {
            if alive[index] {
                for input in &self.nodes[index].inputs {
                    alive[input.0] = true;
                }
            }
        }
        let mut dropped = Vec::new();
        let mut new_ids = Vec::with_capacity(self.nodes.len());
        let mut kept = Vec::with_capacity(self.nodes.len());
        for (mut node, alive) in std::mem::take(&mut self.nodes).into_iter().zip(alive) {
            new_ids.push(NodeId(kept.len()));
            if alive {
                node.inputs.iter_mut().for_each(|input| *input = new_ids[input.0]);
                kept.push(node);
            } else {
                dropped.push(node.name);
            }
        }
        self.nodes = kept;
        self.outputs.iter_mut().for_each(|output| output.node = new_ids[output.node.0]);

        let mut new_params: Vec<Option<ParamId>> = vec![None; self.params.len()];
        let mut params = Vec::new();
        for node in &mut self.nodes {
            node.op.for_each_param_mut(|id| {
                let param = &self.params[id.0];
                *id = *new_params[id.0].get_or_insert_with(|| {
                    params.push(param.clone());
                    ParamId(params.len() - 1)
                });
            });
        }
        self.params = params;
        dropped
    }
}

/// A graph that isn't consistent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A node's inputs or parameters don't fit its operation.
    #[error("node {node:?} ({op}): {what}")]
    Node {
        /// Name of the node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// What doesn't fit: what is expected, and what was found.
        what: String,
    },
    /// A node reads one that doesn't come before it.
    #[error("node {node:?} reads node number {input}, but it is number {position} itself")]
    Order {
        /// Name of the node.
        node: String,
        /// Place of the node that it reads.
        input: usize,
        /// Its own place.
        position: usize,
    },
    /// A graph without outputs.
    #[error("the graph has no outputs: ask for at least one")]
    NoOutputs,
    /// Two outputs share a name or a node.
    #[error("outputs {first:?} and {second:?} name the same result or carry the same name")]
    DuplicateOutput {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// An output that the graph doesn't have.
    #[error("the graph has no output {name:?}: it has {available}")]
    UnknownOutput {
        /// The name that was asked for.
        name: String,
        /// The names there are, separated by commas.
        available: String,
    },
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rows::Tokens => "tokens",
            Rows::Sequences => "sequences",
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.rows, self.width)
    }
}
