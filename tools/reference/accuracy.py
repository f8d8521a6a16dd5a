"""How close the int8 asset is to the f32 model: cosines over the real sentences.

    python tools/reference/make_default_model.py --unpack MINILM
    python tools/reference/accuracy.py MINILM
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from minilm import ASSET, SENTENCES, encode, load_f32, load_int8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("f32", type=Path)
    parser.add_argument("--asset", type=Path, default=ASSET)
    args = parser.parse_args()
    torch.set_num_threads(1)
    texts = SENTENCES.read_text(encoding="utf-8").splitlines()
    expected = encode(load_f32(args.f32), texts).astype(np.float64)
    found = encode(load_int8(args.f32, args.asset), texts).astype(np.float64)
    cosines = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    print(f"cosine over {len(texts)} sentences: mean {cosines.mean():.6f}, "
          f"median {np.median(cosines):.6f}, 1st percentile {np.percentile(cosines, 1):.6f}, min {cosines.min():.6f}")
    # What users feel: does the ranking change? Each sentence searches the others.
    a, b = (m @ m.T - 2 * np.eye(len(texts)) for m in (expected, found))
    print(f"nearest neighbour kept: {np.mean(a.argmax(1) == b.argmax(1)):.3f}, "
          f"greatest change of any of the {len(texts) ** 2} similarities: {np.abs(a - b).max():.4f}")


if __name__ == "__main__":
    main()
