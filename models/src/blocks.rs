//! Pieces that encoders share.

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec,
    graph::{DistanceBias, GraphBuilder, GraphError, NodeId},
};

/// A linear layer with bias, `{module}.weight` and `{module}.bias`.
pub(crate) fn linear(builder: &mut GraphBuilder, x: NodeId, module: &str, width: usize) -> Result<NodeId, GraphError> {
    builder.linear(x, width, &format!("{module}.weight"), Some(&format!("{module}.bias")))
}

/// A layer norm, `{module}.weight` and `{module}.bias`.
pub(crate) fn layer_norm(builder: &mut GraphBuilder, x: NodeId, module: &str, eps: f32) -> Result<NodeId, GraphError> {
    builder.layer_norm(x, &format!("{module}.weight"), &format!("{module}.bias"), eps)
}

/// The modules of a layer of the original transformer, by their full names.
#[derive(Clone, Debug)]
pub(crate) struct LayerModules {
    /// What the attention itself is called; it has no tensors.
    pub(crate) attention: String,
    pub(crate) query: String,
    pub(crate) key: String,
    pub(crate) value: String,
    /// The linear layer behind the attention.
    pub(crate) projection: String,
    pub(crate) attention_norm: String,
    /// The linear layers of the feed-forward block.
    pub(crate) up: String,
    pub(crate) down: String,
    pub(crate) norm: String,
}

impl LayerModules {
    /// Those of BERT and what came from it.
    pub(crate) fn bert(index: usize) -> LayerModules {
        let name = |module: &str| format!("encoder.layer.{index}.{module}");
        LayerModules {
            attention: name("attention.self"),
            query: name("attention.self.query"),
            key: name("attention.self.key"),
            value: name("attention.self.value"),
            projection: name("attention.output.dense"),
            attention_norm: name("attention.output.LayerNorm"),
            up: name("intermediate.dense"),
            down: name("output.dense"),
            norm: name("output.LayerNorm"),
        }
    }
}

/// Sizes of a layer of the original transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerSizes {
    pub(crate) heads: usize,
    /// Inner width of the feed-forward block.
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    pub(crate) eps: f32,
}

/// A layer of the original transformer: attention and feed-forward block, each added to its input and then normalised.
pub(crate) fn post_norm_layer(
    builder: &mut GraphBuilder,
    x: NodeId,
    modules: &LayerModules,
    sizes: &LayerSizes,
) -> Result<NodeId, GraphError> {
    biased_post_norm_layer(builder, x, modules, sizes, None)
}

/// The same with a bias for distances in its attention.
pub(crate) fn biased_post_norm_layer(
    builder: &mut GraphBuilder,
    x: NodeId,
    modules: &LayerModules,
    sizes: &LayerSizes,
    bias: Option<DistanceBias<'_>>,
) -> Result<NodeId, GraphError> {
    let attended = self_attention(builder, x, modules, sizes.heads, bias)?;
    rest_of_post_norm_layer(builder, x, attended, modules, sizes)
}

/// What follows the heads of the attention on `x`.
pub(crate) fn rest_of_post_norm_layer(
    builder: &mut GraphBuilder,
    x: NodeId,
    attended: NodeId,
    modules: &LayerModules,
    sizes: &LayerSizes,
) -> Result<NodeId, GraphError> {
    let hidden_size = builder.shape(x).width;
    let projected = linear(builder, attended, &modules.projection, hidden_size)?;
    let x = add_and_norm(builder, projected, x, &modules.attention_norm, sizes.eps)?;
    let inner = linear(builder, x, &modules.up, sizes.intermediate)?;
    let inner = builder.activation(inner, sizes.activation)?;
    let transformed = linear(builder, inner, &modules.down, hidden_size)?;
    add_and_norm(builder, transformed, x, &modules.norm, sizes.eps)
}

/// Self-attention with `1 / sqrt(head_dim)` as scale.
fn self_attention(
    builder: &mut GraphBuilder,
    x: NodeId,
    modules: &LayerModules,
    heads: usize,
    bias: Option<DistanceBias<'_>>,
) -> Result<NodeId, GraphError> {
    let width = builder.shape(x).width;
    let [q, k, v] = [&modules.query, &modules.key, &modules.value].map(|module| linear(builder, x, module, width));
    let head_dim = width / heads;
    let spec = AttentionSpec {
        heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        causal: false,
        arithmetic: Arithmetic::F32,
    };
    builder.biased_attention(&modules.attention, q?, k?, v?, spec, bias)
}

/// `norm(sublayer + x)`, the post-norm of the original transformer.
pub(crate) fn add_and_norm(
    builder: &mut GraphBuilder,
    sublayer: NodeId,
    x: NodeId,
    norm: &str,
    eps: f32,
) -> Result<NodeId, GraphError> {
    let sum = builder.add(sublayer, x)?;
    layer_norm(builder, sum, norm, eps)
}
