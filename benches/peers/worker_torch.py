"""PyTorch (LibTorch): scaled-dot-product attention, inference mode; int8 is its dynamic quantisation of linear layers."""

import os
from functools import partial

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import numpy as np

import protocol


class Torch:
    name = "PyTorch"

    def __init__(self, manifest: dict, threads: int, precision: str):
        import torch

        self.torch, self.version = torch, torch.__version__.split("+")[0]
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        model = protocol.encoder(manifest["model"], "sdpa")
        model = (model.bfloat16() if precision == "bf16" else model.float()).eval()
        if precision == "int8":
            from torch.ao.quantization import quantize_dynamic

            model = quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
        self.model = embedder(torch, model)
        self.dtype = model.dtype
        self.dim = model.config.hidden_size

    def strategies(self, sequences):
        # Tracing takes Python out of the run, which is LibTorch as a C++ program would use it.
        return [
            (f"{variant}, batch {size}", partial(self.plan, sequences, size, variant))
            for variant in ("eager", "traced")
            for size in protocol.batch_sizes(sequences)
        ]

    def plan(self, sequences, size, variant):
        torch, count = self.torch, len(sequences)
        batches = protocol.batches(sequences, size)
        inputs = [(batch.rows, self.tensors(batch)) for batch in batches]
        out = np.empty((count, self.dim), dtype=np.float32)
        models = {}
        for _, tensors in inputs:
            if len(tensors) not in models:
                models[len(tensors)] = self.model if variant == "eager" else self.trace(tensors)

        def run():
            with torch.inference_mode():
                parts = [(rows, models[len(tensors)](*tensors).float().numpy()) for rows, tensors in inputs]
            return protocol.gather(parts, count, out)

        return run

    def tensors(self, batch):
        """A batch of one length needs no mask, and attention without one is faster."""
        ids = self.torch.from_numpy(batch.ids)
        if batch.uniform:
            return (ids,)
        mask = self.torch.from_numpy(batch.mask)
        return ids, mask, mask.unsqueeze(-1).to(self.dtype)

    def trace(self, tensors):
        with self.torch.inference_mode():
            return self.torch.jit.freeze(self.torch.jit.trace(self.model, tensors, check_trace=False))


def embedder(torch, encoder):
    class Embedder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, ids, mask=None, weight=None):
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            mean = hidden.mean(1) if mask is None else (hidden * weight).sum(1) / weight.sum(1)
            return torch.nn.functional.normalize(mean, dim=1)

    return Embedder().eval()


protocol.serve(Torch)
