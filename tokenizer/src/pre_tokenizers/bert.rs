//! BERT's words: white space removed, every punctuation character a word of its own.

use super::Word;
use crate::unicode::class;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inside,
    Space,
    Alone,
}

const fn ascii_kinds() -> [Kind; 128] {
    let mut kinds = [Kind::Inside; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_punctuation() {
            kinds[byte] = Kind::Alone;
        }
        // Vertical tab is Unicode white space, though not what `is_ascii_whitespace` counts.
        if (byte as u8).is_ascii_whitespace() || byte == 0x0B {
            kinds[byte] = Kind::Space;
        }
        byte += 1;
    }
    kinds
}

const ASCII: [Kind; 128] = ascii_kinds();

#[inline]
fn kind(c: char) -> Kind {
    if let Some(&kind) = ASCII.get(c as usize) {
        return kind;
    }
    let class = class(c);
    if class.is_whitespace() {
        Kind::Space
    } else if class.is_punctuation() {
        Kind::Alone
    } else {
        Kind::Inside
    }
}

pub(super) fn split(text: &str, within: Word, words: &mut Vec<Word>) {
    let mut start = within.start;
    for (at, c) in text[within.start..within.end].char_indices() {
        let at = within.start + at;
        let kind = kind(c);
        if kind == Kind::Inside {
            continue;
        }
        if start < at {
            words.push(Word { start, end: at });
        }
        start = at + c.len_utf8();
        if kind == Kind::Alone {
            words.push(Word { start: at, end: start });
        }
    }
    if start < within.end {
        words.push(Word { start, end: within.end });
    }
}
