"""Int8 rows for a BERT encoder, chosen so that the model's outputs move least.

Rounding each weight to the nearest step ignores that inputs are correlated: an error in one
column can be undone in the next. Here the columns of a weight are rounded in turn, and each
column's error is carried into those not yet rounded, weighted by the inputs' second moments
over calibration texts (GPTQ, Frantar et al. 2022, written as Babai's nearest-plane method: with
H = R R^T and R upper triangular, the squared output error is |(W - Q) R|^2, and column c of
that product holds only the errors of columns 0..c).

Then the bias takes up what shift of the mean is left, layer by layer, so that errors of the
layers before don't add up in one direction.

Everything is float64 numpy: sums differ between machines by far less than what would move
a rounding, so the bytes can be reproduced.
"""

import math

import numpy as np

LEVELS = 127


def row_scales(rows: np.ndarray) -> np.ndarray:
    """Per row, the scale with the least squared rounding error.

    max|w| / 127 is not it: a row with one outlier would waste most of the range. A grid of clips is
    tried, each followed by the least-squares scale for the integers it gave.
    """
    peak = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12)
    best_error = np.full(peak.shape, np.inf)
    best_scale = peak / LEVELS
    for clip in np.arange(1.0, 0.58, -0.01):
        scale = peak * clip / LEVELS
        for _ in range(2):
            values = np.clip(np.rint(rows / scale), -LEVELS, LEVELS)
            error = np.square(values * scale - rows).sum(axis=1, keepdims=True)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_scale = np.where(better, scale, best_scale)
            energy = np.square(values).sum(axis=1, keepdims=True)
            scale = np.where(energy > 0, (values * rows).sum(axis=1, keepdims=True) / np.maximum(energy, 1), scale)
    # The file holds f32 scales, so the integers are chosen for those.
    return best_scale.astype(np.float32).astype(np.float64)


def nearest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales without calibration, for embedding tables."""
    rows = rows.astype(np.float64)
    scale = row_scales(rows)
    return np.clip(np.rint(rows / scale), -LEVELS, LEVELS), scale


def calibrated(rows: np.ndarray, inputs: np.ndarray, damping: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales of `rows` [out, in] for `inputs` [samples, in]."""
    scale = row_scales(rows)
    moment = inputs.T @ inputs / len(inputs)
    moment[np.diag_indices_from(moment)] += damping * np.trace(moment) / len(moment)
    # Columns that carry most energy first, while there are many left to take up their errors.
    order = np.argsort(-np.diag(moment), kind="stable")
    moment = moment[np.ix_(order, order)]
    # R R^T = H with R upper triangular: Cholesky of the reversed matrix, reversed.
    factor = np.ascontiguousarray(np.linalg.cholesky(moment[::-1, ::-1])[::-1, ::-1])
    weights = rows[:, order]
    carried = np.zeros_like(weights)
    values = np.empty_like(weights)
    block = 64
    for start in range(0, weights.shape[1], block):
        stop = min(start + block, weights.shape[1])
        errors = np.zeros((len(rows), stop - start))
        for c in range(start, stop):
            i = c - start
            taken = carried[:, c] + errors[:, :i] @ factor[start:c, c]
            target = weights[:, c] + taken / factor[c, c]
            values[:, c] = np.clip(np.rint(target / scale[:, 0]), -LEVELS, LEVELS)
            errors[:, i] = weights[:, c] - values[:, c] * scale[:, 0]
        carried[:, stop:] += errors @ factor[start:stop, stop:]
    unordered = np.empty_like(values)
    unordered[:, order] = values
    return unordered, scale


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + eps) * weight + bias


def gelu(x: np.ndarray) -> np.ndarray:
    """GELU with erf by Abramowitz and Stegun 7.1.26 (1.5e-7), plenty for statistics."""
    z = np.abs(x) / math.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.copysign(1.0 - poly * np.exp(-z * z), x)
    return 0.5 * x * (1.0 + erf)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, bounds: list[int]) -> np.ndarray:
    out = np.empty_like(q)
    width = q.shape[1] // heads
    for begin, end in zip(bounds, bounds[1:]):
        parts = [m[begin:end].reshape(end - begin, heads, width).transpose(1, 0, 2) for m in (q, k, v)]
        scores = parts[0] @ parts[1].transpose(0, 2, 1) / math.sqrt(width)
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        scores /= scores.sum(axis=2, keepdims=True)
        out[begin:end] = (scores @ parts[2]).transpose(1, 0, 2).reshape(end - begin, -1)
    return out


class Linear:
    """A linear layer in both streams: the original, and the one that is quantised as it goes."""

    def __init__(self, name: str, source: dict[str, np.ndarray], target: dict[str, np.ndarray]):
        self.name, self.source, self.target = name, source, target

    def __call__(self, original: np.ndarray, quantised: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = self.source[f"{self.name}.weight"].astype(np.float64)
        bias = self.source[f"{self.name}.bias"].astype(np.float64)
        values, scale = calibrated(weight, quantised)
        rounded = values * scale
        shifted = bias + weight @ original.mean(axis=0) - rounded @ quantised.mean(axis=0)
        shifted = shifted.astype(np.float32)
        self.target[f"{self.name}.weight"] = values.astype(np.int8)
        self.target[f"{self.name}.weight_scale"] = scale.astype(np.float32)
        self.target[f"{self.name}.bias"] = shifted
        return original @ weight.T + bias, quantised @ rounded.T + shifted.astype(np.float64)


def quantise_bert(source: dict[str, np.ndarray], config: dict, sequences: list[list[int]]) -> dict[str, np.ndarray]:
    """The tensors of the int8 model, calibrated on `sequences` of ids, type 0."""
    target = {name: tensor for name, tensor in source.items() if tensor.ndim != 2}
    # Two rows that are added to every token: their rounding would be one constant shift, and
    # they cost 3 KB as they are.
    types = "embeddings.token_type_embeddings.weight"
    target[types] = source[types]
    tables = {}
    for table in ("word_embeddings", "position_embeddings"):
        values, scale = nearest(source[f"embeddings.{table}.weight"])
        target[f"embeddings.{table}.weight"] = values.astype(np.int8)
        target[f"embeddings.{table}.weight_scale"] = scale.astype(np.float32)
        tables[table] = values * scale

    ids = np.concatenate([np.array(s) for s in sequences])
    positions = np.concatenate([np.arange(len(s)) for s in sequences])
    bounds = [0, *np.cumsum([len(s) for s in sequences]).tolist()]
    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]

    def norm(name: str, *streams: np.ndarray) -> tuple[np.ndarray, ...]:
        weight, bias = (source[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        return tuple(layer_norm(x, weight, bias, eps) for x in streams)

    original, quantised = norm(
        "embeddings.LayerNorm",
        source["embeddings.word_embeddings.weight"].astype(np.float64)[ids]
        + source["embeddings.position_embeddings.weight"][positions]
        + source[types][0],
        tables["word_embeddings"][ids] + tables["position_embeddings"][positions] + source[types][0],
    )
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        linear = lambda name, a, b: Linear(f"{prefix}.{name}", source, target)(a, b)
        q, k, v = (linear(f"attention.self.{part}", original, quantised) for part in ("query", "key", "value"))
        context = [attention(q[i], k[i], v[i], heads, bounds) for i in range(2)]
        mixed = linear("attention.output.dense", *context)
        original, quantised = norm(
            f"{prefix}.attention.output.LayerNorm", original + mixed[0], quantised + mixed[1]
        )
        wide = linear("intermediate.dense", original, quantised)
        narrow = linear("output.dense", gelu(wide[0]), gelu(wide[1]))
        original, quantised = norm(f"{prefix}.output.LayerNorm", original + narrow[0], quantised + narrow[1])
        drift = np.sqrt(np.square(original - quantised).mean() / np.square(original).mean())
        print(f"layer {layer}: relative error of the hidden states {drift:.5f}", flush=True)
    first = bounds[:-1]
    Linear("pooler.dense", source, target)(original[first], quantised[first])
    return target
