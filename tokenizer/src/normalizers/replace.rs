//! One text for another.

use serde::{Deserialize, Serialize};

use crate::TokenizerError;
use crate::normalized::{Alignment, Normalized, Source};
use crate::pre_tokenizers::Pattern;

/// `Replace` of `tokenizer.json`, as a normalizer and as a decoder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replace {
    pub(crate) pattern: Pattern,
    pub(crate) content: String,
}

impl Replace {
    /// What is put in place of a match stands for the last character of the match.
    pub(super) fn normalize<S: Source, A: Alignment>(
        &self,
        source: &S,
        out: &mut Normalized<A>,
    ) -> Result<(), TokenizerError> {
        let text = source.text();
        let mut last = source.span(0, 0);
        self.pattern.parts(text, |start, end, is_match| {
            if !is_match {
                return out.copy_part(source, start, end);
            }
            if let Some(c) = text[..end].chars().next_back() {
                last = source.span(end - c.len_utf8(), c.len_utf8());
            }
            self.content.chars().for_each(|c| out.push(c, last));
        })
    }

    /// Appends `token` with its matches replaced.
    pub(crate) fn decode(&self, token: &str, out: &mut String) -> Result<(), TokenizerError> {
        self.pattern.parts(token, |start, end, is_match| match is_match {
            true => out.push_str(&self.content),
            false => out.push_str(&token[start..end]),
        })
    }
}
