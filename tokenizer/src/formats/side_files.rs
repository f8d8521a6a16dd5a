//! The files beside the vocabulary: `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::json::JsonFile;
use super::read_if_there;
use crate::TokenizerError;
use crate::added_vocabulary::AddedToken;
use crate::options::Side;
use crate::special_tokens::SpecialNames;

/// "No limit" is written as some huge number; no model takes as many tokens as this.
const NO_MAX_LENGTH: f64 = 1e15;

/// T5 has 100; a small file could ask for any number of them.
const MAX_EXTRA_IDS: u32 = 4096;

/// What the side files say. The default is what holds without them.
#[derive(Default)]
pub(crate) struct SideFiles {
    pub(crate) names: SpecialNames,
    pub(crate) model_max_length: Option<usize>,
    pub(crate) clean_up: Option<bool>,
    pub(crate) padding_side: Side,
    pub(crate) tokenizer_class: Option<String>,
    pub(crate) do_lower_case: Option<bool>,
    pub(crate) tokenize_chinese_chars: Option<bool>,
    pub(crate) strip_accents: Option<bool>,
    pub(crate) keep_accents: Option<bool>,
    pub(crate) add_prefix_space: Option<bool>,
    /// Whether SentencePiece models are read as in the first versions of the reference.
    pub(crate) legacy: Option<bool>,
    pub(crate) split_by_punct: Option<bool>,
    /// How many `<extra_id_…>` tokens T5 has.
    pub(crate) extra_ids: Option<u32>,
    /// The language of the texts, for translation models.
    pub(crate) src_lang: Option<String>,
    /// Tokens beyond the vocabulary, in the order of their ids.
    pub(crate) added_tokens: Vec<AddedToken>,
}

/// A token is written as its text, or as an object with its properties.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a token or an object with its \"content\"")]
enum TokenFields {
    Text(String),
    Object { content: String },
}

impl TokenFields {
    fn text(token: Option<TokenFields>) -> Option<String> {
        token.map(|token| match token {
            TokenFields::Text(content) | TokenFields::Object { content } => content,
        })
    }
}

#[derive(Default, Deserialize)]
struct NameFields {
    cls_token: Option<TokenFields>,
    sep_token: Option<TokenFields>,
    pad_token: Option<TokenFields>,
    mask_token: Option<TokenFields>,
    unk_token: Option<TokenFields>,
    bos_token: Option<TokenFields>,
    eos_token: Option<TokenFields>,
}

impl From<NameFields> for SpecialNames {
    fn from(fields: NameFields) -> Self {
        SpecialNames {
            cls: TokenFields::text(fields.cls_token),
            sep: TokenFields::text(fields.sep_token),
            pad: TokenFields::text(fields.pad_token),
            mask: TokenFields::text(fields.mask_token),
            unk: TokenFields::text(fields.unk_token),
            bos: TokenFields::text(fields.bos_token),
            eos: TokenFields::text(fields.eos_token),
        }
    }
}

#[derive(Default, Deserialize)]
struct ConfigFields {
    #[serde(flatten)]
    names: NameFields,
    tokenizer_class: Option<String>,
    do_lower_case: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    keep_accents: Option<bool>,
    add_prefix_space: Option<bool>,
    legacy: Option<bool>,
    split_by_punct: Option<bool>,
    extra_ids: Option<u32>,
    src_lang: Option<String>,
    model_max_length: Option<f64>,
    clean_up_tokenization_spaces: Option<bool>,
    padding_side: Option<SideName>,
    #[serde(default)]
    added_tokens_decoder: BTreeMap<u32, AddedTokenFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SideName {
    Left,
    Right,
}

#[derive(Deserialize)]
struct AddedTokenFields {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl SideFiles {
    /// Reads those that are in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let config: ConfigFields = file_or_default(&folder.join("tokenizer_config.json"))?;
        let map_names: NameFields = file_or_default(&folder.join("special_tokens_map.json"))?;
        let older: BTreeMap<String, u32> = file_or_default(&folder.join("added_tokens.json"))?;
        let max_length = config.model_max_length.filter(|&length| (1.0..NO_MAX_LENGTH).contains(&length));
        Ok(SideFiles {
            names: SpecialNames::from(config.names).or(map_names.into()),
            model_max_length: max_length.map(|length| length as usize),
            clean_up: config.clean_up_tokenization_spaces,
            padding_side: match config.padding_side {
                Some(SideName::Left) => Side::Left,
                Some(SideName::Right) | None => Side::Right,
            },
            tokenizer_class: config.tokenizer_class,
            do_lower_case: config.do_lower_case,
            tokenize_chinese_chars: config.tokenize_chinese_chars,
            strip_accents: config.strip_accents,
            keep_accents: config.keep_accents,
            add_prefix_space: config.add_prefix_space,
            legacy: config.legacy,
            split_by_punct: config.split_by_punct,
            extra_ids: config.extra_ids.map(|count| count.min(MAX_EXTRA_IDS)),
            src_lang: config.src_lang,
            added_tokens: added_tokens(config.added_tokens_decoder, older),
        })
    }
}

/// The newer list has properties, so it wins where both have a token.
fn added_tokens(newer: BTreeMap<u32, AddedTokenFields>, older: BTreeMap<String, u32>) -> Vec<AddedToken> {
    let older = older.into_iter().map(|(content, id)| {
        let plain = AddedTokenFields {
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: false,
        };
        (id, plain)
    });
    let mut by_id: BTreeMap<u32, AddedTokenFields> = older.collect();
    by_id.extend(newer);
    let token = |(id, fields): (u32, AddedTokenFields)| AddedToken {
        id,
        content: fields.content,
        special: fields.special,
        single_word: fields.single_word,
        lstrip: fields.lstrip,
        rstrip: fields.rstrip,
        normalized: fields.normalized.unwrap_or(!fields.special),
    };
    by_id.into_iter().map(token).collect()
}

fn file_or_default<T: Default + for<'a> Deserialize<'a>>(path: &Path) -> Result<T, TokenizerError> {
    match read_if_there(path)? {
        Some(bytes) => JsonFile::new(&path.display().to_string(), &bytes)?.root(),
        None => Ok(T::default()),
    }
}
