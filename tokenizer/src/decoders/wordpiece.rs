//! The decoder of WordPiece: continuations joined to what they continue, everything else set apart by spaces.

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;

/// `WordPiece` decoder of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WordPieceDecoder {
    pub(crate) prefix: String,
    pub(crate) cleanup: bool,
}

/// What the decoder's clean-up replaces, in this order. It sees one token at a time, with the space before it, so
/// `" n't"` never occurs in practice, but a token that holds spaces, as added tokens may, is cleaned inside.
const REPLACED: [(&str, &str); 11] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

impl WordPieceDecoder {
    pub(super) fn decode<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> Pieces {
        let mut pieces = Pieces::default();
        let mut token = String::new();
        for (place, piece) in tokens.enumerate() {
            token.clear();
            match piece.strip_prefix(self.prefix.as_str()) {
                Some(rest) if place > 0 => token.push_str(rest),
                _ if place > 0 => {
                    token.push(' ');
                    token.push_str(piece);
                }
                _ => token.push_str(piece),
            }
            if self.cleanup {
                clean(&mut token);
            }
            pieces.push(&token);
        }
        pieces
    }
}

pub(super) fn clean(token: &mut String) {
    for (from, to) in REPLACED {
        if token.contains(from) {
            *token = token.replace(from, to);
        }
    }
}
