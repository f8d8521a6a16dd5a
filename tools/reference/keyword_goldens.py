"""tests/goldens/keywords: what KeyBERT finds in real texts with all-MiniLM-L6-v2, f32 and with the int8 asset's weights."""

import itertools
import json
from pathlib import Path

import numpy as np
from keybert import KeyBERT
from sklearn.feature_extraction.text import CountVectorizer

from minilm import MULTILINGUAL, ROOT, SENTENCES, load_f32, load_int8

STOP_WORDS = ROOT / "pipelines" / "src" / "keywords" / "english_stop_words.txt"

OPTIONS = [
    dict(),
    dict(top_k=10, ngram_range=[1, 2]),
    dict(top_k=7, ngram_range=[2, 3]),
    dict(top_k=4, ngram_range=[3, 3]),
    dict(ngram_range=[1, 2], stop_words=[]),
    dict(top_k=8, stop_words=["alice", "images", "the", "network", "heat", "to", "of", "it"]),
    dict(ngram_range=[1, 2], selection="mmr", diversity=0.2),
    dict(ngram_range=[1, 2], selection="mmr", diversity=0.5),
    dict(ngram_range=[1, 3], selection="mmr", diversity=0.7, top_k=8),
    dict(selection="mmr", diversity=1.0, top_k=6),
    dict(ngram_range=[1, 2], selection="max_sum", candidates=10),
    dict(selection="max_sum", candidates=20, top_k=3),
    dict(ngram_range=[2, 2], selection="max_sum", candidates=15, top_k=4, stop_words=[]),
]

HEAT_PUMP = """\
A heat pump moves warmth from the outside air into the house, even when it is freezing: the refrigerant boils at a lower temperature
than the air around it. A compressor squeezes the vapour, which makes it hot enough for the radiators. In summer the cycle runs
backwards and cools the rooms. Electricity drives only the compressor and the fans; three quarters of the heat come from outside."""


def texts() -> list[str]:
    """Passages: neighbouring sentences, a text of one matter, other languages, and texts with few words or none."""
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    multilingual = MULTILINGUAL.read_text(encoding="utf-8").split("\n")
    passages = [" ".join(sentences[start:start + 4]) for start in (0, 60, 150)]
    odd = [" ".join(multilingual[1:4]), multilingual[17].upper(), "Loquats, loquats and more loquats.", "It is what it is.", ""]
    return passages + [HEAT_PUMP.replace("\n", " ")] + odd


def find(model: KeyBERT, text: str, options: dict, stop_words: list[str]) -> list[tuple[str, float]]:
    """The keywords, in the pipeline's order: the closest first."""
    top_n, candidates = options.get("top_k", 5), options.get("candidates", 20)
    selection = options.get("selection", "cosine")
    least, most = options.get("ngram_range", [1, 1])
    given = options.get("stop_words", stop_words) or None
    found = model.extract_keywords(
        text, keyphrase_ngram_range=(least, most), stop_words=given, top_n=top_n,
        use_mmr=selection == "mmr", diversity=options.get("diversity", 0.5),
        use_maxsum=selection == "max_sum", nr_candidates=candidates,
    )
    # KeyBERT gives these the other way round.
    return found[::-1] if selection == "max_sum" else found


def enough(text: str, options: dict, stop_words: list[str]) -> bool:
    """Whether a text has the number of phrases that is asked for: of fewer, KeyBERT's max-sum chooses none at all."""
    least, most = options.get("ngram_range", [1, 1])
    vectorizer = CountVectorizer(ngram_range=(least, most), stop_words=options.get("stop_words", stop_words) or None)
    try:
        phrases = len(vectorizer.fit([text]).get_feature_names_out())
    except ValueError:
        phrases = 0
    return options.get("selection") != "max_sum" or phrases >= options.get("top_k", 5)


def write(out: Path, folder: Path) -> None:
    stop_words = STOP_WORDS.read_text(encoding="utf-8").split()
    models = {"f32": KeyBERT(load_f32(folder)), "int8": KeyBERT(load_int8(folder))}
    passages, cases = texts(), []
    for options in OPTIONS:
        for number, text in enumerate(passages):
            if not enough(text, options, stop_words):
                continue
            case = {"text": number, "options": options}
            for name, model in models.items():
                found = find(model, text, options, stop_words)
                # Scores are rounded: which of two equal ones comes first says nothing.
                if any(a[1] == b[1] for a, b in itertools.pairwise(found)):
                    raise SystemExit(f"equal scores in {found}: take another text")
                case[name] = found
            cases.append(case)
    target = out / "keywords"
    target.mkdir(parents=True, exist_ok=True)
    lines = {"texts": passages, "cases": cases}
    body = ",\n".join(f'"{name}": [\n' + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]" for name, rows in lines.items())
    (target / "cases.json").write_text("{\n" + body + "\n}\n", encoding="utf-8")
    rows = [len(case[name]) for case in cases for name in models]
    print(f"keywords: {len(cases)} cases, {int(np.sum(rows))} keywords")
