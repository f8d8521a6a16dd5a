#!/usr/bin/env python3
"""Write tests/goldens/tokenizer/wordpiece.jsonl: what the reference tokenizer gives for many texts.

    pip install "tokenizers==0.23.3" "django==5.2.19"
    python tools/reference/tokenizer_goldens.py

Django is here for its translations: some hundred languages of real sentences under a BSD licence.

Each line of the golden file is a JSON object. One with `tokenizer` replaces those parts of the base tokenizer.json for the
lines that follow. One with `texts` is a call of the reference: `options` as given to it, and `encodings`, each
`[ids, character offsets, word ids, special tokens mask, type ids, attention mask, overflowing]`, or `error`. One with
`decode` is a list of ids and the two texts that it decodes to, with and without special tokens.
"""

import argparse
import gettext
import json
import pathlib
import platform
import random
import re

import django
import tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = ROOT / "assets/all-MiniLM-L6-v2-int8/tokenizer.json"
OUT = ROOT / "tests/goldens/tokenizer/wordpiece.jsonl"

WRITTEN = [
    "",
    " ",
    "\t\n\r ",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "Don't stop: it's 3.14159% of $1,000,000—or so they say…",
    "unbelievably antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "snake_case camelCase kebab-case path/to/file.txt user@example.com https://example.org/a?b=c#d",
    "THE SHOUTING CAPITALS AND tHe MiXeD ones",
    "tabs\tand\nnewlines\r\nand\x0bvertical\x0cfeeds",
    "null\x00inside, bell\x07, escape\x1b[31m, delete\x7f, replacement\ufffd!",
    "next\x85line, no\xa0break, soft\xadhyphen, zero\u200bwidth, word\u2060joiner, bom\ufeff, \u2028line \u2029paragraph",
    "en\u2002em\u2003thin\u2009hair\u200aideographic\u3000ogham\u1680narrow\u202fmath\u205fspaces\u180e",
    "Café naïve façade Ångström Łódź Đặng Nguyễn œuvre Straße ẞ ﬁ ﬂ ﬀ ĳ Ǆ ǅ ǆ",
    "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m e\u0323\u0301 e\u0301\u0323 \u1ebf \u0344\u0323 a\u0315\u0300\u05ae\u0062",
    "\u0301leading mark, trailing mark e\u0301",
    "İstanbul'da IĞDIR ılık i̇ İ I i ı",
    "ΑΒΓΔ Σίσυφος ΟΔΥΣΣΕΥΣ ΐ ΰ ᾳ ᾼ ώ Ὕβρις",
    "Съешь ещё этих мягких французских булок, да выпей чаю. Й й Ё ё Ѐ",
    "Їжак, ґанок, щучка — українською",
    "Ქართული ენა, ქართული, Ⴀⴀ ᲐᲑ",
    "Հայերեն լեզու և այբուբեն",
    "שָׁלוֹם עֲלֵיכֶם, טקסט בעברית שׁ שׂ יִ",
    "السَّلامُ عَلَيْكُمْ، نص عربي ﷺ ﻻ آ أ إ",
    "فارسی می‌نویسم با نیم‌فاصله",
    "یہ اردو ہے۔",
    "हिन्दी में एक वाक्य। क़ ख़ ग़ क्षत्रिय",
    "বাংলা ভাষায় একটি বাক্য। ড় ঢ় য়",
    "தமிழ் வாக்கியம் கொ கோ கௌ",
    "తెలుగు వాక్యం, ಕನ್ನಡ ವಾಕ್ಯ, മലയാളം വാക്യം, සිංහල වාක්‍යය",
    "ภาษาไทยไม่มีช่องว่างระหว่างคำ ำ น้ำ",
    "ພາສາລາວ ຳ ໜ ໝ",
    "မြန်မာဘာသာ ဦ ភាសាខ្មែរ បើ",
    "བོད་སྐད་ཀྱི་ཡི་གེ གྷ ཱི ཱུ ྲྀ",
    "አማርኛ ቋንቋ ትግርኛ፡ቃል።",
    "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ",
    "东京是日本的首都。漢字、ひらがな、カタカナ、ｶﾀｶﾅ、がぎぐ か\u3099 は\u309a",
    "中文English混排123测试，全角！？（括号）【方括号】「引号」",
    "㐀㒨 𠀀𠮷𪜀𫝀𫠠 豈更車賈 丽丸乁 〇 々",
    "한국어 문장입니다. 각 갂 간 \u1100\u1161 \u1100\u1161\u11a8 ㄱㅏ ﾡ",
    "Tiếng Việt có nhiều dấu: ắ ằ ẳ ẵ ặ ế ề ể ễ ệ ố ồ ổ ỗ ộ",
    "Yorùbá: Ọ̀ṣun, ẹ̀kọ́; Hausa: ɓ ɗ ƙ ƴ; Éwé: ɖ ƒ ɣ ŋ ʋ",
    "Ꮳꮃꭹ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ᚠᚢᚦᚨᚱᚲ 𐌰𐌱𐌲 𐐀𐐨 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒜𝓑𝗖 ①②③ ⅓ ½ ™ ℃ Ω K Å",
    "𞤀𞤁𞤢 𞤣𞤤 𑄌𑄋𑄴𑄟𑄳𑄦 𖬌𖬣 𛰀 𝅗𝅥 𝅘𝅥𝅮 𝆺𝅥",
    "👍 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇯🇵 ❤️ ☺︎ 1️⃣ #️⃣ 🧑🏿‍🚀🫠🫶🏻🪿",
    "¿Qué? ¡Sí! «guillemets» „Gänsefüßchen“ ‚einfach‘ ‹x› “curly” ‘quotes’ – — ― … · • † ‡ § ¶",
    "∑∏∫√∞≈≠≤≥±×÷∂∇∈∉⊂⊃∪∩∧∨¬∀∃ ≮ ≯ ≠ =\u0338 <\u0338 →←↑↓⇒ ₿€£¥₹₩₽",
    "`~!@#$%^&*()-_=+[{]}\\|;:'\",<.>/?",
    "x²+y³=z₄ H₂O 10⁻⁹ Ⅷ ⅷ ㎏ ㍿ ﷽ ︙ ﹏ ＡＢＣａｂｃ１２３",
    "e\u0301" * 40 + " " + "a" + "\u0300\u0323\u0345\u0315" * 30 + "b",
    "a" * 99 + " " + "b" * 100 + " " + "c" * 101 + " " + "é" * 100 + " " + "é" * 101 + " " + "e\u0301" * 100,
    "🙂" * 101 + " " + "中" * 120,
    "supercalifragilisticexpialidocious" * 2 + " " + "xyzzy" * 25,
    "[CLS] a [SEP] b [MASK] c [PAD] d [UNK] e [mask] [ MASK ] [MASK][MASK] x[MASK]y",
    "##ing ## ##a a##b [unused1] [unused99]",
    " leading and trailing   ",
    "\ue000private \U000f0000use \u0378unassigned \ufdd0nonchar \U0001ffff end",
    "a\u034fb a\u200db a\u200cb \u202eabc\u202c \u2066iso\u2069 \U000e0061tag \ufe0f\ufe00\u180b",
    "\U0001e900\U0001e922 \u1c80\u10d0 \u1c90 \ua64a\ua64b \u2c2f\u2c5f \ua7c7 \u0370\u0376 \u03f4 \u1e9e \u2126 \u212a",
    "\u0f73\u0f71 \u0f71\u0f72 \u0958 \u09dc \u0b94 \u0344 \u1fee \u1ffd \u2000\u2001 \u2329\u232a \uf9d0 \ufb1d \U0001d15e\U0001d165",
    "don't won't I'm you're we've they'll do not can not n't 's",
    "no\ufeffbreak\u00adhere\u200band\u0000there",
    "1,234.56 12:30 2024-01-31T00:00:00Z 50% 3/4 #1 @you 5'11\"",
]


def sentences(limit_per_language):
    """Translated sentences of Django, the same ones on every run."""
    picked = []
    locale = pathlib.Path(django.__file__).parent / "conf/locale"
    for catalog in sorted(locale.glob("*/LC_MESSAGES/django.mo")):
        with open(catalog, "rb") as file:
            messages = gettext.GNUTranslations(file)._catalog
        texts = sorted({re.sub(r"\s+", " ", text) for key, text in messages.items() if key and len(text) > 25})
        step = max(1, len(texts) // limit_per_language)
        picked += texts[::step][:limit_per_language]
    return picked


RANGES = [
    (0x00, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xDFF), (0xE00, 0x10FF),
    (0x1100, 0x1FFF), (0x2000, 0x2BFF), (0x2C00, 0x2FFF), (0x3000, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xABFF),
    (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFFFF), (0x10000, 0x12FFF), (0x1D000, 0x1DFFF), (0x1E000, 0x1FFFF),
    (0x20000, 0x323AF), (0xE0000, 0xE01FF), (0x110000 - 0x10000, 0x10FFFF),
]
MARKS = "\u0300\u0301\u0323\u0327\u0345\u0338\u05b0\u064b\u093c\u0e38\u0f71\u0f72\u302a\u3099\u20d0\u1dce\u0315\u031b\U0001d165\U0001d16d"
OLD = "aeiouAEIOU \t.,-!中한éÉİſ"


def random_text(rng):
    """A line that is unlike any real one."""
    out = []
    while len(out) < rng.randint(1, 24):
        kind = rng.random()
        if kind < 0.35:
            out.append(rng.choice(OLD))
        elif kind < 0.55:
            out.append(rng.choice(MARKS))
        elif kind < 0.6:
            out.append(rng.choice(["[MASK]", "[CLS]", "##", "\u200d", "\x00", "\x85", "  "]))
        else:
            low, high = rng.choice(RANGES)
            out.append(chr(rng.randint(low, high)))
    return "".join(char for char in out if not 0xD800 <= ord(char[0]) < 0xE000)


def column(values):
    """A column of small numbers as a string of digits, if it can be one."""
    return "".join(map(str, values)) if all(value < 10 for value in values) else values


def encoding(enc, with_overflow=True):
    words = [-1 if word is None else word for word in enc.word_ids]
    offsets = [end for pair in enc.offsets for end in pair]
    attention = "" if all(enc.attention_mask) else column(enc.attention_mask)
    # Windows of a pair hold windows in turn, all of which are in the outer list too.
    overflowing = [encoding(window, False) for window in enc.overflowing] if with_overflow else []
    return [enc.ids, offsets, words, column(enc.special_tokens_mask), column(enc.type_ids), attention, overflowing]


class Writer:
    def __init__(self, file):
        self.file = file
        self.base = json.loads(BASE.read_text(encoding="utf-8"))
        self.base["truncation"] = self.base["padding"] = None
        self.tokenizer = None
        self.cases = 0

    def line(self, value):
        self.file.write(json.dumps(value, separators=(",", ":")) + "\n")

    def use(self, patch):
        self.line({"tokenizer": patch})
        self.tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**self.base, **patch}))

    def encode(self, texts, add_special_tokens=True, truncation=None, padding=None):
        """`texts`: strings and [first, second] lists; one call of the reference for all of them."""
        self.cases += 1
        options = {}
        if not add_special_tokens:
            options["add_special_tokens"] = False
        if truncation:
            options["truncation"] = truncation
        if padding:
            options["padding"] = padding
        case = {"texts": texts}
        if options:
            case["options"] = options
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        try:
            if truncation:
                self.tokenizer.enable_truncation(**truncation)
            if padding:
                self.tokenizer.enable_padding(**padding)
            inputs = [tuple(text) if isinstance(text, list) else text for text in texts]
            if len(inputs) == 1:
                text = inputs[0]
                pair = text if isinstance(text, tuple) else (text, None)
                encodings = [self.tokenizer.encode(*pair, add_special_tokens=add_special_tokens)]
            else:
                encodings = self.tokenizer.encode_batch(inputs, add_special_tokens=add_special_tokens)
            case["encodings"] = [encoding(enc) for enc in encodings]
        except BaseException as error:  # a panic of the reference is not an Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            case["error"] = True
        self.line(case)

    def decode(self, ids):
        self.cases += 1
        texts = [self.tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True)]
        self.line({"decode": ids, "texts_of_ids": texts})


TRUNCATIONS = [
    {"max_length": 8},
    {"max_length": 3},
    {"max_length": 2},
    {"max_length": 12, "stride": 4},
    {"max_length": 9, "stride": 2, "direction": "left"},
    {"max_length": 12, "stride": 2, "strategy": "only_first"},
    {"max_length": 14, "stride": 1, "strategy": "only_second"},
    {"max_length": 11, "stride": 3, "strategy": "longest_first", "direction": "left"},
    {"max_length": 10, "strategy": "only_second", "direction": "left"},
    {"max_length": 512, "stride": 3},
    {"max_length": 6, "stride": 4},
    {"max_length": 5, "stride": 3},
]
PADDINGS = [
    {},
    {"length": 20},
    {"direction": "left", "length": 12, "pad_id": 7, "pad_type_id": 3, "pad_token": "<pad>"},
    {"pad_to_multiple_of": 8},
    {"direction": "left", "pad_to_multiple_of": 5},
    {"length": 3, "pad_to_multiple_of": 4},
]


def added(base, tokens):
    """Added tokens with the ids that the reference gives them: those of the vocabulary, else the next ones."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    vocabulary = base["model"]["vocab"]
    new = iter(range(len(vocabulary), len(vocabulary) + len(tokens)))
    return [{"id": vocabulary[content] if content in vocabulary else next(new), "content": content, **flags, **properties}
            for content, properties in tokens.items()]


def template(single, pair, tokens):
    def piece(text):
        name, type_id = text.rsplit(":", 1)
        if name.startswith("$"):
            return {"Sequence": {"id": name[1:], "type_id": int(type_id)}}
        return {"SpecialToken": {"id": name, "type_id": int(type_id)}}

    special = {name: {"id": name, "ids": ids, "tokens": [name] * len(ids)} for name, ids in tokens.items()}
    return {
        "type": "TemplateProcessing",
        "single": [piece(text) for text in single.split()],
        "pair": [piece(text) for text in pair.split()],
        "special_tokens": special,
    }


def bert(**changes):
    fields = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    return {"normalizer": {"type": "BertNormalizer", **fields, **changes}}


def sequence(*kinds):
    return {"type": "Sequence", "normalizers": [{"type": kind} for kind in kinds]}


def variants(base):
    """Other tokenizers than BERT's, each a change of a few parts."""
    yield bert(lowercase=False)
    yield bert(lowercase=False, strip_accents=True)
    yield bert(strip_accents=False)
    yield bert(clean_text=False)
    yield bert(handle_chinese_chars=False, clean_text=False)
    for kind in ["Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"]:
        yield {"normalizer": {"type": kind}, "pre_tokenizer": {"type": "Whitespace"}}
    yield {"normalizer": sequence("NFKD", "StripAccents", "Lowercase"), "pre_tokenizer": {"type": "WhitespaceSplit"}}
    yield {"normalizer": sequence("NFD", "NFC", "Lowercase"), "pre_tokenizer": None}
    yield {"normalizer": sequence("Lowercase", "NFKC"), "pre_tokenizer": {"type": "BertPreTokenizer"}}
    for left, right in [(True, True), (True, False), (False, True)]:
        yield {"normalizer": {"type": "Strip", "strip_left": left, "strip_right": right}, "pre_tokenizer": None}
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        steps = [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": behavior}]
        yield {"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    yield {"normalizer": None, "pre_tokenizer": {"type": "Punctuation", "behavior": "MergedWithNext"}, "decoder": None}
    for splitter in [
        {"type": "Digits", "individual_digits": True}, {"type": "Digits", "individual_digits": False},
        {"type": "UnicodeScripts"}, {"type": "CharDelimiterSplit", "delimiter": "a"},
        {"type": "FixedLength", "length": 1}, {"type": "FixedLength", "length": 7},
    ]:
        yield {"normalizer": None, "pre_tokenizer": splitter}
        steps = [{"type": "WhitespaceSplit"}, splitter]
        yield {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    yield {"added_tokens": base["added_tokens"][:4] + added(base, {
        "[MASK]": {"lstrip": True, "special": True},
        "Zürich": {"normalized": True},
        "day": {"single_word": True, "normalized": True},
        "  ": {"rstrip": True},
        "ab": {"lstrip": True, "rstrip": True},
        "abc": {},
        "e\u0301": {"special": True},
        "tab\tbed": {"normalized": True, "lstrip": True},
        "the": {"single_word": True},
    })}
    names = {"[CLS]": [101], "[SEP]": [102], "X": [5, 6, 7]}
    yield {"post_processor": template("X:0 $A:0", "$A:0 X:1 $B:1 X:2", names)}
    yield {"post_processor": template("$A:0 [SEP]:0 [CLS]:2", "$B:1 [SEP]:1 $A:0 [SEP]:0 [CLS]:2", names)}
    yield {"post_processor": template("$A:0 X:0 $A:0", "$A:0 X:0 $B:1 X:0 $A:0", names)}
    yield {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}}
    yield {"post_processor": {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        template("X:0 $A:0", "$A:0 X:1 $B:1 X:2", names)]}}
    yield {"post_processor": {"type": "Sequence", "processors": []}}
    yield {"post_processor": None}
    yield {"model": {**base["model"], "max_input_chars_per_word": 5, "vocab": small_vocabulary(base)},
           "added_tokens": special_only(base), "post_processor": None}
    yield {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False}}


def small_vocabulary(base):
    keep = ["[UNK]", "[PAD]", "a", "##a", "##b", "ab", "##abc", "the", "##the", "##t", "##", "t", "中", "##é", "e"]
    return {token: place for place, token in enumerate(keep)}


def special_only(base):
    return [{**token, "id": place} for place, token in enumerate(
        [base["added_tokens"][1], base["added_tokens"][0]])]


ADDED_TEXTS = [
    "I saw  [MASK] today, the holiday in ZÜRICH zürich Zu\u0308rich.",
    "abc ab abab a b c   ab   abcab theday the day, daytime day-day thé",
    "  two  spaces   [MASK]  [MASK]e\u0301é TAB\tBED tab bed",
    "the the, the! [MASK]",
]


def write(writer, rng, count, real, variant_texts):
    writer.use({})
    for text in WRITTEN + real + [random_text(rng) for _ in range(count)]:
        writer.encode([text])
    texts = [text for text in WRITTEN + real if 15 < len(text) < 120]
    short = [text for text in texts if len(text) < 36]
    for truncation in TRUNCATIONS:
        for _ in range(4):
            first, second = rng.choice(short), rng.choice(short)
            special = rng.random() < 0.7
            writer.encode([first], special, truncation, rng.choice(PADDINGS + [None, None]))
            writer.encode([[first, second]], special, truncation, rng.choice(PADDINGS + [None, None]))
    for truncation in TRUNCATIONS[:4]:
        writer.encode([["", ""]], True, truncation)
        writer.encode([["", "a b c d e f g h i j k l"]], True, truncation)
        writer.encode([""], True, truncation)
    for padding in PADDINGS:
        writer.encode(rng.sample(texts, 3) + [""], True, None, padding)
        writer.encode([[rng.choice(texts), rng.choice(texts)] for _ in range(3)], False, {"max_length": 20}, padding)
    for text in WRITTEN[::2] + real[::9]:
        writer.decode(writer.tokenizer.encode(text).ids)
    for _ in range(40):
        writer.decode([rng.choice([rng.randrange(30522), rng.choice([100, 101, 102, 103, 0, 1012, 1005, 1056, 30522, 99999])])
                       for _ in range(12)])
    writer.decode([])
    for patch in variants(writer.base):
        writer.use(patch)
        for text in variant_texts + [random_text(rng) for _ in range(max(6, count // 40))]:
            writer.encode([text])
        first, second = rng.choice(short), rng.choice(short)
        writer.encode([[first, second]], True, {"max_length": 9, "stride": 1} if rng.random() < 0.5 else None)
        writer.encode([first], True, {"max_length": 8, "stride": 2})
        for text in variant_texts[:3]:
            writer.decode(writer.tokenizer.encode(text).ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--random", type=int, default=300, help="how many random lines")
    parser.add_argument("--per-language", type=int, default=4, help="how many sentences of each language")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    real = sentences(arguments.per_language)
    variant_texts = ADDED_TEXTS + [WRITTEN[place] for place in (5, 10, 11, 13, 14, 16, 23, 36, 39, 42, 44, 48, 49)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with open(arguments.out, "w", encoding="ascii") as file:
        writer = Writer(file)
        writer.line({"made_by": "tools/reference/tokenizer_goldens.py", "tokenizers": tokenizers.__version__,
                     "django": django.__version__, "python": platform.python_version()})
        write(writer, rng, arguments.random, real, variant_texts)
        print(f"{writer.cases} cases, {len(real)} sentences, {file.tell()} bytes in {arguments.out}")


if __name__ == "__main__":
    main()
