#!/usr/bin/env python3
"""Fits the polynomials of kernels/src/math.rs and prints their coefficients.

    pip install numpy==2.4.6 scipy==1.17.1
    python3 kernels/coefficients/fit.py

Each is the minimax polynomial for a weighted error (Lawson's algorithm: least squares with weights that grow where the error is
large), with coefficients rounded to f32 one by one, from the most significant on, the rest fitted again after each.
"""

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from scipy.special import log_ndtr

POINTS = 6000
ROUNDS = 200


def lawson(basis, target, tolerance):
    """The combination of basis columns with the least largest error, in units of the tolerance."""
    weights = np.ones(len(target))
    best = (np.inf, np.zeros(basis.shape[1]))
    for _ in range(ROUNDS):
        scale = np.sqrt(weights) / tolerance
        solution, *_ = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)
        error = np.abs((basis @ solution - target) / tolerance)
        worst = error.max()
        if worst < best[0]:
            best = (worst, solution)
        weights *= error / worst + 1e-9
        weights /= weights.sum()
    return best


def in_powers(coefficients, low, high):
    """A Chebyshev series on low .. high as a polynomial."""
    line = [-(high + low) / (high - low), 2 / (high - low)]
    result = np.zeros(1)
    for c in chebyshev.cheb2poly(coefficients)[::-1]:
        result = polynomial.polyadd(polynomial.polymul(result, line), [c])
    return result


def fit(low, high, target, tolerance, terms, root=None):
    """f32 coefficients c of 1 + c[0] x + c[1] x² + …, which is 0 at `root` if one is given."""
    t = np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    x = (t * (high - low) + high + low) / 2
    values, allowed = target(x), tolerance(x)
    fixed = []
    worst = 0.0
    while len(fixed) < terms:
        known = len(fixed)
        powers = lambda at: 1 + sum(c * at ** (i + 1) for i, c in enumerate(fixed))
        basis = chebyshev.chebvander(t, terms - known - 1) * (x ** (known + 1))[:, None]
        rest = values - powers(x)
        if root is None:
            worst, solution = lawson(basis, rest, allowed)
        else:
            # The root is one equation: it gives the first unknown in terms of the others.
            at_root = chebyshev.chebvander(np.array([(2 * root - high - low) / (high - low)]), terms - known - 1)[0]
            at_root = at_root * root ** (known + 1)
            first, needed = basis[:, 0], -powers(root) / at_root[0]
            if terms - known > 1:
                others = basis[:, 1:] - np.outer(first, at_root[1:] / at_root[0])
                worst, solution = lawson(others, rest - first * needed, allowed)
                solution = np.concatenate([[needed - solution @ at_root[1:] / at_root[0]], solution])
            else:
                worst, solution = np.abs((first * needed - rest) / allowed).max(), np.array([needed])
        fixed.append(float(np.float32(in_powers(solution, low, high)[0])))
    return fixed, worst


def show(name, fitted):
    coefficients, worst = fitted
    print(f"{name}: largest error {worst:.2e}")
    for c in coefficients:
        print(f"    {str(np.float32(c))},")


def exp():
    """(eʳ - 1) / r, relative error; a little beyond ln(2) / 2, since the reduction rounds."""
    bound = np.log(2) / 2 * 1.002

    def target(r):
        series = 1 + r / 2 + r**2 / 6 + r**3 / 24 + r**4 / 120
        return np.where(np.abs(r) < 1e-3, series, np.expm1(r) / np.where(r == 0, 1, r))

    show("EXP_M1", fit(-bound, bound, target, target, 5))


def gelu():
    """The fourth root of 2 Φ(-a). The error of a Φ(-a) counts: relative to it, or to 0.01 where it is smaller."""
    end = 7.0

    def target(a):
        return np.exp((log_ndtr(-a) + np.log(2)) / 4)

    def tolerance(a):
        root = target(a)
        slope = 2 * a * root**3
        return np.minimum(np.maximum(root / 4, 0.01 / np.maximum(slope, 1e-300)), 3e4)

    show("GELU", fit(0.0, end, target, tolerance, 11, root=end))


exp()
gelu()
