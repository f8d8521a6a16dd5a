"""tests/goldens/encoders: every architecture with every head, tiny and awkward, and what PyTorch makes of ragged batches."""

import inspect
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModel

from bert_goldens import write_cases
from onnx_export import SEQUENCES, TOKENS, Headed, export
from tiny_bert import save, write_json

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]

# The class of each task, after the architecture's own prefix.
HEADS = {
    "feature-extraction": "Model",
    "fill-mask": "ForMaskedLM",
    "next-sentence-prediction": "ForNextSentencePrediction",
    "replaced-token-detection": "ForPreTraining",
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "multiple-choice": "ForMultipleChoice",
}
# Outputs of these have a row a sequence, as every `pooler_output` has.
OF_SEQUENCES = ["next-sentence-prediction", "text-classification", "multiple-choice"]
COMMON = ["feature-extraction", "fill-mask", "text-classification", "token-classification", "question-answering",
          "multiple-choice"]


@dataclass
class Architecture:
    name: str
    prefix: str
    config: dict
    positions: int
    types: int = 2
    tasks: list[str] = field(default_factory=lambda: COMMON)
    longest: int | None = None
    note: str = ""
    # A token that stands in every sequence of more than 6.
    separator: int | None = None
    # What is exported to ONNX too, for a second opinion.
    onnx: list[str] = field(default_factory=list)
    # Fields of the configuration that older files have under other names.
    fields: dict[str, str] = field(default_factory=dict)


def sizes(hidden: int, heads: int, intermediate: int, layers: int, vocab: int, positions: int, types: int, **more) -> dict:
    return dict(hidden_size=hidden, num_attention_heads=heads, intermediate_size=intermediate, num_hidden_layers=layers,
                vocab_size=vocab, max_position_embeddings=positions, type_vocab_size=types) | more


ARCHITECTURES = [
    Architecture("bert", "Bert", sizes(18, 3, 23, 2, 43, 31, 2), 31, tasks=COMMON + ["next-sentence-prediction"],
                 note="head size 6"),
    Architecture("bert-untied", "Bert", sizes(12, 2, 17, 1, 37, 24, 3, tie_word_embeddings=False, hidden_act="relu",
                                              layer_norm_eps=1e-3), 24, types=3, tasks=["fill-mask"],
                 note="a decoder of its own; three types; ReLU in the head"),
    Architecture("distilbert", "DistilBert", dict(dim=18, n_heads=2, hidden_dim=23, n_layers=2, vocab_size=43,
                                                  max_position_embeddings=29, tie_weights_=True), 29, types=1,
                 onnx=["text-classification"], note="head size 9; no token types"),
    Architecture("roberta", "Roberta", sizes(20, 4, 27, 2, 41, 33, 1, layer_norm_eps=1e-5, pad_token_id=1), 31, types=1,
                 onnx=["token-classification"], note="positions past the padding token, which is among the ids"),
    Architecture("xlm-roberta", "XLMRoberta", sizes(14, 2, 19, 1, 47, 28, 1, layer_norm_eps=1e-5, pad_token_id=1), 26, types=1),
    Architecture("camembert", "Camembert", sizes(15, 3, 19, 1, 39, 30, 1, layer_norm_eps=1e-5, pad_token_id=3), 26, types=1,
                 note="another padding token"),
    Architecture("albert", "Albert", sizes(18, 3, 25, 4, 43, 27, 2, embedding_size=11, num_hidden_groups=2, inner_group_num=2,
                                           classifier_dropout_prob=0.0), 27,
                 note="narrow embeddings; two groups of two layers for four layers"),
    Architecture("electra", "Electra", sizes(20, 4, 27, 2, 41, 30, 2, embedding_size=13), 30,
                 tasks=COMMON + ["replaced-token-detection"], note="narrow embeddings"),
    Architecture("electra-wide", "Electra", sizes(12, 3, 17, 1, 37, 22, 2, embedding_size=12, summary_use_proj=False,
                                                  summary_activation="tanh"), 22, tasks=["feature-extraction", "multiple-choice"],
                 note="embeddings as wide as the layers; a summary without projection"),
    Architecture("mpnet", "MPNet", dict(hidden_size=20, num_attention_heads=4, intermediate_size=27, num_hidden_layers=2,
                                        vocab_size=41, max_position_embeddings=182, relative_attention_num_buckets=32), 180, types=1,
                 onnx=["feature-extraction"], note="biases for distances, into the bucket of all far ones"),
    Architecture("modernbert", "ModernBert", dict(hidden_size=24, num_attention_heads=3, intermediate_size=21, num_hidden_layers=4,
                                                  vocab_size=43, max_position_embeddings=60, local_attention=10, pad_token_id=0,
                                                  bos_token_id=1, cls_token_id=1, eos_token_id=2, sep_token_id=2,
                                                  global_attn_every_n_layers=3), 60, types=1,
                 onnx=["fill-mask"], note="head size 8; windows of 5 tokens to each side in layers 1 and 2"),
    Architecture("modernbert-mean", "ModernBert", dict(hidden_size=12, num_attention_heads=2, intermediate_size=17, num_hidden_layers=2,
                                                       vocab_size=37, max_position_embeddings=40, local_attention=7, pad_token_id=0,
                                                       bos_token_id=1, cls_token_id=1, eos_token_id=2, sep_token_id=2,
                                                       global_attn_every_n_layers=2, classifier_pooling="mean", norm_bias=True,
                                                       attention_bias=True, mlp_bias=True, classifier_bias=True, decoder_bias=False,
                                                       tie_word_embeddings=False, hidden_activation="silu"), 40, types=1,
                 tasks=["feature-extraction", "fill-mask", "text-classification"],
                 note="biases everywhere but in the decoder, which has a weight of its own; mean pooling"),
    Architecture("deberta-v2", "DebertaV2", sizes(20, 2, 27, 2, 43, 30, 0, relative_attention=True, position_buckets=8,
                                                  pos_att_type=["p2c", "c2p"], share_att_key=True, norm_rel_ebd="layer_norm",
                                                  position_biased_input=False, legacy=False), 30, types=1,
                 onnx=["question-answering"], note="as version 3: distances in 8 buckets, vectors by the projections of queries and keys"),
    Architecture("deberta-v2-legacy", "DebertaV2", sizes(18, 3, 25, 2, 41, 26, 2, relative_attention=True, max_relative_positions=9,
                                                         pos_att_type="c2p|p2c", embedding_size=11), 26,
                 tasks=["feature-extraction", "fill-mask"],
                 note="vectors by projections of their own, for distances up to 9; narrow embeddings with positions and types"),
    Architecture("deberta-v2-absolute", "DebertaV2", sizes(12, 2, 17, 1, 37, 22, 2, pos_att_type=["c2p"]), 22,
                 tasks=["feature-extraction"], note="without distances, whose product still counts in the scale"),
    Architecture("deberta", "Deberta", sizes(20, 4, 27, 2, 43, 28, 0, relative_attention=True, pos_att_type=["c2p", "p2c"],
                                             position_biased_input=False), 28, types=1,
                 tasks=[task for task in COMMON if task != "multiple-choice"],
                 note="queries, keys and values of each head in one weight"),
    Architecture("deberta-c2p", "Deberta", sizes(12, 2, 17, 1, 37, 24, 2, relative_attention=True, max_relative_positions=7,
                                                 pos_att_type="c2p", legacy=False), 24, tasks=["feature-extraction", "fill-mask"],
                 note="products of queries alone, with vectors for distances up to 7"),
    Architecture("nomic_bert", "NomicBert", sizes(20, 2, 27, 2, 43, 40, 2), 40,
                 tasks=["feature-extraction", "fill-mask", "text-classification", "token-classification"],
                 note="head size 10"),
    Architecture("nomic_bert-published", "NomicBert", sizes(24, 3, 31, 2, 41, 30, 2), 30, tasks=["feature-extraction", "fill-mask"],
                 note="fields as the checkpoints were published",
                 fields=dict(hidden_size="n_embd", num_attention_heads="n_head", num_hidden_layers="n_layer", intermediate_size="n_inner",
                             max_position_embeddings="n_positions", layer_norm_eps="layer_norm_epsilon", head_dim="", hidden_act="",
                             rope_parameters="")),
    Architecture("mobilebert", "MobileBert", sizes(20, 2, 23, 2, 43, 28, 2, embedding_size=12, intra_bottleneck_size=14,
                                                   num_feedforward_networks=3), 28,
                 tasks=COMMON + ["next-sentence-prediction"], note="head size 7; three feed-forward blocks"),
    Architecture("mobilebert-norms", "MobileBert", sizes(18, 3, 25, 1, 37, 24, 2, embedding_size=18, intra_bottleneck_size=12,
                                                         num_feedforward_networks=1, normalization_type="layer_norm",
                                                         use_bottleneck_attention=True, classifier_activation=False,
                                                         tie_word_embeddings=False), 24,
                 tasks=["feature-extraction", "fill-mask", "text-classification"],
                 note="layer norms; the attention inside of the bottleneck; a pooler without weights; a decoder of its own"),
    Architecture("mobilebert-wide", "MobileBert", sizes(12, 2, 17, 1, 37, 22, 2, embedding_size=9, use_bottleneck=False,
                                                        trigram_input=False), 22,
                 tasks=["feature-extraction"], note="without bottlenecks, and without neighbours in the embeddings"),
    Architecture("deberta-v2-conv", "DebertaV2", sizes(18, 3, 25, 2, 41, 26, 0, relative_attention=True, position_buckets=6,
                                                       max_relative_positions=20, pos_att_type=["c2p", "p2c"], share_att_key=True,
                                                       norm_rel_ebd="layer_norm", conv_kernel_size=3, conv_act="gelu",
                                                       position_biased_input=False, attention_head_size=6), 26, types=1,
                 tasks=["feature-extraction"], note="a convolution beside the first layer"),
    Architecture("fnet", "FNet", dict(hidden_size=21, intermediate_size=27, num_hidden_layers=2, vocab_size=43, max_position_embeddings=33,
                                      type_vocab_size=3), 33, types=3, tasks=COMMON + ["next-sentence-prediction"],
                 note="an odd width; prime and composite lengths"),
    Architecture("longformer", "Longformer", sizes(20, 4, 27, 2, 41, 52, 1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0,
                                                   eos_token_id=2, sep_token_id=2, attention_window=[4, 8]), 50, types=1,
                 tasks=[task for task in COMMON if task != "multiple-choice"], separator=2,
                 note="windows of 2 and 4 tokens to each side; the first token or the question sees everything"),
    Architecture("xlnet", "XLNet", dict(d_model=20, n_head=4, n_layer=2, d_inner=27, vocab_size=43, summary_type="last"), 37, types=3,
                 tasks=["feature-extraction", "text-classification", "token-classification", "question-answering", "multiple-choice"],
                 note="head size 5; segments"),
    Architecture("xlnet-clamped", "XLNet", dict(d_model=18, n_head=3, n_layer=1, d_inner=25, vocab_size=41, clamp_len=6, summary_type="mean"), 33,
                 types=2, tasks=["feature-extraction", "text-classification"], note="distances up to 6; a mean as summary"),
]


def draw(model: torch.nn.Module, seed: int) -> None:
    """Weights under which nothing hides; see tiny_bert.py."""
    rng = np.random.default_rng(seed)
    # Without norms that look at the values, sums of two would grow from layer to layer.
    shrinking = {f"{name}.weight" for name, module in model.named_modules() if type(module).__name__ == "NoNorm"}
    for name, parameter in sorted(model.named_parameters()):
        values = rng.standard_normal(tuple(parameter.shape))
        if parameter.ndim == 2 and "embedding" not in name and "relative_attention_bias" not in name:
            gain = 1.3 if any(part in name for part in ("query", "key", "q_lin", "k_lin", ".q.", ".k.", "Wqkv", "in_proj")) else 1.0
            values *= gain / np.sqrt(parameter.shape[1])
        elif "rel_attn" in name and parameter.ndim == 3:
            values /= np.sqrt(parameter.shape[1] * parameter.shape[2])
        elif name.endswith("weight") and "norm" in name.lower():
            values = (0.6 if name in shrinking else 1.0) * (1.0 + 0.2 * values)
        elif parameter.ndim == 1:
            values *= 0.2
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def head(architecture: Architecture, task: str) -> str:
    # XLNet's other class for question answering searches.
    simple = architecture.prefix == "XLNet" and task == "question-answering"
    return HEADS[task] + ("Simple" if simple else "")


def build(architecture: Architecture, task: str, seed: int) -> torch.nn.Module:
    config_class = getattr(transformers, architecture.prefix + "Config")
    labels = {"text-classification": ["negative", "neutral", "positive"], "token-classification": LABELS}.get(task)
    more = dict(id2label=dict(enumerate(labels)), label2id={l: i for i, l in enumerate(labels)}) if labels else {}
    config = config_class(**architecture.config, **more)
    config._attn_implementation = "eager"
    model = getattr(transformers, architecture.prefix + head(architecture, task))(config).float().eval()
    draw(model, seed)
    model.tie_weights()
    return model


def batches(architecture: Architecture, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed + 100)
    vocab = architecture.config["vocab_size"]

    def sequence(length: int, typed: bool) -> dict:
        ids = rng.integers(0, vocab, length).tolist()
        if architecture.separator and length > 6:
            ids[length // 3] = architecture.separator
        return {"ids": ids} | ({"type_ids": rng.integers(0, architecture.types, length).tolist()} if typed else {})

    longest = architecture.longest or architecture.positions
    cases = [{"name": "ragged", "sequences": [sequence(n, False) for n in (1, 7, 3, longest, 17, 2)]}]
    if architecture.types > 1:
        cases.append({"name": "typed", "sequences": [sequence(n, True) for n in (5, 13)]})
    return cases


def run(model: torch.nn.Module, task: str, sequence: dict) -> dict[str, torch.Tensor]:
    ids = torch.tensor([sequence["ids"]])
    inputs = {"input_ids": ids}
    if "attention_mask" in inspect.signature(model.forward).parameters:
        inputs["attention_mask"] = torch.ones_like(ids)
    if "type_ids" in sequence:
        inputs["token_type_ids"] = torch.tensor([sequence["type_ids"]])
    if task == "question-answering" and model.config.model_type == "longformer":
        # What the model does by itself for inputs with exactly three separators: all before the first one see everything.
        separators = ids == model.config.sep_token_id
        inputs["global_attention_mask"] = ((separators.cumsum(dim=1) == 0) & separators.any()).long()
    if task == "multiple-choice":
        inputs = {name: value.unsqueeze(0) for name, value in inputs.items()}
    with torch.inference_mode():
        out = model(**inputs)
    names = {"feature-extraction": ["last_hidden_state", "pooler_output"], "question-answering": ["start_logits", "end_logits"]}
    found = {name: out[name][0] for name in names.get(task, ["logits"]) if name in out and out[name] is not None}
    if task in ("question-answering", "replaced-token-detection"):
        found = {name: value.unsqueeze(-1) for name, value in found.items()}
    # One row a sequence, or one a token.
    return {name: value if value.ndim == 2 else value.unsqueeze(0) for name, value in found.items()}


def rename_fields(file: Path, names: dict[str, str]) -> None:
    """Gives fields other names, or takes those away that have none."""
    if names:
        config = json.loads(file.read_text())
        write_json(file, {names.get(name, name): value for name, value in config.items() if names.get(name, name)})


def write(out: Path, only: set[str] | None = None) -> None:
    """All architectures, or those of the names given. A place in the list is a seed: new ones come last."""
    for number, architecture in enumerate(ARCHITECTURES):
        if only and architecture.name not in only:
            continue
        folder = out / "encoders" / architecture.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        architecture.config.pop("tie_weights_", None)
        cases = batches(architecture, number)
        write_cases(folder / "cases.json", {"note": architecture.note, "batches": cases})
        for place, task in enumerate(architecture.tasks):
            model = build(architecture, task, 1000 * number + place)
            model.save_pretrained(folder / task)
            (folder / task / "generation_config.json").unlink(missing_ok=True)
            loaded = type(model).from_pretrained(folder / task, attn_implementation="eager", dtype=torch.float32).eval()
            expected, spread = {}, {}
            for case in cases:
                rows = [run(loaded, task, sequence) for sequence in case["sequences"]]
                for mine, again in zip(rows, (run(model, task, sequence) for sequence in case["sequences"])):
                    if any(not torch.equal(mine[name], again[name]) for name in mine):
                        raise SystemExit(f"{folder / task}: transformers reads other weights than were written")
                for name in rows[0]:
                    value = torch.cat([row[name] for row in rows]).contiguous()
                    expected[f"{case['name']}.{name}"] = value
                    spread[name] = float(value.std())
            save(folder / task / "cases.safetensors", expected)
            rename_fields(folder / task / "config.json", architecture.fields)
            if task in architecture.onnx:
                outputs = {name: SEQUENCES if task in OF_SEQUENCES or name == "pooler_output" else TOKENS for name in rows[0]}
                wrapped = Headed(loaded, outputs, architecture.types > 1)
                worst = export(wrapped, folder / task / "model.onnx", architecture.config["vocab_size"], architecture.types,
                               architecture.longest or architecture.positions)
                if worst > 5e-5:
                    raise SystemExit(f"{folder / task}: ONNX Runtime differs from PyTorch by {worst}")
                print(f"{architecture.name} {task}: ONNX Runtime within {worst:.1e}")
            for file in (folder / task).iterdir():
                file.chmod(0o644)
            print(architecture.name, task, ", ".join(f"{name} std {value:.2f}" for name, value in spread.items()))
