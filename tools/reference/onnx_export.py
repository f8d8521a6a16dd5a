"""Export a BERT encoder to ONNX and check the file with ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

OPSET = 17


class Encoder(torch.nn.Module):
    def __init__(self, model: torch.nn.Module, pooler: bool):
        super().__init__()
        self.model, self.pooler = model, pooler

    def forward(self, input_ids, attention_mask, token_type_ids):
        # The additive mask is made here: transformers' own mask code doesn't trace to a plain graph.
        blocked = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        out = self.model(input_ids=input_ids, attention_mask=blocked, token_type_ids=token_type_ids)
        return (out.last_hidden_state, out.pooler_output) if self.pooler else out.last_hidden_state


def export(model: torch.nn.Module, path: Path, pooler: bool, vocab: int, types: int, longest: int) -> float:
    """Write `path` and return the greatest difference from PyTorch over padded batches."""
    wrapped = Encoder(model, pooler).eval()
    outputs = ["last_hidden_state"] + (["pooler_output"] if pooler else [])
    axes = {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask", "token_type_ids")}
    axes["last_hidden_state"] = {0: "batch", 1: "sequence"}
    if pooler:
        axes["pooler_output"] = {0: "batch"}
    inputs = batch(np.random.default_rng(5), [7, 4], vocab, types)
    with torch.inference_mode():
        torch.onnx.export(
            wrapped, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=outputs,
            dynamic_axes=axes, opset_version=OPSET, dynamo=False, do_constant_folding=True,
        )
    strip(path)
    onnx.checker.check_model(str(path))

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    rng = np.random.default_rng(6)
    for lengths in ([1], [3, 1, 5], [longest, 2, longest - 1]):
        inputs = batch(rng, lengths, vocab, types)
        found = session.run(outputs, {k: v.numpy() for k, v in inputs.items()})
        with torch.inference_mode():
            expected = wrapped(*inputs.values())
        expected = expected if pooler else (expected,)
        mask = inputs["attention_mask"].numpy().astype(bool)
        worst = max(worst, float(np.abs(found[0] - expected[0].numpy())[mask].max()))
        if pooler:
            worst = max(worst, float(np.abs(found[1] - expected[1].numpy()).max()))
    return worst


def strip(path: Path) -> None:
    """Drop what only a debugger reads: Python stack traces and the long scoped node names."""
    model = onnx.load(str(path))
    for i, node in enumerate(model.graph.node):
        node.ClearField("doc_string")
        node.name = f"{node.op_type}_{i}"
        del node.metadata_props[:]
    names: dict[str, str] = {}
    kept = {v.name for v in [*model.graph.input, *model.graph.output]} | {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        for field in (node.input, node.output):
            for i, name in enumerate(field):
                if name and name not in kept:
                    field[i] = names.setdefault(name, f"t{len(names)}")
    del model.graph.value_info[:]
    onnx.save(model, str(path))


def batch(rng: np.random.Generator, lengths: list[int], vocab: int, types: int) -> dict[str, torch.Tensor]:
    width = max(lengths)
    mask = np.array([[int(i < n) for i in range(width)] for n in lengths])
    return {
        "input_ids": torch.from_numpy(rng.integers(0, vocab, mask.shape) * mask),
        "attention_mask": torch.from_numpy(mask),
        "token_type_ids": torch.from_numpy(rng.integers(0, types, mask.shape) * mask),
    }
