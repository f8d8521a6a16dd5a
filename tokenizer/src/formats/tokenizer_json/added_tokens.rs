//! `added_tokens` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::JsonFile;
use crate::TokenizerError;
use crate::added_vocabulary::{AddedFault, AddedToken, AddedVocabulary, ListedIds};
use crate::models::Model;
use crate::normalizers::Normalizer;

#[derive(Deserialize)]
struct AddedTokenFields {
    id: u32,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

pub(super) fn parse<'a>(
    file: &JsonFile<'a>,
    raw: Option<&'a RawValue>,
    model: &Model,
    normalizer: Option<&Normalizer>,
) -> Result<AddedVocabulary, TokenizerError> {
    let path = "$.added_tokens";
    let Some(raw) = raw else {
        return Ok(AddedVocabulary::default());
    };
    let listed: Vec<AddedTokenFields> = file.part(raw, path)?;
    let listed = listed.into_iter().map(|fields| AddedToken {
        content: fields.content,
        id: fields.id,
        special: fields.special,
        single_word: fields.single_word,
        lstrip: fields.lstrip,
        rstrip: fields.rstrip,
        normalized: fields.normalized,
    });
    let ids = ListedIds::MeanNothing;
    AddedVocabulary::new(listed.collect(), ids, model.vocabulary(), normalizer).map_err(|fault| match fault {
        AddedFault::Id { content, found, expected } => {
            file.invalid(path, format!("the id {expected} of {content:?}"), found.to_string())
        }
        AddedFault::Collides(content) => {
            file.invalid(path, "tokens that a hash table can find", format!("many with the hash of {content:?}"))
        }
        AddedFault::Automaton(message) => file.invalid(path, "tokens that an automaton can find", message),
        AddedFault::Normalizer(message) => file.invalid(path, "tokens that can be normalized", message),
    })
}
