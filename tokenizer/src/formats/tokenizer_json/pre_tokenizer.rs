//! `pre_tokenizer` of `tokenizer.json`.

use std::num::NonZeroUsize;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::pattern::PatternFields;
use super::{JsonFile, MAX_DEPTH};
use crate::TokenizerError;
use crate::pre_tokenizers::{Behavior, ByteLevel, Metaspace, PreTokenizer, PrependScheme, Split};

const SUPPORTED: &str = "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength, Metaspace, Punctuation, Sequence, Split, \
     UnicodeScripts, Whitespace, WhitespaceSplit";

/// The characters of a word where `FixedLength` doesn't say it.
const FIXED_LENGTH: usize = 5;

#[derive(Deserialize)]
enum BehaviorName {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

impl From<BehaviorName> for Behavior {
    fn from(name: BehaviorName) -> Behavior {
        match name {
            BehaviorName::Removed => Behavior::Removed,
            BehaviorName::Isolated => Behavior::Isolated,
            BehaviorName::MergedWithPrevious => Behavior::MergedWithPrevious,
            BehaviorName::MergedWithNext => Behavior::MergedWithNext,
            BehaviorName::Contiguous => Behavior::Contiguous,
        }
    }
}

#[derive(Deserialize)]
struct ByteLevelFields {
    add_prefix_space: bool,
    /// Files of before it was there mean the GPT-2 expression.
    use_regex: Option<bool>,
}

#[derive(Deserialize)]
struct CharDelimiterSplitFields {
    delimiter: char,
}

#[derive(Deserialize)]
struct DigitsFields {
    individual_digits: bool,
}

#[derive(Deserialize)]
struct FixedLengthFields {
    length: Option<usize>,
}

#[derive(Deserialize)]
enum PrependSchemeName {
    #[serde(rename = "always")]
    Always,
    #[serde(rename = "first")]
    First,
    #[serde(rename = "never")]
    Never,
}

/// Of the pre-tokenizer and of the decoder.
#[derive(Deserialize)]
pub(super) struct MetaspaceFields {
    replacement: char,
    /// What files of before the schemes say.
    add_prefix_space: Option<bool>,
    prepend_scheme: Option<PrependSchemeName>,
    split: Option<bool>,
}

impl MetaspaceFields {
    pub(super) fn parse<'a>(file: &JsonFile<'a>, raw: &'a RawValue, path: &str) -> Result<Metaspace, TokenizerError> {
        let fields: MetaspaceFields = file.part(raw, path)?;
        let prepend_scheme = match (fields.prepend_scheme, fields.add_prefix_space) {
            (Some(PrependSchemeName::Never), _) | (None, Some(false)) => PrependScheme::Never,
            (Some(_), Some(false)) => {
                let expected = "the scheme \"never\" where add_prefix_space is false";
                return Err(file.invalid(&format!("{path}.prepend_scheme"), expected, "another"));
            }
            (Some(PrependSchemeName::First), _) => PrependScheme::First,
            (Some(PrependSchemeName::Always) | None, _) => PrependScheme::Always,
        };
        Ok(Metaspace { replacement: fields.replacement, prepend_scheme, split: fields.split.unwrap_or(true) })
    }
}

#[derive(Deserialize)]
struct SplitFields {
    pattern: PatternFields,
    behavior: BehaviorName,
    invert: bool,
}

#[derive(Deserialize)]
struct PunctuationFields {
    behavior: Option<BehaviorName>,
}

#[derive(Deserialize)]
struct SequenceFields<'a> {
    #[serde(borrow)]
    pretokenizers: Vec<&'a RawValue>,
}

pub(super) fn parse<'a>(
    file: &JsonFile<'a>,
    raw: &'a RawValue,
    path: &str,
    depth: usize,
) -> Result<PreTokenizer, TokenizerError> {
    if depth == MAX_DEPTH {
        return Err(file.invalid(path, format!("at most {MAX_DEPTH} nested sequences"), "more"));
    }
    Ok(match &*file.required_kind(raw, path)? {
        "BertPreTokenizer" => PreTokenizer::Bert,
        "ByteLevel" => {
            let fields: ByteLevelFields = file.part(raw, path)?;
            let use_regex = fields.use_regex.unwrap_or(true);
            PreTokenizer::ByteLevel(ByteLevel { add_prefix_space: fields.add_prefix_space, use_regex })
        }
        "CharDelimiterSplit" => {
            let fields: CharDelimiterSplitFields = file.part(raw, path)?;
            PreTokenizer::CharDelimiterSplit(fields.delimiter)
        }
        "Digits" => {
            let fields: DigitsFields = file.part(raw, path)?;
            PreTokenizer::Digits { individual: fields.individual_digits }
        }
        "FixedLength" => {
            let fields: FixedLengthFields = file.part(raw, path)?;
            let length = NonZeroUsize::new(fields.length.unwrap_or(FIXED_LENGTH));
            let fault = || file.invalid(&format!("{path}.length"), "a length of at least 1", "0");
            PreTokenizer::FixedLength(length.ok_or_else(fault)?)
        }
        "Metaspace" => PreTokenizer::Metaspace(MetaspaceFields::parse(file, raw, path)?),
        "UnicodeScripts" => PreTokenizer::UnicodeScripts,
        "Whitespace" => PreTokenizer::Whitespace,
        "WhitespaceSplit" => PreTokenizer::WhitespaceSplit,
        "Punctuation" => {
            let fields: PunctuationFields = file.part(raw, path)?;
            PreTokenizer::Punctuation(fields.behavior.map_or(Behavior::Isolated, Behavior::from))
        }
        "Split" => {
            let fields: SplitFields = file.part(raw, path)?;
            let pattern = fields.pattern.compile(file, path)?;
            PreTokenizer::Split(Split { pattern, behavior: fields.behavior.into(), invert: fields.invert })
        }
        "Sequence" => {
            let fields: SequenceFields = file.part(raw, path)?;
            let steps = fields.pretokenizers.into_iter().enumerate();
            let step = |(at, raw)| parse(file, raw, &format!("{path}.pretokenizers[{at}]"), depth + 1);
            PreTokenizer::sequence(steps.map(step).collect::<Result<_, _>>()?)
        }
        other => return Err(file.unsupported(path, "a pre-tokenizer", other, SUPPORTED)),
    })
}
