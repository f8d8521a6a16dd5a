//! `pre_tokenizer` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{JsonFile, MAX_DEPTH};
use crate::TokenizerError;
use crate::pre_tokenizers::{Behavior, PreTokenizer};

const SUPPORTED: &str = "BertPreTokenizer, Punctuation, Sequence, Whitespace, WhitespaceSplit";

#[derive(Deserialize)]
enum BehaviorName {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
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
        "Whitespace" => PreTokenizer::Whitespace,
        "WhitespaceSplit" => PreTokenizer::WhitespaceSplit,
        "Punctuation" => {
            let fields: PunctuationFields = file.part(raw, path)?;
            PreTokenizer::Punctuation(match fields.behavior {
                Some(BehaviorName::Removed) => Behavior::Removed,
                Some(BehaviorName::Isolated) | None => Behavior::Isolated,
                Some(BehaviorName::MergedWithPrevious) => Behavior::MergedWithPrevious,
                Some(BehaviorName::MergedWithNext) => Behavior::MergedWithNext,
                Some(BehaviorName::Contiguous) => Behavior::Contiguous,
            })
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
