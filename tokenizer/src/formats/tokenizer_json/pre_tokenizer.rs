//! `pre_tokenizer` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{JsonFile, MAX_DEPTH};
use crate::TokenizerError;
use crate::pre_tokenizers::{Behavior, ByteLevel, Pattern, PreTokenizer, Split};

const SUPPORTED: &str = "BertPreTokenizer, ByteLevel, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit";

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
enum PatternFields {
    String(String),
    Regex(String),
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
        "Whitespace" => PreTokenizer::Whitespace,
        "WhitespaceSplit" => PreTokenizer::WhitespaceSplit,
        "Punctuation" => {
            let fields: PunctuationFields = file.part(raw, path)?;
            PreTokenizer::Punctuation(fields.behavior.map_or(Behavior::Isolated, Behavior::from))
        }
        "Split" => {
            let fields: SplitFields = file.part(raw, path)?;
            let pattern = match fields.pattern {
                PatternFields::String(text) => Pattern::literal(text),
                PatternFields::Regex(expression) => Pattern::regex(&expression),
            };
            let pattern = pattern.map_err(|message| {
                let expected = "an expression in the syntax of Oniguruma without \\K and absent operators";
                file.invalid(&format!("{path}.pattern"), expected, message)
            })?;
            PreTokenizer::Split(Split { pattern, behavior: fields.behavior.into(), invert: fields.invert })
        }
        "Sequence" => {
            let fields: SequenceFields = file.part(raw, path)?;
            let steps = fields.pretokenizers.into_iter().enumerate();
            let step = |(at, raw)| parse(file, raw, &format!("{path}.pretokenizers[{at}]"), depth + 1);
            PreTokenizer::Sequence(steps.map(step).collect::<Result<_, _>>()?)
        }
        other => return Err(file.unsupported(path, "a pre-tokenizer", other, SUPPORTED)),
    })
}
