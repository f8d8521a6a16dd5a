//! `model` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::JsonFile;
use crate::TokenizerError;
use crate::formats::vocabulary_map::VocabularyMap;
use crate::models::vocabulary::VocabularyFault;
use crate::models::{Model, WordPiece, WordPieceParts};

const SUPPORTED: &str = "WordPiece";

#[derive(Deserialize)]
struct WordPieceFields<'a> {
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    #[serde(borrow)]
    vocab: &'a RawValue,
}

pub(super) fn parse<'a>(file: &JsonFile<'a>, raw: &'a RawValue) -> Result<Model, TokenizerError> {
    match file.kind(raw, "$.model")?.as_deref() {
        // Files of before the models had types: only WordPiece has these fields.
        Some("WordPiece") | None => wordpiece(file, raw),
        Some(other) => Err(file.unsupported("$.model", "a model", other, SUPPORTED)),
    }
}

fn wordpiece<'a>(file: &JsonFile<'a>, raw: &'a RawValue) -> Result<Model, TokenizerError> {
    let fields: WordPieceFields = file.part(raw, "$.model")?;
    let VocabularyMap(builder) = file.part(fields.vocab, "$.model.vocab")?;
    let vocabulary = builder
        .build()
        .map_err(|fault| file.invalid("$.model.vocab", "every token and every id once", found(&fault)))?;
    let parts = WordPieceParts {
        vocabulary,
        unk_token: fields.unk_token.clone(),
        continuing_subword_prefix: fields.continuing_subword_prefix,
        max_input_chars_per_word: fields.max_input_chars_per_word,
    };
    WordPiece::new(parts).map(Model::WordPiece).ok_or_else(|| {
        let found = format!("{:?}, which is not in it", fields.unk_token);
        file.invalid("$.model.unk_token", "a token of the vocabulary", found)
    })
}

fn found(fault: &VocabularyFault) -> String {
    match fault {
        VocabularyFault::TooLarge => "4 GiB of tokens or more".to_owned(),
        VocabularyFault::DuplicateToken(token) => format!("{token:?} twice"),
        VocabularyFault::DuplicateId { id, tokens } => {
            format!("id {id} for both {:?} and {:?}", tokens.0, tokens.1)
        }
    }
}
