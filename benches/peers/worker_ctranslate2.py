"""CTranslate2's `Encoder`. It returns hidden states, so pooling and normalising are NumPy's here."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

import protocol


class CTranslate2:
    name = "CTranslate2"

    def __init__(self, manifest: dict, threads: int, precision: str):
        import ctranslate2

        self.ctranslate2, self.version, self.threads = ctranslate2, ctranslate2.__version__, threads
        self.folder = manifest["ctranslate2"]
        self.compute_type = {"f32": "float32", "bf16": "bfloat16", "int8": "int8"}[precision]
        if self.compute_type not in ctranslate2.get_supported_compute_types("cpu"):
            raise protocol.Unavailable(f"computes nothing in {precision} on this processor")
        self.encoders = {}
        self.pool = ThreadPoolExecutor(threads)

    def encoder(self, streams):
        if streams not in self.encoders:
            self.encoders[streams] = self.ctranslate2.Encoder(
                self.folder,
                device="cpu",
                compute_type=self.compute_type,
                inter_threads=streams,
                intra_threads=self.threads // streams,
            )
        return self.encoders[streams]

    def strategies(self, sequences):
        strategies = []
        for size in sorted({*protocol.batch_sizes(sequences), len(sequences)}):
            for streams in protocol.stream_counts(sequences, size, self.threads):
                name = f"batch {size}" + (f", {streams} streams" if streams > 1 else "")
                strategies.append((name, partial(self.plan, sequences, size, streams)))
        return strategies

    def plan(self, sequences, size, streams):
        batches, count = protocol.batches(sequences, size), len(sequences)
        encoder = self.encoder(streams)
        pool = self.pool if streams > 1 else None
        view = self.ctranslate2.StorageView.from_array
        arrays = [(batch.ids.astype(np.int32), batch.lengths.astype(np.int32)) for batch in batches]
        # A view borrows its array, so the arrays stay with the views.
        inputs = [(batch, view(ids), view(lengths), (ids, lengths)) for batch, (ids, lengths) in zip(batches, arrays)]

        def embed(item):
            batch, ids, lengths, _ = item
            hidden = np.asarray(encoder.forward_batch(ids, lengths).last_hidden_state)
            if batch.uniform:
                mean = hidden.mean(1)
            else:
                mean = np.stack([row[:length].mean(0) for row, length in zip(hidden, batch.lengths)])
            return batch.rows, mean / np.linalg.norm(mean, axis=1, keepdims=True)

        def run():
            parts = protocol.in_streams(pool, inputs, embed)
            out = np.empty((count, parts[0][1].shape[1]), dtype=np.float32)
            return protocol.gather(parts, count, out)

        return run


protocol.serve(CTranslate2)
