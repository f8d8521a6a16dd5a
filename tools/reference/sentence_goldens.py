"""tests/goldens/sentence-transformers: the ways a sentence-transformers folder can look, and what it gives."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util.quantization import quantize_embeddings
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tiny_bert import SPECIAL, Shape, build, save, vocabulary, write_folder, write_json

HIDDEN = 20
FLAGS = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
         "weightedmean": "weightedmean_tokens", "lasttoken": "lasttoken"}
OLD = "sentence_transformers.models."
TEXTS = [
    "The cat sat on the mat.",
    "A river runs to the stone.",
    "Was it?",
    "",
    "  spaces   and\ttabs ",
    "Testing the longest and untestable river of 42 stones, in it.",
    "MÉLANGE of Accents!",
    "中 and unknown ☃ signs",
    "The river was stone, and the cat sat on it; of all the mats in it, none was longer than forty two untested stones.",
]


@dataclass
class Folder:
    name: str
    note: str
    pooling: list[str]
    pooling_keys: str = "flags"  # "flags": pooling_mode_*; "short": those of 2021, four flags only; "mode": pooling_mode
    transformer: str = ""  # the path in modules.json
    normalize: bool = False
    dense: list[tuple[int, bool, str]] = field(default_factory=list)  # output width, bias, activation
    types: str = "old"  # how modules.json names the classes
    max_seq_length: int | None = 16
    tokenizer_json: bool = False
    do_lower_case: bool = False
    layer_norm: bool = False
    prompts: dict[str, str] = field(default_factory=dict)


FOLDERS = [
    Folder("mean", "model at the root, old flags, no Normalize", ["mean"], pooling_keys="short"),
    Folder("mean-normalize-0-transformer", "model in 0_Transformer, Normalize", ["mean"],
           transformer="0_Transformer", normalize=True),
    Folder("mean-mode-key", "pooling_mode and embedding_dimension, class names of version 5 on, tokenizer.json", ["mean"],
           pooling_keys="mode", types="new", normalize=True, tokenizer_json=True),
    Folder("cls", "first token, old flags", ["cls"], normalize=True),
    Folder("max", "old flags", ["max"]),
    Folder("mean-sqrt-len", "old flags", ["mean_sqrt_len_tokens"]),
    Folder("last-token", "pooling_mode lasttoken", ["lasttoken"], pooling_keys="mode"),
    Folder("weighted-mean", "pooling_mode weightedmean: token i weighs i + 1", ["weightedmean"], pooling_keys="mode"),
    Folder("cls-max-mean", "three poolings side by side: cls, then max, then mean", ["cls", "max", "mean"]),
    Folder("dense-normalize", "Dense with bias and Tanh, then Normalize", ["mean"],
           dense=[(11, True, "torch.nn.modules.activation.Tanh")], normalize=True),
    Folder("dense-identity", "two Dense: no bias and Identity, then GELU", ["cls"], transformer="0_Transformer",
           dense=[(33, False, "torch.nn.modules.linear.Identity"), (7, True, "torch.nn.modules.activation.GELU")]),
    Folder("no-max-seq-length", "max_seq_length null: the model's 29 positions are the limit; do_lower_case", ["mean"],
           max_seq_length=None, do_lower_case=True),
    Folder("layer-norm-prompts", "LayerNorm, Normalize; prompts for queries and documents", ["mean"], layer_norm=True, normalize=True,
           prompts={"query": "the cat: ", "document": "of stone "}),
]


def bert(seed: int) -> Shape:
    return Shape("tiny", HIDDEN, 2, 37, 1, vocab=95, positions=29, seed=seed)


def tokenizer_json(vocab: list[str]) -> str:
    ids = {t: i for i, t in enumerate(vocab)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer.to_str(pretty=True)


def class_name(kind: str, types: str) -> str:
    if types == "old":
        return OLD + kind
    home = "sentence_transformers.base.modules" if kind in ("Transformer", "Dense") else "sentence_transformers.sentence_transformer.modules"
    files = {"Transformer": "transformer.Transformer", "Dense": "dense.Dense", "Pooling": "pooling.Pooling",
             "Normalize": "normalize.Normalize"}
    if kind == "Normalize":
        home = "sentence_transformers.base.modules"
    return f"{home}.{files[kind]}"


def pooling_config(spec: Folder) -> dict:
    if spec.pooling_keys == "mode":
        mode = spec.pooling[0] if len(spec.pooling) == 1 else spec.pooling
        return {"embedding_dimension": HIDDEN, "pooling_mode": mode, "include_prompt": True}
    names = ["cls", "mean", "max", "mean_sqrt_len_tokens"] if spec.pooling_keys == "short" else list(FLAGS)
    flags = {f"pooling_mode_{FLAGS[name]}": name in spec.pooling for name in names}
    return {"word_embedding_dimension": HIDDEN} | flags | ({} if spec.pooling_keys == "short" else {"include_prompt": True})


def write_one(folder: Path, spec: Folder, seed: int) -> None:
    shape = bert(seed)
    inner = folder / spec.transformer
    write_folder(inner, shape, build(shape))
    if spec.tokenizer_json:
        (inner / "tokenizer.json").write_text(tokenizer_json(vocabulary(shape.vocab)) + "\n", encoding="utf-8")
        (inner / "vocab.txt").unlink()
    limits = {"max_seq_length": spec.max_seq_length, "do_lower_case": spec.do_lower_case}
    write_json(inner / "sentence_bert_config.json", limits)

    modules = [("Transformer", spec.transformer), ("Pooling", "1_Pooling")]
    write_json(folder / "1_Pooling" / "config.json", pooling_config(spec))
    width = HIDDEN * len(spec.pooling)
    rng = np.random.default_rng(seed + 500)
    for out, bias, activation in spec.dense:
        path = f"{len(modules)}_Dense"
        write_json(folder / path / "config.json", {"in_features": width, "out_features": out, "bias": bias,
                                                   "activation_function": activation})
        values = {"linear.weight": rng.standard_normal((out, width)) / np.sqrt(width)}
        if bias:
            values["linear.bias"] = 0.3 * rng.standard_normal(out)
        save(folder / path / "model.safetensors",
             {k: torch.from_numpy(v.astype(np.float32)) for k, v in values.items()})
        modules.append(("Dense", path))
        width = out
    if spec.layer_norm:
        path = f"{len(modules)}_LayerNorm"
        write_json(folder / path / "config.json", {"dimension": width})
        values = {"norm.weight": 1 + 0.3 * rng.standard_normal(width), "norm.bias": 0.3 * rng.standard_normal(width)}
        save(folder / path / "model.safetensors", {k: torch.from_numpy(v.astype(np.float32)) for k, v in values.items()})
        modules.append(("LayerNorm", path))
    if spec.normalize:
        # Normalize has no files; git keeps no empty folder, and published repositories lack it too.
        modules.append(("Normalize", f"{len(modules)}_Normalize"))
    write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": class_name(kind, spec.types)}
        for i, (kind, path) in enumerate(modules)
    ])
    write_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.0.0"}}
               | ({"prompts": spec.prompts, "default_prompt_name": None} if spec.prompts else {}))


def expect(folder: Path, spec: Folder) -> None:
    model = SentenceTransformer(str(folder), device="cpu",
                                model_kwargs={"attn_implementation": "eager", "dtype": torch.float32})
    limit = model.max_seq_length
    full = Tokenizer.from_str(tokenizer_json(vocabulary(95)))
    cases, rows = [], []
    for text in TEXTS:
        features = model.preprocess([text])
        ids = features["input_ids"][0].tolist()
        whole = full.encode(text).ids
        if ids != (whole if len(whole) <= limit else whole[:limit - 1] + whole[-1:]):
            raise SystemExit(f"{spec.name}: ids of {text!r} aren't those of the folder's vocabulary: {ids}, {whole}")
        cases.append({"text": text, "ids": ids, "truncated": len(whole) > limit})
        rows.append(torch.from_numpy(model.encode([text], batch_size=1, show_progress_bar=False)[0]))
    lines = ",\n".join(f"    {json.dumps(c, ensure_ascii=True)}" for c in cases)
    (folder / "cases.json").write_text(
        f'{{\n  "note": {json.dumps(spec.note)},\n  "max_seq_length": {limit},\n  "cases": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
    save(folder / "cases.safetensors", {"embeddings": torch.stack(rows).contiguous()})
    if spec.normalize != bool((torch.stack(rows).norm(dim=1) - 1).abs().max() < 1e-5):
        raise SystemExit(f"{spec.name}: Normalize wasn't read as meant")
    modules = " > ".join(type(m).__name__ for m in model)
    print(f"{spec.name}: {modules}, {model[1].pooling_mode}, width {rows[0].numel()}, limit {limit}, "
          f"{sum(c['truncated'] for c in cases)} truncated")


def expect_forms(folder: Path) -> None:
    """outputs.safetensors: the other forms in which embeddings are asked for."""
    def encode(texts, method="encode", truncate_dim=None, **options):
        model = SentenceTransformer(str(folder), device="cpu", truncate_dim=truncate_dim,
                                    model_kwargs={"attn_implementation": "eager", "dtype": torch.float32})
        rows = [getattr(model, method)([text], batch_size=1, show_progress_bar=False, **options)[0] for text in texts]
        return np.stack(rows)
    plain = encode(TEXTS)
    ranges = np.stack([plain.min(0) - 0.013, plain.max(0) + 0.011])
    forms = {"query": encode(TEXTS, "encode_query"), "document": encode(TEXTS, "encode_document"),
             "first7": encode(TEXTS, truncate_dim=7), "first7_normalized": encode(TEXTS, truncate_dim=7, normalize_embeddings=True),
             "ranges": ranges}
    for precision in ("int8", "uint8", "binary", "ubinary"):
        forms[precision] = quantize_embeddings(plain, precision, ranges=ranges)
    save(folder / "outputs.safetensors", {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in forms.items()})


def write(out: Path) -> None:
    for i, spec in enumerate(FOLDERS):
        folder = out / "sentence-transformers" / spec.name
        shutil.rmtree(folder, ignore_errors=True)
        write_one(folder, spec, seed=40 + i)
        expect(folder, spec)
        if spec.prompts:
            expect_forms(folder)
    resave(out / "sentence-transformers" / "dense-normalize", out / "sentence-transformers" / "saved-anew")


def resave(source: Path, folder: Path) -> None:
    """The folder as this version of sentence-transformers saves it: the limit moves to tokenizer_config.json."""
    shutil.rmtree(folder, ignore_errors=True)
    SentenceTransformer(str(source), device="cpu").save_pretrained(str(folder), create_model_card=False)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    spec = next(f for f in FOLDERS if f.name == source.name)
    spec = replace(spec, name=folder.name, note="dense-normalize as sentence-transformers 6 saves it: no max_seq_length "
                   "in sentence_bert_config.json, model_max_length in tokenizer_config.json")
    expect(folder, spec)
    for name in ("cases.safetensors", "model.safetensors"):
        if (folder / name).read_bytes() != (source / name).read_bytes():
            print(f"{spec.name}: {name} is not byte for byte that of {source.name}")
