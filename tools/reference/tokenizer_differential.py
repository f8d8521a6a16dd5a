"""Compares every token of loquat with those of the reference, Hugging Face's `tokenizers`, on whole corpora and random Unicode.

    cargo build --release -p loquat-tokenizer --example encode_documents
    python3 tools/reference/tokenizer_differential.py --texts FOLDER bert=assets/all-MiniLM-L6-v2-int8/tokenizer.json NAME=FILE …

Ids, offsets, words and type ids are compared, for each line of each corpus. FOLDER has the texts that
benches/tokenizers/corpora.py writes; `--megabytes` takes so much of each. It prints the table "vocabulary, corpus, lines, bytes,
differences" and, for the first differences, the line and what either side makes of it; it fails where there are any.
"""

import argparse
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPORA = ("english", "technical", "multilingual", "cjk", "words", "identifiers")
SHOWN = 5
RANGES = [
    (0x00, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xDFF), (0xE00, 0x10FF),
    (0x1100, 0x1FFF), (0x2000, 0x2BFF), (0x2C00, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF),
    (0xE000, 0xFAFF), (0xFB00, 0xFFFF), (0x10000, 0x12FFF), (0x16000, 0x16FFF), (0x1D000, 0x1DFFF), (0x1E000, 0x1FFFF),
    (0x20000, 0x323AF), (0xE0000, 0xE01FF),
]
USUAL = "aeiou AEIOU the. don't -- 12,345 éÉß İſ中国かなㄱ한국 \t\n\u0301\u0323\u200d\u00ad\ufffd▁"


def random_lines(count, rng):
    for _ in range(count):
        line = []
        for _ in range(rng.randint(1, 40)):
            low, high = rng.choice(RANGES)
            line.append(rng.choice(USUAL) if rng.random() < 0.6 else chr(rng.randint(low, high)))
        yield "".join(line)


def corpus(path, limit):
    data = path.read_bytes()
    at = taken = 0
    while at < len(data) and taken < limit:
        (size,) = struct.unpack_from("<I", data, at)
        for line in data[at + 4:at + 4 + size].decode().split("\n"):
            if line.strip():
                yield line
        at += 4 + size
        taken += size


def ours(example, tokenizer, lines):
    with tempfile.TemporaryDirectory() as folder:
        texts, out = pathlib.Path(folder, "texts"), pathlib.Path(folder, "out")
        with open(texts, "wb") as file:
            for line in lines:
                data = line.encode()
                file.write(struct.pack("<I", len(data)) + data)
        subprocess.run([example, tokenizer, texts, out], check=True)
        values = memoryview(out.read_bytes()).cast("I")
    at = 0
    while at < len(values):
        count = values[at]
        yield values[at + 1:at + 1 + 5 * count].tolist()
        at += 1 + 5 * count


def theirs(tokenizer, lines):
    for start in range(0, len(lines), 2000):
        for encoding in tokenizer.encode_batch(lines[start:start + 2000]):
            row = list(encoding.ids)
            for offsets in encoding.offsets:
                row.extend(offsets)
            row.extend(0xFFFFFFFF if word is None else word for word in encoding.word_ids)
            row.extend(encoding.type_ids)
            yield row


def compare(example, name, path, label, lines):
    reference = tokenizers.Tokenizer.from_file(str(path))
    reference.no_truncation()
    reference.no_padding()
    differences = 0
    for line, left, right in zip(lines, ours(example, path, lines), theirs(reference, lines), strict=True):
        if left != right:
            differences += 1
            if differences <= SHOWN:
                print(f"{name}, {label}: {line!r}\n  ours   {left}\n  theirs {right}", file=sys.stderr)
    size = sum(len(line.encode()) for line in lines)
    print(f"| {name} | {label} | {len(lines)} | {size} | {differences} |", flush=True)
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabularies", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--texts", type=pathlib.Path, help="the folder of the corpora")
    parser.add_argument("--corpora", nargs="*", choices=CORPORA, default=CORPORA)
    parser.add_argument("--megabytes", type=float, default=1e6)
    parser.add_argument("--random", type=int, default=100_000, help="lines of random Unicode")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--example", type=pathlib.Path, default=ROOT / "target/release/examples/encode_documents")
    options = parser.parse_args()
    texts = {}
    if options.texts:
        for label in options.corpora:
            texts[label] = list(corpus(options.texts / f"{label}.docs", options.megabytes * 1e6))
    texts["random Unicode"] = list(random_lines(options.random, random.Random(options.seed)))
    print(f"tokenizers {tokenizers.__version__}\n\n| vocabulary | corpus | lines | bytes | differences |\n| --- | --- | --- | --- | --- |")
    differences = 0
    for vocabulary in options.vocabularies:
        name, _, path = vocabulary.partition("=")
        for label, lines in texts.items():
            differences += compare(options.example, name, path, label, lines)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
