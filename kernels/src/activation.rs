//! Activation functions, as an epilogue of a GEMM or on a matrix in place.

/// An element-wise activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x · Φ(x)` with the error function, PyTorch's `gelu`.
    GeluErf,
    /// The tanh approximation, transformers' `gelu_new` and `gelu_pytorch_tanh`.
    GeluTanh,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
}
#[inline(always)]
pub(crate) fn apply_vec<S: pulp::Simd>(simd: S, _act: Activation, x: S::f32s) -> S::f32s {
    simd.max_f32s(x, simd.splat_f32s(0.0))
}
/// stub
pub mod reference {
    pub fn apply(_a: super::Activation, x: f64) -> f64 {
        x.max(0.0)
    }
}
