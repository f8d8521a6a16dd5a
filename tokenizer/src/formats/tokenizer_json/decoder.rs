//! `decoder` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::pattern::{PatternFields, replace};
use super::pre_tokenizer::MetaspaceFields;
use super::{JsonFile, MAX_DEPTH};
use crate::TokenizerError;
use crate::decoders::{BpeDecoder, Ctc, Decoder, MetaspaceDecoder, StripDecoder, WordPieceDecoder};
use crate::pre_tokenizers::PrependScheme;

const SUPPORTED: &str =
    "BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, Sequence, Strip, WordPiece";

#[derive(Deserialize)]
struct BpeFields {
    suffix: String,
}

#[derive(Deserialize)]
struct CtcFields {
    pad_token: String,
    word_delimiter_token: String,
    cleanup: bool,
}

#[derive(Deserialize)]
struct ReplaceFields {
    pattern: PatternFields,
    content: String,
}

#[derive(Deserialize)]
struct SequenceFields<'a> {
    #[serde(borrow)]
    decoders: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct StripFields {
    content: char,
    start: usize,
    stop: usize,
}

#[derive(Deserialize)]
struct WordPieceFields {
    prefix: String,
    cleanup: bool,
}

pub(super) fn parse<'a>(file: &JsonFile<'a>, raw: Option<&'a RawValue>) -> Result<Decoder, TokenizerError> {
    raw.map_or(Ok(Decoder::Spaces), |raw| step(file, raw, "$.decoder", 0))
}

fn step<'a>(file: &JsonFile<'a>, raw: &'a RawValue, path: &str, depth: usize) -> Result<Decoder, TokenizerError> {
    if depth == MAX_DEPTH {
        return Err(file.invalid(path, format!("at most {MAX_DEPTH} nested sequences"), "more"));
    }
    Ok(match &*file.required_kind(raw, path)? {
        "BPEDecoder" => {
            let BpeFields { suffix } = file.part(raw, path)?;
            Decoder::Bpe(BpeDecoder { suffix })
        }
        "ByteFallback" => Decoder::ByteFallback,
        "ByteLevel" => Decoder::ByteLevel,
        "CTC" => {
            let CtcFields { pad_token, word_delimiter_token, cleanup } = file.part(raw, path)?;
            Decoder::Ctc(Ctc { pad_token, word_delimiter_token, cleanup })
        }
        "Fuse" => Decoder::Fuse,
        "Metaspace" => {
            let metaspace = MetaspaceFields::parse(file, raw, path)?;
            let prepended = metaspace.prepend_scheme != PrependScheme::Never;
            Decoder::Metaspace(MetaspaceDecoder { replacement: metaspace.replacement, prepended })
        }
        "Replace" => {
            let ReplaceFields { pattern, content } = file.part(raw, path)?;
            Decoder::Replace(replace(file, path, pattern, content)?)
        }
        "Sequence" => {
            let SequenceFields { decoders } = file.part(raw, path)?;
            let parse = |(at, raw)| step(file, raw, &format!("{path}.decoders[{at}]"), depth + 1);
            Decoder::Sequence(decoders.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?)
        }
        "Strip" => {
            let StripFields { content, start, stop } = file.part(raw, path)?;
            Decoder::Strip(StripDecoder { content, start, stop })
        }
        "WordPiece" => {
            let WordPieceFields { prefix, cleanup } = file.part(raw, path)?;
            Decoder::WordPiece(WordPieceDecoder { prefix, cleanup })
        }
        other => return Err(file.unsupported(path, "a decoder", other, SUPPORTED)),
    })
}
