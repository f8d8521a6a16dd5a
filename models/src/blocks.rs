//! Pieces that encoders share.

use loquat_runtime::{
    Activation, Arithmetic, AttentionSpec,
    graph::{GraphBuilder, GraphError, NodeId},
};

/// A linear layer with bias, `{module}.weight` and `{module}.bias`.
pub(crate) fn linear(builder: &mut GraphBuilder, x: NodeId, module: &str, width: usize) -> Result<NodeId, GraphError> {
    builder.linear(x, width, &format!("{module}.weight"), Some(&format!("{module}.bias")))
}

/// A layer norm, `{module}.weight` and `{module}.bias`.
pub(crate) fn layer_norm(builder: &mut GraphBuilder, x: NodeId, module: &str, eps: f32) -> Result<NodeId, GraphError> {
    builder.layer_norm(x, &format!("{module}.weight"), &format!("{module}.bias"), eps)
}

/// Self-attention with `1 / sqrt(head_dim)` as scale; `projections` are the modules of queries, keys and values.
pub(crate) fn self_attention(
    builder: &mut GraphBuilder,
    x: NodeId,
    name: &str,
    projections: [&str; 3],
    heads: usize,
) -> Result<NodeId, GraphError> {
    let width = builder.shape(x).width;
    let [q, k, v] = projections.map(|module| linear(builder, x, module, width));
    let head_dim = width / heads;
    let spec = AttentionSpec {
        heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        causal: false,
        arithmetic: Arithmetic::F32,
    };
    builder.attention(name, q?, k?, v?, spec)
}

/// Two linear layers with an activation between them.
pub(crate) fn feed_forward(
    builder: &mut GraphBuilder,
    x: NodeId,
    up: &str,
    down: &str,
    width: usize,
    activation: Activation,
) -> Result<NodeId, GraphError> {
    let hidden_size = builder.shape(x).width;
    let hidden = linear(builder, x, up, width)?;
    let hidden = builder.activation(hidden, activation)?;
    linear(builder, hidden, down, hidden_size)
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
