//! Activation functions, as an epilogue of a GEMM or on a matrix in place.

use pulp::{Simd, WithSimd};

use crate::{Cpu, Exec, MatMut, math, row, view::SharedMat};

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

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 6] = [
        Activation::Relu,
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Tanh,
        Activation::Sigmoid,
    ];
}

/// `activation` of one vector. `NaN` stays `NaN`; infinities give the limits.
#[inline(always)]
pub(crate) fn apply_vec<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> S::f32s {
    match activation {
        Activation::Relu => math::at_least(simd, 0.0, x),
        Activation::GeluErf => math::gelu_erf(simd, x),
        Activation::GeluTanh => math::gelu_tanh(simd, x),
        Activation::Silu => math::silu(simd, x),
        Activation::Tanh => math::tanh(simd, x),
        Activation::Sigmoid => math::sigmoid(simd, x),
    }
}

/// Replaces every element of `x` by `activation` of it.
///
/// ```
/// use loquat_kernels::{Activation, Cpu, Exec, MatMut, activation};
///
/// let mut x = [-1.0, 0.0, 2.0];
/// activation::apply(&Cpu::detect()?, Exec::Serial, Activation::Relu, MatMut::new(&mut x, 1, 3, 3)?);
/// assert_eq!(x, [0.0, 0.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn apply(cpu: &Cpu, exec: Exec<'_>, activation: Activation, x: MatMut<'_>) {
    let (rows, cols) = (x.rows(), x.cols());
    let x = x.shared();
    exec.for_each_block(rows, row::rows_per_block(cols), &|_, start, len| {
        cpu.arch().dispatch(Apply { activation, x, start, len });
    });
}

struct Apply<'a> {
    activation: Activation,
    x: SharedMat<'a>,
    start: usize,
    len: usize,
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: `for_each_block` hands out every row once.
        let mut block = unsafe { self.x.rows_mut(self.start, self.len) };
        for i in 0..self.len {
            let row = block.row_mut(i);
            // One loop per activation, so that the choice isn't made again for each vector.
            macro_rules! by_activation {
                ($($variant:ident)*) => {
                    match self.activation {
                        $(Activation::$variant => row::map::<S>(
                            row,
                            #[inline(always)]
                            |x| apply_vec(simd, Activation::$variant, x),
                        ),)*
                    }
                };
            }
            by_activation!(Relu GeluErf GeluTanh Silu Tanh Sigmoid);
        }
    }
}

/// The same functions by their definitions, in `f64`.
pub mod reference {
    use super::Activation;

    /// `activation` of `x`.
    pub fn apply(activation: Activation, x: f64) -> f64 {
        match activation {
            // Unlike `f64::max`, keeps a `NaN`.
            Activation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            // As the limits have it: -∞ · 0 would be `NaN`.
            Activation::GeluErf | Activation::GeluTanh | Activation::Silu if x == f64::NEG_INFINITY => 0.0,
            // `erfc` rather than `1 + erf`, which cancels.
            Activation::GeluErf => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                // (1 + tanh(z)) / 2 is 1 / (1 + e^(-2z)), which doesn't cancel.
                x / (1.0 + (-2.0 * inner).exp())
            }
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }
}

#[cfg(test)]
mod tests;
