"""tests/goldens/pipelines: multiple choice, for which transformers has no pipeline, cross-encoders by sentence-transformers, and vectors of
tokens.

Tokenizers are those that pipeline_goldens.py has trained.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, PreTrainedTokenizerFast, pipeline

from encoder_goldens import draw
from pipeline_goldens import FAMILIES, TEXTS

QUESTIONS = [
    ("The river had risen again.", ["Nobody was surprised.", "The fox jumps over the dog.", "It rained for weeks, and the dam had never been built."]),
    ("Amélie lives in Zürich, and Wolfgang moved to", ["São Paulo.", ""]),
    ("", ["the money!", "北京", "☃"]),
    (TEXTS[-1], ["It was worth the money.", "The dam was never paid for."]),
    ("Is there a choice?", ["No."]),
]


def choices(folder: Path, source: Path, family: str, seed: int) -> None:
    prefix = FAMILIES[family][0]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder / name)
    config = transformers.AutoConfig.from_pretrained(source)
    for field in ("id2label", "label2id", "architectures"):
        config.__dict__.pop(field, None)
    model = getattr(transformers, prefix + "ForMultipleChoice")(config).float().eval()
    draw(model, seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text, choices in QUESTIONS:
        # One choice at a time: padding would change the last digits.
        logits = [model(**{key: value[None] for key, value in tokenizer(
            [text], [choice], truncation="longest_first", return_tensors="pt").items()}).logits[0, 0] for choice in choices]
        rows.append({"text": text, "choices": choices, "output": torch.stack(logits).softmax(0).tolist()})
    write(folder / "cases.json", {"task": "multiple-choice", "cases": [{"options": {}, "rows": rows}]})
    print(family, "multiple choice", len(rows), "rows")


def scores(folder: Path, family: str) -> None:
    model = CrossEncoder(str(folder), device="cpu")
    rows = [{"text": a, "context": b, "output": float(model.predict([(a, b)], show_progress_bar=False)[0])} for a in TEXTS[:3] for b in TEXTS]
    raw = [{**row, "output": float(model.predict([(row["text"], row["context"])], activation_fn=torch.nn.Identity(), show_progress_bar=False)[0])}
           for row in rows[:6]]
    cases = [{"options": {}, "rows": rows}, {"options": {"raw": True}, "rows": raw}]
    write(folder / "rerank.json", {"task": "rerank", "cases": cases})
    print(family, "rerank", len(rows) + len(raw), "rows")


def features(folder: Path, family: str) -> None:
    pipe = pipeline("feature-extraction", model=str(folder), tokenizer=PreTrainedTokenizerFast.from_pretrained(folder), device="cpu")
    rows = [{"text": text, "output": pipe(text, truncation=True)} for text in TEXTS[:4]]
    write(folder / "features.json", {"task": "feature-extraction", "cases": [{"options": {}, "rows": rows}]}, indent=None)
    print(family, "features", len(rows), "rows")


def write(path: Path, value: object, indent: int | None = 1) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")
    for file in path.parent.iterdir():
        file.chmod(0o644)


def write_all(out: Path) -> None:
    with torch.no_grad():
        for number, family in enumerate(FAMILIES):
            root = out / "pipelines" / family
            choices(root / "choice", root / "nli", family, seed=7900 + number)
            scores(root / "score", family)
            features(root / "ner", family)
