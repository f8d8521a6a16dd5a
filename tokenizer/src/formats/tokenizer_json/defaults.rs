//! `truncation` and `padding` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::JsonFile;
use crate::TokenizerError;
use crate::options::{Padding, PaddingLength, Side, Truncation, TruncationStrategy};

#[derive(Clone, Copy, Default, Deserialize)]
enum SideName {
    Left,
    #[default]
    Right,
}

impl From<SideName> for Side {
    fn from(name: SideName) -> Side {
        match name {
            SideName::Left => Side::Left,
            SideName::Right => Side::Right,
        }
    }
}

#[derive(Deserialize)]
enum StrategyName {
    LongestFirst,
    OnlyFirst,
    OnlySecond,
}

#[derive(Deserialize)]
struct TruncationFields {
    #[serde(default)]
    direction: SideName,
    max_length: usize,
    strategy: StrategyName,
    stride: usize,
}

#[derive(Deserialize)]
enum LengthName {
    BatchLongest,
    Fixed(usize),
}

#[derive(Deserialize)]
struct PaddingFields {
    strategy: LengthName,
    direction: SideName,
    pad_to_multiple_of: Option<usize>,
    pad_id: u32,
    pad_type_id: u32,
    pad_token: String,
}

pub(super) fn truncation<'a>(file: &JsonFile<'a>, raw: &'a RawValue) -> Result<Truncation, TokenizerError> {
    let fields: TruncationFields = file.part(raw, "$.truncation")?;
    Ok(Truncation {
        max_length: fields.max_length,
        strategy: match fields.strategy {
            StrategyName::LongestFirst => TruncationStrategy::LongestFirst,
            StrategyName::OnlyFirst => TruncationStrategy::OnlyFirst,
            StrategyName::OnlySecond => TruncationStrategy::OnlySecond,
        },
        stride: fields.stride,
        direction: fields.direction.into(),
        overflow: false,
    })
}

pub(super) fn padding<'a>(file: &JsonFile<'a>, raw: &'a RawValue) -> Result<Padding, TokenizerError> {
    let fields: PaddingFields = file.part(raw, "$.padding")?;
    Ok(Padding {
        length: match fields.strategy {
            LengthName::BatchLongest => PaddingLength::BatchLongest,
            LengthName::Fixed(length) => PaddingLength::Fixed(length),
        },
        direction: fields.direction.into(),
        pad_to_multiple_of: fields.pad_to_multiple_of,
        pad_id: fields.pad_id,
        pad_type_id: fields.pad_type_id,
        pad_token: fields.pad_token,
    })
}
