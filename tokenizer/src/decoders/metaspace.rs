//! Visible spaces back to plain ones.

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;

/// `Metaspace` decoder of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MetaspaceDecoder {
    pub(crate) replacement: char,
    /// Whether encoding puts a replacement character before the text, which decoding takes off the first token.
    pub(crate) prepended: bool,
}

impl MetaspaceDecoder {
    pub(super) fn decode<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> Pieces {
        let mut out = Pieces::default();
        for (place, token) in tokens.enumerate() {
            for (part, text) in token.split(self.replacement).enumerate() {
                if part > 0 && !(place == 0 && self.prepended) {
                    out.open().push(' ');
                }
                out.open().push_str(text);
            }
            out.end();
        }
        out
    }
}
