//! A character off the ends of each token.

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;

/// `Strip` decoder of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StripDecoder {
    pub(crate) content: char,
    /// At most so many off the beginning.
    pub(crate) start: usize,
    /// At most so many off the end.
    pub(crate) stop: usize,
}

impl StripDecoder {
    pub(super) fn decode(&self, tokens: &Pieces) -> Pieces {
        tokens.iter().map(|token| self.strip(token)).collect()
    }

    fn strip<'a>(&self, mut token: &'a str) -> &'a str {
        for _ in 0..self.start {
            let Some(rest) = token.strip_prefix(self.content) else {
                break;
            };
            token = rest;
        }
        for _ in 0..self.stop {
            let Some(rest) = token.strip_suffix(self.content) else {
                break;
            };
            token = rest;
        }
        token
    }
}
