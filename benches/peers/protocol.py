"""What every Python worker shares: the requests of `compare`, and how a workload is cut into batches.

A worker reads one JSON object a line on stdin and answers each with one on stdout:

    {"op": "load", "sequences": [[101, …], …]}                → {"strategies": ["batch 8", …]}
    {"op": "outputs", "strategy": 0}                          → {"dim": 384, "values": [row after row, in the given order]}
    {"op": "time", "strategy": 0, "warmups": 1, "repeats": 9} → {"ns": [one number a repeat]}
    {"op": "peak"}                                            → {"peak_rss_bytes": …}

and says {"name": …, "version": …} before the first, or {"unavailable": why}. An error is answered by {"error": …}.
A strategy is one way to do the same work (batch size, graph, streams); `compare` keeps each peer's fastest.
"""

import argparse
import ctypes
import functools
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

# Ragged work is padded to the longest of a batch, so a peer gets to choose how many neighbours in length it pads together.
BATCH_SIZES = (1, 8, 32)

Run = Callable[[], np.ndarray]


def encoder(folder, attention: str):
    """The PyTorch model, without a pooler where its architecture has one."""
    from transformers import AutoConfig, AutoModel

    pooler = {} if AutoConfig.from_pretrained(folder).model_type == "distilbert" else {"add_pooling_layer": False}
    return AutoModel.from_pretrained(folder, attn_implementation=attention, **pooler)


@dataclass
class Batch:
    """Sequences of similar length, padded with zeros to the longest. `rows` says where each belongs in the request."""

    rows: np.ndarray  # [n] int64
    ids: np.ndarray  # [n, longest] int64
    lengths: np.ndarray  # [n] int64

    @property
    def uniform(self) -> bool:
        return bool((self.lengths == self.ids.shape[1]).all())

    @property
    def mask(self) -> np.ndarray:
        return (np.arange(self.ids.shape[1]) < self.lengths[:, None]).astype(np.int64)


def batches(sequences: list[list[int]], size: int) -> list[Batch]:
    """Sorts by length (longest first, so that buffers grow once) and cuts into batches of `size`."""
    order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
    result = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        lengths = np.array([len(sequences[row]) for row in rows])
        ids = np.zeros((len(rows), lengths.max()), dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : lengths[index]] = sequences[row]
        result.append(Batch(np.array(rows), ids, lengths))
    return result


def batch_sizes(sequences: list[list[int]]) -> list[int]:
    """The sizes worth trying, without two that mean the same."""
    return sorted({min(size, len(sequences)) for size in BATCH_SIZES})


def stream_counts(sequences: list[list[int]], size: int, threads: int) -> list[int]:
    """One stream with all threads; and one a thread where each gets a batch."""
    return [1, threads] if threads > 1 and -(-len(sequences) // size) >= threads else [1]


def gather(parts: list[tuple[np.ndarray, np.ndarray]], count: int, out: np.ndarray) -> np.ndarray:
    """Puts each batch's rows back in the request's order."""
    for rows, values in parts:
        out[rows] = values
    assert sum(len(rows) for rows, _ in parts) == count
    return out


def in_streams(pool: ThreadPoolExecutor | None, work: list, run: Callable) -> list:
    """Runs each item of `work`, one after the other or, given a pool, as its workers get free."""
    return [run(item) for item in work] if pool is None else list(pool.map(run, work))


class Unavailable(Exception):
    """Why this peer cannot run, and what to do."""


def serve(make: Callable) -> None:
    """Answers requests until stdin ends. `make(manifest, threads, precision)` returns an engine with `name`, `version` and
    `strategies(sequences) -> [(name, make)]`, where `make() -> Run` loads what that strategy needs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=("f32", "bf16", "int8"), default="f32")
    options = parser.parse_args()
    die_with_parent()
    # Libraries print to stdout as they please: the answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        with open(options.manifest) as file:
            manifest = json.load(file)
        engine = make(manifest, options.threads, options.precision)
    except (Unavailable, ImportError, KeyError, OSError, RuntimeError) as error:
        reason = str(error) if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"
        say({"unavailable": reason})
        return
    say({"name": engine.name, "version": engine.version})

    strategies: list[tuple[str, Callable[[], Run]]] = []
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if request["op"] == "load":
                strategies = [(name, functools.cache(make)) for name, make in engine.strategies(request["sequences"])]
                say({"strategies": [name for name, _ in strategies]})
            elif request["op"] == "outputs":
                values = strategies[request["strategy"]][1]()()
                say({"dim": values.shape[1], "values": values.ravel().tolist()})
            elif request["op"] == "time":
                say({"ns": clock(strategies[request["strategy"]][1](), request["warmups"], request["repeats"])})
            elif request["op"] == "peak":
                say({"peak_rss_bytes": peak_rss()})
            else:
                say({"error": f"unknown request {request['op']!r}"})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


def die_with_parent() -> None:
    """A worker that is stopped when `compare` ends would stay for ever."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def clock(run: Run, warmups: int, repeats: int) -> list[int]:
    for _ in range(warmups):
        run()
    gc.collect()
    gc.disable()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        run()
        samples.append(time.perf_counter_ns() - start)
    gc.enable()
    return samples


def peak_rss() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM line")
