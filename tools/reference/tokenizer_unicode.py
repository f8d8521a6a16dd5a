#!/usr/bin/env python3
"""Write tokenizer/src/unicode/tables.rs: what the reference knows about every code point.

The reference (Hugging Face `tokenizers`) mixes the Unicode versions of several libraries: its
canonical and compatibility mappings are those of Unicode 9, its general categories those of
Unicode 8 and its lower case that of the Rust compiler it was built with. Ids and offsets depend on
all three, so the tables are not taken from the Unicode database but measured: each property of each
code point is read off what the reference does with it.

    pip install "tokenizers==0.23.3"
    python tools/reference/tokenizer_unicode.py tokenizer/src/unicode/tables.rs
"""

import sys
import unicodedata

import tokenizers
from tokenizers.normalizers import NFC, NFD, NFKD, BertNormalizer, Lowercase, StripAccents
from tokenizers.pre_tokenizers import BertPreTokenizer, Whitespace, WhitespaceSplit

CONTROL, WHITESPACE, PUNCTUATION, NONSPACING, MARK, WORD, CANONICAL, COMPATIBILITY = (1 << i for i in range(8))
BLOCK = 128
LIMIT = 0x110000
SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xAC00 + 11172)
# One lower-case delta can't be an offset: characters with several lower-case characters.
SPECIAL_LOWER = 0x7FFFFFFF


def measure():
    clean = BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    accents = BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    strip, lower, nfd, nfkd, nfc = StripAccents(), Lowercase(), NFD(), NFKD(), NFC()
    split, word, bert = WhitespaceSplit(), Whitespace(), BertPreTokenizer()

    # Each combining class, with one mark of it that the reference knows. U+0345 alone has the highest class, 240.
    highest = "\u0345"
    witnesses = {}
    for code in range(LIMIT):
        char = chr(code)
        if code in SURROGATES or not unicodedata.combining(char) or unicodedata.decomposition(char):
            continue
        if char == highest or nfd.normalize_str("a" + highest + char) == "a" + char + highest:
            witnesses.setdefault(unicodedata.combining(char), char)
    ordered = sorted(witnesses.items())

    def combining_class(char):
        # A mark moves before a mark of a higher class and never before one of its own or a lower class.
        behind = "a" + highest + char
        if nfd.normalize_str(behind) == behind:
            ahead = "a" + char + witnesses[233]
            return 240 if nfd.normalize_str(ahead) != ahead else 0
        stays = [nfd.normalize_str("a" + witness + char) == "a" + witness + char for _, witness in ordered]
        ccc = sum(stays)
        if ccc == 0 or not all(stays[:ccc]):
            raise SystemExit(f"no combining class explains U+{ord(char):04X}")
        return ordered[ccc - 1][0]

    properties, canonical, compatibility, lowercase, compositions = {}, {}, {}, {}, {}
    for code in range(LIMIT):
        if code in SURROGATES:
            continue
        char = chr(code)
        around = "a" + char + "b"
        flags = 0
        if clean.normalize_str(around) == "ab":
            flags |= CONTROL
        spaces = len(split.pre_tokenize_str(around)) == 2
        if spaces:
            flags |= WHITESPACE
        pieces = len(word.pre_tokenize_str(around))
        if (pieces == 2) != spaces:
            raise SystemExit(f"two ideas of white space for U+{code:04X}")
        if pieces == 1:
            flags |= WORD
        if len(bert.pre_tokenize_str(around)) == 3:
            flags |= PUNCTUATION
        decomposed = nfd.normalize_str(char)
        if code in HANGUL:
            pass
        elif decomposed != char:
            flags |= CANONICAL
            canonical[code] = decomposed
            if len(decomposed) > 1 and nfc.normalize_str(char) == char:
                first = nfc.normalize_str(decomposed[:-1])
                if len(first) != 1 or nfc.normalize_str(first + decomposed[-1]) != char:
                    raise SystemExit(f"no composition gives U+{code:04X}")
                compositions[(ord(first), ord(decomposed[-1]))] = code
        elif accents.normalize_str(around) == "ab":
            flags |= NONSPACING
        if strip.normalize_str(around) == "ab":
            flags |= MARK
        compatible = nfkd.normalize_str(char)
        if code not in HANGUL and compatible != decomposed:
            flags |= COMPATIBILITY
            compatibility[code] = compatible
        low = lower.normalize_str(char)
        if len(low) == 1:
            delta = ord(low) - code
        else:
            delta = SPECIAL_LOWER
            lowercase[code] = low
        # Only what stays after decomposition is ever put in order.
        ccc = 0 if flags & CANONICAL or code in HANGUL else combining_class(char)
        properties[code] = (flags, ccc, delta)
    return properties, canonical, compatibility, lowercase, compositions


def two_stage(values, default):
    blocks, index = {}, []
    for start in range(0, LIMIT, BLOCK):
        block = tuple(values.get(code, default) for code in range(start, start + BLOCK))
        index.append(blocks.setdefault(block, len(blocks)))
    flat = [value for block in blocks for value in block]
    return index, flat


def array(out, doc, name, kind, values, per_line=24):
    out.append(f"/// {doc}")
    out.append(f"pub(super) static {name}: [{kind}; {len(values)}] = [")
    for start in range(0, len(values), per_line):
        out.append("    " + ", ".join(str(value) for value in values[start : start + per_line]) + ",")
    out.append("];\n")


def smallest(values):
    return "u8" if max(values) < 256 else "u16"


def mappings(out, doc, name, table):
    """Each mapping once, as ranges of one string; code point -> number of its range by two stages."""
    text, ends, seen = "", [0], {}
    values = {}
    for code, mapped in sorted(table.items()):
        if mapped not in seen:
            text += mapped
            ends.append(len(text))
            seen[mapped] = len(ends) - 1
        values[code] = seen[mapped]
    index, flat = two_stage(values, 0)
    array(out, f"{doc}: block of each {BLOCK} code points.", f"{name}_BLOCKS", smallest(index), index)
    array(out, f"{doc}: number of the mapping, 0 for none.", f"{name}_NUMBERS", "u16", flat)
    array(out, f"{doc}: where mapping `n` ends in the characters; it starts where `n - 1` ends.", f"{name}_ENDS", "u16", ends)
    array(out, f"{doc}: the characters.", f"{name}_CHARS", "u32", [hex(ord(c)) for c in text], 12)


def main():
    properties, canonical, compatibility, lowercase, compositions = measure()
    classes = {}
    numbers = {}
    classes[(0, 0, 0)] = 0
    for code, value in properties.items():
        numbers[code] = classes.setdefault(value, len(classes))
    index, flat = two_stage(numbers, 0)

    out = [
        "// Written by tools/reference/tokenizer_unicode.py; do not edit.",
        f"// Measured on tokenizers {tokenizers.__version__}.",
        "",
    ]
    array(out, f"Class block of each {BLOCK} code points.", "CLASS_BLOCKS", smallest(index), index)
    array(out, "Number of the class of each code point of a block.", "CLASS_NUMBERS", smallest(flat), flat)
    out.append("/// (flags, canonical combining class, distance to the lower-case character) of each class.")
    out.append(f"pub(super) static CLASSES: [(u8, u8, i32); {len(classes)}] = [")
    row = [f"({flags}, {ccc}, {delta})" for flags, ccc, delta in classes]
    for start in range(0, len(row), 8):
        out.append("    " + ", ".join(row[start : start + 8]) + ",")
    out.append("];\n")
    mappings(out, "Canonical decompositions", "CANONICAL", canonical)
    mappings(out, "Compatibility decompositions that differ from the canonical ones", "COMPATIBILITY", compatibility)
    out.append("/// Code points whose lower case is more than one character.")
    out.append(f"pub(super) static SPECIAL_LOWERCASE: [(u32, &[u32]); {len(lowercase)}] = [")
    for code, mapped in sorted(lowercase.items()):
        out.append(f"    ({hex(code)}, &[{', '.join(hex(ord(c)) for c in mapped)}]),")
    out.append("];\n")
    out.append("/// (first, second, composed), in the order of the first two.")
    out.append(f"pub(super) static COMPOSITIONS: [(u32, u32, u32); {len(compositions)}] = [")
    row = [f"({hex(a)}, {hex(b)}, {hex(c)})" for (a, b), c in sorted(compositions.items())]
    for start in range(0, len(row), 5):
        out.append("    " + ", ".join(row[start : start + 5]) + ",")
    out.append("];")
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write("\n".join(out) + "\n")
    print(f"{len(classes)} classes, {len(canonical)} canonical and {len(compatibility)} compatibility mappings, "
          f"{len(compositions)} compositions")


if __name__ == "__main__":
    main()
