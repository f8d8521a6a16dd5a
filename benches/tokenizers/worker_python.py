"""A worker for peers that are Python packages: see src/lib.rs for what it is asked and what it answers.

    python3 worker_python.py NAME TOKENIZER DOCUMENTS THREADS PASSES
"""

import json
import pathlib
import struct
import sys
import time


def documents(path):
    data = pathlib.Path(path).read_bytes()
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        yield data[at + 4:at + 4 + size].decode()
        at += 4 + size


def nanotoken(tokenizer):
    import nanotoken as package

    loaded = package.Tokenizer(tokenizer)
    return lambda texts, threads: loaded.encode_batch(texts, add_special_tokens=False, parallel=threads > 1)


def gigatoken(tokenizer):
    import gigatoken as package

    loaded = package.Tokenizer(tokenizer)
    return lambda texts, _: loaded.encode_batch(texts)


def fnv(lists):
    count, value = 0, 0xCBF29CE484222325
    for ids in lists:
        for identifier in ids:
            value = (value ^ int(identifier)) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
            count += 1
    return count, f"{value:016x}"


def main():
    name, tokenizer, path, threads, passes = sys.argv[1:]
    texts = list(documents(path))
    begin = time.perf_counter()
    encode = {"nanotoken": nanotoken, "gigatoken": gigatoken}[name](tokenizer)
    load = time.perf_counter() - begin
    seconds = []
    for _ in range(int(passes)):
        begin = time.perf_counter()
        result = encode(texts, int(threads))
        seconds.append(time.perf_counter() - begin)
    count, value = fnv(result.to_list() if hasattr(result, "to_list") else result)
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"load": load, "seconds": seconds, "bytes": size, "tokens": count, "hash": value}))


if __name__ == "__main__":
    main()
