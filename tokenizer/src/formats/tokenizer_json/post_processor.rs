//! `post_processor` of `tokenizer.json`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{JsonFile, MAX_DEPTH};
use crate::TokenizerError;
use crate::processors::{PostProcessor, Template, TemplatePiece, Trim};

const PATH: &str = "$.post_processor";
const SUPPORTED: &str = "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing";

/// Special tokens of one template; real ones have a handful. A token of a template may stand for many ids, so that
/// a small file could ask for any number of them.
const MAX_SPECIAL_TOKENS: usize = 4096;

#[derive(Deserialize)]
struct BertFields {
    sep: (String, u32),
    cls: (String, u32),
}

#[derive(Deserialize)]
struct ByteLevelFields {
    add_prefix_space: bool,
    trim_offsets: bool,
}

impl ByteLevelFields {
    fn trim(&self) -> Option<Trim> {
        self.trim_offsets.then_some(Trim { add_prefix_space: self.add_prefix_space })
    }
}

#[derive(Deserialize)]
struct RobertaFields {
    sep: (String, u32),
    cls: (String, u32),
    #[serde(flatten)]
    byte_level: ByteLevelFields,
}

#[derive(Deserialize)]
struct TemplateFields {
    single: Vec<PieceFields>,
    pair: Vec<PieceFields>,
    special_tokens: HashMap<String, SpecialTokenFields>,
}

#[derive(Deserialize)]
enum PieceFields {
    Sequence { id: SequenceName, type_id: u32 },
    SpecialToken { id: String, type_id: u32 },
}

#[derive(Clone, Copy, Deserialize)]
enum SequenceName {
    A,
    B,
}

#[derive(Deserialize)]
struct SpecialTokenFields {
    ids: Vec<u32>,
    tokens: Vec<String>,
}

#[derive(Deserialize)]
struct SequenceFields<'a> {
    #[serde(borrow)]
    processors: Vec<&'a RawValue>,
}

pub(super) fn parse<'a>(file: &JsonFile<'a>, raw: &'a RawValue) -> Result<PostProcessor, TokenizerError> {
    component(file, raw, PATH, 0)
}

fn component<'a>(
    file: &JsonFile<'a>,
    raw: &'a RawValue,
    path: &str,
    depth: usize,
) -> Result<PostProcessor, TokenizerError> {
    if depth == MAX_DEPTH {
        return Err(file.invalid(path, format!("at most {MAX_DEPTH} nested sequences"), "more"));
    }
    match &*file.required_kind(raw, path)? {
        "BertProcessing" => {
            let fields: BertFields = file.part(raw, path)?;
            Ok(PostProcessor::bert(fields.cls.1, fields.sep.1))
        }
        "ByteLevel" => {
            let fields: ByteLevelFields = file.part(raw, path)?;
            Ok(PostProcessor { trim: fields.trim(), ..PostProcessor::default() })
        }
        "Sequence" => {
            let fields: SequenceFields = file.part(raw, path)?;
            let mut whole = PostProcessor::default();
            for (at, raw) in fields.processors.into_iter().enumerate() {
                let path = format!("{path}.processors[{at}]");
                let next = component(file, raw, &path, depth + 1)?;
                whole = whole.then(next).ok_or_else(|| {
                    let expected = "at most one post-processor that trims offsets, then at most one that adds tokens";
                    file.invalid(&path, expected, "a further one")
                })?;
            }
            Ok(whole)
        }
        "RobertaProcessing" => {
            let fields: RobertaFields = file.part(raw, path)?;
            Ok(PostProcessor::roberta(fields.cls.1, fields.sep.1, fields.byte_level.trim()))
        }
        "TemplateProcessing" => {
            let fields: TemplateFields = file.part(raw, path)?;
            for (name, token) in &fields.special_tokens {
                if token.ids.len() != token.tokens.len() {
                    return Err(file.invalid(
                        &format!("{path}.special_tokens[{name:?}]"),
                        "as many ids as tokens",
                        format!("{} ids, {} tokens", token.ids.len(), token.tokens.len()),
                    ));
                }
            }
            Ok(PostProcessor {
                single: template(file, path, "single", &fields.single, &fields.special_tokens)?,
                pair: template(file, path, "pair", &fields.pair, &fields.special_tokens)?,
                trim: None,
            })
        }
        other => Err(file.unsupported(path, "a post-processor", other, SUPPORTED)),
    }
}

fn template(
    file: &JsonFile,
    processor: &str,
    name: &str,
    pieces: &[PieceFields],
    special_tokens: &HashMap<String, SpecialTokenFields>,
) -> Result<Template, TokenizerError> {
    let mut compiled = Vec::new();
    let mut added = 0usize;
    for (at, piece) in pieces.iter().enumerate() {
        let path = || format!("{processor}.{name}[{at}]");
        match piece {
            PieceFields::Sequence { id: SequenceName::B, .. } if name == "single" => {
                let expected = "sequence A only in the template for one text";
                return Err(file.invalid(&path(), expected, "sequence B"));
            }
            &PieceFields::Sequence { id, type_id } => {
                compiled.push(TemplatePiece::Sequence { index: id as u8, type_id })
            }
            PieceFields::SpecialToken { id, type_id } => {
                let token = special_tokens.get(id).ok_or_else(|| {
                    let expected = format!("a token of {processor}.special_tokens");
                    file.invalid(&path(), expected, format!("{id:?}"))
                })?;
                added += token.ids.len();
                if added > MAX_SPECIAL_TOKENS {
                    let expected = format!("at most {MAX_SPECIAL_TOKENS} special tokens");
                    return Err(file.invalid(&path(), expected, "more"));
                }
                let type_id = *type_id;
                let special = |&id| TemplatePiece::Special { id, type_id };
                compiled.extend(token.ids.iter().map(special));
            }
        }
    }
    Ok(Template::new(compiled))
}
