"""Export an encoder to ONNX, with a head or without, and check the file with ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

OPSET = 17

# The free dimensions of outputs with a row a token, and with a row a sequence.
TOKENS = {0: "batch", 1: "sequence"}
SEQUENCES = {0: "batch"}


class Encoder(torch.nn.Module):
    """A BERT without a head."""

    def __init__(self, model: torch.nn.Module, pooler: bool):
        super().__init__()
        self.model = model
        self.outputs = {"last_hidden_state": TOKENS} | ({"pooler_output": SEQUENCES} if pooler else {})

    def forward(self, input_ids, attention_mask, token_type_ids):
        # The additive mask is made here: what the model makes of a mask of ones and zeros depends on how it was traced.
        blocked = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        out = self.model(input_ids=input_ids, attention_mask=blocked, token_type_ids=token_type_ids)
        return tuple(out[name] for name in self.outputs)


class Headed(torch.nn.Module):
    """A model of any architecture with its head; `outputs` names those that it gives, with their free dimensions."""

    def __init__(self, model: torch.nn.Module, outputs: dict[str, dict[int, str]], typed: bool):
        super().__init__()
        self.model, self.outputs, self.typed = model, outputs, typed

    def forward(self, input_ids, attention_mask, token_type_ids):
        types = {"token_type_ids": token_type_ids} if self.typed else {}
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        return tuple(out[name] for name in self.outputs)


def export(model: Encoder | Headed, path: Path, vocab: int, types: int, longest: int) -> float:
    """Write `path` and return the greatest difference from PyTorch over padded batches."""
    model = model.eval()
    outputs = list(model.outputs)
    axes = {name: TOKENS for name in ("input_ids", "attention_mask", "token_type_ids")} | model.outputs
    inputs = batch(np.random.default_rng(5), [7, 4], vocab, types)
    with torch.inference_mode():
        torch.onnx.export(
            model, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=outputs,
            dynamic_axes=axes, opset_version=OPSET, dynamo=False, do_constant_folding=True,
        )
    strip(path)
    onnx.checker.check_model(str(path))

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # An export leaves out inputs that its graph doesn't read.
    read = [given.name for given in session.get_inputs()]
    worst = 0.0
    rng = np.random.default_rng(6)
    for lengths in ([1], [3, 1, 5], [longest, 2, longest - 1]):
        inputs = batch(rng, lengths, vocab, types)
        found = session.run(outputs, {name: inputs[name].numpy() for name in read})
        with torch.inference_mode():
            expected = model(*inputs.values())
        mask = inputs["attention_mask"].numpy().astype(bool)
        for name, mine, theirs in zip(outputs, found, expected):
            rows = mask if model.outputs[name] is TOKENS else slice(None)
            worst = max(worst, float(np.abs(mine - theirs.numpy())[rows].max()))
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
