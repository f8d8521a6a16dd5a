"""tests/goldens/bert: tiny BERTs, ragged batches, and what PyTorch makes of them."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import BertModel

from onnx_export import Encoder, export
from tiny_bert import Shape, build, save, write_folder

SHAPES = [
    Shape("h20-heads2-gelu", 20, 2, 37, 2, vocab=101, positions=130, seed=1, note="head size 10; 130 positions"),
    Shape("h36-heads3-gelu", 36, 3, 51, 1, vocab=89, positions=64, seed=2, eps=1e-5, note="head size 12; eps 1e-5"),
    Shape("h33-heads3-gelu", 33, 3, 37, 2, vocab=97, positions=37, seed=3, note="head size 11; odd hidden size"),
    Shape("h48-heads2-gelu-new", 48, 2, 37, 1, vocab=83, positions=41, act="gelu_new", seed=4,
          note="head size 24; tanh GELU"),
    Shape("h40-heads5-relu-types3", 40, 5, 45, 1, vocab=79, positions=41, act="relu", types=3, seed=5, eps=1e-6,
          note="head size 8; three token types; eps 1e-6"),
    Shape("h18-heads1-gelu-tanh", 18, 1, 83, 2, vocab=71, positions=40, act="gelu_pytorch_tanh", seed=6,
          note="head size 18; tanh GELU by its other name"),
    Shape("h64-heads1-gelu", 64, 1, 19, 1, vocab=67, positions=33, seed=7, eps=1e-3, note="head size 64; eps 1e-3"),
    Shape("h24-heads4-silu", 24, 4, 51, 2, vocab=101, positions=43, act="silu", seed=8, note="head size 6; SiLU"),
    Shape("h20-heads2-old-names", 20, 2, 37, 1, vocab=73, positions=40, seed=9, naming="old",
          note="LayerNorm.gamma and .beta, a position_ids buffer"),
    Shape("h28-heads4-prefixed", 28, 4, 39, 1, vocab=61, positions=45, seed=10, naming="prefixed",
          note="names start with bert.; pretraining heads that an encoder leaves unused"),
    Shape("h15-heads5-no-pooler", 15, 5, 23, 3, vocab=67, positions=50, seed=11, pooler=False,
          note="head size 3; no pooler tensors"),
]


def batches(shape: Shape) -> list[dict]:
    rng = np.random.default_rng(shape.seed + 100)

    def sequence(length: int, typed: bool) -> dict:
        ids = rng.integers(0, shape.vocab, length).tolist()
        return {"ids": ids} | ({"type_ids": rng.integers(0, shape.types, length).tolist()} if typed else {})

    longest = shape.positions
    return [
        {"name": "single", "sequences": [sequence(1, False)]},
        {"name": "ragged", "sequences": [sequence(n, False) for n in (1, 7, 3, longest, 17, 2)]},
        {"name": "typed", "sequences": [sequence(n, True) for n in (5, 13, 31)]},
    ]


def run(model: BertModel, sequence: dict) -> tuple[torch.Tensor, torch.Tensor | None]:
    ids = torch.tensor([sequence["ids"]])
    types = torch.tensor([sequence["type_ids"]]) if "type_ids" in sequence else None
    with torch.inference_mode():
        out = model(input_ids=ids, token_type_ids=types)
    return out.last_hidden_state[0], None if out.pooler_output is None else out.pooler_output[0]


def write(out: Path) -> None:
    rows = []
    for shape in SHAPES:
        folder = out / "bert" / shape.name
        model = build(shape)
        write_folder(folder, shape, model)

        cases, expected = batches(shape), {}
        for case in cases:
            states, pooled = zip(*(run(model, s) for s in case["sequences"]))
            lengths = [len(s) for s in states]
            expected[f"{case['name']}.last_hidden_state"] = torch.cat(states).contiguous()
            if shape.pooler:
                expected[f"{case['name']}.pooler_output"] = torch.stack(pooled).contiguous()
            expected[f"{case['name']}.cu_seqlens"] = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
        write_cases(folder / "cases.json", {"note": shape.note, "batches": cases})
        save(folder / "cases.safetensors", expected)

        check_loads(folder, shape, model, cases)
        worst = export(Encoder(model, shape.pooler), folder / "model.onnx", shape.vocab, shape.types, shape.positions)
        if worst > 1e-5:
            raise SystemExit(f"{shape.name}: ONNX Runtime differs from PyTorch by {worst}")
        spread = float(expected["ragged.last_hidden_state"].std())
        sharp = attention_sharpness(model, cases[1]["sequences"][4])
        rows.append(f"{shape.name}: hidden std {spread:.2f}, largest attention weight (mean) {sharp:.2f}, "
                    f"ONNX Runtime within {worst:.1e}")
    print("\n".join(rows))


def attention_sharpness(model: BertModel, sequence: dict) -> float:
    with torch.inference_mode():
        out = model(input_ids=torch.tensor([sequence["ids"]]), output_attentions=True)
    return float(torch.stack(out.attentions).max(-1).values.mean())


def check_loads(folder: Path, shape: Shape, model: BertModel, cases: list[dict]) -> None:
    """The folder must mean to transformers what was meant by it."""
    loaded = BertModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32,
                                       add_pooling_layer=shape.pooler).eval()
    for case in cases:
        for sequence in case["sequences"]:
            if not torch.equal(run(loaded, sequence)[0], run(model, sequence)[0]):
                raise SystemExit(f"{folder}: transformers reads other weights than were written")


def write_cases(path: Path, value: dict) -> None:
    """One sequence a line, so that a diff can be read."""
    lines = ["{", f'  "note": {json.dumps(value["note"])},', '  "batches": [']
    for i, case in enumerate(value["batches"]):
        lines.append(f'    {{"name": {json.dumps(case["name"])}, "sequences": [')
        lines += [f"      {json.dumps(s)}{',' if j + 1 < len(case['sequences']) else ''}"
                  for j, s in enumerate(case["sequences"])]
        lines.append("    ]}" + ("," if i + 1 < len(value["batches"]) else ""))
    lines += ["  ]", "}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
