//! Building a graph, one checked node at a time.

use std::collections::{HashMap, HashSet};

use loquat_kernels::{Activation, Arithmetic, AttentionSpec, pooling::Pooling};

use super::{
    Affine, Attention, AttentionBias, DistanceTable, Graph, GraphError, Index, Leading, Linear, LogBuckets, Lookup,
    Neighbours, Node, NodeId, Norm, Op, Output, Param, ParamId, Part, Projection, Rotary, SegmentTerm, Select, Shape,
    op::selection_of,
};

/// An embedding table by name.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Name of the tensor, `[rows, width]`.
    pub name: &'a str,
    /// Number of rows.
    pub rows: usize,
    /// What selects the row.
    pub index: Index,
}

/// Rows of a tensor by name: all of them, or a range.
///
/// Checkpoints put together what a graph keeps apart: the two outputs of a question-answering head, or queries, keys and values in one weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsOf<'a> {
    /// Name of the tensor.
    pub name: &'a str,
    /// The first row that is used.
    pub first: usize,
    /// How many rows are used.
    pub rows: usize,
    /// The tensor's first dimension.
    pub of: usize,
}

impl<'a> RowsOf<'a> {
    /// A whole tensor.
    pub fn all(name: &'a str, rows: usize) -> RowsOf<'a> {
        RowsOf { name, first: 0, rows, of: rows }
    }
}

/// A bias for distances, with its table by name; see [`AttentionBias`].
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "one lives while a layer is built")]
pub enum DistanceBias<'a> {
    /// Learned, by buckets of distances.
    Buckets {
        /// Name of the tensor, `[rows, heads]`.
        name: &'a str,
        /// Number of rows.
        rows: usize,
        /// How many of them are buckets.
        buckets: usize,
        /// From this distance on all share the last bucket.
        max_distance: usize,
        /// The longest sequence has one token more than this.
        reach: usize,
    },
    /// Vectors for distances, which queries and keys are multiplied with.
    Content {
        /// The rows that they are made of.
        table: TableOf<'a>,
        /// Layer norm of its rows.
        norm: Option<NormOf<'a>>,
        /// What makes the vectors that queries are multiplied with.
        keys: Option<ProjectionOf<'a>>,
        /// What makes the vectors that keys are multiplied with.
        queries: Option<ProjectionOf<'a>>,
        /// Which distances share a row.
        buckets: Option<LogBuckets>,
        /// Names of two vectors: the first stands for the second in the queries that distances meet.
        query_bias: Option<[&'a str; 2]>,
        /// What segments add.
        segments: Option<SegmentsOf<'a>>,
        /// The longest sequence has one token more than this.
        reach: usize,
    },
    /// Only neighbours are seen.
    Window {
        /// The largest distance that is seen.
        distance: usize,
        /// Tokens that are seen from everywhere.
        leading: Option<Leading>,
        /// The longest sequence has one token more than this.
        reach: usize,
    },
}

/// The rows that vectors for distances are made of; see [`DistanceTable`].
#[derive(Clone, Copy, Debug)]
pub enum TableOf<'a> {
    /// Learned.
    Learned {
        /// Name of the tensor, `[rows, width]`.
        name: &'a str,
        /// Number of rows.
        rows: usize,
        /// Its width.
        width: usize,
    },
    /// Sines and cosines.
    Sinusoids {
        /// Columns, an even number.
        width: usize,
        /// The furthest distance that has a row of its own.
        furthest: usize,
    },
}

/// Vectors for segments, by the names of their tensors; see [`SegmentTerm`].
#[derive(Clone, Copy, Debug)]
pub struct SegmentsOf<'a> {
    /// `[2, heads × head_dim]`.
    pub table: &'a str,
    /// The first stands for the second in the queries.
    pub query_bias: [&'a str; 2],
}

/// A layer norm, by the names of its tensors.
#[derive(Clone, Copy, Debug)]
pub struct NormOf<'a> {
    /// Scale.
    pub gamma: &'a str,
    /// Shift.
    pub beta: &'a str,
    /// Added to the variance.
    pub eps: f32,
}

/// A linear layer on parameters, by the names of its tensors.
#[derive(Clone, Copy, Debug)]
pub struct ProjectionOf<'a> {
    /// `[out, in]`.
    pub weight: &'a str,
    /// `[out]`.
    pub bias: Option<&'a str>,
    /// Whether the weight is stored as `[in, out]`.
    pub transposed: bool,
}

/// Builds a [`Graph`]. Every call checks the shapes of what it is given.
///
/// Parameters go by the names that the reference implementation gives its tensors.
///
/// ```
/// use loquat_runtime::graph::{GraphBuilder, Index, Table};
///
/// let mut builder = GraphBuilder::new("tiny");
/// let tables = [Table { name: "words.weight", rows: 100, index: Index::TokenIds }];
/// let words = builder.embedding("words", &tables, 16)?;
/// let hidden = builder.linear(words, 32, "dense.weight", Some("dense.bias"))?;
/// builder.output("hidden", hidden);
/// let graph = builder.finish()?;
/// assert_eq!(graph.nodes().len(), 2);
/// # Ok::<(), loquat_runtime::graph::GraphError>(())
/// ```
#[derive(Debug)]
pub struct GraphBuilder {
    pub(super) graph: Graph,
    by_name: HashMap<String, Vec<ParamId>>,
    folded: HashSet<String>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> GraphBuilder {
        let graph = Graph {
            name: name.into(),
            prefixes: Vec::new(),
            params: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
            kept_high: Vec::new(),
        };
        GraphBuilder { graph, by_name: HashMap::new(), folded: HashSet::new() }
    }

    /// What the weights may put before the names of parameters, such as `bert.`. Names without a prefix are always tried.
    pub fn prefixes(&mut self, prefixes: &[&str]) -> &mut Self {
        self.graph.prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        self
    }

    /// Says, before they are used, which tensors have their last dimension stored as several: the inputs and neighbours of a convolution, the heads
    /// of an attention and their columns.
    pub fn folded(&mut self, tensors: &[&str]) -> &mut Self {
        self.folded.extend(tensors.iter().map(|&tensor| tensor.to_owned()));
        self
    }

    /// Sum of rows of `tables`, each `[rows, width]`, added in the order given: `[tokens, width]`.
    ///
    /// # Errors
    /// If there is no table, or a table's name is taken by a parameter of another shape.
    pub fn embedding(&mut self, name: &str, tables: &[Table<'_>], width: usize) -> Result<NodeId, GraphError> {
        let lookups = tables
            .iter()
            .map(|table| {
                let id = self.param(name, RowsOf::all(table.name, table.rows), Some(width))?;
                Ok(Lookup { table: id, index: table.index })
            })
            .collect::<Result<_, GraphError>>()?;
        self.push(Op::Embedding { lookups, norm: None }, &[], name)
    }

    /// `x · weightᵀ + bias`, with `weight` `[width, x's width]` and `bias` `[width]`.
    ///
    /// # Errors
    /// If a name is taken by a parameter of another shape.
    pub fn linear(&mut self, x: NodeId, width: usize, weight: &str, bias: Option<&str>) -> Result<NodeId, GraphError> {
        self.linear_rows(x, RowsOf::all(weight, width), bias.map(|bias| RowsOf::all(bias, width)))
    }

    /// `x · weightᵀ + bias` with some rows of stored tensors, as many as the result has columns.
    ///
    /// # Errors
    /// If rows lie outside of their tensor, or a name is taken by a tensor of another shape.
    pub fn linear_rows(
        &mut self,
        x: NodeId,
        weight: RowsOf<'_>,
        bias: Option<RowsOf<'_>>,
    ) -> Result<NodeId, GraphError> {
        self.linear_parts(x, &[weight], bias)
    }

    /// The same with the weight's rows from several places, one after another.
    ///
    /// # Errors
    /// As [`linear_rows`](Self::linear_rows), and if there are no places.
    pub fn linear_parts(
        &mut self,
        x: NodeId,
        weight: &[RowsOf<'_>],
        bias: Option<RowsOf<'_>>,
    ) -> Result<NodeId, GraphError> {
        let name = weight.first().map_or("", |part| module_of(part.name));
        let input_width = self.shape(x).width;
        let weight = self.param_of_parts(name, weight, Some(input_width))?;
        let bias = bias.map(|bias| self.param(name, bias, None)).transpose()?;
        self.push_linear(x, weight, bias, name)
    }

    /// `x · weight + bias`, with `weight` `[x's width, width]`, the transpose of what PyTorch's linear layers have.
    ///
    /// # Errors
    /// If a name is taken by a parameter of another shape.
    pub fn linear_transposed(
        &mut self,
        x: NodeId,
        width: usize,
        weight: &str,
        bias: Option<&str>,
    ) -> Result<NodeId, GraphError> {
        let name = module_of(weight);
        let weight = self.transposed(name, weight, width, self.shape(x).width)?;
        let bias = bias.map(|bias| self.param(name, RowsOf::all(bias, width), None)).transpose()?;
        self.push_linear(x, weight, bias, name)
    }

    fn push_linear(
        &mut self,
        x: NodeId,
        weight: ParamId,
        bias: Option<ParamId>,
        name: &str,
    ) -> Result<NodeId, GraphError> {
        self.push(
            Op::Linear(Linear {
                weight,
                bias,
                arithmetic: Arithmetic::F32,
                activation: None,
                residual: false,
                norm: None,
            }),
            &[x],
            name,
        )
    }

    /// Attention inside each sequence; queries, keys and values are `[tokens, heads × head_dim]`.
    ///
    /// # Errors
    /// If a width isn't `heads × head_dim`.
    pub fn attention(
        &mut self,
        name: &str,
        q: NodeId,
        k: NodeId,
        v: NodeId,
        spec: AttentionSpec,
    ) -> Result<NodeId, GraphError> {
        self.biased_attention(name, q, k, v, spec, None)
    }

    /// The same with a bias for the distance between query and key.
    ///
    /// # Errors
    /// As [`attention`](Self::attention), and if the table doesn't fit.
    pub fn biased_attention(
        &mut self,
        name: &str,
        q: NodeId,
        k: NodeId,
        v: NodeId,
        spec: AttentionSpec,
        bias: Option<DistanceBias<'_>>,
    ) -> Result<NodeId, GraphError> {
        for (what, node) in [("queries", q), ("keys", k), ("values", v)] {
            let width = self.shape(node).width;
            if spec.heads.checked_mul(spec.head_dim) != Some(width) {
                return Err(GraphError::Node {
                    node: name.to_owned(),
                    op: "attention",
                    what: format!("{what} of width {width}, expected {} heads × {}", spec.heads, spec.head_dim),
                });
            }
        }
        let bias = match bias {
            None => None,
            Some(DistanceBias::Window { distance, leading, reach }) => {
                Some(AttentionBias::Window { distance, leading, reach })
            }
            Some(DistanceBias::Buckets { name: tensor, rows, buckets, max_distance, reach }) => {
                let table = self.param(name, RowsOf::all(tensor, rows), Some(spec.heads))?;
                Some(AttentionBias::Buckets { table, buckets, max_distance, reach })
            }
            Some(DistanceBias::Content { table, norm, keys, queries, buckets, query_bias, segments, reach }) => {
                let (table, width) = match table {
                    TableOf::Learned { name: tensor, rows, width } => {
                        let table = self.param(name, RowsOf::all(tensor, rows), Some(width))?;
                        (DistanceTable::Learned(table), width)
                    }
                    TableOf::Sinusoids { width, furthest } => (DistanceTable::Sinusoids { width, furthest }, width),
                };
                let norm = norm.map(|norm| self.norm(name, norm, width)).transpose()?;
                let heads_width = spec.heads * spec.head_dim;
                let mut projection = |of: Option<ProjectionOf<'_>>| {
                    let Some(of) = of else { return Ok(None) };
                    let weight = match of.transposed {
                        true => self.transposed(name, of.weight, heads_width, width)?,
                        false => self.param(name, RowsOf::all(of.weight, heads_width), Some(width))?,
                    };
                    let bias =
                        of.bias.map(|bias| self.param(name, RowsOf::all(bias, heads_width), None)).transpose()?;
                    Ok(Some(Projection { weight, bias }))
                };
                let (keys, queries) = (projection(keys)?, projection(queries)?);
                let mut pair = |names: [&str; 2]| {
                    let [first, second] = names.map(|tensor| self.param(name, RowsOf::all(tensor, heads_width), None));
                    Ok([first?, second?])
                };
                let query_bias = query_bias.map(&mut pair).transpose()?;
                let segments = match segments {
                    Some(SegmentsOf { table, query_bias }) => {
                        let query_bias = pair(query_bias)?;
                        let table = self.param(name, RowsOf::all(table, 2), Some(heads_width))?;
                        Some(SegmentTerm { table, query_bias })
                    }
                    None => None,
                };
                Some(AttentionBias::Content { table, norm, keys, queries, buckets, query_bias, segments, reach })
            }
        };
        let op = Op::Attention(Attention { spec, columns: [0; 3], bias, lone: Select::Last });
        self.push(op, &[q, k, v], name)
    }

    fn norm(&mut self, node: &str, norm: NormOf<'_>, width: usize) -> Result<Norm, GraphError> {
        let gamma = self.param(node, RowsOf::all(norm.gamma, width), None)?;
        let beta = Some(self.param(node, RowsOf::all(norm.beta, width), None)?);
        Ok(Norm { gamma, beta, eps: norm.eps })
    }

    /// Layer norm of each row, with `gamma` and `beta` as wide as `x`.
    ///
    /// # Errors
    /// If a name is taken by a parameter of another shape, or `eps` isn't finite.
    pub fn layer_norm(&mut self, x: NodeId, gamma: &str, beta: &str, eps: f32) -> Result<NodeId, GraphError> {
        let name = module_of(gamma);
        let norm = self.norm(name, NormOf { gamma, beta, eps }, self.shape(x).width)?;
        self.push(Op::LayerNorm(norm), &[x], name)
    }

    /// Layer norm of each row that is scaled and not shifted.
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm).
    pub fn layer_norm_unshifted(&mut self, x: NodeId, gamma: &str, eps: f32) -> Result<NodeId, GraphError> {
        let name = module_of(gamma);
        let width = self.shape(x).width;
        let gamma = self.param(name, RowsOf::all(gamma, width), None)?;
        self.push(Op::LayerNorm(Norm { gamma, beta: None, eps }), &[x], name)
    }

    /// Each column multiplied with its `gamma`, and its `beta` added; both are as wide as `x`.
    ///
    /// # Errors
    /// If a name is taken by a parameter of another shape.
    pub fn affine(&mut self, x: NodeId, gamma: &str, beta: &str) -> Result<NodeId, GraphError> {
        let name = module_of(gamma);
        let width = self.shape(x).width;
        let [gamma, beta] = [gamma, beta].map(|tensor| self.param(name, RowsOf::all(tensor, width), None));
        self.push(Op::Affine(Affine { gamma: gamma?, beta: beta? }), &[x], name)
    }

    /// The rows of leading tokens from `lead`, all others from `x`. Where the first token alone leads, `lead` has one row for each sequence.
    ///
    /// # Errors
    /// If the shapes don't fit.
    pub fn lead(&mut self, lead: NodeId, x: NodeId, leading: Leading) -> Result<NodeId, GraphError> {
        let name = format!("{}.lead", self.graph.node(x).name);
        self.push(Op::Lead(leading), &[lead, x], &name)
    }

    /// The columns from `first` on.
    ///
    /// # Errors
    /// If `x` hasn't as many.
    pub fn columns(&mut self, x: NodeId, first: usize, width: usize) -> Result<NodeId, GraphError> {
        let name = format!("{}.columns", self.graph.node(x).name);
        self.push(Op::Columns { first, width }, &[x], &name)
    }

    /// The real part of the Fourier transform of each sequence, over tokens and columns.
    ///
    /// # Errors
    /// If `x` hasn't one row per token.
    pub fn fourier(&mut self, x: NodeId, name: &str) -> Result<NodeId, GraphError> {
        self.push(Op::Fourier, &[x], name)
    }

    /// Each token's row beside those of its neighbours.
    ///
    /// # Errors
    /// If `x` hasn't one row per token.
    pub fn neighbours(&mut self, x: NodeId, neighbours: Neighbours) -> Result<NodeId, GraphError> {
        let name = format!("{}.neighbours", self.graph.node(x).name);
        self.push(Op::Neighbours(neighbours), &[x], &name)
    }

    /// `a · b`, element by element.
    ///
    /// # Errors
    /// If their shapes differ.
    pub fn mul(&mut self, a: NodeId, b: NodeId) -> Result<NodeId, GraphError> {
        let name = format!("{}.mul", self.graph.node(a).name);
        self.push(Op::Mul, &[a, b], &name)
    }

    /// Rotary position embeddings of each head.
    ///
    /// # Errors
    /// If `x` hasn't one row per token, or heads don't divide its width.
    pub fn rotary(&mut self, x: NodeId, rotary: Rotary) -> Result<NodeId, GraphError> {
        let name = format!("{}.rotary", self.graph.node(x).name);
        self.push(Op::Rotary(rotary), &[x], &name)
    }

    /// `a + b`.
    ///
    /// # Errors
    /// If their shapes differ.
    pub fn add(&mut self, a: NodeId, b: NodeId) -> Result<NodeId, GraphError> {
        let name = format!("{}.add", self.graph.node(a).name);
        self.push(Op::Add, &[a, b], &name)
    }

    /// An activation function of each element.
    ///
    /// # Errors
    /// None today; the shape always fits.
    pub fn activation(&mut self, x: NodeId, activation: Activation) -> Result<NodeId, GraphError> {
        let name = format!("{}.activation", self.graph.node(x).name);
        self.push(Op::Activation(activation), &[x], &name)
    }

    /// One row per sequence, pooled from the rows of its tokens.
    ///
    /// # Errors
    /// If `x` hasn't one row per token.
    pub fn pool(&mut self, x: NodeId, kind: Pooling) -> Result<NodeId, GraphError> {
        let op = selection_of(kind).map_or(Op::Pool(kind), Op::Select);
        self.push(op, &[x], "pooling")
    }

    /// The row of each sequence's first token.
    ///
    /// # Errors
    /// If `x` hasn't one row per token.
    pub fn select_first(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.push(Op::Select(Select::First), &[x], "first_token")
    }

    /// The row of each sequence's last token.
    ///
    /// # Errors
    /// If `x` hasn't one row per token.
    pub fn select_last(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.push(Op::Select(Select::Last), &[x], "last_token")
    }

    /// Each row divided by its Euclidean norm.
    ///
    /// # Errors
    /// None today; the shape always fits.
    pub fn l2_normalize(&mut self, x: NodeId) -> Result<NodeId, GraphError> {
        self.push(Op::L2Normalize, &[x], "normalize")
    }

    /// Shape of a node of this builder.
    ///
    /// # Panics
    /// If the node is of another graph.
    pub fn shape(&self, node: NodeId) -> Shape {
        self.graph.node(node).shape
    }

    /// Makes a node a result, under a name.
    pub fn output(&mut self, name: impl Into<String>, node: NodeId) -> &mut Self {
        self.graph.outputs.push(Output { name: name.into(), node });
        self
    }

    /// The graph.
    ///
    /// # Errors
    /// If there is no output, or two share a name or a node.
    pub fn finish(self) -> Result<Graph, GraphError> {
        self.graph.verify()?;
        Ok(self.graph)
    }

    fn push(&mut self, op: Op, inputs: &[NodeId], name: &str) -> Result<NodeId, GraphError> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let shape = op.infer(&shapes, &self.graph.params).map_err(|what| GraphError::Node {
            node: name.to_owned(),
            op: op.kind(),
            what,
        })?;
        self.graph.nodes.push(Node { op, inputs: inputs.to_vec(), shape, name: name.to_owned() });
        Ok(NodeId(self.graph.nodes.len() - 1))
    }

    /// The parameter of these rows; the same rows are the same parameter.
    fn param(&mut self, node: &str, rows: RowsOf<'_>, width: Option<usize>) -> Result<ParamId, GraphError> {
        self.param_of_parts(node, &[rows], width)
    }

    fn param_of_parts(&mut self, node: &str, rows: &[RowsOf<'_>], width: Option<usize>) -> Result<ParamId, GraphError> {
        let error = |what| GraphError::Node { node: node.to_owned(), op: "parameter", what };
        if let Some(RowsOf { name, first, rows, of }) =
            rows.iter().find(|part| part.first.checked_add(part.rows).is_none_or(|end| end > part.of))
        {
            return Err(error(format!("rows {first}..+{rows} of {name}, which has {of}")));
        }
        let part = |rows: &RowsOf<'_>| Part {
            name: rows.name.to_owned(),
            first: rows.first,
            rows: rows.rows,
            of: rows.of,
            transposed: false,
            folded: self.folded.contains(rows.name),
        };
        self.known_or_new(node, Param { parts: rows.iter().map(part).collect(), width })
    }

    /// A parameter of `rows` rows that are stored as columns.
    fn transposed(&mut self, node: &str, tensor: &str, rows: usize, width: usize) -> Result<ParamId, GraphError> {
        let part = Part {
            name: tensor.to_owned(),
            first: 0,
            rows,
            of: rows,
            transposed: true,
            folded: self.folded.contains(tensor),
        };
        self.known_or_new(node, Param { parts: vec![part], width: Some(width) })
    }

    fn known_or_new(&mut self, node: &str, param: Param) -> Result<ParamId, GraphError> {
        let error = |what| GraphError::Node { node: node.to_owned(), op: "parameter", what };
        let Some(Part { name, of, transposed, .. }) = param.parts.first() else {
            return Err(error("it has no rows".to_owned()));
        };
        let known = self.by_name.entry(name.clone()).or_default();
        for &id in known.iter() {
            let other = &self.graph.params[id.0];
            if *other == param {
                return Ok(id);
            }
            let Part { of: other_of, transposed: other_transposed, .. } = other.parts[0];
            if (other.width, other_of, other_transposed) != (param.width, *of, *transposed) {
                return Err(error(format!("{name} is used as {other} and as {param}")));
            }
        }
        self.graph.params.push(param);
        let id = ParamId(self.graph.params.len() - 1);
        known.push(id);
        Ok(id)
    }
}

/// `a.b.weight` belongs to the module `a.b`.
fn module_of(tensor: &str) -> &str {
    tensor.rsplit_once('.').map_or(tensor, |(module, _)| module)
}
