"""Pick the 256 English sentences of tests/data/sentences.txt, and 320 others to calibrate on.

The texts are the public-domain books that the Brotli source distribution carries as
compression test data; pip fetches it by name and its digest is checked. Lengths follow a
log-normal distribution, cut to 5-128 word pieces, because sentence lengths in real
corpora do, and a benchmark on equal lengths would say nothing about ragged batches.

The calibration texts (calibration.txt beside this script) come from other books than the sentences,
so that the accuracy which is measured on the sentences isn't fitted to them.

    python tools/reference/make_sentences.py --tokenizer assets/all-MiniLM-L6-v2-int8/tokenizer.json
"""

import argparse
import hashlib
import math
import random
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

SDIST = "brotli==1.2.1"
SDIST_SHA256 = "02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de"
ROOT = Path(__file__).resolve().parents[2]

# file in the sdist, first and last line that are running text, share of the sentences
BOOKS = [
    ("alice29.txt", "Down the Rabbit-Hole", "THE END", 0.40),
    ("lcet10.txt", "WELCOME", "Appendix I:  PROGRAM", 0.60),
]
# Shakespeare's speeches and Milton's lines, for calibration only.
CALIBRATION = ["asyoulik.txt", "plrabn12.txt"]
COUNT = 256
CALIBRATION_COUNT = 160  # of each book
SHORTEST, LONGEST = 5, 128
MEDIAN, SIGMA = 22.0, 0.68


def fetch(folder: Path) -> dict[str, str]:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
         "--no-build-isolation", "--dest", str(folder), SDIST],
        check=True,
    )
    archive = next(folder.glob("[bB]rotli-*.tar.gz"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SDIST_SHA256:
        sys.exit(f"{archive.name}: sha256 is {digest}, expected {SDIST_SHA256}")
    with tarfile.open(archive) as tar:
        return {
            Path(m.name).name: tar.extractfile(m).read().decode("ascii", "strict")
            for m in tar.getmembers()
            if Path(m.name).name in {b[0] for b in BOOKS} | set(CALIBRATION)
        }


def paragraphs(text: str, first: str, last: str) -> list[str]:
    begin = text.index(first)
    end = text.rindex(last)
    blocks = re.split(r"\n\s*\n", text[begin + len(first):end])
    found = []
    for block in blocks:
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        # Headings, rules, tables, verse and lists are not sentences.
        if not lines or any(set(line) <= set("+*= -_") for line in lines):
            continue
        flat = re.sub(r"\s+", " ", " ".join(lines))
        flat = re.sub(r"(?<=\w)- (?=[A-Za-z])", "-", flat)
        letters = sum(c.isalpha() for c in flat)
        if letters < 0.7 * len(flat) or sum(c.isupper() for c in flat) > 0.25 * letters:
            continue
        if "*" in flat or "|" in flat:
            continue
        found.append(flat)
    return found


def sentences(blocks: list[str]) -> list[str]:
    found = []
    for block in blocks:
        pieces = re.split(r"(?<=[.!?])['\"]?\s+(?=[`'\"]?[A-Z])", block)
        for piece in pieces:
            piece = piece.strip()
            # Carroll's text is set in `...' quotes: a sentence keeps its quotes only in pairs.
            if piece.count("`") != len(re.findall(r"'(?!\w)", piece)):
                piece = re.sub(r"`|'(?!\w)", "", piece).strip()
            piece = piece.replace("`", "'")
            if piece.count("(") != piece.count(")") or piece.count('"') % 2:
                continue
            if re.match(r"['\"]?[A-Z]", piece) and re.search(r"[.!?]['\"]?$", piece):
                found.append(piece)
    return list(dict.fromkeys(found))


def passages(text: str) -> list[str]:
    """Running text of a play or poem, cut at sentence ends, without speakers' names and directions."""
    lines = [re.sub(r"^[A-Z ]+\t", "", line) for line in text.splitlines()[200:]]
    lines = [line.strip() for line in lines if not re.match(r"\s*\[|\t*(ACT|SCENE)", line)]
    flat = re.sub(r"\s+", " ", " ".join(lines))
    pieces = re.split(r"(?<=[.!?;])\s+(?=[A-Z])", flat)
    return [p for p in dict.fromkeys(pieces) if 20 <= len(p) <= 500 and "[" not in p]


def quantile(p: float) -> float:
    return math.exp(math.log(MEDIAN) + SIGMA * statistics.NormalDist().inv_cdf(p))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/data/sentences.txt")
    parser.add_argument("--calibration", type=Path, default=Path(__file__).with_name("calibration.txt"))
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with tempfile.TemporaryDirectory() as folder:
        texts = fetch(Path(folder))

    rng = random.Random(20)
    pools = []
    for name, first, last, _ in BOOKS:
        pool = [(len(tokenizer.encode(s).ids), s) for s in sentences(paragraphs(texts[name], first, last))]
        rng.shuffle(pool)
        pools.append([p for p in pool if SHORTEST <= p[0] <= LONGEST])

    targets = [min(max(quantile((i + 0.5) / COUNT), SHORTEST), LONGEST) for i in range(COUNT)]
    rng.shuffle(targets)
    chosen = []
    for i, target in enumerate(targets):
        pool = pools[0] if i < BOOKS[0][3] * COUNT else pools[1]
        best = min(range(len(pool)), key=lambda j: abs(pool[j][0] - target))
        chosen.append(pool.pop(best))
    rng.shuffle(chosen)

    calibration = []
    for name in CALIBRATION:
        calibration += rng.sample(passages(texts[name]), CALIBRATION_COUNT)
    args.calibration.write_text("".join(s + "\n" for s in calibration), encoding="utf-8")

    lengths = sorted(n for n, _ in chosen)
    args.out.write_text("".join(s + "\n" for _, s in chosen), encoding="utf-8")
    print(f"{len(chosen)} sentences, word pieces with [CLS] and [SEP]: min {lengths[0]}, "
          f"median {lengths[COUNT // 2]}, mean {sum(lengths) / COUNT:.1f}, max {lengths[-1]}, total {sum(lengths)}")


if __name__ == "__main__":
    main()
