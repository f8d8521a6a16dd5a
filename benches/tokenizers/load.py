"""Prints how long loquat's tokenizers and others take to load the same files.

    python3 benches/tokenizers/load.py FOLDER/tokenizer.json … [--only NAME] [--rounds 5]

Every measurement is a process of its own that loads the file a few times; contenders take turns in an order shuffled each round, on one
processor. The files are in the page cache. `first` is the median of the processes' first loads, which also find the allocator's memory
untouched; `min` and `median` are of all.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys

from compare import PYTHON, ROOT, RUST, build

REPEATS = 5


def load(command, file):
    processor = str(max(os.sched_getaffinity(0)))
    run = subprocess.run(["taskset", "-c", processor, *command, "load", file, str(REPEATS)], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError((run.stderr.strip().splitlines() or ["no message"])[-1][:120])
    return json.loads(run.stdout)["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--target", type=pathlib.Path, default=ROOT / ".cache/tokenizers/target", help="where the workers are built")
    parser.add_argument("--only", action="append", choices=[name for name in RUST if name not in PYTHON], help="these peers (may be repeated)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    workers, _ = build(dict.fromkeys(["loquat", *(options.only or ["tokenizers"])]), options.target.resolve())
    rng = random.Random(1)
    print("| file | tokenizer | first ms | min ms | median ms | times ours |")
    print("| --- | --- | --- | --- | --- | --- |")
    for file in options.files:
        runs, failed = {name: [] for name in workers}, {}
        for _ in range(options.rounds):
            for name in rng.sample(list(workers), len(workers)):
                try:
                    runs[name].append(load(workers[name], file))
                except (RuntimeError, ValueError) as error:
                    failed[name] = str(error)
        medians = {name: statistics.median(sum(seconds, [])) for name, seconds in runs.items() if seconds}
        for name in workers:
            if name in failed:
                print(f"| {file} | {name} | {failed[name]} | | | |")
                continue
            first = statistics.median(seconds[0] for seconds in runs[name])
            least = min(map(min, runs[name]))
            times = medians[name] / medians["loquat"] if "loquat" in medians else float("nan")
            print(f"| {file} | {name} | {first * 1e3:.1f} | {least * 1e3:.1f} | {medians[name] * 1e3:.1f} | {times:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
