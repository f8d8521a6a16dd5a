"""Writes tokenizer/src/unicode/scripts.rs: which characters the reference's `Digits` takes for numbers, and which its
`UnicodeScripts` takes to be of one script. Both are measured on `tokenizers` itself, so that they are those of its Unicode version.

    python3 tools/reference/tokenizer_scripts.py
"""

import pathlib

import tokenizers
from tokenizers.pre_tokenizers import Digits, UnicodeScripts

OUT = pathlib.Path(__file__).resolve().parents[2] / "tokenizer/src/unicode/scripts.rs"
CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
PER_LINE = 8


def pieces(pre_tokenizer, text):
    return len(pre_tokenizer.pre_tokenize_str(text))


def numeric_ranges():
    digits = Digits(individual_digits=True)
    ranges = []
    for code in CODES:
        if pieces(digits, chr(code) * 2) == 2:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return ranges


def script_starts():
    """(first code point, number of the script); number 0 is no script, which parts nothing."""
    scripts = UnicodeScripts()
    known = []
    starts = []
    before = None
    for code in CODES:
        char = chr(code)
        if pieces(scripts, char) == 0:
            number = 0
        elif before and pieces(scripts, before[0] + char) == 1:
            number = before[1]
        else:
            same = (number for number, one in enumerate(known, 1) if pieces(scripts, one + char) == 1)
            number = next(same, len(known) + 1)
            if number > len(known):
                known.append(char)
        if not starts or starts[-1][1] != number:
            starts.append((code, number))
        before = (char, number) if number else None
    return starts


def table(items):
    lines = [", ".join(items[at:at + PER_LINE]) for at in range(0, len(items), PER_LINE)]
    return "".join(f"    {line},\n" for line in lines)


def main():
    numeric = [f"(0x{low:X}, 0x{high:X})" for low, high in numeric_ranges()]
    scripts = [f"(0x{code:X}, {number})" for code, number in script_starts()]
    OUT.write_text(
        "// Written by tools/reference/tokenizer_scripts.py; do not edit.\n"
        f"// Measured on tokenizers {tokenizers.__version__}.\n\n"
        "/// First and last of each range of numbers.\n"
        f"pub(super) static NUMERIC: [(u32, u32); {len(numeric)}] = [\n{table(numeric)}];\n\n"
        "/// The first code point of each range of one script, and the script's number; 0 for none.\n"
        f"pub(super) static SCRIPTS: [(u32, u8); {len(scripts)}] = [\n{table(scripts)}];\n"
    )


if __name__ == "__main__":
    main()
