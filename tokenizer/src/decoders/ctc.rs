//! The decoder of speech models: repeated tokens are one, padding is none.

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;
use super::wordpiece;

/// `CTC` of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ctc {
    pub(crate) pad_token: String,
    pub(crate) word_delimiter_token: String,
    pub(crate) cleanup: bool,
}

impl Ctc {
    pub(super) fn decode(&self, tokens: &Pieces) -> Pieces {
        let mut out = Pieces::default();
        let mut before = None;
        for token in tokens.iter() {
            if before.replace(token) == Some(token) {
                continue;
            }
            let mut text = token.replace(&self.pad_token, "");
            if self.cleanup {
                wordpiece::clean(&mut text);
                text = text.replace(&self.word_delimiter_token, " ");
            }
            if !text.is_empty() {
                out.push(&text);
            }
        }
        out
    }
}
