//! From tokens back to text: one file per decoder.

mod bpe;
mod byte_fallback;
mod byte_level;
mod clean_up;
mod ctc;
mod metaspace;
mod pieces;
mod strip;
mod wordpiece;

pub(crate) use bpe::BpeDecoder;
pub(crate) use clean_up::{CleanUpStream, clean_up};
pub(crate) use ctc::Ctc;
pub(crate) use metaspace::MetaspaceDecoder;
pub(crate) use strip::StripDecoder;
pub(crate) use wordpiece::WordPieceDecoder;

use pieces::Pieces;
use serde::{Deserialize, Serialize};

use crate::TokenizerError;
use crate::normalizers::Replace;

/// A decoder, compiled. Each variant has the name it has in `tokenizer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Decoder {
    /// No decoder: tokens joined by spaces.
    Spaces,
    Bpe(BpeDecoder),
    ByteFallback,
    ByteLevel,
    Ctc(Ctc),
    Fuse,
    Metaspace(MetaspaceDecoder),
    Replace(Replace),
    Sequence(Vec<Decoder>),
    Strip(StripDecoder),
    WordPiece(WordPieceDecoder),
}

impl Decoder {
    /// Joins the tokens to a text. Fails where a regular expression gives up.
    pub(crate) fn decode<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> Result<String, TokenizerError> {
        Ok(match self {
            Decoder::Spaces => join_with_spaces(tokens),
            Decoder::ByteLevel => byte_level::decode(tokens),
            Decoder::Bpe(decoder) => decoder.decode(tokens).into_text(),
            Decoder::Fuse => tokens.collect(),
            Decoder::Metaspace(decoder) => decoder.decode(tokens).into_text(),
            Decoder::WordPiece(decoder) => decoder.decode(tokens).into_text(),
            chain => chain.step(tokens.collect())?.into_text(),
        })
    }

    /// One step of a sequence: what becomes of each token.
    fn step(&self, tokens: Pieces) -> Result<Pieces, TokenizerError> {
        Ok(match self {
            Decoder::Spaces => tokens,
            Decoder::Bpe(decoder) => decoder.decode(tokens.iter()),
            Decoder::ByteFallback => byte_fallback::decode(&tokens),
            Decoder::ByteLevel => [byte_level::decode(tokens.iter()).as_str()].into_iter().collect(),
            Decoder::Ctc(decoder) => decoder.decode(&tokens),
            Decoder::Fuse => [tokens.into_text().as_str()].into_iter().collect(),
            Decoder::Metaspace(decoder) => decoder.decode(tokens.iter()),
            Decoder::Replace(replace) => {
                let mut out = Pieces::default();
                for token in tokens.iter() {
                    replace.decode(token, out.open())?;
                    out.end();
                }
                out
            }
            Decoder::Sequence(steps) => steps.iter().try_fold(tokens, |tokens, step| step.step(tokens))?,
            Decoder::Strip(decoder) => decoder.decode(&tokens),
            Decoder::WordPiece(decoder) => decoder.decode(tokens.iter()),
        })
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
