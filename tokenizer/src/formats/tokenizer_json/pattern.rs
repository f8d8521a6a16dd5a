//! Patterns of `tokenizer.json`: a text or a regular expression.

use serde::Deserialize;

use super::JsonFile;
use crate::TokenizerError;
use crate::normalizers::Replace;
use crate::pre_tokenizers::Pattern;

#[derive(Deserialize)]
pub(super) enum PatternFields {
    String(String),
    Regex(String),
}

impl PatternFields {
    /// `path` is that of the component whose pattern this is.
    pub(super) fn compile(self, file: &JsonFile, path: &str) -> Result<Pattern, TokenizerError> {
        let pattern = match self {
            PatternFields::String(text) => Pattern::literal(text),
            PatternFields::Regex(expression) => Pattern::regex(&expression),
        };
        pattern.map_err(|message| {
            let expected = "an expression in the syntax of Oniguruma without \\K and absent operators";
            file.invalid(&format!("{path}.pattern"), expected, message)
        })
    }
}

/// The fields of a `Replace`, which is a normalizer and a decoder.
pub(super) fn replace(
    file: &JsonFile,
    path: &str,
    pattern: PatternFields,
    content: String,
) -> Result<Replace, TokenizerError> {
    Ok(Replace { pattern: pattern.compile(file, path)?, content })
}
