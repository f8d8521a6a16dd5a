"""Writes the texts that the tokenizer comparison encodes, from Debian packages fetched by name.

    python3 benches/tokenizers/corpora.py DIR

Needs `apt-get` and `dpkg-deb`; packages that are in DIR/packages already are not fetched again. Each corpus is a file of
documents: the length of each as four bytes, little endian, then its UTF-8.

    english       entries of the GNU Collaborative International Dictionary of English, 2 KiB and more at a time
    technical     the documentation of the Linux kernel, English prose with code, a file a document
    multilingual  the Debian Administrator's Handbook in 25 languages, and manual pages in four, without mark-up
    cjk           the Chinese, Japanese and Korean part of it
    words         random words of letters, no two alike
    identifiers   random identifiers in the manners of several programming languages
"""

import argparse
import gzip
import html
import pathlib
import random
import re
import struct
import subprocess
import sys

PACKAGES = [
    "dict-gcide", "linux-doc-6.1", "debian-handbook", "manpages-de", "manpages-ja", "manpages-ru", "manpages-zh",
    "debian-reference-ja", "debian-reference-zh-cn",
]
CJK = ("ja", "ko", "zh")
DOCUMENT = 2048
RANDOM_BYTES = 16_000_000


def unpack(folder: pathlib.Path) -> pathlib.Path:
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(packages.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "download", *missing], cwd=packages, check=True, stdout=sys.stderr)
    root = packages / "root"
    if missing or not root.exists():
        for name in PACKAGES:
            subprocess.run(["dpkg-deb", "-x", sorted(packages.glob(f"{name}_*.deb"))[-1], root], check=True)
    return root / "usr/share"


def dictionary(share: pathlib.Path):
    text = gzip.open(share / "dictd/gcide.dict.dz").read().decode("utf-8", "replace")
    part = []
    size = 0
    for entry in re.split(r"\n(?=\S)", text):
        part.append(entry)
        size += len(entry)
        if size >= DOCUMENT:
            yield "\n".join(part)
            part, size = [], 0
    yield "\n".join(part)


def kernel(share: pathlib.Path):
    for path in sorted((share / "doc/linux-doc-6.1").rglob("*.rst*")):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        yield data.decode("utf-8", "replace")


def without_markup(text: str) -> str:
    text = re.sub(r"(?s)<(script|style)\b.*?</\1>|<!--.*?-->|<[^>]*>", "", text)
    return re.sub(r"[ \t]*\n\s*", "\n", html.unescape(text)).strip()


def handbook(share: pathlib.Path):
    """(language, document); a document is a page of a chapter."""
    for path in sorted((share / "doc/debian-handbook/html").rglob("*.html")):
        language = path.relative_to(share / "doc/debian-handbook/html").parts[0]
        yield language, without_markup(path.read_text("utf-8", "replace"))
    for language in ("ja", "zh-cn"):
        for path in sorted((share / "debian-reference").glob(f"*.{language}.html")):
            yield language, without_markup(path.read_text("utf-8", "replace"))


def manuals(share: pathlib.Path):
    for language in ("de", "ja", "ru", "zh_CN", "zh_TW"):
        for path in sorted((share / "man" / language).rglob("*.gz")):
            if not path.is_symlink():
                text = gzip.open(path).read().decode("utf-8", "replace")
                yield language, re.sub(r"(?m)^[.'].*\n|\\f.|\\", "", text)


def random_words(rng: random.Random):
    while True:
        words = ("".join(rng.choices("etaoinshrdlcumwfgypbvkjxqz", range(26, 0, -1), k=rng.randint(2, 12)))
                 for _ in range(DOCUMENT // 8))
        yield " ".join(words)


def identifiers(rng: random.Random):
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "er", "in", "ut")]
    manners = [
        "".join, "_".join, lambda parts: parts[0] + "".join(part.capitalize() for part in parts[1:]),
        lambda parts: "_".join(parts).upper(), lambda parts: "".join(parts) + str(rng.randrange(100)),
    ]
    while True:
        names = (rng.choice(manners)(rng.choices(syllables, k=rng.randint(2, 5))) for _ in range(DOCUMENT // 10))
        yield "".join(name + rng.choice([" ", "(", ");\n", ".", " = ", ", ", "::"]) for name in names)


def taken(documents, size: int):
    for document in documents:
        yield document
        size -= len(document)
        if size <= 0:
            return


def write(path: pathlib.Path, documents) -> None:
    count = size = 0
    seen = set()
    with open(path, "wb") as file:
        for document in documents:
            data = document.encode("utf-8", "replace")
            if not data or data in seen:
                continue
            seen.add(data)
            file.write(struct.pack("<I", len(data)) + data)
            count, size = count + 1, size + len(data)
    print(f"{path}: {count} documents, {size} bytes", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    share = unpack(folder)
    languages = [*handbook(share), *manuals(share)]
    random.Random(1).shuffle(languages)
    write(folder / "english.docs", dictionary(share))
    write(folder / "technical.docs", kernel(share))
    write(folder / "multilingual.docs", (text for _, text in languages))
    write(folder / "cjk.docs", (text for language, text in languages if language.startswith(CJK)))
    write(folder / "words.docs", taken(random_words(random.Random(2)), RANDOM_BYTES))
    write(folder / "identifiers.docs", taken(identifiers(random.Random(3)), RANDOM_BYTES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
