//! From tokens back to text: one file per decoder.

mod bpe;
mod byte_level;
mod clean_up;
mod wordpiece;

pub(crate) use bpe::BpeDecoder;
pub(crate) use clean_up::clean_up;
pub(crate) use wordpiece::WordPieceDecoder;

/// A decoder, compiled.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// No decoder: tokens joined by spaces.
    Spaces,
    Bpe(BpeDecoder),
    ByteLevel,
    WordPiece(WordPieceDecoder),
}

impl Decoder {
    /// Joins the tokens to a text.
    pub(crate) fn decode<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> String {
        match self {
            Decoder::Spaces => join_with_spaces(tokens),
            Decoder::Bpe(decoder) => decoder.decode(tokens),
            Decoder::ByteLevel => byte_level::decode(tokens),
            Decoder::WordPiece(decoder) => decoder.decode(tokens),
        }
    }
}

fn join_with_spaces<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (place, token) in tokens.enumerate() {
        if place > 0 {
            text.push(' ');
        }
        text.push_str(token);
    }
    text
}
