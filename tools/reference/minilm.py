"""The real model as PyTorch sees it: the f32 folder, and the int8 asset dequantised."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

ROOT = Path(__file__).resolve().parents[2]
ASSET = ROOT / "assets" / "all-MiniLM-L6-v2-int8"
SENTENCES = ROOT / "tests" / "data" / "sentences.txt"
MULTILINGUAL = ROOT / "tests" / "data" / "multilingual.txt"


def load_f32(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"attn_implementation": "eager", "dtype": torch.float32}
    )


def dequantised(folder: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(folder / "model.safetensors")
    return {
        name: tensor.float() * tensors[f"{name}_scale"] if tensor.dtype == torch.int8 else tensor
        for name, tensor in tensors.items()
        if not name.endswith("weight_scale")
    }


def load_int8(f32_folder: Path, asset: Path = ASSET) -> SentenceTransformer:
    """The f32 model with the asset's weights: the same maths, so what differs is the weights alone."""
    model = load_f32(f32_folder)
    report = model[0].model.load_state_dict(dequantised(asset), strict=False)
    if report.unexpected_keys or set(report.missing_keys) - {"embeddings.position_ids"}:
        raise SystemExit(f"{asset}: {report}")
    return model


def encode(model: SentenceTransformer, texts: list[str]):
    """Each text alone, so that no padding enters the sums."""
    return model.encode(texts, batch_size=1, normalize_embeddings=True, show_progress_bar=False)
