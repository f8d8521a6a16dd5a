#!/usr/bin/env python3
"""Write tokenizer/src/unicode/regex_tables.rs: what the regular expressions of the reference take each code point for.

The splitting patterns of byte-level tokenizers are written in terms of letters, numbers and white space. Which code
points those are depends on the Unicode version of the reference's regex engine, so they are measured on it.

    pip install "tokenizers==0.23.3"
    python tools/reference/tokenizer_regex_classes.py tokenizer/src/unicode/regex_tables.rs
"""

import sys

import tokenizers
from tokenizer_unicode import LIMIT, SURROGATES, array, smallest, two_stage
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

# In the order of the numbers that unicode/regex_class.rs gives them; 0 is anything else.
CLASSES = [r"[\p{Lu}\p{Lt}]", r"\p{Ll}", r"[\p{Lm}\p{Lo}]", r"\p{M}", r"\p{N}", r"[^\S\r\n]", r"[\r\n]",
           r"[\p{P}\p{S}]"]


def members(pattern):
    """Every code point alone between two of a private use, which no pattern matches."""
    around = "\ue000"
    codes = [code for code in range(LIMIT) if code not in SURROGATES]
    found = set()
    for start in range(0, len(codes), 4096):
        text = around + around.join(chr(code) for code in codes[start : start + 4096]) + around
        pieces = Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text)
        found.update(ord(piece) for piece, _ in pieces)
    return found


def main():
    classes = {}
    for number, pattern in enumerate(CLASSES, 1):
        for code in members(pattern):
            if code in classes:
                raise SystemExit(f"U+{code:04X} is of two classes")
            classes[code] = number
    letters, spaces = members(r"\p{L}"), members(r"\s")
    if letters != {code for code, number in classes.items() if number in (1, 2, 3)}:
        raise SystemExit("the letters are not the sum of their kinds")
    if spaces != {code for code, number in classes.items() if number in (6, 7)}:
        raise SystemExit("white space is not the sum of its kinds")
    index, flat = two_stage(classes, 0)
    out = [
        "// Written by tools/reference/tokenizer_regex_classes.py; do not edit.",
        f"// Measured on tokenizers {tokenizers.__version__}.",
        "",
    ]
    array(out, "Block of each 128 code points.", "REGEX_BLOCKS", smallest(index), index)
    array(out, "Class of each code point of a block.", "REGEX_CLASSES", "u8", flat)
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write("\n".join(out).rstrip() + "\n")
    print(f"{len(classes)} code points in {len(CLASSES)} classes")


if __name__ == "__main__":
    main()
