//! The decoder of GPT's tokenizer: the mark at the end of a word becomes a space.

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;

/// `BPEDecoder` of `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BpeDecoder {
    pub(crate) suffix: String,
}

impl BpeDecoder {
    pub(super) fn decode<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> Pieces {
        let mut pieces = Pieces::default();
        let mut tokens = tokens.peekable();
        while let Some(token) = tokens.next() {
            let replacement = if tokens.peek().is_some() { " " } else { "" };
            pieces.push(&token.replace(&self.suffix, replacement));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_their_marks() {
        let decoder = BpeDecoder { suffix: "</w>".to_owned() };
        assert_eq!(decoder.decode(["my</w>", "frien", "d</w>"].into_iter()).into_text(), "my friend");
        assert_eq!(decoder.decode([].into_iter()).into_text(), "");
    }
}
