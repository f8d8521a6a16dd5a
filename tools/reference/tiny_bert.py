"""Small random BERTs of awkward shapes, as complete Hugging Face folders.

Weights are drawn so that nothing hides: attention is far from uniform, norms and biases are far from
1 and 0, and activations stay near 1 through the layers. A swapped head, a missing bias or a wrong
epsilon then shows in the first digits.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
WORDS = ["the", "and", "of", "to", "in", "it", "was", "ing", "cat", "sat", "on", "mat", "river", "stone", "42", ",", ".", "!", "?",
         "'", "-", "é", "中", "##ing", "##ed", "##er", "##s", "##ly", "##tion", "##est", "##un", "##able", "##0", "##1"]


def vocabulary(size: int) -> list[str]:
    """Special tokens, letters and their continuations, then words, to exactly `size` entries."""
    tokens = SPECIAL + LETTERS + [f"##{c}" for c in LETTERS] + WORDS
    tokens += [f"[unused{i}]" for i in range(max(0, size - len(tokens)))]
    return tokens[:size]


@dataclass
class Shape:
    name: str
    hidden: int
    heads: int
    intermediate: int
    layers: int
    vocab: int
    positions: int
    act: str = "gelu"
    types: int = 2
    eps: float = 1e-12
    seed: int = 0
    pooler: bool = True
    # How the file names its tensors: "plain", "old" (gamma and beta), "prefixed" (bert., with heads).
    naming: str = "plain"
    note: str = ""

    def config(self) -> dict:
        architecture = "BertForPreTraining" if self.naming == "prefixed" else "BertModel"
        return {
            "architectures": [architecture],
            "attention_probs_dropout_prob": 0.1,
            "hidden_act": self.act,
            "hidden_dropout_prob": 0.1,
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate,
            "layer_norm_eps": self.eps,
            "max_position_embeddings": self.positions,
            "model_type": "bert",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "pad_token_id": 0,
            "type_vocab_size": self.types,
            "vocab_size": self.vocab,
        }


def build(shape: Shape) -> BertModel:
    config = BertConfig(**{k: v for k, v in shape.config().items() if k not in ("architectures", "model_type")})
    config._attn_implementation = "eager"
    model = BertModel(config, add_pooling_layer=shape.pooler).float().eval()
    rng = np.random.default_rng(shape.seed)
    for name, parameter in sorted(model.named_parameters()):
        draw = rng.standard_normal(tuple(parameter.shape))
        if parameter.ndim == 2 and "embeddings" not in name:
            # Queries and keys a little larger: scores with a standard deviation near 1.7.
            gain = 1.3 if ".query." in name or ".key." in name else 1.0
            draw *= gain / np.sqrt(parameter.shape[1])
        elif name.endswith("LayerNorm.weight"):
            draw = 1.0 + 0.2 * draw
        elif parameter.ndim == 1:
            draw *= 0.2
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(draw.astype(np.float32)))
    return model


def tensors(shape: Shape, model: BertModel) -> dict[str, torch.Tensor]:
    """The state dict under the names that this folder's file uses."""
    state = {k: v.clone().contiguous() for k, v in model.state_dict().items() if k != "embeddings.position_ids"}
    if shape.naming == "old":
        state = {
            k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
            for k, v in state.items()
        }
        state["embeddings.position_ids"] = torch.arange(shape.positions).unsqueeze(0)
    elif shape.naming == "prefixed":
        state = {f"bert.{k}": v for k, v in state.items()}
        rng = np.random.default_rng(shape.seed + 1000)

        def draw(*dims: int) -> torch.Tensor:
            return torch.from_numpy(rng.standard_normal(dims).astype(np.float32))

        h, v = shape.hidden, shape.vocab
        state |= {
            "cls.predictions.bias": draw(v),
            "cls.predictions.transform.dense.weight": draw(h, h),
            "cls.predictions.transform.dense.bias": draw(h),
            "cls.predictions.transform.LayerNorm.weight": draw(h),
            "cls.predictions.transform.LayerNorm.bias": draw(h),
            "cls.seq_relationship.weight": draw(2, h),
            "cls.seq_relationship.bias": draw(2),
        }
    return state


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save(path: Path, values: dict[str, torch.Tensor]) -> None:
    save_file(values, path, metadata={"format": "pt"})
    path.chmod(0o644)


def write_folder(folder: Path, shape: Shape, model: BertModel) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", shape.config())
    (folder / "vocab.txt").write_text("".join(t + "\n" for t in vocabulary(shape.vocab)), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True,
                                                  "model_max_length": shape.positions})
    save(folder / "model.safetensors", tensors(shape, model))
