"""tests/goldens/minilm: the real model, f32 and with the int8 asset's weights, on real sentences and odd texts."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from minilm import MULTILINGUAL, SENTENCES, encode, load_f32, load_int8
from tiny_bert import save

STEP = 8  # every eighth sentence: 32 of 256
HIDDEN = [3, 17]


def edges(sentences: list[str], multilingual: list[str]) -> list[tuple[str, str]]:
    return [
        ("empty", ""),
        ("whitespace only", " \t\n \u3000 "),
        ("surrounding whitespace", "  The Queen smiled and passed on. \n"),
        ("beyond max_seq_length", " ".join(sentences[:14])),
        ("one word of 5000 letters", "a" * 5000),
        ("longest word that WordPiece splits", "ab" * 50),
        ("special tokens in the text", "A [MASK] in [SEP] the text [CLS]."),
        ("control and invisible characters", "one\u0000two\u200bthree\u00adfour\ufffdfive\u0007"),
        ("upper case and accents", "ÀÉÎÕÜ ÇÑ ŁØ ẞ"),
        ("German", multilingual[1]),
        ("Arabic", multilingual[19]),
        ("Chinese", multilingual[29]),
        ("emoji", "👩‍👩‍👧‍👦 🇫🇷 👍🏽 ❤️"),
        ("punctuation", "...!?,;:-_()[]{}<>@#$%^&*~`'\""),
    ]


def describe(model, tokenizer: Tokenizer, text: str) -> dict:
    ids = model.tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"]
    encoding = tokenizer.encode(text)
    if ids != encoding.ids:
        raise SystemExit(f"sentence-transformers and tokenizer.json disagree on {text!r}")
    return {"text": text, "ids": ids, "truncated": bool(encoding.overflowing)}


def forward(model, ids: list[int]):
    with torch.inference_mode():
        return model[0].model(input_ids=torch.tensor([ids]))


def write(out: Path, folder: Path) -> None:
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    multilingual = MULTILINGUAL.read_text(encoding="utf-8").split("\n")
    f32, int8 = load_f32(folder), load_int8(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(f32.max_seq_length)

    lines = list(range(0, len(sentences), STEP))
    odd = edges(sentences, multilingual)
    cases = {
        "max_seq_length": f32.max_seq_length,
        "hidden": HIDDEN,
        "sentences": [{"line": i} | describe(f32, tokenizer, sentences[i]) for i in lines],
        "edges": [{"name": name} | describe(f32, tokenizer, text) for name, text in odd],
    }
    expected = {}
    for part, texts in (("sentences", [sentences[i] for i in lines]), ("edges", [text for _, text in odd])):
        for name, model in (("f32", f32), ("int8", int8)):
            expected[f"{part}.{name}"] = torch.from_numpy(encode(model, texts))
    for part in ("sentences", "edges"):
        # The embedding must be that of the ids written beside it, whatever encode() does to a text.
        for case, row in zip(cases[part], expected[f"{part}.f32"]):
            pooled = torch.nn.functional.normalize(forward(f32, case["ids"]).last_hidden_state[0].mean(0), dim=0)
            if (pooled - row).abs().max() > 1e-6:
                raise SystemExit(f"{case['text'][:40]!r}: embedding isn't that of its ids")
    for i in HIDDEN:
        ids = cases["sentences"][i]["ids"]
        exact, rounded = forward(f32, ids), forward(int8, ids)
        expected[f"hidden.{i}.last_hidden_state"] = exact.last_hidden_state[0].contiguous()
        expected[f"hidden.{i}.pooler_output"] = exact.pooler_output.contiguous()
        expected[f"hidden.{i}.int8.last_hidden_state"] = rounded.last_hidden_state[0].contiguous()

    target = out / "minilm"
    target.mkdir(parents=True, exist_ok=True)
    parts = [f'"max_seq_length": {cases["max_seq_length"]}', f'"hidden": {cases["hidden"]}']
    for part in ("sentences", "edges"):
        rows = ",\n".join(json.dumps(c, ensure_ascii=True) for c in cases[part])
        parts.append(f'"{part}": [\n{rows}\n]')
    (target / "cases.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    save(target / "cases.safetensors", expected)
    cosines = (expected["sentences.f32"] * expected["sentences.int8"]).sum(1)
    print(f"minilm: {len(lines)} sentences, {len(odd)} edges, int8 cosine mean {float(cosines.mean()):.6f}")
