"""tests/goldens/pipelines: tiny models with trained tokenizers, and what transformers' pipelines find in texts.

transformers 5 dropped question answering, so that part is written by the last release of 4 (requirements-4.txt):

    venv/bin/python tools/reference/goldens.py --out tests/goldens --only pipelines
    venv4/bin/python tools/reference/goldens.py --out tests/goldens --only question-answering
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, pipeline

from encoder_goldens import draw

VOCABULARY = 320
LENGTH = 48
# Longer, so that a question leaves more room for its context than windows share.
LENGTH_OF_CONTEXTS = 96

TEXTS = [
    "Amélie lives in Zürich, and Wolfgang moved to São Paulo in 1998.",
    "The quick brown fox jumps over the lazy dog.",
    "I don't think it's worth the money!",
    "",
    "   ",
    "北京 and 東京 are cities; Ωmega isn't ☃.",
    "Dr. O'Neill-Smith met 42 unbelievably uncooperative administrators on Tuesday.",
    "tabs\tand  spaces   everywhere ",
    "She said that the river, which runs through the old town, had risen again; nobody was surprised, since it had rained for "
    "weeks, and the dam that was promised by three governments in a row had never been built, let alone paid for.",
]
CONTEXTS = [
    "My name is Wolfgang and I live in Berlin.",
    "Zürich is the largest city of Switzerland. It lies at the lake of the same name, and some 440,000 people live there.",
    "The river rises in the mountains. " * 3 + "In spring it carries twice as much water as in autumn, and every few years it floods "
    "the old town, where the merchants lived; the town hall has a mark for each flood since 1342. " * 2,
    "東京 is a city. Berlin is a city, too.",
]
QUESTIONS = ["Where do I live?", "Which city is the largest?", "When does the river carry the most water?", "What?"]


def corpus() -> list[str]:
    data = Path(__file__).parents[2] / "tests/data/sentences.txt"
    return data.read_text(encoding="utf-8").splitlines()[:400] + TEXTS + CONTEXTS + QUESTIONS


def wordpiece() -> tuple[Tokenizer, dict]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, limit_alphabet=70, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
    # As BERT's own class has it; the class for any tokenizer leaves the types out.
    return tokenizer, dict(zip(names, special)) | {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}


def byte_level() -> tuple[Tokenizer, dict]:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    names = ["cls_token", "pad_token", "sep_token", "unk_token", "mask_token"]
    return tokenizer, dict(zip(names, special)) | {"model_input_names": ["input_ids", "attention_mask"]}


def unigram() -> tuple[Tokenizer, dict]:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = ["cls_token", "pad_token", "sep_token", "unk_token", "mask_token"]
    return tokenizer, dict(zip(names, special)) | {"model_input_names": ["input_ids", "attention_mask"]}


# Architecture, tokenizer, what is added to the positions, token types, padding.
FAMILIES = {
    "bert": ("Bert", wordpiece, 0, 2, 0),
    "roberta": ("Roberta", byte_level, 2, 1, 1),
    "xlm-roberta": ("XLMRoberta", unigram, 2, 1, 1),
}
NER = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-DATE"]

# For each folder: the head, the labels, further fields, and the calls: options of the pipeline, inputs.
TASKS = {
    "text-classification": [
        ("sentiment", "ForSequenceClassification", ["negative", "neutral", "positive"], {},
         [({}, TEXTS), ({"top_k": 2}, TEXTS[:3]), ({"top_k": None}, TEXTS[:3]), ({"function_to_apply": "sigmoid", "top_k": None}, TEXTS[:2]),
          ({"function_to_apply": "none", "top_k": None}, TEXTS[:2])]),
        ("multi-label", "ForSequenceClassification", ["a", "b", "c", "d"], {"problem_type": "multi_label_classification"},
         [({"top_k": None}, TEXTS[:4])]),
        ("score", "ForSequenceClassification", ["LABEL_0"], {}, [({}, TEXTS[:4])]),
        ("regression", "ForSequenceClassification", ["LABEL_0"], {"problem_type": "regression"}, [({}, TEXTS[:4])]),
    ],
    "token-classification": [
        ("ner", "ForTokenClassification", NER, {},
         [({"aggregation_strategy": s}, TEXTS) for s in ("none", "simple", "first", "average", "max")]
         + [({"aggregation_strategy": "simple", "ignore_labels": ["PER", "DATE"]}, TEXTS)]
         + [({"aggregation_strategy": s, "stride": 9, "ignore_labels": []}, TEXTS[6:]) for s in ("simple", "first", "average", "max")]),
    ],
    "zero-shot-classification": [
        ("nli", "ForSequenceClassification", ["contradiction", "neutral", "entailment"], {},
         [({"candidate_labels": ["sports", "politics", "the weather"]}, TEXTS[:3] + TEXTS[5:]),
          ({"candidate_labels": ["sports", "politics", "the weather"], "multi_label": True}, TEXTS[:3]),
          ({"candidate_labels": ["travel"]}, TEXTS[:3]),
          ({"candidate_labels": ["travel", "money"], "hypothesis_template": "It is about {}!"}, TEXTS[:3])]),
        ("nli-entailment-first", "ForSequenceClassification", ["Entailment", "not_entailment"], {},
         [({"candidate_labels": ["sports", "politics"], "multi_label": True}, TEXTS[:3])]),
    ],
    "fill-mask": [
        ("mlm", "ForMaskedLM", None, {},
         [({}, ["The {mask} fox jumps over the {mask} dog.", "{mask}", "Zürich is {mask}."]), ({"top_k": 2}, ["I live in {mask}."]),
          ({"top_k": 4, "targets": ["the", "river", "e", "xyzzyzzy"]}, ["The {mask} rises, {mask}."])]),
    ],
    "question-answering": [
        ("squad", "ForQuestionAnswering", None, {},
         [({}, None), ({"top_k": 4}, None), ({"max_answer_len": 3, "doc_stride": 10, "max_seq_len": 60}, None),
          ({"handle_impossible_answer": True, "top_k": 3}, None), ({"align_to_words": False, "top_k": 2}, None)]),
    ],
}


def folder_of(out: Path, family: str, name: str, head: str, labels: list[str] | None, fields: dict, seed: int) -> Path:
    prefix, make_tokenizer, offset, types, padding = FAMILIES[family]
    tokenizer, special = make_tokenizer()
    folder = out / family / name
    shutil.rmtree(folder, ignore_errors=True)
    length = LENGTH_OF_CONTEXTS if head == "ForQuestionAnswering" else LENGTH
    names = dict(id2label=dict(enumerate(labels)), label2id={l: i for i, l in enumerate(labels)}) if labels else {}
    config = getattr(transformers, prefix + "Config")(
        hidden_size=16, num_attention_heads=2, intermediate_size=22, num_hidden_layers=1, vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=length + offset, type_vocab_size=types, pad_token_id=padding, layer_norm_eps=1e-5, **names, **fields)
    model = getattr(transformers, prefix + head)(config).float().eval()
    draw(model, seed)
    model.tie_weights()
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **special).save_pretrained(folder)
    for unused in ("special_tokens_map.json", "generation_config.json"):
        (folder / unused).unlink(missing_ok=True)
    return folder


def plain(value: object) -> object:
    """Numbers of numpy and torch as JSON has them."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value.item() if isinstance(value, (np.generic, torch.Tensor)) else value


def answers(task: str, pipe, options: dict, inputs: list[str] | None) -> list[dict]:
    rows = []
    if task == "question-answering":
        for question in QUESTIONS:
            for context in CONTEXTS:
                rows.append({"question": question, "context": context,
                             "output": plain(pipe(question=question, context=context, **options))})
        return rows
    for text in inputs:
        text = text.replace("{mask}", pipe.tokenizer.mask_token)
        truncated = {"truncation": True} if task == "text-classification" else {}
        rows.append({"text": text, "output": plain(pipe(text, **options, **truncated))})
    return rows


def write(out: Path, only_question_answering: bool) -> None:
    tasks = [task for task in TASKS if (task == "question-answering") == only_question_answering]
    for family in FAMILIES:
        for task in tasks:
            for number, (name, head, labels, fields, calls) in enumerate(TASKS[task]):
                seed = 7000 + 100 * list(TASKS).index(task) + number + 10 * list(FAMILIES).index(family)
                folder = folder_of(out / "pipelines", family, name, head, labels, fields, seed)
                extra = {}
                cases = []
                for options, inputs in calls:
                    pipe = pipeline(task, model=str(folder), tokenizer=PreTrainedTokenizerFast.from_pretrained(folder),
                                    device="cpu", **{k: v for k, v in options.items() if k in ("aggregation_strategy", "stride", "ignore_labels")})
                    rest = {k: v for k, v in options.items() if k not in ("aggregation_strategy", "stride", "ignore_labels")}
                    cases.append({"options": options, "rows": answers(task, pipe, rest, inputs)})
                lines = json.dumps({"task": task, "cases": cases}, ensure_ascii=False, indent=1)
                (folder / "cases.json").write_text(lines + "\n", encoding="utf-8")
                for file in folder.iterdir():
                    file.chmod(0o644)
                print(family, name, sum(len(case["rows"]) for case in cases), "rows")
