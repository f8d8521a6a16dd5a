//! `model` of `tokenizer.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::JsonFile;
use crate::TokenizerError;
use crate::formats::merges::Merges;
use crate::formats::outline::{Large, LargeMerges, LargeVocabulary};
use crate::formats::vocabulary_map::{ScoredPieces, VocabularyMap};
use crate::models::{
    Bpe, BpeParts, MergeList, Model, Unigram, UnigramFault, UnigramParts, Vocabulary, WordLevel, WordPiece,
    WordPieceFault, WordPieceParts,
};

const SUPPORTED: &str = "BPE, Unigram, WordLevel, WordPiece";

#[derive(Deserialize)]
struct BpeFields<'a> {
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    #[serde(borrow)]
    vocab: &'a RawValue,
    #[serde(borrow)]
    merges: &'a RawValue,
}

#[derive(Deserialize)]
struct UnigramFields<'a> {
    unk_id: Option<u32>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(borrow)]
    vocab: &'a RawValue,
}

#[derive(Deserialize)]
struct WordLevelFields<'a> {
    #[serde(borrow)]
    vocab: &'a RawValue,
    unk_token: String,
}

#[derive(Deserialize)]
struct WordPieceFields<'a> {
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    #[serde(borrow)]
    vocab: &'a RawValue,
}

/// What tells the models apart in files of before they had types.
#[derive(Deserialize)]
struct UntypedFields<'a> {
    #[serde(borrow)]
    merges: Option<&'a RawValue>,
    max_input_chars_per_word: Option<usize>,
    unk_token: Option<String>,
}

/// `large` has what `raw` lacks.
pub(super) fn parse<'a>(file: &JsonFile<'a>, raw: &'a RawValue, large: Large) -> Result<Model, TokenizerError> {
    match file.kind(raw, "$.model")?.as_deref() {
        Some("BPE") => bpe(file, raw, large),
        Some("Unigram") => unigram(file, raw, large),
        Some("WordLevel") => wordlevel(file, raw, large),
        Some("WordPiece") => wordpiece(file, raw, large),
        Some(other) => Err(file.unsupported("$.model", "a model", other, SUPPORTED)),
        None => match file.part(raw, "$.model")? {
            UntypedFields { merges: Some(_), .. } => bpe(file, raw, large),
            UntypedFields { max_input_chars_per_word: None, unk_token: Some(_), .. } => wordlevel(file, raw, large),
            _ => wordpiece(file, raw, large),
        },
    }
}

fn vocabulary<'a>(
    file: &JsonFile<'a>,
    raw: &'a RawValue,
    large: Option<LargeVocabulary>,
) -> Result<Vocabulary, TokenizerError> {
    let builder = match large {
        Some(LargeVocabulary::Made(vocabulary)) => return Ok(vocabulary),
        Some(LargeVocabulary::Map(builder)) => builder,
        _ => file.part::<VocabularyMap>(raw, "$.model.vocab")?.0,
    };
    let vocabulary = builder.build();
    vocabulary.map_err(|fault| file.invalid("$.model.vocab", "every token and every id once", fault.found()))
}

fn bpe<'a>(file: &JsonFile<'a>, raw: &'a RawValue, large: Large) -> Result<Model, TokenizerError> {
    let fields: BpeFields = file.part(raw, "$.model")?;
    if let Some(dropout) = fields.dropout.filter(|&dropout| dropout != 0.0) {
        return Err(file.invalid("$.model.dropout", "no dropout, which makes ids random", dropout.to_string()));
    }
    let continuing_subword_prefix = fields.continuing_subword_prefix.unwrap_or_default();
    let (merges, table) = match large.merges {
        // The file is read again, in the other way.
        Some(LargeMerges::Table(_)) if !continuing_subword_prefix.is_empty() => {
            return Err(file.invalid("$.model.continuing_subword_prefix", "none", continuing_subword_prefix));
        }
        Some(LargeMerges::Table(table)) => (MergeList::default(), Some(table)),
        Some(LargeMerges::List(merges)) => (merges, None),
        None => (file.part::<Merges>(fields.merges, "$.model.merges")?.0, None),
    };
    let parts = BpeParts {
        vocabulary: vocabulary(file, fields.vocab, large.vocabulary)?,
        merges,
        table,
        unk_token: fields.unk_token,
        continuing_subword_prefix,
        end_of_word_suffix: fields.end_of_word_suffix.unwrap_or_default(),
        fuse_unk: fields.fuse_unk.unwrap_or(false),
        byte_fallback: fields.byte_fallback.unwrap_or(false),
        ignore_merges: fields.ignore_merges.unwrap_or(false),
    };
    Bpe::new(parts).map(Model::Bpe).map_err(|fault| {
        let place = |place: usize| format!("$.model.merges[{place}]");
        let path = fault.place().map_or_else(|| "$.model.merges".to_owned(), place);
        file.invalid(&path, fault.expected(), fault.found())
    })
}

fn unigram<'a>(file: &JsonFile<'a>, raw: &'a RawValue, large: Large) -> Result<Model, TokenizerError> {
    let fields: UnigramFields = file.part(raw, "$.model")?;
    let ScoredPieces { pieces, scores } = match large.vocabulary {
        Some(LargeVocabulary::Pieces(pieces)) => pieces,
        _ => file.part(fields.vocab, "$.model.vocab")?,
    };
    // As in the reference, where a piece is listed again, the last place counts.
    let built = pieces.build_with_trie();
    let (vocabulary, trie) = built.map_err(|fault| file.invalid("$.model.vocab", "pieces", fault.found()))?;
    let UnigramFields { unk_id, byte_fallback, .. } = fields;
    let parts = UnigramParts { vocabulary, trie, scores, unk_id, byte_fallback };
    Unigram::new(parts).map(Model::Unigram).map_err(|fault| match fault {
        UnigramFault::UnkId { pieces } => {
            let found = unk_id.unwrap_or_default().to_string();
            file.invalid("$.model.unk_id", format!("the place of one of {pieces} pieces"), found)
        }
        UnigramFault::Trie(fault) => file.invalid("$.model.vocab", "pieces that fit into a trie", format!("{fault:?}")),
    })
}

fn wordlevel<'a>(file: &JsonFile<'a>, raw: &'a RawValue, large: Large) -> Result<Model, TokenizerError> {
    let fields: WordLevelFields = file.part(raw, "$.model")?;
    Ok(Model::WordLevel(WordLevel::new(vocabulary(file, fields.vocab, large.vocabulary)?, fields.unk_token)))
}

fn wordpiece<'a>(file: &JsonFile<'a>, raw: &'a RawValue, large: Large) -> Result<Model, TokenizerError> {
    let fields: WordPieceFields = file.part(raw, "$.model")?;
    let parts = WordPieceParts {
        vocabulary: vocabulary(file, fields.vocab, large.vocabulary)?,
        unk_token: fields.unk_token.clone(),
        continuing_subword_prefix: fields.continuing_subword_prefix,
        max_input_chars_per_word: fields.max_input_chars_per_word,
    };
    WordPiece::new(parts).map(Model::WordPiece).map_err(|fault| match fault {
        WordPieceFault::UnkToken => {
            let found = format!("{:?}, which is not in it", fields.unk_token);
            file.invalid("$.model.unk_token", "a token of the vocabulary", found)
        }
        WordPieceFault::Vocabulary(fault) => {
            file.invalid("$.model.vocab", "every token and every id once", fault.found())
        }
    })
}
