"""OpenVINO on the CPU, held to a precision: without the hint it runs in bf16 where the processor has AMX.

In int8, what NNCF doesn't quantise runs in bf16, its default.
"""

from functools import partial

import numpy as np

import protocol


class OpenVino:
    name = "OpenVINO"

    def __init__(self, manifest: dict, threads: int, precision: str):
        import openvino

        self.openvino, self.version, self.threads = openvino, openvino.__version__.split("-")[0], threads
        self.core = openvino.Core()
        self.hint = "f32" if precision == "f32" else "bf16"
        if precision == "int8":
            self.sources = {"quantised by NNCF": manifest["openvino_int8"]}
        else:
            self.sources = {"PyTorch graph": manifest["openvino"]}
            if "onnx" in manifest:
                self.sources["ONNX graph"] = manifest["onnx"]
        self.compiled = {}

    def strategies(self, sequences):
        self.compiled.clear()
        strategies = []
        for source in self.sources:
            for size in protocol.batch_sizes(sequences):
                for streams in protocol.stream_counts(sequences, size, self.threads):
                    name = f"{source}, batch {size}" + (f", {streams} streams" if streams > 1 else "")
                    strategies.append((name, partial(self.plan, source, sequences, size, streams)))
        return strategies

    def compile(self, source, masked, shape, streams):
        """One compiled graph for each need; a workload of one shape gets a graph of just that shape."""
        key = (source, masked, shape, streams)
        if key not in self.compiled:
            graph = self.core.read_model(self.sources[source]["masked" if masked else "unmasked"])
            if shape:
                graph.reshape({port.any_name: list(shape) for port in graph.inputs})
            config = {
                "INFERENCE_PRECISION_HINT": self.hint,
                "INFERENCE_NUM_THREADS": self.threads,
                "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
                "NUM_STREAMS": streams,
            }
            self.compiled[key] = self.core.compile_model(graph, "CPU", config)
        return self.compiled[key]

    def plan(self, source, sequences, size, streams):
        batches, count = protocol.batches(sequences, size), len(sequences)
        masked = not all(batch.uniform for batch in batches)
        shapes = {batch.ids.shape for batch in batches}
        compiled = self.compile(source, masked, shapes.pop() if len(shapes) == 1 else None, streams)
        tensor = self.openvino.Tensor
        inputs = [
            {"input_ids": tensor(batch.ids)} | ({"attention_mask": tensor(batch.mask)} if masked else {}) for batch in batches
        ]
        out = np.empty((count, compiled.output(0).partial_shape[1].get_length()), dtype=np.float32)

        if streams == 1:
            request = compiled.create_infer_request()

            def run():
                for batch, values in zip(batches, inputs):
                    request.infer(values, share_inputs=True)
                    out[batch.rows] = request.get_output_tensor(0).data
                return out
        else:
            queue = self.openvino.AsyncInferQueue(compiled, streams)

            def store(request, rows):
                out[rows] = request.get_output_tensor(0).data

            queue.set_callback(store)

            def run():
                for batch, values in zip(batches, inputs):
                    queue.start_async(values, batch.rows, share_inputs=True)
                queue.wait_all()
                return out

        return run


protocol.serve(OpenVino)
