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


def beside(tokenizer, name, algorithm):
    """A file that compare.py makes of tokenizers of that algorithm."""
    path = pathlib.Path(tokenizer).with_name(name)
    if not path.exists():
        sys.exit(f"takes part with {algorithm}")
    return path


def nanotoken(tokenizer):
    import nanotoken as package

    loaded = package.Tokenizer(tokenizer)
    return lambda texts, threads: loaded.encode_batch(texts, add_special_tokens=False, parallel=threads > 1)


def gigatoken(tokenizer):
    import gigatoken as package

    loaded = package.Tokenizer(tokenizer)
    return lambda texts, _: loaded.encode_batch(texts)


def tiktoken(tokenizer):
    """Of byte-level BPE whose ids are in the order of the merges."""
    import base64

    import tiktoken as package

    file = json.loads(pathlib.Path(tokenizer).read_text("utf-8"))
    lines = beside(tokenizer, "tokenizer.tiktoken", "byte-level BPE").read_bytes().split(b"\n")[:-1]
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    gpt2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    steps = file["pre_tokenizer"].get("pretokenizers", [])
    expressions = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split"]
    if len(expressions) > 1 or file["normalizer"]:
        sys.exit("tiktoken splits by one expression and normalizes nothing")
    special = {token["content"]: token["id"] for token in file["added_tokens"]}
    loaded = package.Encoding("bench", pat_str=(expressions or [gpt2])[0], mergeable_ranks=ranks, special_tokens=special)

    def encode(texts, threads):
        if threads > 1:
            return loaded.encode_ordinary_batch(texts, num_threads=threads)
        return [loaded.encode_ordinary(text) for text in texts]

    return encode


def openai_vocabulary(tokenizer):
    """Its number in thousands of tokens, for those who have the vocabularies of GPT-3.5 and GPT-4o in them."""
    tokens = len(json.loads(pathlib.Path(tokenizer).read_text("utf-8"))["model"]["vocab"])
    if round(tokens / 1000) not in (100, 200):
        sys.exit("takes part with GPT-3.5 and GPT-4o")
    return round(tokens / 1000)


def rs_bpe(tokenizer):
    from rs_bpe import openai

    loaded = {100: openai.cl100k_base, 200: openai.o200k_base}[openai_vocabulary(tokenizer)]()

    def encode(texts, threads):
        if threads > 1:
            return loaded.encode_batch_parallel(texts, openai.ParallelOptions(1, 16, threads))[0]
        return loaded.encode_batch(texts)[0]

    return encode


def bpe_openai(tokenizer):
    import bpe_openai as package

    loaded = package.get_encoding({100: "cl100k_base", 200: "o200k_base"}[openai_vocabulary(tokenizer)])
    return lambda texts, threads: loaded.encode_ordinary_batch(texts, num_threads=threads)


def sentencepiece(tokenizer):
    import sentencepiece as package

    loaded = package.SentencePieceProcessor(model_file=str(beside(tokenizer, "tokenizer.model", "Unigram")))
    return lambda texts, threads: loaded.encode(texts, num_threads=threads)


def tokenizers(tokenizer):
    import tokenizers as package

    loaded = package.Tokenizer.from_file(tokenizer)

    def encode(texts, threads):
        if threads == 1:
            return [loaded.encode_batch_fast([text], add_special_tokens=False)[0] for text in texts]
        return loaded.encode_batch_fast(texts, add_special_tokens=False)

    return encode


def tokenizers_rc(tokenizer):
    import tokenizers as package

    loaded = package.Tokenizer.from_file(tokenizer)
    return lambda texts, _: loaded.encode_batch(texts, add_special_tokens=False)


def kitoken(tokenizer):
    import kitoken as package

    loaded = package.Kitoken.from_tokenizers_file(tokenizer)
    return lambda texts, _: loaded.encode_all(texts, True)


def fastokens(tokenizer):
    import fastokens as package

    loaded = package.Tokenizer.from_file(tokenizer)

    def encode(texts, _):
        ids, _ = loaded.encode_batch_flat(texts, add_special_tokens=False)
        return [memoryview(ids).cast("I")]

    return encode


def fnv(lists):
    count, value = 0, 0xCBF29CE484222325
    for ids in lists:
        for identifier in getattr(ids, "ids", ids):
            value = (value ^ int(identifier)) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
            count += 1
    return count, f"{value:016x}"


PEERS = {"nanotoken": nanotoken, "gigatoken": gigatoken, "tiktoken": tiktoken, "rs-bpe": rs_bpe,
         "sentencepiece": sentencepiece, "tokenizers": tokenizers, "tokenizers-rc": tokenizers_rc,
         "kitoken": kitoken, "fastokens": fastokens, "bpe-openai": bpe_openai}


def main():
    name, tokenizer, path, threads, passes = sys.argv[1:]
    texts = list(documents(path))
    begin = time.perf_counter()
    encode = PEERS[name](tokenizer)
    # Some set things up on first use.
    encode(["a"], int(threads))
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
