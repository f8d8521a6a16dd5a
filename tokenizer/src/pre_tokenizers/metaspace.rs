//! Spaces made visible: `▁` in place of each, and before the first word.

use super::split::{self, Behavior};
use super::{Splits, Word};
use crate::normalized::{Alignment, Normalized, Source};

/// Which words get a replacement character before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrependScheme {
    /// Every one that doesn't begin with it.
    Always,
    /// The one that begins the text, unless it begins with it.
    First,
    Never,
}

/// `Metaspace` of `tokenizer.json`.
#[derive(Debug)]
pub(crate) struct Metaspace {
    pub(crate) replacement: char,
    pub(crate) prepend_scheme: PrependScheme,
    /// Whether words are split before each replacement character.
    pub(crate) split: bool,
}

impl Metaspace {
    pub(super) fn apply<A: Alignment>(&self, normalized: &Normalized<A>, splits: &mut Splits<A>) {
        splits.rewrite(normalized, |source, word, out, words| self.rewrite(source, word, out, words));
    }

    /// What is put before a word stands for its first character.
    fn rewrite<A: Alignment>(
        &self,
        source: &Normalized<A>,
        word: Word,
        out: &mut Normalized<A>,
        words: &mut Vec<Word>,
    ) {
        let text = &source.text()[word.start..word.end];
        let start = out.text().len();
        let begins_with_it = text.starts_with([self.replacement, ' ']);
        let first = source.original(word.start, word.start + 1);
        let prepended = match self.prepend_scheme {
            PrependScheme::Always => !begins_with_it,
            PrependScheme::First => !begins_with_it && first.start == 0,
            PrependScheme::Never => false,
        };
        if prepended {
            out.push(self.replacement, first);
        }
        let mut kept = 0;
        for (space, _) in text.match_indices(' ') {
            out.copy_part(source, word.start + kept, word.start + space);
            out.push(self.replacement, source.span(word.start + space, 1));
            kept = space + 1;
        }
        out.copy_part(source, word.start + kept, word.end);
        let whole = Word { start, end: out.text().len() };
        if self.split {
            split::split(out.text(), whole, |c| c == self.replacement, Behavior::MergedWithNext, words);
        } else {
            words.push(whole);
        }
    }
}
