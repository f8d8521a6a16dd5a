//! Vector approximations of the elementary functions that transformers need.
//!
//! Each function maps one vector; all are branch-free, and `NaN` stays `NaN`. They multiply and add in one rounding where the
//! level can, so results differ in the last bits between levels, never between two places of the same level. Coefficients come
//! from `kernels/coefficients/fit.py`. The bounds given here are checked by sweeps over
//! the whole `f32` range, at every level.

use pulp::Simd;

/// `log2(e)`.
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// `ln(2)` in two parts. The first has 9 significant bits, so that its product with an exponent is exact (Cody and Waite).
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Added to a float below 2²² in size, it rounds the float to an integer and leaves that integer, plus the exponent bias of 127,
/// in the low bits of the sum.
const ROUND: f32 = 12_582_912.0 + 127.0;
/// `(eʳ - 1) / r ≈ 1 + r (c0 + r (c1 + …))` on `|r| <= ln(2) / 2`, relative error 1.4e-8.
const EXP_M1: [f32; 5] = [0.499_999_97, 0.166_665_45, 0.041_667_46, 0.008_366_432, 0.001_386_843_5];

/// `max(bound, x)`, but `NaN` where `x` is `NaN`.
#[inline(always)]
pub(crate) fn at_least<S: Simd>(simd: S, bound: f32, x: S::f32s) -> S::f32s {
    let bound = simd.splat_f32s(bound);
    if S::IS_SCALAR {
        // `f32::max` would drop a `NaN`.
        simd.select_f32s(simd.less_than_f32s(x, bound), bound, x)
    } else {
        // x86 gives the second operand if either is `NaN`, AArch64 gives `NaN`.
        simd.max_f32s(bound, x)
    }
}

/// `min(bound, x)`, but `NaN` where `x` is `NaN`.
#[inline(always)]
pub(crate) fn at_most<S: Simd>(simd: S, bound: f32, x: S::f32s) -> S::f32s {
    let bound = simd.splat_f32s(bound);
    if S::IS_SCALAR { simd.select_f32s(simd.less_than_f32s(bound, x), bound, x) } else { simd.min_f32s(bound, x) }
}

/// `|x|`. (`Simd::abs_f32s` isn't always inlined.)
#[inline(always)]
pub(crate) fn abs<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.and_f32s(x, simd.splat_f32s(f32::from_bits(0x7FFF_FFFF)))
}

/// The sign bit of `x` alone.
#[inline(always)]
fn sign<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.and_f32s(x, simd.splat_f32s(-0.0))
}

/// `x` as `n ln(2) + r` with `|r| <= ln(2) / 2`: gives `n` with the exponent bias in the low bits, `(eʳ - 1) / r` and `r`.
#[inline(always)]
fn reduce<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s, S::f32s) {
    let round = simd.splat_f32s(ROUND);
    let biased = simd.mul_add_e_f32s(x, simd.splat_f32s(LOG2_E), round);
    let n = simd.sub_f32s(biased, round);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut poly = simd.splat_f32s(EXP_M1[4]);
    for c in [EXP_M1[3], EXP_M1[2], EXP_M1[1], EXP_M1[0], 1.0] {
        poly = simd.mul_add_e_f32s(poly, r, simd.splat_f32s(c));
    }
    (biased, poly, r)
}

/// `2ⁿ` from a sum with [`ROUND`], for `-127 <= n <= 127`; zero for -127.
#[inline(always)]
fn power_of_two<S: Simd>(simd: S, biased: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(biased);
    simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23)))
}

/// `eˣ` for `x <= 88`, within 1 ULP (1.25 without FMA); exactly 0 for `x < -87.7`, negative infinity included.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // At the bound n is -127, for which the power of two is 0.
    let (biased, poly, r) = reduce(simd, at_least(simd, -88.0, x));
    let e = simd.mul_add_e_f32s(poly, r, simd.splat_f32s(1.0));
    simd.mul_f32s(e, power_of_two(simd, biased))
}

/// `tanh(x)`, within 3 ULP.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // With m = e^(-2|x|) - 1, which keeps its relative accuracy near 0: tanh |x| = -m / (2 + m).
    let doubled = simd.mul_f32s(abs(simd, x), simd.splat_f32s(-2.0));
    let (biased, poly, r) = reduce(simd, at_least(simd, -88.0, doubled));
    let scale = power_of_two(simd, biased);
    let rest = simd.sub_f32s(scale, simd.splat_f32s(1.0));
    let m = simd.mul_add_e_f32s(scale, simd.mul_f32s(poly, r), rest);
    let positive = simd.div_f32s(m, simd.add_f32s(simd.splat_f32s(2.0), m));
    // `positive` is negative (or -0) here: flip its sign where x is not.
    simd.xor_f32s(positive, simd.xor_f32s(sign(simd, x), simd.splat_f32s(-0.0)))
}

/// `1 / (1 + e⁻ˣ)`, within 3 ULP; exactly 0 for `x < -87.7`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // With e = e^-|x|, which can't overflow: 1 / (1 + e) for positive x, e / (1 + e) for negative.
    let e = exp(simd, simd.or_f32s(x, simd.splat_f32s(-0.0)));
    let one = simd.splat_f32s(1.0);
    let numerator = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), e, one);
    simd.div_f32s(numerator, simd.add_f32s(one, e))
}

/// `(2 Φ(-a))^¼ ≈ 1 + a (c0 + a (c1 + …))` on `0 <= a <= 7`, zero at 7.
const GELU: [f32; 11] = [
    -0.199_471_16,
    -0.059_681_244,
    0.005_454_336,
    0.004_690_420_3,
    -0.000_265_891_08,
    -0.000_198_797_47,
    -6.019_185e-6,
    1.670_294_5e-5,
    -3.323_614_7e-6,
    2.779_753_7e-7,
    -8.945_471e-9,
];

/// `x Φ(x)`, PyTorch's `gelu`: within 4 ULP for positive `x`; for negative `x` within 1e-7 and 1e-6 of the result, whichever is more.
///
/// `gelu(x) = max(x, 0) - a Φ(-a)` with `a = |x|`, which has no cancellation for negative `x`, where `x (1 + erf(x / √2)) / 2`
/// has. `Φ(-a)` falls too steeply for a polynomial, but its fourth root is smooth enough for one of degree 11: no division, no
/// exponential, 18 operations in all. (Abramowitz and Stegun, 26.2.19, take the inverse sixteenth root.)
#[inline(always)]
pub(crate) fn gelu_erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let a = at_most(simd, 7.0, abs(simd, x));
    let mut root = simd.splat_f32s(GELU[10]);
    for c in [GELU[9], GELU[8], GELU[7], GELU[6], GELU[5], GELU[4], GELU[3], GELU[2], GELU[1], GELU[0], 1.0] {
        root = simd.mul_add_e_f32s(root, a, simd.splat_f32s(c));
    }
    let squared = simd.mul_f32s(root, root);
    let doubled_tail = simd.mul_f32s(squared, squared);
    let minus_half_a = simd.mul_f32s(a, simd.splat_f32s(-0.5));
    simd.mul_add_e_f32s(minus_half_a, doubled_tail, at_least(simd, 0.0, x))
}

/// `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`, within 1e-6 of the result down to `x = -3`, within 2e-5 below.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// `2 √(2/π)`: (1 + tanh(z)) / 2 is sigmoid(2 z).
    const LINEAR: f32 = 1.595_769_2;
    const CUBIC: f32 = LINEAR * 0.044_715;
    // Below the bound the result is 0; there, -∞ · 0 would not be.
    let x = at_least(simd, -20.0, x);
    let inner = simd.mul_add_e_f32s(simd.mul_f32s(x, x), simd.splat_f32s(CUBIC), simd.splat_f32s(LINEAR));
    simd.mul_f32s(x, sigmoid(simd, simd.mul_f32s(x, inner)))
}

/// `x sigmoid(x)`, within 4 ULP; 0 for `x < -87.7`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Below the bound the result is 0; there, -∞ · 0 would not be.
    let x = at_least(simd, -100.0, x);
    simd.mul_f32s(x, sigmoid(simd, x))
}

#[cfg(test)]
mod tests;
