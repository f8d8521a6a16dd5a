"""Prints how fast loquat's tokenizers are beside others, on the same texts, ids compared.

    python3 benches/tokenizers/compare.py [--tokenizer NAME_OR_FILE …] [--only NAME …] [--corpora english …] [--threads 1 2] [--quick]

Vocabularies other than files are fetched by tools/reference/tokenizer_vocabularies.py, whose head says what it needs; `Unigram 32k` is
trained on the texts, with `sentencepiece`. The first run fetches the texts (see corpora.py) and builds the workers, each on its own;
`nanotoken`, `gigatoken`, `tiktoken`, `rs-bpe` and `sentencepiece` are what `pip install` has put there. A peer that doesn't build, doesn't
load a tokenizer or gives other ids is listed with the reason.

Every measurement is a process of its own, contenders take turns in an order shuffled each round, on one processor for each thread.
Loading is not counted. The first pass is over documents that were not met before, the second over the same ones; a table shows the medians
over the rounds, MB/s of UTF-8. Who takes more than ten seconds for both passes is measured in the first round only.

Special tokens and truncation are taken out of the tokenizer's file, so that all do the same work.

`--samples FILE` adds what is measured to a file, and prints the table of all that is in it; what a round has there is not measured again. With
`--seconds`, a run ends early, and the next one goes on. `--prepare` builds and fetches what is needed, and `--no-build` takes what is there.
"""

import argparse
import base64
import collections
import importlib.util
import json
import os
import pathlib
import random
import statistics
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUST = ("loquat", "tokenizers", "tokenizers-rc", "tokie", "kitoken", "fastokens", "rust-tokenizers", "wordchipper",
        "bpe-openai")
PYTHON = ("nanotoken", "gigatoken", "tiktoken", "rs-bpe", "sentencepiece")
# Rust peers that are on PyPI, too, and the modules of their packages.
ALSO_PYTHON = {"tokenizers": "tokenizers", "tokenizers-rc": "tokenizers", "kitoken": "kitoken", "fastokens": "fastokens", "bpe-openai": "bpe_openai"}
CORPORA = ("english", "technical", "multilingual", "cjk", "words", "identifiers")
VOCABULARIES = ("MiniLM", "GPT-2", "GPT-3.5", "USE-M3 as XLM", "Unigram 32k")
QUICK_BYTES = 1_000_000
TRAINING_BYTES = 8_000_000
SLOW = 10


def say(text):
    print(text, file=sys.stderr, flush=True)


def build(names, target, makes=True, packages=None):
    """The command of each contender that is there, and why the others aren't. A Rust peer that doesn't build is taken from PyPI where it
    is there."""
    workers, missing = {}, {}
    python = [sys.executable, str(HERE / "worker_python.py")]
    for name in names:
        if name in PYTHON:
            workers[name] = [*python, name]
            continue
        command = ["cargo", "build", "--release", "--quiet", "--manifest-path", HERE / "Cargo.toml", "--target-dir", target,
                   "--bin", f"worker-{name}"]
        if name != "loquat":
            command += ["--features", name]
        worker = target / "release" / f"worker-{name}"
        if makes:
            say(f"building {name}")
        if not makes or not subprocess.run(command).returncode:
            if worker.exists():
                workers[name] = [str(worker)]
                continue
        # Two versions of a package can't be side by side.
        folder = (packages or target.parent).resolve() / name
        path = ["env", f"PYTHONPATH={folder}"] if folder.exists() else []
        if ALSO_PYTHON.get(name) and (path or name != "tokenizers-rc" and importlib.util.find_spec(ALSO_PYTHON[name])):
            workers[f"{name} (PyPI)"] = [*path, *python, name]
        else:
            missing[name] = "does not build"
    return workers, missing


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


def published(name, folder, texts):
    """The `tokenizer.json` of that name, which is a file, or one of the vocabularies of the differential run, or is trained."""
    if pathlib.Path(name).is_file():
        return pathlib.Path(name)
    sys.path.append(str(ROOT / "tools/reference"))
    from tokenizer_vocabularies import VOCABULARIES

    (folder / "vocabularies").mkdir(parents=True, exist_ok=True)
    if name == "Unigram 32k":
        reference = trained(folder / "vocabularies/unigram-32k", texts)
    else:
        make = next((make for known, _, make in VOCABULARIES if known.startswith(name)), None)
        if make is None:
            sys.exit(f"{name} is neither a file nor one of {', '.join(known for known, _, _ in VOCABULARIES)}, Unigram 32k")
        _, reference = make(folder / "vocabularies")
    path = folder / "vocabularies" / f"{name}.json"
    reference.save(str(path))
    return path


def trained(folder, texts):
    """A Unigram model of 32,000 pieces, trained on the ends of the natural texts, arranged as T5 has it."""
    import sentencepiece
    import sentencepiece_goldens

    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for corpus in ("english", "technical", "multilingual"):
        text = (texts / f"{corpus}.docs").read_bytes()[-TRAINING_BYTES // 3:].decode("utf-8", "ignore")
        lines += [line for line in text.split("\n") if 5 < len(line) < 500 and line.isprintable()]
    (folder / "lines").write_text("\n".join(lines), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "lines"), model_prefix=str(folder / "spiece"), model_type="unigram", vocab_size=32_000,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=1)
    return sentencepiece_goldens.convert("T5Tokenizer", "T5", folder / "spiece.model", ["</s>", "<unk>", "<pad>"], None, {})


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
    """The first documents of each corpus, so many bytes of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for corpus in corpora:
        data = (texts / f"{corpus}.docs").read_bytes()
        end = 0
        while end < min(len(data), QUICK_BYTES):
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
        # The last line of an error, without what says where in the source it came from.
        lines = [line for line in run.stderr.splitlines() if line.strip() and not line.startswith(" ")] or ["no message"]
        raise RuntimeError(lines[-1][:120])
    return json.loads(run.stdout)


class Samples:
    """What was measured: a line for each process, in a file if there is one."""

    def __init__(self, path):
        self.path = path
        self.all = []
        if path and path.exists():
            self.all = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def add(self, sample):
        self.all.append(sample)
        if self.path:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(sample, ensure_ascii=False) + "\n")

    def of(self, **keys):
        return [sample for sample in self.all if all(sample.get(key) == value for key, value in keys.items())]


def compare(samples, workers, vocabulary, tokenizer, corpus, documents, threads, turn, rng, deadline):
    """One measurement of each worker that this round hasn't yet and that can do it. False where time is up."""
    place = {"vocabulary": vocabulary, "corpus": corpus, "threads": threads}
    for name in rng.sample(list(workers), len(workers)):
        earlier = samples.of(vocabulary=vocabulary, name=name)
        is_done = any(sample["round"] == turn for sample in earlier if place.items() <= sample.items())
        is_slow = turn > 0 and any(sum(sample["seconds"]) > SLOW for sample in earlier if place.items() <= sample.items())
        if is_done or is_slow or any("error" in sample for sample in earlier):
            continue
        if time.monotonic() > deadline:
            return False
        sample = {**place, "name": name, "round": turn}
        try:
            samples.add({**sample, **measure(workers[name], tokenizer, documents, threads)})
        except (RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
            samples.add({**sample, "error": str(error), "seconds": []})
    return True


def speeds(runs):
    """Of the first pass and the second."""
    return [statistics.median(run["bytes"] / run["seconds"][which] / 1e6 for run in runs) for which in (0, 1)]


def shown(speed):
    return f"{speed:.0f}" if speed >= 100 else f"{speed:.1f}"


def report(samples, missing):
    """A table for each vocabulary and number of threads; `≠` marks ids that differ from ours."""
    tables = collections.defaultdict(dict)
    for sample in samples.all:
        key = sample["vocabulary"], sample["threads"]
        tables[key].setdefault(sample["corpus"], None)
    for (vocabulary, threads), corpora in tables.items():
        table = samples.of(vocabulary=vocabulary, threads=threads)
        order = [each for name in RUST + PYTHON for each in (name, f"{name} (PyPI)")]
        names = sorted({sample["name"] for sample in table}, key=order.index)
        print(f"\n### {vocabulary}, {threads} thread{'s' * (threads > 1)}: MB/s, first pass / second\n")
        print(f"| | {' | '.join(corpora)} |\n| --- |{' --- |' * len(corpora)}")
        best = {corpus: [0.0, 0.0] for corpus in corpora}
        ours = {}
        reasons = dict(missing)
        for name in names:
            reasons.pop(name.removesuffix(" (PyPI)"), None)
            errors = [sample["error"] for sample in samples.of(vocabulary=vocabulary, name=name) if "error" in sample]
            if errors:
                reasons[name] = errors[0]
                continue
            cells = []
            for corpus in corpora:
                runs = [sample for sample in table if (sample["name"], sample["corpus"]) == (name, corpus)]
                if not runs:
                    cells.append("")
                    continue
                ids = {sample["hash"] for sample in table if (sample["name"], sample["corpus"]) == ("loquat", corpus)}
                is_same = {run["hash"] for run in runs} <= ids
                both = speeds(runs)
                if name == "loquat":
                    ours[corpus] = both
                elif is_same:
                    best[corpus] = [max(pair) for pair in zip(best[corpus], both)]
                cells.append(" / ".join(map(shown, both)) + " ≠" * (not is_same))
            print(f"| {name} | {' | '.join(cells)} |")
        ratios = []
        for corpus in corpora:
            pairs = zip(ours.get(corpus, ()), best[corpus])
            ratios.append(" / ".join(f"{mine / theirs:.2f}" if theirs else "–" for mine, theirs in pairs))
        print(f"| *loquat ÷ the fastest other with equal ids* | {' | '.join(ratios)} |")
        if reasons:
            print("\nNot there: " + "; ".join(f"{name} ({reason})" for name, reason in reasons.items()) + ".")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", nargs="+", default=VOCABULARIES, metavar="NAME_OR_FILE",
                        help="tokenizer.json files, or beginnings of names in tools/reference/tokenizer_vocabularies.py, or Unigram 32k")
    parser.add_argument("--dir", type=pathlib.Path, default=ROOT / ".cache/tokenizers", help="where everything goes")
    parser.add_argument("--texts", type=pathlib.Path, help="the folder of the texts, if they are there already")
    parser.add_argument("--target", type=pathlib.Path, help="where the workers are built")
    parser.add_argument("--only", nargs="+", choices=RUST + PYTHON, help="these peers")
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=CORPORA)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, help="5, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_BYTES} bytes of each corpus")
    parser.add_argument("--samples", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--no-build", action="store_true")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    texts = options.texts or options.dir / "texts"
    if not all((texts / f"{corpus}.docs").exists() for corpus in CORPORA):
        subprocess.run([sys.executable, HERE / "corpora.py", texts], check=True)
    names = ["loquat", *(options.only or [name for name in RUST + PYTHON if name != "loquat"])]
    target = (options.target or options.dir / "target").resolve()
    workers, missing = build(dict.fromkeys(names), target, not options.no_build, options.dir)
    tokenizers = {}
    for name in options.tokenizer:
        folder = options.dir / "plain" / pathlib.Path(name).name
        tokenizers[name] = folder / "tokenizer.json"
        if not tokenizers[name].exists() or pathlib.Path(name).is_file():
            plain_tokenizer(published(name, options.dir, texts), folder)
    whole = texts
    if options.quick:
        texts = options.dir / "beginnings"
        if not all((texts / f"{corpus}.docs").exists() for corpus in options.corpora):
            beginnings(whole, options.corpora, texts)
    if options.prepare:
        return
    samples = Samples(options.samples)
    rng = random.Random()
    jobs = [(turn, name, threads, corpus) for turn in range(options.rounds or (1 if options.quick else 5))
            for name in options.tokenizer for threads in options.threads for corpus in options.corpora]
    for turn, name, threads, corpus in jobs:
        documents = texts / f"{corpus}.docs"
        if not compare(samples, workers, name, tokenizers[name], corpus, documents, threads, turn, rng, deadline):
            say("out of time")
            break
    report(samples, missing)


if __name__ == "__main__":
    sys.exit(main())
