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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::outline::spoilt;
    use super::*;

    /// The compiled form of what both ways read: by outline, with all lists in halves, and by `serde_json`.
    fn both_ways(bytes: &[u8]) -> [Option<Vec<u8>>; 2] {
        let compiled =
            |tokenizer: Result<Tokenizer, TokenizerError>| tokenizer.ok().map(|tokenizer| tokenizer.to_compiled());
        let outline = Outline::read_with(bytes, 0).and_then(|Outline { text, large }| {
            compiled(assemble(&JsonFile::of_text("t.json", &text), large, &SideFiles::default()))
        });
        let file = JsonFile::new("t.json", bytes);
        let all = file.and_then(|file| assemble(&file, Large::default(), &SideFiles::default()));
        [outline, compiled(all)]
    }

    /// A `tokenizer.json` of BPE: each token is split somewhere, and some come again split elsewhere.
    fn files() -> impl Strategy<Value = String> {
        let tokens = prop::collection::vec(
            ("[abé]{1,4}|[\"\\\\é\n,]{1,3}|[a-c,]{9,20}", any::<[prop::sample::Index; 2]>()),
            0..20,
        );
        let parts = (tokens, any::<[bool; 4]>(), "#?", prop::option::weighted(0.1, "[ab]{1,3}"));
        parts.prop_map(|(tokens, [pairs, is_pretty, is_ascii, is_last], prefix, unknown)| {
            let mut all: Vec<String> = Vec::new();
            let mut add = |token: &str| {
                if !all.iter().any(|other| other == token) {
                    all.push(token.to_owned());
                }
            };
            let mut merges = Vec::new();
            for (token, splits) in &tokens {
                let places: Vec<usize> = token.char_indices().map(|(at, _)| at).skip(1).collect();
                for split in splits.iter().filter(|_| !places.is_empty()) {
                    let (left, right) = token.split_at(places[split.index(places.len())]);
                    [left, right].into_iter().for_each(&mut add);
                    merges.push(match pairs {
                        true => serde_json::json!([left, right]),
                        false => format!("{left} {right}").into(),
                    });
                }
                add(token);
            }
            merges.extend(unknown.map(|token| serde_json::json!([token, "x"])));
            let vocabulary: serde_json::Map<_, _> =
                all.into_iter().zip(0..).map(|(token, id)| (token, serde_json::json!(id))).collect();
            let mut file = serde_json::json!({"model": {"type": "BPE", "first": vocabulary, "merges": merges}});
            // The fields of an object are in the order of their names; in files, the vocabulary comes before the merges.
            let field = if is_last { "zzz" } else { "continuing_subword_prefix" };
            file["model"][field] = prefix.into();
            let text = if is_pretty { serde_json::to_string_pretty(&file) } else { serde_json::to_string(&file) };
            let text = text
                .expect("a file")
                .replace("\"zzz\"", "\"continuing_subword_prefix\"")
                .replace("\"first\"", "\"vocab\"");
            let escaped = |c: char| format!("\\u{:04x}", c as u32);
            match is_ascii {
                true => text.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect(),
                false => text,
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_tokenizer_is_the_same_however_it_is_read(file in files()) {
            let [by_outline, by_serde_json] = both_ways(file.as_bytes());
            let has_prefix = file.contains('#');
            // Of a prefix, the outline knows nothing.
            prop_assert_eq!(by_outline.is_some(), by_serde_json.is_some() && !has_prefix, "{}", file);
            prop_assert!(by_outline.is_none() || by_outline == by_serde_json, "{}", file);
        }

        #[test]
        fn nothing_is_made_of_a_spoilt_file_that_serde_json_does_not_make(
            file in files(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{},:\"\\\\ 0-9a-c\n-]"), 1..3),
        ) {
            let bytes = spoilt(file, changes);
            let [by_outline, by_serde_json] = both_ways(&bytes);
            prop_assert!(by_outline.is_none() || by_outline == by_serde_json, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
