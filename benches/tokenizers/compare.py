"""Prints how fast loquat's tokenizers are beside others, on the same texts, ids compared first.

    python3 benches/tokenizers/compare.py [--tokenizer NAME_OR_FILE …] [--only NAME] [--corpora english] [--threads 1 2] [--quick]

Vocabularies other than files are fetched by tools/reference/tokenizer_vocabularies.py, whose head says what it needs. The first run fetches the texts (see corpora.py) and builds the workers, each on its own; `nanotoken`, `gigatoken`, `tiktoken` and
`sentencepiece` are what `pip install` has put there. A peer that doesn't build, doesn't load the tokenizer or gives other ids is
listed with the reason. Every measurement is a process of its own, contenders take turns in an
order shuffled each round, on one processor for each thread. Loading is not counted. `cold` is the first pass over
distinct documents, `warm` the second; both are medians over the rounds.

Special tokens and truncation are taken out of the tokenizer's file, so that all do the same work.
"""

import argparse
import base64
import json
import os
import pathlib
import random
import statistics
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUST = ("loquat", "tokenizers", "tokenizers-rc", "tokie", "kitoken", "fastokens", "rust-tokenizers", "wordchipper",
        "bpe-openai")
PYTHON = ("nanotoken", "gigatoken", "tiktoken", "sentencepiece")
CORPORA = ("english", "technical", "multilingual", "cjk", "words", "identifiers")


def say(text):
    print(text, file=sys.stderr, flush=True)


def build(names, target):
    """The command of each contender that builds."""
    workers = {}
    for name in names:
        if name in PYTHON:
            workers[name] = [sys.executable, str(HERE / "worker_python.py"), name]
            continue
        command = ["cargo", "build", "--release", "--quiet", "--manifest-path", HERE / "Cargo.toml", "--target-dir", target,
                   "--bin", f"worker-{name}"]
        if name != "loquat":
            command += ["--features", name]
        say(f"building {name}")
        if subprocess.run(command).returncode:
            say(f"{name}: does not build")
        else:
            workers[name] = [str(target / "release" / f"worker-{name}")]
    return workers


def plain_tokenizer(source, folder):
    """A copy that adds no tokens and cuts nothing, and beside it the same vocabulary in the formats of those that don't read it:
    `vocab.txt`, of byte-level BPE also `tokenizer.tiktoken`, of Unigram `tokenizer.model`."""
    file = json.loads(source.read_text("utf-8"))
    file["post_processor"] = file["truncation"] = file["padding"] = None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False), "utf-8")
    vocabulary = file["model"].get("vocab")
    if isinstance(vocabulary, dict):
        tokens = sorted(vocabulary, key=vocabulary.get)
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    for name, convert in (("tokenizer.tiktoken", tiktoken_file), ("tokenizer.model", sentencepiece_file)):
        data = convert(file)
        (folder / name).unlink(missing_ok=True)
        if data is not None:
            (folder / name).write_bytes(data)
    return folder / "tokenizer.json"


def published(name, folder):
    """The `tokenizer.json` of that name, which is a file or one of the vocabularies of the differential run."""
    if pathlib.Path(name).is_file():
        return pathlib.Path(name)
    sys.path.append(str(ROOT / "tools/reference"))
    from tokenizer_vocabularies import VOCABULARIES

    make = next((make for known, _, make in VOCABULARIES if known.startswith(name)), None)
    if make is None:
        sys.exit(f"{name} is neither a file nor one of {', '.join(known for known, _, _ in VOCABULARIES)}")
    (folder / "vocabularies").mkdir(parents=True, exist_ok=True)
    _, reference = make(folder / "vocabularies")
    path = folder / "vocabularies" / f"{name}.json"
    reference.save(str(path))
    return path


def tiktoken_file(file):
    """Bytes of a token in base64 and its id, a line each, without the special ones; the id is what tiktoken takes for the rank."""
    if file["model"]["type"] != "BPE" or file["model"].get("byte_fallback") or file["model"].get("end_of_word_suffix"):
        return None
    # The alphabet of GPT-2: visible characters of Latin-1 stand for themselves, the other bytes for what comes after Latin-1.
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    alphabet = {chr(byte): byte for byte in visible} | {chr(256 + at): byte for at, byte in enumerate(others)}
    special = {token["content"] for token in file["added_tokens"]}
    lines = []
    for token, at in sorted(file["model"]["vocab"].items(), key=lambda pair: pair[1]):
        if token not in special and all(c in alphabet for c in token):
            lines.append(base64.b64encode(bytes(alphabet[c] for c in token)) + f" {at}\n".encode())
    return b"".join(lines)


def sentencepiece_file(file):
    """The model as the protocol buffer that SentencePiece writes: pieces, type, character map."""
    if file["model"]["type"] != "Unigram":
        return None

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    def field(number, data):
        return varint(number << 3 | 2) + varint(len(data)) + data

    steps = file["normalizer"] or {}
    steps = steps.get("normalizers", [steps])
    maps = [base64.b64decode(step["precompiled_charsmap"]) for step in steps if step.get("type") == "Precompiled"]
    special = {token["content"] for token in file["added_tokens"]}
    unk_id = file["model"]["unk_id"]
    data = []
    for at, (piece, score) in enumerate(file["model"]["vocab"]):
        kind = 2 if at == unk_id else 3 if piece in special else 1
        data.append(field(1, field(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind)))
    data.append(field(2, b"\x18\x01" + varint(40 << 3) + varint(unk_id)))
    data.append(field(3, b"".join(field(2, each) for each in maps) + b"\x18\x01\x20\x01\x28\x01"))
    return b"".join(data)


def beginnings(texts, corpora, folder):
    """The first documents of each corpus, a megabyte of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for corpus in corpora:
        data = (texts / f"{corpus}.docs").read_bytes()
        end = 0
        while end < min(len(data), 1_000_000):
            end += 4 + struct.unpack_from("<I", data, end)[0]
        (folder / f"{corpus}.docs").write_bytes(data[:end])
    return folder


def measure(command, tokenizer, documents, threads):
    processors = sorted(os.sched_getaffinity(0))[-threads:]
    run = subprocess.run(
        ["taskset", "-c", ",".join(map(str, processors)), *command, tokenizer, documents, str(threads), "2"],
        capture_output=True, text=True, timeout=600,
    )
    if run.returncode:
        lines = run.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(lines[-1][:120])
    return json.loads(run.stdout)


def compare(workers, tokenizer, corpus, documents, threads, rounds, rng):
    results = {name: [] for name in workers}
    failed = {}
    for _ in range(rounds):
        order = [name for name in workers if name not in failed]
        rng.shuffle(order)
        for name in order:
            try:
                results[name].append(measure(workers[name], tokenizer, documents, threads))
            except (RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
                failed[name] = str(error)
    ours = results["loquat"][0]
    print(f"\n### {corpus}, {threads} thread{'s' * (threads > 1)}: {ours['bytes']} bytes, {ours['tokens']} tokens\n")
    print("| tokenizer | ids | cold MB/s | warm MB/s | ours / theirs, cold | warm | load ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")

    def middle(name, value):
        return statistics.median(value(run) for run in results[name])

    def speed(name, which):
        return middle(name, lambda run: run["bytes"] / run["seconds"][which] / 1e6)

    for name in workers:
        if name in failed:
            print(f"| {name} | {failed[name]} | | | | | |")
            continue
        same = all(run["hash"] == ours["hash"] for run in results[name])
        ratios = [middle(name, lambda run, at=at: run["seconds"][at] / run["bytes"])
                  / middle("loquat", lambda run, at=at: run["seconds"][at] / run["bytes"]) for at in (0, 1)]
        load = middle(name, lambda run: run["load"] * 1e3)
        print(f"| {name} | {'equal' if same else 'differ'} | {speed(name, 0):.1f} | {speed(name, 1):.1f} | {ratios[0]:.2f} "
              f"| {ratios[1]:.2f} | {load:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", nargs="+", default=["MiniLM", "GPT-2", "USE-M3 as XLM"], metavar="NAME_OR_FILE",
                        help="tokenizer.json files, or beginnings of names in tools/reference/tokenizer_vocabularies.py")
    parser.add_argument("--dir", type=pathlib.Path, default=ROOT / ".cache/tokenizers", help="where everything goes")
    parser.add_argument("--texts", type=pathlib.Path, help="the folder of the texts, if they are there already")
    parser.add_argument("--target", type=pathlib.Path, help="where the workers are built")
    parser.add_argument("--only", action="append", choices=RUST + PYTHON, help="these peers (may be repeated)")
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=CORPORA)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round over a megabyte of each corpus: to see that it works")
    options = parser.parse_args()
    texts = options.texts or options.dir / "texts"
    if not all((texts / f"{corpus}.docs").exists() for corpus in options.corpora):
        subprocess.run([sys.executable, HERE / "corpora.py", texts], check=True)
    names = ["loquat", *(options.only or [name for name in RUST + PYTHON if name != "loquat"])]
    workers = build(dict.fromkeys(names), (options.target or options.dir / "target").resolve())
    if options.quick:
        options.rounds = 1
        texts = beginnings(texts, options.corpora, options.dir / "beginnings")
    rng = random.Random(1)
    for name in options.tokenizer:
        tokenizer = plain_tokenizer(published(name, options.dir), options.dir / "plain")
        print(f"\n## {name}")
        for threads in options.threads:
            for corpus in options.corpora:
                compare(workers, tokenizer, corpus, texts / f"{corpus}.docs", threads, options.rounds, rng)


if __name__ == "__main__":
    sys.exit(main())
