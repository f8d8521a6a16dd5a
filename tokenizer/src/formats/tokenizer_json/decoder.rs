//! `decoder` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::JsonFile;
use crate::TokenizerError;
use crate::decoders::{BpeDecoder, Decoder, WordPieceDecoder};

const SUPPORTED: &str = "BPEDecoder, ByteLevel, WordPiece";

#[derive(Deserialize)]
struct BpeFields {
    suffix: String,
}

#[derive(Deserialize)]
struct WordPieceFields {
    prefix: String,
    cleanup: bool,
}

pub(super) fn parse<'a>(file: &JsonFile<'a>, raw: Option<&'a RawValue>) -> Result<Decoder, TokenizerError> {
    let path = "$.decoder";
    let Some(raw) = raw else {
        return Ok(Decoder::Spaces);
    };
    match &*file.required_kind(raw, path)? {
        "BPEDecoder" => {
            let BpeFields { suffix } = file.part(raw, path)?;
            Ok(Decoder::Bpe(BpeDecoder { suffix }))
        }
        "ByteLevel" => Ok(Decoder::ByteLevel),
        "WordPiece" => {
            let WordPieceFields { prefix, cleanup } = file.part(raw, path)?;
            Ok(Decoder::WordPiece(WordPieceDecoder { prefix, cleanup }))
        }
        other => Err(file.unsupported(path, "a decoder", other, SUPPORTED)),
    }
}
