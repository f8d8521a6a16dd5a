"""PyTorch (LibTorch): float32 parameters, scaled-dot-product attention, inference mode."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import numpy as np

import protocol


class Torch:
    name = "PyTorch"

    def __init__(self, manifest: dict, threads: int):
        import torch
        from transformers import AutoModel

        self.torch, self.version = torch, torch.__version__
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        model = AutoModel.from_pretrained(manifest["model"], attn_implementation="sdpa", add_pooling_layer=False)
        self.model = model.float().eval()

    def load(self, sequences):
        return [
            (f"batch {size}", self.plan(protocol.batches(sequences, size), len(sequences)))
            for size in protocol.batch_sizes(sequences)
        ]

    def plan(self, batches, count):
        torch, model = self.torch, self.model
        # A batch of one length needs no mask, and attention without one is faster.
        inputs = [
            (batch.rows, torch.from_numpy(batch.ids), None if batch.uniform else torch.from_numpy(batch.mask))
            for batch in batches
        ]
        weights = [None if mask is None else mask.unsqueeze(-1).float() for _, _, mask in inputs]
        out = np.empty((count, model.config.hidden_size), dtype=np.float32)

        def embed(ids, mask, weight):
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            mean = hidden.mean(1) if mask is None else (hidden * weight).sum(1) / weight.sum(1)
            return torch.nn.functional.normalize(mean, dim=1).numpy()

        def run():
            with torch.inference_mode():
                parts = [(rows, embed(ids, mask, weight)) for (rows, ids, mask), weight in zip(inputs, weights)]
            return protocol.gather(parts, count, out)

        return run


protocol.serve(Torch)
