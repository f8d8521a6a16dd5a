#!/usr/bin/env python3
"""Write tests/goldens/tokenizer/sentencepiece.jsonl and the small models that it is about.

    pip install "tokenizers==0.23.3" "sentencepiece==0.2.3" "transformers==5.23.0" "protobuf" "django==5.2.19"
    python tools/reference/sentencepiece_goldens.py

The lines are those of tokenizer_goldens.py, and one more kind: `sentencepiece` has a folder with that model under the name
`file` and with that `tokenizer_config.json` read for the lines that follow. Its tokenizer is the one that the reference's
converter makes.
"""

import base64
import json
import pathlib
import random
import tempfile

import sentencepiece
import tokenizer_goldens
import transformers.convert_slow_tokenizer as converters
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken

FOLDER = tokenizer_goldens.ROOT / "tests/goldens/tokenizer"
OUT = FOLDER / "sentencepiece.jsonl"

# What the character map of the models does: white space, compatibility forms, composition, and texts that vanish.
RULES = {
    "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "\u200b": " ", "\u2581": " ", "\ufeff": "", "\u0001": "", "\u00ad": "",
    "ﬁ": "fi", "ﬀ": "ff", "…": "...", "①": "1", "½": "1⁄2", "㎏": "kg", "\u212b": "\u00c5", "ﷺ": "صلى الله عليه وسلم", "´": " \u0301",
    "e\u0301": "é", "a\u0300": "à", "A\u0300": "À", "か\u3099": "が", "\u1100\u1161": "가", "\u0323\u0301": "\u0301\u0323",
    "Ａ": "A", "１": "1", "ｶﾞ": "ガ", "ｶ": "カ", "ﾞ": "\u3099", "\u0600": "x",
}


def train(folder, name, texts, **options):
    rules = folder / "rules.tsv"
    codes = lambda text: " ".join(f"{ord(c):X}" for c in text)
    rules.write_text("".join(f"{codes(old)}\t{codes(new)}\n" for old, new in RULES.items()), encoding="utf-8")
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / name), normalization_rule_tsv=str(rules), num_threads=1,
        hard_vocab_limit=False, minloglevel=2, **options)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((folder / f"{name}.model").read_bytes())
    # Where it was trained is nobody's business, and differs every time.
    del model.trainer_spec.input[:]
    model.trainer_spec.ClearField("model_prefix")
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    (FOLDER / f"{name}.model").write_bytes(model.SerializeToString())
    return model


class Slow:
    """What a converter asks of the tokenizer that it converts."""

    def __init__(self, file, **options):
        self.vocab_file = str(file)
        self.keep_accents = self.do_lower_case = self.split_by_punct = False
        self._extra_ids = 100
        self.ids = {}
        self.__dict__.update(options)

    def convert_tokens_to_ids(self, token):
        return self.ids[token]

    def convert_ids_to_tokens(self, token_id):
        return ["<unk>", "<s>", "</s>"][token_id]


FAIRSEQ = ["<s>", "</s>", "<unk>", "<pad>"]
BERT = ["[CLS]", "[SEP]", "<unk>", "<pad>"]
# class, converter, file, special tokens, mask, options
FAMILIES = [
    ("XLMRobertaTokenizer", "XLMRoberta", "sentencepiece.bpe.model", FAIRSEQ, "<mask>", {}),
    ("CamembertTokenizerFast", "Camembert", "sentencepiece.bpe.model", FAIRSEQ, "<mask>", {}),
    ("AlbertTokenizer", "Albert", "spiece.model", BERT, "[MASK]", {"do_lower_case": True}),
    ("AlbertTokenizer", "Albert", "spiece.model", BERT, "[MASK]", {"do_lower_case": False, "keep_accents": True}),
    ("XLNetTokenizer", "XLNet", "spiece.model", ["<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>"], "<mask>", {}),
    ("BigBirdTokenizer", "BigBird", "spiece.model", ["<s>", "</s>", "<unk>", "[SEP]", "<pad>", "[CLS]"], "[MASK]", {}),
    ("T5Tokenizer", "T5", "spiece.model", ["</s>", "<unk>", "<pad>"], None, {}),
    ("NllbTokenizer", "Nllb", "sentencepiece.bpe.model", FAIRSEQ, "<mask>", {}),
    ("RemBertTokenizer", "RemBert", "sentencepiece.model", ["[CLS]", "[SEP]", "[UNK]", "[PAD]"], "[MASK]", {"do_lower_case": True, "keep_accents": False}),
    ("XGLMTokenizer", "XGLM", "sentencepiece.bpe.model", FAIRSEQ, None, {}),
]


def convert(class_name, converter, file, special, mask, options):
    converter = getattr(converters, converter + "Converter")
    slow = Slow(file, **options)
    slow.ids = dict.fromkeys(["[CLS]", "[SEP]", "<s>", "</s>", "<sep>", "<cls>", "eng_Latn"], 0)
    tokenizer = converter(slow).converted()
    add = lambda token, lstrip=False: tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True, lstrip=lstrip)])
    for token in special:
        add(token)
    if class_name.startswith("T5"):
        for number in range(99, -1, -1):
            add(f"<extra_id_{number}>")
    if class_name.startswith("XGLM"):
        for number in range(7):
            add(f"<madeupword{number}>")
    if class_name.startswith("Nllb"):
        from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES
        for language in FAIRSEQ_LANGUAGE_CODES:
            add(language)
    if mask:
        add(mask, lstrip=True)
    slow.ids = tokenizer.get_vocab(True)
    processor = converter(slow).post_processor()
    if processor is not None:
        tokenizer.post_processor = processor
    return tokenizer


def patches(unigram):
    charsmap = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(unigram.normalizer_spec.precompiled_charsmap).decode()}
    vocab = [[piece.piece, piece.score] for piece in unigram.pieces]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": at, "content": vocab[at][0], **flags} for at in range(3)]
    model = lambda vocab, **more: {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": vocab, **more}
    metaspace = lambda **more: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True, **more}
    replace = lambda pattern, content: {"type": "Replace", "pattern": pattern, "content": content}
    sequence = lambda field, *steps: {"type": "Sequence", field: list(steps)}
    llama = sequence("decoders", replace({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    base = {"added_tokens": added, "normalizer": charsmap, "pre_tokenizer": metaspace(), "post_processor": None, "decoder": metaspace(), "model": model(vocab)}
    yield base
    white = sequence("pretokenizers", {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True})
    yield {**base, "pre_tokenizer": white}
    yield {**base, "normalizer": sequence("normalizers", charsmap, {"type": "Strip", "strip_left": False, "strip_right": True}, replace({"Regex": " {2,}"}, "▁"))}
    albert = [replace({"String": "``"}, '"'), replace({"String": "''"}, '"'), {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, charsmap, replace({"Regex": " {2,}"}, " ")]
    yield {**base, "normalizer": sequence("normalizers", *albert)}
    first = metaspace(prepend_scheme="first", split=False)
    yield {**base, "normalizer": None, "pre_tokenizer": first, "decoder": first}
    yield {**base, "normalizer": {"type": "Strip", "strip_left": True, "strip_right": False}, "pre_tokenizer": first, "decoder": first}
    never = metaspace(replacement="_", prepend_scheme="never")
    yield {**base, "normalizer": {"type": "Nmt"}, "pre_tokenizer": sequence("pretokenizers", {"type": "Punctuation"}, never), "decoder": never}
    as_bytes = vocab[:200] + [[f"<0x{byte:02X}>", -20.0 - byte / 16] for byte in range(256)]
    steps = [{"type": "Prepend", "prepend": "▁▁"}, replace({"String": " "}, "▁"), replace({"Regex": "[aeiou]+(?=[n-t])"}, "<>")]
    yield {**base, "normalizer": sequence("normalizers", *steps), "pre_tokenizer": None, "decoder": llama, "model": model(as_bytes, byte_fallback=True)}
    ctc = {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}
    # The reference panics where a token is stripped of more than it has, as it is with both ends of one mark.
    yield {**base, "decoder": sequence("decoders", {"type": "Strip", "content": "▁", "start": 1, "stop": 0}, ctc)}


def write(writer, texts, rng):
    for at in range(0, len(texts), 20):
        writer.encode(texts[at:at + 20])
    writer.encode([[texts[3], texts[7]]])
    writer.encode([texts[4]], truncation={"max_length": 9, "stride": 2})
    size = writer.tokenizer.get_vocab_size(True)
    for _ in range(12):
        writer.decode([rng.randrange(size) for _ in range(rng.randint(1, 12))])
    writer.decode(writer.tokenizer.encode(texts[4]).ids)


def random_text(rng):
    parts = list(RULES) + list("▁ \r\n.,'`abcéß中가😀\u0301\u0323\u200d🇩🇪\u0e33") + ["<s>", "<unk>", "[MASK]", "<mask>", "  ", "the", "ing", "\r\n"]
    return "".join(rng.choice(parts) for _ in range(rng.randint(1, 12)))


def main():
    rng = random.Random(3)
    sentences = tokenizer_goldens.sentences(20)
    written = [text for text in tokenizer_goldens.WRITTEN if len(text) < 200]
    texts = written + sentences[::len(sentences) // 20][:20] + [random_text(rng) for _ in range(40)]
    with tempfile.TemporaryDirectory() as folder, open(OUT, "w", encoding="utf-8") as file:
        folder = pathlib.Path(folder)
        options = {"character_coverage": 0.98, "vocab_size": 700}
        unigram = train(folder, "unigram", written + sentences, model_type="unigram", **options)
        train(folder, "bpe", written + sentences, model_type="bpe", **options)
        writer = tokenizer_goldens.Writer(file)
        writer.line({"versions": {"tokenizers": tokenizer_goldens.tokenizers.__version__, "sentencepiece": sentencepiece.__version__}})
        for patch in patches(unigram):
            writer.use(patch)
            write(writer, texts, rng)
        for class_name, converter, name, special, mask, options in FAMILIES:
            model = "unigram.model"
            writer.line({"sentencepiece": model, "file": name, "config": {"tokenizer_class": class_name, **options}})
            writer.tokenizer = convert(class_name, converter, FOLDER / model, special, mask, options)
            write(writer, written[:20] + texts[-20:], rng)


if __name__ == "__main__":
    main()
