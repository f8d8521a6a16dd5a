"""Load a folder that `loquat quantize` wrote with transformers and compressed-tensors, and compare.

Both must agree on what the folder's weights stand for: the hidden states of a few token ids, computed by transformers
from the decompressed weights in f32, against those of `loquat forward --precision f32`.

Needs torch, transformers and compressed-tensors (tried: 2.15, 5.23, 0.20).

    loquat quantize MODEL --to int4 --out FOLDER
    python tools/reference/quantized_folder.py FOLDER --loquat target/release/loquat
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from compressed_tensors.quantization import QuantizationConfig
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

IDS = [[101, 7592, 2088, 102], [101, 1996, 4937, 2938, 2006, 1996, 13523, 102]]
TOLERANCE = 1e-4


def decompressed(folder: Path, group: int) -> dict[str, torch.Tensor]:
    """The weights as compressed-tensors reads them; `group` values of a packed row share a scale."""
    stored = load_file(folder / "model.safetensors")
    weights = {}
    for name, tensor in stored.items():
        if name.endswith(("_scale", "_shape")):
            continue
        if name.endswith("_packed"):
            name = name.removesuffix("_packed")
            tensor = unpack_from_int32(tensor, 4, torch.Size(stored[f"{name}_shape"].tolist()))
        scale = stored.get(f"{name}_scale")
        tensor = tensor.float()
        if scale is not None:
            share = group if scale.shape[1] > 1 else tensor.shape[1]
            tensor = tensor * scale.float().repeat_interleave(share, dim=1)[:, : tensor.shape[1]]
        weights[name] = tensor
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--loquat", default="loquat")
    args = parser.parse_args()

    config = AutoConfig.from_pretrained(args.folder)
    quantization = QuantizationConfig.model_validate(config.__dict__.pop("quantization_config"))
    groups = [group.weights.group_size for group in quantization.config_groups.values() if group.weights.group_size]
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    missing, unexpected = model.load_state_dict(decompressed(args.folder, (groups or [0])[0]), strict=False)
    if missing or [name for name in unexpected if "position_ids" not in name]:
        sys.exit(f"missing {missing}, unexpected {unexpected}")

    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "outputs.safetensors"
        command = [args.loquat, "forward", "--model", str(args.folder), "--input-ids", json.dumps(IDS)]
        subprocess.run([*command, "--precision", "f32", "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
        found = load_file(out)
    worst = 0.0
    for index, ids in enumerate(IDS):
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        begin, end = found["cu_seqlens"][index : index + 2].tolist()
        worst = max(worst, (expected - found["last_hidden_state"][begin:end]).abs().max().item())
    print(f"largest difference of a hidden state: {worst:.2e}")
    if not worst <= TOLERANCE:
        sys.exit(f"expected at most {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
