#!/usr/bin/env python3
"""Write tests/goldens/tokenizer/bpe.jsonl: what the reference makes of texts with BPE tokenizers of every kind.

The vocabularies are trained here, on the sentences of tests/data, and are in the file: one of bytes with GPT-2's
alphabet, one of characters with a mark at the end of a word. Each line is a tokenizer (`{"tokenizer": …}`, whole or as a
patch of the one before) or a case for the tokenizer before it.

    pip install "tokenizers==0.23.3"
    python tools/reference/bpe_goldens.py tests/goldens/tokenizer/bpe.jsonl
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[2]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
    "\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]
WRITTEN = [
    "",
    " ",
    "Hello, world!",
    "  two  spaces   and a tab\tand\n\nlines\r\n  indented",
    "don't DON'T we'll WE'LL o'reilly 'tis ''s 's",
    "1234567 12 3.14159 x1y22z333",
    "naïve café — “quoted” … 東京都 Москва हिन्दी עברית 한국어 ǅ ʰ",
    "e\u0301\u0323 a\u0300b \u0301x",
    "emoji 😀👍🏽 and \u200d joiner \ufeff \u0000 \u001c",
    "HelloWorld helloWORLD XMLHttpRequest camelCase's",
    "a/b//c\n/d !!!\n\n?\r\n/ (x) [y] {z}",
    "trailing   ",
    "\u3000wide\u00a0spaces\u2028 ",
    "<mask> x<mask>y <mask>  <end>z",
    "x" * 70,
    "ab" * 40 + " " + "." * 80,
]

# What lists of splits cut out, and what none of their expressions matches.
IN_LISTS = [
    "12 345  6789\n10 x1  2",
    "カ・タ゠ー\u3099\u3040ア 中文abc中 龥龦一 \u3000、。",
    "\x00\x01a \x7f\x7f b\u200d\u0301c \ue000\ue000",
    ".abcé -x -éx --x (a)b\n\n.c\r\n $\u0301a",
    "a\u0301\u0301 \u0301 1\u0301 .\u0301",
]


def sentences():
    return (ROOT / "tests/data/sentences.txt").read_text(encoding="utf-8").splitlines()


def random_text(rng):
    pieces = [
        lambda: "".join(rng.choice("etaoinshrdluETAOIN") for _ in range(rng.randint(1, 8))),
        lambda: rng.choice(["'s", "'t", "'re", "'VE", "'m", "'Ll", "'d", "'", "''", "'ſ", "'sa", "'ll's"]),
        lambda: "".join(rng.choice(" \t\r\n\u00a0\u0085\u3000\u2028\x1c\x0b ") for _ in range(rng.randint(1, 4))),
        lambda: "".join(rng.choice("0123456789²Ⅳ٣") for _ in range(rng.randint(1, 6))),
        lambda: "".join(rng.choice(".,!?/\"#\\-()。、_$€<|>[]") for _ in range(rng.randint(1, 4))),
        lambda: "".join(rng.choice("éÀǅσΣЖж\u02b0中가ªあ\u0301\u093f\u20dd") for _ in range(rng.randint(1, 4))),
        lambda: rng.choice(["<mask>", " <mask> ", "<end>", "\ufffd", "\u200d", "😀"]),
    ]
    return "".join(rng.choice(pieces)() for _ in range(rng.randint(1, 9)))


def added(content, number, **flags):
    token = {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False}
    return {**token, "normalized": False, "special": True, **flags}


def byte_level(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False))
    return tokenizer


def end_of_word(texts):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>"], end_of_word_suffix="</w>", limit_alphabet=60, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def level(add_prefix_space=False, use_regex=True):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def variants(size):
    """Patches of the byte-level tokenizer, with the number of random texts for each."""
    specials = [added("<end>", size), added("<mask>", size + 1, lstrip=True), added("<s>", size + 2), added("</s>", size + 3)]
    yield {"added_tokens": specials}, 40
    yield {"pre_tokenizer": level(True), "post_processor": level(True)}, 40
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", size + 3], "cls": ["<s>", size + 2]}
    for space in (False, True):
        trimmed = {**roberta, "trim_offsets": True, "add_prefix_space": space}
        yield {"pre_tokenizer": level(space), "post_processor": trimmed}, 30
    yield {"post_processor": None}, 0
    for pattern in (CL100K, CL100K.replace(r"\p{N}{1,3}", r"\p{N}"), O200K):
        yield {"pre_tokenizer": sequence(split({"Regex": pattern}), level(use_regex=False))}, 60
        yield {"pre_tokenizer": sequence(split({"Regex": pattern}, "Removed", True), level(use_regex=False))}, 5
    yield {"normalizer": {"type": "NFC"}}, 30
    yield {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": {"type": "WhitespaceSplit"}}, 20
    yield {"normalizer": None}, 0
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            for pattern in ({"String": "e"}, {"Regex": r"\w+|[^\w\s]+"}, {"Regex": r"(?<=a)\s*|o"}, {"String": ""}):
                yield {"pre_tokenizer": sequence(split(pattern, behavior, invert), level(True, False))}, 3


def main():
    rng = random.Random(20)
    texts = sentences()
    corpus = texts + WRITTEN * 3
    out = []

    def cases(tokenizer, count, written=WRITTEN):
        for text in written + [random_text(rng) for _ in range(count)] + texts[:3]:
            encoding = tokenizer.encode(text)
            words = [-1 if word is None else word for word in encoding.word_ids]
            offsets = [end for pair in encoding.offsets for end in pair]
            decoded = tokenizer.decode(encoding.ids, skip_special_tokens=True) if encoding.ids else ""
            out.append([text, encoding.ids, offsets, words, decoded])

    base = json.loads(byte_level(corpus).to_str())
    for patch, count in variants(len(base["model"]["vocab"])):
        base.update(patch)
        tokenizer = Tokenizer.from_str(json.dumps(base))
        out.append({"tokenizer": patch if out else dict(base)})
        cases(tokenizer, count, WRITTEN if count > 5 else WRITTEN[2:9] if count else [])
    words = {word: number for number, word in enumerate(["[UNK]", "the", "of", ",", "Hello"])}
    out.append({"tokenizer": {**base, "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
                              "decoder": None, "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}}})
    cases(Tokenizer.from_str(json.dumps(out[-1]["tokenizer"])), 5)
    gpt = json.loads(end_of_word(corpus).to_str())
    out.append({"tokenizer": json.loads(json.dumps(gpt))})
    cases(Tokenizer.from_str(json.dumps(gpt)), 40)
    gpt["model"]["fuse_unk"] = True
    out.append({"tokenizer": {"model": gpt["model"]}})
    cases(Tokenizer.from_str(json.dumps(gpt)), 20)

    digits = {"type": "Digits", "individual_digits": True}
    lists = [
        [*(split({"Regex": expression}) for expression in DEEPSEEK), level(use_regex=False)],
        [split({"Regex": TEKKEN}), level(use_regex=False)],
        [digits, level()],
    ]
    base.update({"normalizer": {"type": "Sequence", "normalizers": []}, "added_tokens": []})
    for place, steps in enumerate(lists):
        base["pre_tokenizer"] = sequence(*steps)
        out.append({"tokenizer": {"pre_tokenizer": base["pre_tokenizer"]} if place else dict(base)})
        cases(Tokenizer.from_str(json.dumps(base)), 60, WRITTEN + IN_LISTS)

    with open(sys.argv[1], "w", encoding="utf-8") as file:
        for line in out:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(out)} lines")


if __name__ == "__main__":
    main()
