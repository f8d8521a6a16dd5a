"""Export the real model to ONNX, for the peers that the benchmark compares with.

Inputs input_ids, attention_mask, token_type_ids (int64 [batch, sequence], both free), output last_hidden_state.
The file is checked against PyTorch with ONNX Runtime before it counts as written.

    python tools/reference/export_onnx.py MINILM minilm.onnx
"""

import argparse
import os
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")

import torch
from transformers import BertModel

from onnx_export import Encoder, export

TOLERANCE = 2e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a BERT folder in f32")
    parser.add_argument("onnx", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = BertModel.from_pretrained(
        args.model, attn_implementation="eager", dtype=torch.float32, add_pooling_layer=False
    ).eval()
    config = model.config
    args.onnx.parent.mkdir(parents=True, exist_ok=True)
    worst = export(Encoder(model, False), args.onnx, config.vocab_size, config.type_vocab_size, 128)
    if worst > TOLERANCE:
        args.onnx.unlink()
        raise SystemExit(f"ONNX Runtime differs from PyTorch by {worst:.1e}, more than {TOLERANCE:.0e}")
    print(f"{args.onnx}: {args.onnx.stat().st_size} bytes, ONNX Runtime within {worst:.1e} of PyTorch")


if __name__ == "__main__":
    main()
