//! How normalized text is split into words: one file per way of splitting.

mod bert;
mod split;
mod whitespace;

pub(crate) use split::Behavior;

use crate::unicode::class;

/// A word: bytes of the normalized text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A pre-tokenizer, compiled. Each variant has the name it has in `tokenizer.json`.
#[derive(Debug)]
pub(crate) enum PreTokenizer {
    Bert,
    Whitespace,
    WhitespaceSplit,
    Punctuation(Behavior),
    Sequence(Vec<PreTokenizer>),
}

impl PreTokenizer {
    /// Appends the words of `text[within.start..within.end]`; none of them is empty.
    pub(crate) fn split(&self, text: &str, within: Word, words: &mut Vec<Word>) {
        match self {
            PreTokenizer::Bert => bert::split(text, within, words),
            PreTokenizer::Whitespace => whitespace::split(text, within, words),
            PreTokenizer::WhitespaceSplit => {
                let is_space = |c| class(c).is_whitespace();
                split::split(text, within, is_space, Behavior::Removed, words);
            }
            PreTokenizer::Punctuation(behavior) => {
                let is_punctuation = |c| class(c).is_punctuation();
                split::split(text, within, is_punctuation, *behavior, words);
            }
            PreTokenizer::Sequence(steps) => in_sequence(steps, text, within, words),
        }
    }
}

fn in_sequence(steps: &[PreTokenizer], text: &str, within: Word, words: &mut Vec<Word>) {
    let mut before = vec![within];
    let mut after = Vec::new();
    for step in steps {
        after.clear();
        for &word in &before {
            step.split(text, word, &mut after);
        }
        std::mem::swap(&mut before, &mut after);
    }
    words.extend(before);
}
