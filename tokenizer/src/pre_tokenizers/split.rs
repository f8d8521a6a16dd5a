//! Splitting at single characters, with the reference's five ways to treat the delimiter.

use super::Word;

/// What becomes of a delimiter; `the-final--countdown` split at `-` shows each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Appends the non-empty parts of `text[within.start..within.end]`.
pub(super) fn split(
    text: &str,
    within: Word,
    is_delimiter: impl Fn(char) -> bool,
    behavior: Behavior,
    words: &mut Vec<Word>,
) {
    let first = words.len();
    // The kind of what was pushed last; `None` before anything was.
    let mut last_delimiter: Option<bool> = None;
    let mut part = |start: usize, end: usize, delimiter: bool| {
        let joins = match behavior {
            Behavior::Removed | Behavior::Isolated => false,
            Behavior::Contiguous => delimiter && last_delimiter == Some(true),
            Behavior::MergedWithPrevious => delimiter && last_delimiter == Some(false),
            Behavior::MergedWithNext => !delimiter && last_delimiter == Some(true),
        };
        last_delimiter = Some(delimiter);
        match words[first..].last_mut().filter(|_| joins) {
            Some(word) => word.end = end,
            None if delimiter && behavior == Behavior::Removed => {}
            None => words.push(Word { start, end }),
        }
    };
    let mut start = within.start;
    for (at, c) in text[within.start..within.end].char_indices() {
        if is_delimiter(c) {
            let (at, end) = (within.start + at, within.start + at + c.len_utf8());
            if start < at {
                part(start, at, false);
            }
            part(at, end, true);
            start = end;
        }
    }
    if start < within.end {
        part(start, within.end, false);
    }
}
