//! The operations, and the shape that each gives.

use loquat_kernels::{Activation, Arithmetic, AttentionSpec, gather::Select, neighbours::Order, pooling::Pooling};

use super::{Param, ParamId, Rows, Shape};

/// Tables that one embedding may sum. A run keeps them on the stack.
pub(crate) const MAX_TABLES: usize = 4;

/// Columns that a value may have: more than any vocabulary, and few enough that sums of widths never overflow.
const MAX_WIDTH: usize = 1 << 24;

/// An operation. The set is closed, so that every back end handles all of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Sum of rows of tables, one of each for every token, then an optional norm. No inputs.
    Embedding {
        /// The tables. They are added in this order.
        lookups: Vec<Lookup>,
        /// Layer norm of the sum.
        norm: Option<Norm>,
    },
    /// `norm(activation(x · weightᵀ + bias) + residual)`. Inputs: `x`, and the residual if there is one.
    Linear(Linear),
    /// Multi-head attention inside each sequence. Inputs: what holds the queries, the keys and the values, `[tokens, …]`; queries may
    /// also be one per sequence.
    Attention(Attention),
    /// Layer norm of each row. Input: `x`.
    LayerNorm(Norm),
    /// Layer norm of the sum of two values. Inputs: `a`, `b`.
    AddNorm(Norm),
    /// Sum of two values. Inputs: `a`, `b`.
    Add,
    /// Each column multiplied with a number of its own, and another one added. Input: `x`.
    Affine(Affine),
    /// The real part of the Fourier transform of each sequence's rows, over tokens and columns. Input: `x`, `[tokens, width]`.
    Fourier,
    /// The rows of leading tokens from one value, those of all others from another. Inputs: the first, `[tokens, width]`, or one row for each
    /// sequence if the first token alone leads; and the second, `[tokens, width]`.
    Lead(Leading),
    /// Some of the columns. Input: `x`.
    Columns {
        /// The first one.
        first: usize,
        /// How many.
        width: usize,
    },
    /// Each token's row beside those of its neighbours. Input: `x`, `[tokens, width]`.
    Neighbours(Neighbours),
    /// Product of two values, element by element. Inputs: `a`, `b`.
    Mul,
    /// Each head of each token turned by the token's position. Input: `x`, `[tokens, heads × head_dim]`.
    Rotary(Rotary),
    /// Activation of each element. Input: `x`.
    Activation(Activation),
    /// One row per sequence from its tokens' rows. Input: `x`, `[tokens, width]`.
    Pool(Pooling),
    /// One token's row of each sequence. Input: `x`, `[tokens, width]`.
    Select(Select),
    /// Each row divided by its Euclidean norm, or by 1e-12 where that is larger. Input: `x`.
    L2Normalize,
}

/// One table of an embedding, and what selects its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The table, `[rows, width]`.
    pub table: ParamId,
    /// What selects the row.
    pub index: Index,
}

/// What selects the row of an embedding table for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// The token's id.
    TokenIds,
    /// The token's type (segment) id.
    TypeIds,
    /// The token's position in its sequence, from 0.
    Positions,
    /// The padding token's id, and on top of it the token's place, from 1, among those of its sequence that aren't padding. A padding token
    /// has the id alone. RoBERTa counts so.
    PositionsPastPadding(u32),
}

impl Index {
    /// The padding token that positions are counted without.
    pub(crate) fn padding(self) -> Option<u32> {
        match self {
            Index::PositionsPastPadding(padding) => Some(padding),
            _ => None,
        }
    }
}

/// Parameters of a layer norm.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Scale, `[width]`.
    pub gamma: ParamId,
    /// Shift, `[width]`.
    pub beta: Option<ParamId>,
    /// Added to the variance.
    pub eps: f32,
}

/// Parameters of a norm that doesn't look at the values: MobileBERT's `NoNorm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affine {
    /// Scale, `[width]`.
    pub gamma: ParamId,
    /// Shift, `[width]`.
    pub beta: ParamId,
}

/// Which neighbours stand beside a token, as `offset` tokens behind it, or `-offset` before it. Beyond the ends of its sequence are zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// The offsets, 0 for the token itself.
    pub offsets: Vec<i32>,
    /// Which values are together.
    pub order: Order,
}

/// A linear layer and what is done to its result before it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: ParamId,
    /// `[out]`.
    pub bias: Option<ParamId>,
    /// How the product is computed.
    pub arithmetic: Arithmetic,
    /// Applied to the biased product.
    pub activation: Option<Activation>,
    /// Whether the second input is added, after the activation.
    pub residual: bool,
    /// Applied last.
    pub norm: Option<Norm>,
}

/// An attention, and where in its inputs the heads lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Heads, their size, scale and masking.
    pub spec: AttentionSpec,
    /// The first column of queries, keys and values in their inputs. Each takes `heads × head_dim` columns.
    pub columns: [usize; 3],
    /// What is added to the scores for the distance between query and key.
    pub bias: Option<AttentionBias>,
    /// Which token a query is, where there is one for each sequence.
    pub lone: Select,
}

/// What an attention adds to its scores for the distance between query and key.
#[derive(Clone, Debug, PartialEq)]
pub enum AttentionBias {
    /// A learned bias for each head and each range of distances, as T5 has it: short distances have a bucket each, longer ones share
    /// buckets whose sizes grow, and half of the buckets are for keys behind the query.
    Buckets {
        /// `[rows, heads]`, with a row for each bucket and maybe more.
        table: ParamId,
        /// How many buckets there are: an even number, 4 at least.
        buckets: usize,
        /// From this distance on all share the last bucket.
        max_distance: usize,
        /// The longest sequence has one token more than this.
        reach: usize,
    },
    /// Vectors for distances, made once from a table, that queries and keys are multiplied with before the scores are scaled: what DeBERTa calls
    /// disentangled attention.
    Content {
        /// The rows that the vectors are made of.
        table: DistanceTable,
        /// Layer norm of the table's rows.
        norm: Option<Norm>,
        /// What makes the vectors that queries are multiplied with.
        keys: Option<Projection>,
        /// What makes the vectors that keys are multiplied with.
        queries: Option<Projection>,
        /// Which distances share a row, if any do.
        buckets: Option<LogBuckets>,
        /// Two vectors of the queries' width: the first stands for the second in the queries that distances meet.
        query_bias: Option<[ParamId; 2]>,
        /// What segments add.
        segments: Option<SegmentTerm>,
        /// The longest sequence has one token more than this.
        reach: usize,
    },
    /// Nothing up to a distance, and minus infinity beyond it: a query sees its neighbours alone.
    Window {
        /// The largest distance that is seen.
        distance: usize,
        /// Tokens that are seen from everywhere.
        leading: Option<Leading>,
        /// The longest sequence has one token more than this.
        reach: usize,
    },
}

/// `[rows, width]`. Row `rows / 2 + d` is for a key `d` tokens before its query, or `-d` behind it; further ones share the outermost rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DistanceTable {
    /// Learned.
    Learned(ParamId),
    /// Sines and then cosines of the distance over powers of 10000.
    Sinusoids {
        /// Columns, an even number.
        width: usize,
        /// The furthest distance that has a row of its own.
        furthest: usize,
    },
}

/// Vectors that queries are multiplied with for keys of the same segment and for those of another, as XLNet has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentTerm {
    /// `[2, heads × head_dim]`.
    pub table: ParamId,
    /// As [`query_bias`](AttentionBias::Content::query_bias), for segments.
    pub query_bias: [ParamId; 2],
}

/// The first tokens of each sequence that a model treats apart: Longformer's, with global attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leading {
    /// The first one.
    First,
    /// Those before the first token of this id; none if there is no such token.
    Before(u32),
}

/// A linear layer that is applied to parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    /// `[out, in]`.
    pub weight: ParamId,
    /// `[out]`.
    pub bias: Option<ParamId>,
}

/// Distances up to half the number of buckets stand for themselves; further ones share buckets whose sizes grow, until `max_distance - 1` would
/// be one less than all buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBuckets {
    /// Buckets of either direction: an even number, 4 at least.
    pub buckets: usize,
    /// More than half the number of buckets, plus one.
    pub max_distance: usize,
}

/// Rotary position embeddings (Su et al., 2021), <https://arxiv.org/abs/2104.09864>: element `i` of the first half of a head and element
/// `i` of its second half are turned together by `position / theta^(2i / head_dim)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// Width of a head, an even number.
    pub head_dim: usize,
    /// The base of the angles.
    pub theta: f32,
    /// The longest sequence.
    pub positions: usize,
}

/// The selection that a pooling amounts to, if it is one.
pub(super) fn selection_of(kind: Pooling) -> Option<Select> {
    match kind {
        Pooling::Cls => Some(Select::First),
        Pooling::Last => Some(Select::Last),
        _ => None,
    }
}

impl Op {
    /// Its name in messages and dumps.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Embedding { .. } => "embedding",
            Op::Linear(_) => "linear",
            Op::Attention(_) => "attention",
            Op::LayerNorm(_) => "layer_norm",
            Op::AddNorm(_) => "add_norm",
            Op::Add => "add",
            Op::Affine(_) => "affine",
            Op::Fourier => "fourier",
            Op::Lead(_) => "lead",
            Op::Columns { .. } => "columns",
            Op::Neighbours(_) => "neighbours",
            Op::Mul => "mul",
            Op::Rotary(_) => "rotary",
            Op::Activation(_) => "activation",
            Op::Pool(_) => "pool",
            Op::Select(_) => "select",
            Op::L2Normalize => "l2_normalize",
        }
    }

    /// Which tokens it treats apart.
    pub(crate) fn leading(&self) -> Option<Leading> {
        match self {
            Op::Lead(leading) => Some(*leading),
            Op::Attention(Attention { bias: Some(AttentionBias::Window { leading, .. }), .. }) => *leading,
            _ => None,
        }
    }

    /// Whether row `i` of the result depends on row `i` of each input and on nothing else.
    pub(crate) fn is_row_wise(&self) -> bool {
        match self {
            Op::Linear(_)
            | Op::LayerNorm(_)
            | Op::AddNorm(_)
            | Op::Add
            | Op::Affine(_)
            | Op::Columns { .. }
            | Op::Mul
            | Op::Activation(_)
            | Op::L2Normalize => true,
            Op::Embedding { .. }
            | Op::Attention(_)
            | Op::Fourier
            | Op::Lead(_)
            | Op::Neighbours(_)
            | Op::Rotary(_)
            | Op::Pool(_)
            | Op::Select(_) => false,
        }
    }

    /// Which inputs the result may be written over, if nothing reads them afterwards.
    pub(crate) fn in_place_inputs(&self) -> &'static [usize] {
        match self {
            Op::LayerNorm(_) | Op::Affine(_) | Op::Activation(_) | Op::L2Normalize | Op::Rotary(_) => &[0],
            Op::AddNorm(_) | Op::Add | Op::Mul => &[0, 1],
            Op::Lead(_) => &[1],
            Op::Linear(_)
            | Op::Embedding { .. }
            | Op::Attention(_)
            | Op::Fourier
            | Op::Columns { .. }
            | Op::Neighbours(_)
            | Op::Pool(_)
            | Op::Select(_) => &[],
        }
    }

    pub(crate) fn for_each_param_mut(&mut self, mut f: impl FnMut(&mut ParamId)) {
        let norm_params = |norm: &mut Norm, f: &mut dyn FnMut(&mut ParamId)| {
            f(&mut norm.gamma);
            norm.beta.iter_mut().for_each(f);
        };
        match self {
            Op::Embedding { lookups, norm } => {
                lookups.iter_mut().for_each(|lookup| f(&mut lookup.table));
                norm.iter_mut().for_each(|norm| norm_params(norm, &mut f));
            }
            Op::Linear(linear) => {
                f(&mut linear.weight);
                linear.bias.iter_mut().for_each(&mut f);
                linear.norm.iter_mut().for_each(|norm| norm_params(norm, &mut f));
            }
            Op::LayerNorm(norm) | Op::AddNorm(norm) => norm_params(norm, &mut f),
            Op::Attention(Attention { bias: Some(AttentionBias::Buckets { table, .. }), .. }) => f(table),
            Op::Attention(Attention {
                bias: Some(AttentionBias::Content { table, norm, keys, queries, query_bias, segments, .. }),
                ..
            }) => {
                if let DistanceTable::Learned(table) = table {
                    f(table);
                }
                query_bias.iter_mut().flatten().for_each(&mut f);
                if let Some(SegmentTerm { table, query_bias }) = segments {
                    f(table);
                    query_bias.iter_mut().for_each(&mut f);
                }
                norm.iter_mut().for_each(|norm| norm_params(norm, &mut f));
                for projection in keys.iter_mut().chain(queries) {
                    f(&mut projection.weight);
                    projection.bias.iter_mut().for_each(&mut f);
                }
            }
            Op::Affine(Affine { gamma, beta }) => [gamma, beta].into_iter().for_each(f),
            Op::Attention(_)
            | Op::Add
            | Op::Fourier
            | Op::Lead(_)
            | Op::Columns { .. }
            | Op::Neighbours(_)
            | Op::Mul
            | Op::Rotary(_)
            | Op::Activation(_)
            | Op::Pool(_)
            | Op::Select(_)
            | Op::L2Normalize => {}
        }
    }

    /// The shape of the result, or what doesn't fit.
    pub(crate) fn infer(&self, inputs: &[Shape], params: &[Param]) -> Result<Shape, String> {
        let shape = self.shape(inputs, params)?;
        match shape.width {
            1..=MAX_WIDTH => Ok(shape),
            width => Err(format!("width of the result: expected 1 to {MAX_WIDTH}, found {width}")),
        }
    }

    fn shape(&self, inputs: &[Shape], params: &[Param]) -> Result<Shape, String> {
        let check = Check { inputs, params };
        match self {
            Op::Embedding { lookups, norm } => {
                check.count(0)?;
                let Some(first) = lookups.first() else { return Err("expected at least one table".into()) };
                if lookups.len() > MAX_TABLES {
                    return Err(format!("expected at most {MAX_TABLES} tables, found {}", lookups.len()));
                }
                let width = check.table(first.table)?;
                for lookup in lookups {
                    check.equal("width of a table", width, check.table(lookup.table)?)?;
                    check.equal("tensors of a table", 1, check.param(lookup.table)?.parts.len())?;
                }
                check.norm(norm.as_ref(), width)?;
                Ok(Shape { rows: Rows::Tokens, width })
            }
            Op::Linear(linear) => {
                check.count(1 + usize::from(linear.residual))?;
                let shape = Shape { width: check.rows_of(linear.weight)?, ..inputs[0] };
                check.equal("input width of the weight", inputs[0].width, check.table(linear.weight)?)?;
                if let Some(bias) = linear.bias {
                    check.vector("length of the bias", bias, shape.width)?;
                }
                if linear.residual {
                    check.same_shape(shape, inputs[1])?;
                }
                check.norm(linear.norm.as_ref(), shape.width)?;
                Ok(shape)
            }
            Op::Attention(attention) => check.attention(attention),
            Op::LayerNorm(norm) => {
                check.count(1)?;
                check.norm(Some(norm), inputs[0].width)?;
                Ok(inputs[0])
            }
            Op::AddNorm(norm) => {
                check.count(2)?;
                check.same_shape(inputs[0], inputs[1])?;
                check.norm(Some(norm), inputs[0].width)?;
                Ok(inputs[0])
            }
            Op::Add | Op::Mul => {
                check.count(2)?;
                check.same_shape(inputs[0], inputs[1])?;
                Ok(inputs[0])
            }
            Op::Activation(_) | Op::L2Normalize => {
                check.count(1)?;
                Ok(inputs[0])
            }
            Op::Affine(Affine { gamma, beta }) => {
                check.count(1)?;
                check.vector("length of the scale", *gamma, inputs[0].width)?;
                check.vector("length of the shift", *beta, inputs[0].width)?;
                Ok(inputs[0])
            }
            Op::Columns { first, width } => {
                check.count(1)?;
                if first.checked_add(*width).is_none_or(|end| end > inputs[0].width) {
                    return Err(format!("columns {first}..+{width} lie outside of width {}", inputs[0].width));
                }
                Ok(Shape { width: *width, ..inputs[0] })
            }
            Op::Lead(leading) => {
                check.count(2)?;
                check.tokens(inputs[1])?;
                let first = match leading {
                    Leading::First => Shape { rows: Rows::Sequences, ..inputs[1] },
                    Leading::Before(_) => inputs[1],
                };
                check.same_shape(first, inputs[0])?;
                Ok(inputs[1])
            }
            Op::Fourier => {
                check.count(1)?;
                check.tokens(inputs[0])?;
                Ok(inputs[0])
            }
            Op::Neighbours(neighbours) => {
                check.count(1)?;
                check.tokens(inputs[0])?;
                Ok(Shape { width: inputs[0].width.saturating_mul(neighbours.offsets.len()), ..inputs[0] })
            }
            Op::Rotary(rotary) => {
                check.count(1)?;
                check.tokens(inputs[0])?;
                let Rotary { head_dim, theta, positions } = *rotary;
                if head_dim == 0 || !head_dim.is_multiple_of(2) || !inputs[0].width.is_multiple_of(head_dim) {
                    return Err(format!(
                        "heads of {head_dim} in a width of {}, expected an even divisor",
                        inputs[0].width
                    ));
                }
                if !(theta.is_finite() && theta > 0.0) || positions > MAX_WIDTH {
                    return Err(format!("{positions} angles of base {theta} can't be made"));
                }
                Ok(inputs[0])
            }
            Op::Pool(_) | Op::Select(_) => {
                check.count(1)?;
                check.tokens(inputs[0])?;
                Ok(Shape { rows: Rows::Sequences, ..inputs[0] })
            }
        }
    }
}

/// Shape checks of one node.
struct Check<'a> {
    inputs: &'a [Shape],
    params: &'a [Param],
}

impl Check<'_> {
    fn count(&self, expected: usize) -> Result<(), String> {
        self.equal("number of inputs", expected, self.inputs.len())
    }

    fn equal(&self, what: &str, expected: usize, found: usize) -> Result<(), String> {
        if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected}, found {found}")) }
    }

    fn param(&self, id: ParamId) -> Result<&Param, String> {
        self.params.get(id.0).ok_or_else(|| format!("parameter number {} doesn't exist", id.0))
    }

    /// Width of a two-dimensional parameter.
    fn table(&self, id: ParamId) -> Result<usize, String> {
        self.param(id)?.width.ok_or_else(|| "expected a matrix, found a vector".to_owned())
    }

    fn rows_of(&self, id: ParamId) -> Result<usize, String> {
        Ok(self.param(id)?.rows())
    }

    fn vector(&self, what: &str, id: ParamId, len: usize) -> Result<(), String> {
        let param = self.param(id)?;
        if param.width.is_some() {
            return Err(format!("{what}: expected a vector, found a matrix"));
        }
        self.equal(what, len, param.rows())
    }

    fn norm(&self, norm: Option<&Norm>, width: usize) -> Result<(), String> {
        let Some(norm) = norm else { return Ok(()) };
        self.vector("length of the norm's scale", norm.gamma, width)?;
        if let Some(beta) = norm.beta {
            self.vector("length of the norm's shift", beta, width)?;
        }
        if norm.eps.is_finite() && norm.eps >= 0.0 {
            Ok(())
        } else {
            Err(format!("eps of the norm: expected a finite number from 0 up, found {}", norm.eps))
        }
    }

    fn same_shape(&self, a: Shape, b: Shape) -> Result<(), String> {
        if a == b { Ok(()) } else { Err(format!("expected a second value of shape {a}, found {b}")) }
    }

    fn tokens(&self, shape: Shape) -> Result<(), String> {
        match shape.rows {
            Rows::Tokens => Ok(()),
            rows => Err(format!("expected one row per token, found {rows}")),
        }
    }

    fn attention(&self, attention: &Attention) -> Result<Shape, String> {
        self.count(3)?;
        let spec = &attention.spec;
        let width = spec
            .heads
            .checked_mul(spec.head_dim)
            .filter(|&width| width > 0)
            .ok_or_else(|| format!("{} heads of {} make no width", spec.heads, spec.head_dim))?;
        for (name, (input, start)) in
            ["queries", "keys", "values"].iter().zip(self.inputs.iter().zip(attention.columns))
        {
            if start.checked_add(width).is_none_or(|end| end > input.width) {
                return Err(format!("{name}: columns {start}..+{width} lie outside of width {}", input.width));
            }
        }
        self.tokens(self.inputs[1])?;
        self.tokens(self.inputs[2])?;
        match &attention.bias {
            None => {}
            Some(AttentionBias::Window { reach, .. }) if *reach > MAX_WIDTH => {
                return Err(format!("distances up to {reach} are too many"));
            }
            Some(AttentionBias::Window { .. }) => {}
            Some(AttentionBias::Content { table, norm, keys, queries, buckets, query_bias, segments, reach }) => {
                let (table_width, rows) = match table {
                    DistanceTable::Learned(table) => (self.table(*table)?, self.rows_of(*table)?),
                    DistanceTable::Sinusoids { width, furthest } => {
                        if !width.is_multiple_of(2) || *width > MAX_WIDTH || *furthest > MAX_WIDTH {
                            return Err(format!("no sinusoids of width {width} for distances up to {furthest}"));
                        }
                        (*width, 2 * (furthest + 1))
                    }
                };
                for bias in query_bias.iter().flatten().chain(segments.iter().flat_map(|term| &term.query_bias)) {
                    self.vector("length of a bias of queries", *bias, width)?;
                }
                if query_bias.is_some() && keys.is_none() {
                    return Err("a bias of queries that no distances meet".to_owned());
                }
                if let Some(SegmentTerm { table, .. }) = segments {
                    self.equal("width of the vectors for segments", width, self.table(*table)?)?;
                    self.equal("vectors for segments", 2, self.rows_of(*table)?)?;
                }
                self.norm(norm.as_ref(), table_width)?;
                for projection in keys.iter().chain(queries) {
                    self.equal(
                        "input width of a projection of distances",
                        table_width,
                        self.table(projection.weight)?,
                    )?;
                    self.equal("width of the vectors for distances", width, self.rows_of(projection.weight)?)?;
                    if let Some(bias) = projection.bias {
                        self.vector("length of the bias of a projection", bias, width)?;
                    }
                }
                let fitting = |&LogBuckets { buckets, max_distance }: &LogBuckets| {
                    buckets >= 4 && buckets.is_multiple_of(2) && max_distance > buckets / 2 + 1
                };
                if !rows.is_multiple_of(2) || rows == 0 || !buckets.as_ref().is_none_or(fitting) || *reach > MAX_WIDTH {
                    return Err(format!("distances up to {reach} can't be put into {rows} rows, by {buckets:?}"));
                }
            }
            Some(AttentionBias::Buckets { table, buckets, max_distance, reach }) => {
                self.equal("width of the table of biases", spec.heads, self.table(*table)?)?;
                let rows = self.rows_of(*table)?;
                if !(*buckets >= 4 && buckets.is_multiple_of(2) && *buckets <= rows) {
                    return Err(format!("{buckets} buckets in a table of {rows}, expected an even number from 4 up"));
                }
                if *max_distance <= buckets / 4 || *reach > MAX_WIDTH {
                    return Err(format!("distances up to {max_distance} of {reach} can't be put into buckets"));
                }
            }
        }
        Ok(Shape { rows: self.inputs[0].rows, width })
    }
}
