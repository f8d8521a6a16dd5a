//! Something put before the text.

use serde::{Deserialize, Serialize};

use crate::normalized::{Alignment, Normalized, Source};

/// `Prepend` of `tokenizer.json`. What is put before the text stands for its first character; before no text, nothing is
/// put.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prepend {
    pub(crate) text: String,
}

impl Prepend {
    pub(super) fn normalize<S: Source, A: Alignment>(&self, source: &S, out: &mut Normalized<A>) {
        if let Some(first) = source.text().chars().next() {
            let span = source.span(0, first.len_utf8());
            self.text.chars().for_each(|c| out.push(c, span));
        }
        out.copy(source);
    }
}
