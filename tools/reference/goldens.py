"""Write the goldens under tests/goldens: what PyTorch and transformers make of tiny random models,
of sentence-transformers folders, and of the real model.

    python tools/reference/goldens.py --out tests/goldens --minilm MINILM
    python tools/reference/goldens.py --out tests/goldens --only bert

MINILM is the original f32 folder, from `make_default_model.py --unpack MINILM`; without it a temporary
one is fetched. tests/goldens/README.md describes the files.
"""

import argparse
import importlib.metadata
import os
import platform
import tempfile
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")

import torch
from transformers.utils import logging

PACKAGES = ["keybert", "numpy", "onnx", "onnxruntime", "safetensors", "scikit-learn", "sentence-transformers", "tokenizers", "torch",
            "transformers"]
PARTS = ["bert", "encoders", "torch", "pipelines", "sentence", "minilm", "keywords"]
# Written by another release of transformers, see pipeline_goldens.py; and what of "pipelines" needs no tokenizer trained.
OTHER_PARTS = ["question-answering", "choice"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--only", choices=PARTS + OTHER_PARTS, action="append")
    args = parser.parse_args()
    parts = args.only or PARTS

    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    logging.disable_progress_bar()

    from tiny_bert import write_json

    if "bert" in parts:
        import bert_goldens

        bert_goldens.write(args.out)
    if "encoders" in parts:
        import encoder_goldens

        encoder_goldens.write(args.out)
    if "torch" in parts:
        import torch_goldens

        torch_goldens.write(args.out)
    if "pipelines" in parts or "question-answering" in parts:
        import pipeline_goldens

        pipeline_goldens.write(args.out, "question-answering" in parts)
    if "pipelines" in parts or "choice" in parts:
        import choice_goldens

        choice_goldens.write_all(args.out)
    if "sentence" in parts:
        import sentence_goldens

        sentence_goldens.write(args.out)
    if "minilm" in parts or "keywords" in parts:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.minilm
            if folder is None:
                import make_default_model

                folder = Path(temporary)
                make_default_model.unpack(folder)
            if "minilm" in parts:
                import minilm_goldens

                minilm_goldens.write(args.out, folder)
            if "keywords" in parts:
                import keyword_goldens

                keyword_goldens.write(args.out, folder)
    if parts == ["question-answering"]:
        return
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    write_json(args.out / "versions.json", {"python": platform.python_version()} | versions)


if __name__ == "__main__":
    main()
