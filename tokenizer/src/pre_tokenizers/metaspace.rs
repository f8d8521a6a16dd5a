//! Spaces made visible: `▁` in place of each, and before the first word.

use serde::{Deserialize, Serialize};

use super::split::{self, Behavior};
use super::{Splits, Word};
use crate::normalized::{Alignment, Normalized, Source};

/// Which words get a replacement character before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PrependScheme {
    /// Every one that doesn't begin with it.
    Always,
    /// The one that begins the text, unless it begins with it.
    First,
    Never,
}

/// `Metaspace` of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Metaspace {
    pub(crate) replacement: char,
    pub(crate) prepend_scheme: PrependScheme,
    /// Whether words are split before each replacement character.
    pub(crate) split: bool,
}

impl Metaspace {
    pub(super) fn apply<A: Alignment>(&self, normalized: &Normalized<A>, splits: &mut Splits<A>) {
        let begins_text = splits.begins_text();
        splits.rewrite(normalized, |source, word, out, words| {
            let is_first = if A::KEPT { source.span(word.start, 1).start == 0 } else { begins_text && word.start == 0 };
            self.rewrite(source, word, is_first, out, words);
        });
    }

    /// What is put before a word stands for its first character.
    fn rewrite<A: Alignment>(
        &self,
        source: &Normalized<A>,
        word: Word,
        is_first: bool,
        out: &mut Normalized<A>,
        words: &mut Vec<Word>,
    ) {
        let text = &source.text()[word.start..word.end];
        let start = out.text().len();
        let begins_with_it = text.starts_with([self.replacement, ' ']);
        let prepended = match self.prepend_scheme {
            PrependScheme::Always => !begins_with_it,
            PrependScheme::First => !begins_with_it && is_first,
            PrependScheme::Never => false,
        };
        if prepended {
            out.push(self.replacement, source.span(word.start, 1));
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
