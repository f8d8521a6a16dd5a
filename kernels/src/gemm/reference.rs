//! The same product, written so that it is plainly right.

use super::Epilogue;
use crate::{Activation, MatRef};

/// `act(lhs · weightᵀ + bias) + residual` with every sum in `f64`; `weight` is `[n, k]`, the result `[m, n]` without padding.
pub fn gemm(lhs: MatRef<'_>, weight: MatRef<'_>, epilogue: &Epilogue<'_>) -> Vec<f64> {
    let mut out = Vec::with_capacity(lhs.rows() * weight.rows());
    for i in 0..lhs.rows() {
        for j in 0..weight.rows() {
            let dot: f64 = lhs.row(i).iter().zip(weight.row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let biased = dot + epilogue.bias.map_or(0.0, |bias| f64::from(bias[j]));
            let activated = epilogue.activation.map_or(biased, |activation| activate(activation, biased));
            out.push(activated + epilogue.residual.map_or(0.0, |residual| f64::from(residual.row(i)[j])));
        }
    }
    out
}

fn activate(activation: Activation, x: f64) -> f64 {
    crate::activation::reference::apply(activation, x)
}
