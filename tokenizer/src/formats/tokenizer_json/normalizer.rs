//! `normalizer` of `tokenizer.json`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::pattern::{PatternFields, replace};
use super::{JsonFile, MAX_DEPTH};
use crate::TokenizerError;
use crate::formats::base64;
use crate::normalizers::{BertNormalizer, Normalizer, Precompiled, Prepend, Strip};

const SUPPORTED: &str = "BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, \
    Replace, Sequence, Strip, StripAccents";

#[derive(Deserialize)]
struct BertFields {
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct PrecompiledFields<'a> {
    #[serde(borrow)]
    precompiled_charsmap: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PrependFields {
    prepend: String,
}

#[derive(Deserialize)]
struct ReplaceFields {
    pattern: PatternFields,
    content: String,
}

#[derive(Deserialize)]
struct StripFields {
    strip_left: bool,
    strip_right: bool,
}

#[derive(Deserialize)]
struct SequenceFields<'a> {
    #[serde(borrow)]
    normalizers: Vec<&'a RawValue>,
}

pub(super) fn parse<'a>(
    file: &JsonFile<'a>,
    raw: &'a RawValue,
    path: &str,
    depth: usize,
) -> Result<Normalizer, TokenizerError> {
    if depth == MAX_DEPTH {
        return Err(file.invalid(path, format!("at most {MAX_DEPTH} nested sequences"), "more"));
    }
    Ok(match &*file.required_kind(raw, path)? {
        "BertNormalizer" => {
            let fields: BertFields = file.part(raw, path)?;
            Normalizer::Bert(BertNormalizer::new(
                fields.clean_text,
                fields.handle_chinese_chars,
                fields.strip_accents,
                fields.lowercase,
            ))
        }
        "ByteLevel" => Normalizer::ByteLevel,
        "Lowercase" => Normalizer::Lowercase,
        "NFC" => Normalizer::Nfc,
        "NFD" => Normalizer::Nfd,
        "NFKC" => Normalizer::Nfkc,
        "NFKD" => Normalizer::Nfkd,
        "Nmt" => Normalizer::Nmt,
        "Precompiled" => {
            let fields: PrecompiledFields = file.part(raw, path)?;
            let path = &format!("{path}.precompiled_charsmap");
            let map = base64::decode(&fields.precompiled_charsmap)
                .map_err(|(at, found)| file.invalid(path, format!("base64 at byte {at}"), found))?;
            Normalizer::Precompiled(Precompiled::new(&map).map_err(|fault| {
                file.invalid(path, format!("{} at byte {} of the map", fault.expected, fault.at), fault.found)
            })?)
        }
        "Prepend" => {
            let fields: PrependFields = file.part(raw, path)?;
            Normalizer::Prepend(Prepend { text: fields.prepend })
        }
        "Replace" => {
            let fields: ReplaceFields = file.part(raw, path)?;
            Normalizer::Replace(replace(file, path, fields.pattern, fields.content)?)
        }
        "Strip" => {
            let fields: StripFields = file.part(raw, path)?;
            Normalizer::Strip(Strip { left: fields.strip_left, right: fields.strip_right })
        }
        "StripAccents" => Normalizer::StripAccents,
        "Sequence" => {
            let fields: SequenceFields = file.part(raw, path)?;
            let steps = fields.normalizers.into_iter().enumerate();
            let step = |(at, raw)| parse(file, raw, &format!("{path}.normalizers[{at}]"), depth + 1);
            Normalizer::Sequence(steps.map(step).collect::<Result<_, _>>()?)
        }
        other => return Err(file.unsupported(path, "a normalizer", other, SUPPORTED)),
    })
}
