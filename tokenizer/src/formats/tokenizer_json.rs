//! `tokenizer.json`, the format of Hugging Face's `tokenizers`.

mod added_tokens;
mod decoder;
mod defaults;
mod model;
mod normalizer;
mod pattern;
mod post_processor;
mod pre_tokenizer;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::JsonFile;
use super::outline::{Large, Outline};
use super::side_files::SideFiles;
use crate::pipeline::Pipeline;
use crate::special_tokens::SpecialNames;
use crate::{Tokenizer, TokenizerError};

/// Components may hold components of their kind; real files go two deep.
const MAX_DEPTH: usize = 16;

/// The components, set aside raw: their type decides how they are read.
#[derive(Deserialize)]
struct Root<'a> {
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    truncation: Option<&'a RawValue>,
    #[serde(borrow)]
    padding: Option<&'a RawValue>,
    #[serde(borrow)]
    added_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow)]
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow)]
    post_processor: Option<&'a RawValue>,
    #[serde(borrow)]
    decoder: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

pub(crate) fn parse(name: &str, bytes: &[u8], side_files: &SideFiles) -> Result<Tokenizer, TokenizerError> {
    if let Some(Outline { text, large }) = Outline::read(bytes)
        && let Ok(tokenizer) = assemble(&JsonFile::of_text(name, &text), large, side_files)
    {
        return Ok(tokenizer);
    }
    // What is wrong, and where, is said of the file as it is.
    assemble(&JsonFile::new(name, bytes)?, Large::default(), side_files)
}

/// `large` has what the file lacks.
fn assemble(file: &JsonFile, large: Large, side_files: &SideFiles) -> Result<Tokenizer, TokenizerError> {
    let root: Root = file.root()?;
    if let Some(version) = root.version.filter(|version| version != "1.0") {
        return Err(file.invalid("$.version", "\"1.0\"", format!("{version:?}")));
    }
    let raw = root.model.ok_or_else(|| file.invalid("$.model", "a model", "none"))?;
    let model = model::parse(file, raw, large)?;
    let normalizer = root.normalizer.map(|raw| normalizer::parse(file, raw, "$.normalizer", 0)).transpose()?;
    let pre_tokenizer =
        root.pre_tokenizer.map(|raw| pre_tokenizer::parse(file, raw, "$.pre_tokenizer", 0)).transpose()?;
    let processor = root.post_processor.map(|raw| post_processor::parse(file, raw)).transpose()?;
    let decoder = decoder::parse(file, root.decoder)?;
    let added = added_tokens::parse(file, root.added_tokens, &model, normalizer.as_ref())?;
    let truncation = root.truncation.map(|raw| defaults::truncation(file, raw));
    let padding = root.padding.map(|raw| defaults::padding(file, raw));

    let (truncation, padding) = (truncation.transpose()?, padding.transpose()?);
    let named_here = SpecialNames {
        pad: padding.as_ref().map(|padding| padding.pad_token.clone()),
        unk: model.unk_token().map(str::to_owned),
        ..SpecialNames::default()
    };
    let names = side_files.names.clone().or(named_here).or(SpecialNames::bert());
    let pipeline = Pipeline::new(added, normalizer, pre_tokenizer, model);
    let tokenizer = side_files.tokenizer(pipeline, processor.unwrap_or_default(), decoder, names);
    Ok(Tokenizer { default_truncation: truncation, default_padding: padding, ..tokenizer })
}
