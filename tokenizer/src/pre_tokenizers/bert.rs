//! BERT's words: white space removed, every punctuation character a word of its own.

use super::Word;
use crate::unicode::class;

/// What BERT's words make of a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CharKind {
    /// Of a word.
    Inside,
    /// Between words.
    Space,
    /// A word of its own.
    Alone,
}

const fn ascii_kinds() -> [CharKind; 128] {
    let mut kinds = [CharKind::Inside; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_punctuation() {
            kinds[byte] = CharKind::Alone;
        }
        // Vertical tab is Unicode white space, though not what `is_ascii_whitespace` counts.
        if (byte as u8).is_ascii_whitespace() || byte == 0x0B {
            kinds[byte] = CharKind::Space;
        }
        byte += 1;
    }
    kinds
}

const ASCII: [CharKind; 128] = ascii_kinds();

#[inline]
pub(crate) fn kind(c: char) -> CharKind {
    if let Some(&kind) = ASCII.get(c as usize) {
        return kind;
    }
    let class = class(c);
    if class.is_whitespace() {
        CharKind::Space
    } else if class.is_punctuation() {
        CharKind::Alone
    } else {
        CharKind::Inside
    }
}

pub(super) fn split(text: &str, within: Word, words: &mut Vec<Word>) {
    let mut start = within.start;
    for (at, c) in text[within.start..within.end].char_indices() {
        let at = within.start + at;
        let kind = kind(c);
        if kind == CharKind::Inside {
            continue;
        }
        if start < at {
            words.push(Word { start, end: at });
        }
        start = at + c.len_utf8();
        if kind == CharKind::Alone {
            words.push(Word { start: at, end: start });
        }
    }
    if start < within.end {
        words.push(Word { start, end: within.end });
    }
}
