//! White space off the offsets of byte-level tokens.

use serde::{Deserialize, Serialize};

use crate::byte_alphabet::SPACE;
use crate::normalized::Span;
use crate::pipeline::{Pipeline, Token};
use crate::unicode::class;

/// How `trim_offsets` of `tokenizer.json` works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trim {
    /// Whether a single leading space of the first token is taken for one that was put before the text.
    pub(crate) add_prefix_space: bool,
}

/// Trims the tokens of one text.
#[derive(Clone, Copy)]
pub(crate) struct Trimmer<'a> {
    pub(crate) trim: Trim,
    pub(crate) text: &'a str,
    pub(crate) pipeline: &'a Pipeline,
}

fn is_space(c: &char) -> bool {
    *c == SPACE || class(*c).is_whitespace()
}

impl Trimmer<'_> {
    /// The bytes of a token without white space at its ends; `place` counts the tokens of its window.
    pub(super) fn offsets(&self, place: usize, token: &Token) -> (usize, usize) {
        let Span { start, end } = token.span;
        let (start, end) = (start as usize, end as usize);
        let covered = self.text.get(start..end).unwrap_or_default();
        // What an added token took in with it counts as its text.
        let content = match self.pipeline.added.get(token.id) {
            Some(_) => covered,
            None => self.pipeline.model.vocabulary().id_to_token(token.id).unwrap_or_default(),
        };
        let mut leading = content.chars().take_while(is_space).count();
        let trailing = content.chars().rev().take_while(is_space).count();
        if self.trim.add_prefix_space && leading == 1 && (place == 0 || start == 0) {
            leading = 0;
        }
        let start = covered.char_indices().nth(leading).map_or(end, |(at, _)| start + at);
        let mut before = self.text.get(..end).unwrap_or_default().char_indices().rev();
        let end = match trailing.checked_sub(1).and_then(|trailing| before.nth(trailing)) {
            Some((at, _)) => at.max(start),
            None => end,
        };
        (start, end)
    }
}
