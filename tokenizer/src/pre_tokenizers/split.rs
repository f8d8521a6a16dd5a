//! Splitting at matches of a pattern, with the reference's five ways to treat them.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use super::scanner::Scanner;
use super::{Splits, Word};
use crate::TokenizerError;
use crate::normalized::{Alignment, Normalized};

/// What becomes of a delimiter; `the-final--countdown` split at `-` shows each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Behavior {
    /// `the`, `final`, `countdown`
    Removed,
    /// `the`, `-`, `final`, `-`, `-`, `countdown`
    Isolated,
    /// `the-`, `final-`, `-`, `countdown`
    MergedWithPrevious,
    /// `the`, `-final`, `-`, `-countdown`
    MergedWithNext,
    /// `the`, `-`, `final`, `--`, `countdown`
    Contiguous,
}

/// `Split` of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Split {
    pub(crate) pattern: Pattern,
    pub(crate) behavior: Behavior,
    /// Whether what lies between matches is the delimiter, rather than the matches.
    pub(crate) invert: bool,
}

impl Split {
    /// The expression's scanner, where its words are just what the expression matches.
    pub(crate) fn scanner(&self) -> Option<Scanner> {
        match (&self.pattern, self.behavior, self.invert) {
            (Pattern::Scanner(scanner), Behavior::Isolated, _) => Some(*scanner),
            (Pattern::Scanner(scanner), Behavior::Removed, true) => Some(*scanner),
            _ => None,
        }
    }

    pub(super) fn apply<A: Alignment>(
        &self,
        normalized: &Normalized<A>,
        splits: &mut Splits<A>,
    ) -> Result<(), TokenizerError> {
        splits.try_split(normalized, |text, within, words| {
            let mut parts = Parts::new(self.behavior, words);
            self.pattern.parts(&text[within.start..within.end], |start, end, matched| {
                parts.push(within.start + start, within.start + end, matched != self.invert);
            })?;
            parts.finish();
            Ok(())
        })
    }
}

/// Joins delimiters and what is between them to words.
struct Parts<'a> {
    behavior: Behavior,
    words: &'a mut Vec<Word>,
    first: usize,
    /// The kind of what was pushed last; `None` before anything was.
    last_delimiter: Option<bool>,
    has_empty: bool,
}

impl<'a> Parts<'a> {
    fn new(behavior: Behavior, words: &'a mut Vec<Word>) -> Self {
        let first = words.len();
        Parts { behavior, words, first, last_delimiter: None, has_empty: false }
    }

    #[inline]
    fn push(&mut self, start: usize, end: usize, delimiter: bool) {
        let joins = match self.behavior {
            Behavior::Removed | Behavior::Isolated => false,
            Behavior::Contiguous => self.last_delimiter == Some(delimiter),
            Behavior::MergedWithPrevious => delimiter && self.last_delimiter == Some(false),
            Behavior::MergedWithNext => !delimiter && self.last_delimiter == Some(true),
        };
        self.last_delimiter = Some(delimiter);
        self.has_empty |= start == end;
        match self.words[self.first..].last_mut().filter(|_| joins) {
            Some(word) => word.end = end,
            None if delimiter && self.behavior == Behavior::Removed => {}
            None => self.words.push(Word { start, end }),
        }
    }

    /// Takes out the words that an empty match left empty.
    fn finish(self) {
        if self.has_empty {
            let mut kept = self.first;
            for at in self.first..self.words.len() {
                let word = self.words[at];
                if word.start < word.end {
                    self.words[kept] = word;
                    kept += 1;
                }
            }
            self.words.truncate(kept);
        }
    }
}

/// Appends the non-empty parts of `text[within.start..within.end]`, split at single characters.
pub(super) fn split(
    text: &str,
    within: Word,
    is_delimiter: impl Fn(char) -> bool,
    behavior: Behavior,
    words: &mut Vec<Word>,
) {
    let mut parts = Parts::new(behavior, words);
    let mut start = within.start;
    for (at, c) in text[within.start..within.end].char_indices() {
        if is_delimiter(c) {
            let (at, end) = (within.start + at, within.start + at + c.len_utf8());
            if start < at {
                parts.push(start, at, false);
            }
            parts.push(at, end, true);
            start = end;
        }
    }
    if start < within.end {
        parts.push(start, within.end, false);
    }
}
