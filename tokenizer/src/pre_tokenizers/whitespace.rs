//! `\w+|[^\w\s]+`: runs of word characters and runs of anything else but white space.

use super::Word;
use crate::unicode::class;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Space,
    Other,
}

fn kind(c: char) -> Kind {
    let class = class(c);
    if class.is_word() {
        Kind::Word
    } else if class.is_whitespace() {
        Kind::Space
    } else {
        Kind::Other
    }
}

pub(super) fn split(text: &str, within: Word, words: &mut Vec<Word>) {
    let mut run = (Kind::Space, within.start);
    let ends = text[within.start..within.end]
        .char_indices()
        .map(|(at, c)| (kind(c), within.start + at))
        .chain([(Kind::Space, within.end)]);
    for (kind, at) in ends {
        if kind == run.0 && at != within.end {
            continue;
        }
        if run.0 != Kind::Space && run.1 < at {
            words.push(Word { start: run.1, end: at });
        }
        run = (kind, at);
    }
}
