//! White space off the ends.

use serde::{Deserialize, Serialize};

use crate::normalized::{Alignment, Normalized, Source};
use crate::unicode::class;

/// `Strip` of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Strip {
    pub(crate) left: bool,
    pub(crate) right: bool,
}

impl Strip {
    pub(super) fn normalize<S: Source, A: Alignment>(&self, source: &S, out: &mut Normalized<A>) {
        let text = source.text();
        let is_space = |c: char| class(c).is_whitespace();
        let start = match self.left {
            true => text.len() - text.trim_start_matches(is_space).len(),
            false => 0,
        };
        let kept = match self.right {
            true => text[start..].trim_end_matches(is_space),
            false => &text[start..],
        };
        for (at, c) in kept.char_indices() {
            out.push(c, source.span(start + at, c.len_utf8()));
        }
    }
}
