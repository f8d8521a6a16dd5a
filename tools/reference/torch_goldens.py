"""tests/goldens/torch: one tiny BERT with a head in every file format that checkpoints come in.

`expected.safetensors` holds what each of the others must read as.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils.cpp_extension import load_inline

from encoder_goldens import ARCHITECTURES, build
from tiny_bert import write_json


# What tch's `VarStore::save` and `Tensor::save_multi` do through LibTorch; `load_inline` needs a C++ compiler and ninja.
SAVE_ARCHIVE = """
#include <torch/torch.h>

void save_archive(const std::vector<std::string>& names, const std::vector<torch::Tensor>& tensors, const std::string& path) {
    torch::serialize::OutputArchive archive;
    for (size_t i = 0; i < names.size(); i++) archive.write(names[i], tensors[i], /*is_buffer=*/false);
    archive.save_to(path);
}
"""


def write_rust_bert(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """`model.npz` and `rust_model.ot`, as rust-bert's converter makes the one of the state dict and the other of the first."""
    for name in ("npz", "npz-compressed", "ot"):
        (folder / name).mkdir()
    np.savez(folder / "npz/model.npz", **{n: np.ascontiguousarray(v.numpy()) for n, v in state.items()})
    one = {"bias": np.zeros(3, np.float32)}
    np.savez_compressed(folder / "npz-compressed/model.npz", **one)
    libtorch = load_inline("save_archive", SAVE_ARCHIVE, functions=["save_archive"])
    names = [n.replace(".", "|") for n in state]
    libtorch.save_archive(names, [v.clone().contiguous() for v in state.values()], str(folder / "ot/rust_model.ot"))


def write(out: Path) -> None:
    folder = out / "torch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    architecture = ARCHITECTURES[0]
    model = build(architecture, "fill-mask", 77)
    state = model.state_dict()

    def shard(names: list[str], extension: str) -> None:
        """Two files and their index."""
        half = len(names) // 2
        parts = {f"model-0000{i + 1}-of-00002.{extension}": part for i, part in enumerate((names[:half], names[half:]))}
        target = folder / f"sharded-{extension}"
        target.mkdir()
        for file, part in parts.items():
            values = {name: state[name].clone().contiguous() for name in part}
            save_file(values, target / file) if extension == "safetensors" else torch.save(values, target / file)
        index = {"safetensors": "model.safetensors.index.json", "bin": "pytorch_model.bin.index.json"}[extension]
        write_json(target / index, {"metadata": {"total_size": 1}, "weight_map": {n: f for f, part in parts.items() for n in part}})

    # Tied tensors share a storage, `_metadata` is an attribute of the dictionary, and one tensor is a part of another's storage.
    state["part"] = state["bert.embeddings.word_embeddings.weight"][3:5]
    (folder / "zip").mkdir()
    torch.save(state, folder / "zip/pytorch_model.bin")
    (folder / "legacy").mkdir()
    torch.save(state, folder / "legacy/pytorch_model.bin", _use_new_zipfile_serialization=False)
    (folder / "parameters").mkdir()
    torch.save({n: torch.nn.Parameter(v) if v.is_floating_point() else v for n, v in state.items()},
               folder / "parameters/pytorch_model.bin")
    (folder / "half").mkdir()
    halves = {n: v.to(torch.float16 if i % 2 else torch.bfloat16) if v.is_floating_point() else v
              for i, (n, v) in enumerate(sorted(state.items()))}
    torch.save(halves, folder / "half/pytorch_model.bin")
    save_file({n: v.clone().contiguous() for n, v in halves.items()}, folder / "half/expected.safetensors")
    save_file({n: v.clone().contiguous() for n, v in state.items()}, folder / "expected.safetensors")
    write_rust_bert(folder, state)
    del state["part"]
    names = sorted(state)
    shard(names, "safetensors")
    shard(names, "bin")
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
