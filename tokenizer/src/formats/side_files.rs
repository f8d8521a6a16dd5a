//! The files beside the vocabulary: `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::json::JsonFile;
use super::read_if_there;
use crate::added_vocabulary::AddedToken;
use crate::decoders::Decoder;
use crate::models::Vocabulary;
use crate::options::Side;
use crate::pipeline::Pipeline;
use crate::processors::PostProcessor;
use crate::special_tokens::SpecialNames;
use crate::{Tokenizer, TokenizerError};

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
    pub(crate) truncation_side: Side,
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
    /// Whether the beginning and the end of a text are marked, in families that leave it open.
    pub(crate) add_bos_token: Option<bool>,
    pub(crate) add_eos_token: Option<bool>,
    /// The language of the texts, for translation models.
    pub(crate) src_lang: Option<String>,
    /// Which list of languages M2M100 has.
    pub(crate) language_codes: Option<String>,
    /// Whether Marian has a vocabulary for each side.
    pub(crate) separate_vocabs: bool,
    /// Special tokens beside those that play a part.
    pub(crate) additional_special_tokens: Vec<String>,
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
    additional_special_tokens: Option<Vec<TokenFields>>,
    extra_special_tokens: Option<ExtraFields>,
}

/// Newer files list them in place of `additional_special_tokens`, or name them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a list of tokens or an object with tokens by name")]
enum ExtraFields {
    List(Vec<TokenFields>),
    Named(BTreeMap<String, TokenFields>),
}

impl NameFields {
    fn take_additional(&mut self) -> impl Iterator<Item = String> {
        let additional = self.additional_special_tokens.take().unwrap_or_default();
        let extra = match self.extra_special_tokens.take() {
            Some(ExtraFields::List(tokens)) => tokens,
            Some(ExtraFields::Named(tokens)) => tokens.into_values().collect(),
            None => Vec::new(),
        };
        additional.into_iter().chain(extra).filter_map(|token| TokenFields::text(Some(token)))
    }
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
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    src_lang: Option<String>,
    language_codes: Option<String>,
    separate_vocabs: Option<bool>,
    model_max_length: Option<f64>,
    /// The older name of it.
    max_len: Option<f64>,
    clean_up_tokenization_spaces: Option<bool>,
    padding_side: Option<SideName>,
    truncation_side: Option<SideName>,
    #[serde(default)]
    added_tokens_decoder: BTreeMap<u32, AddedTokenFields>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SideName {
    Left,
    #[default]
    Right,
}

impl From<SideName> for Side {
    fn from(name: SideName) -> Side {
        match name {
            SideName::Left => Side::Left,
            SideName::Right => Side::Right,
        }
    }
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
    /// A tokenizer of these parts, with what the side files say of it. `names` are those of its special tokens.
    pub(crate) fn tokenizer(
        &self,
        pipeline: Pipeline,
        processor: PostProcessor,
        decoder: Decoder,
        names: SpecialNames,
    ) -> Tokenizer {
        Tokenizer {
            special_tokens: names.resolve(|name| pipeline.token_to_id(name)),
            pipeline,
            processor,
            decoder,
            default_truncation: None,
            default_padding: None,
            model_max_length: self.model_max_length,
            padding_side: self.padding_side,
            truncation_side: self.truncation_side,
            clean_up: self.clean_up,
        }
    }

    /// The added tokens of a vocabulary file: the special ones that it has, what the side files add by number, and the special ones
    /// that neither has, which come last. The mask takes the space before it where `mask_takes_space` says so.
    pub(super) fn added_to(
        &self,
        vocabulary: &Vocabulary,
        names: &SpecialNames,
        mask_takes_space: bool,
    ) -> Vec<AddedToken> {
        let special = |content: &String, id| AddedToken {
            content: content.clone(),
            id,
            special: true,
            single_word: false,
            lstrip: mask_takes_space && names.mask.as_ref() == Some(content),
            rstrip: false,
            normalized: false,
        };
        let own = [&names.bos, &names.eos, &names.unk, &names.sep, &names.pad, &names.cls, &names.mask];
        let own = own.into_iter().flatten().chain(&self.additional_special_tokens);
        let known = own.filter_map(|content| Some(special(content, vocabulary.token_to_id(content)?)));
        let mut all: Vec<AddedToken> = known.collect();
        all.sort_by_key(|token| token.id);
        all.extend(self.added_tokens.iter().cloned());
        let is_new = |content: &str| vocabulary.token_to_id(content).is_none();
        let mut next = vocabulary.len() + self.added_tokens.iter().filter(|token| is_new(&token.content)).count();
        let listed: HashSet<&str> = self.added_tokens.iter().map(|token| &*token.content).collect();
        for content in self.additional_special_tokens.iter().filter(|content| is_new(content)) {
            if !listed.contains(&**content) {
                all.push(special(content, u32::try_from(next).unwrap_or(u32::MAX)));
                next += 1;
            }
        }
        all
    }

    /// Reads those that are in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let mut config: ConfigFields = file_or_default(&folder.join("tokenizer_config.json"))?;
        let mut map_names: NameFields = file_or_default(&folder.join("special_tokens_map.json"))?;
        let older: BTreeMap<String, u32> = file_or_default(&folder.join("added_tokens.json"))?;
        let mut seen = HashSet::new();
        let additional = config.names.take_additional().chain(map_names.take_additional());
        let additional: Vec<String> = additional.filter(|token| seen.insert(token.clone())).collect();
        let names = SpecialNames::from(config.names).or(map_names.into());
        let max_length =
            config.model_max_length.or(config.max_len).filter(|&length| (1.0..NO_MAX_LENGTH).contains(&length));
        Ok(SideFiles {
            model_max_length: max_length.map(|length| length as usize),
            clean_up: config.clean_up_tokenization_spaces,
            padding_side: config.padding_side.unwrap_or_default().into(),
            truncation_side: config.truncation_side.unwrap_or_default().into(),
            tokenizer_class: config.tokenizer_class,
            do_lower_case: config.do_lower_case,
            tokenize_chinese_chars: config.tokenize_chinese_chars,
            strip_accents: config.strip_accents,
            keep_accents: config.keep_accents,
            add_prefix_space: config.add_prefix_space,
            legacy: config.legacy,
            split_by_punct: config.split_by_punct,
            extra_ids: config.extra_ids.map(|count| count.min(MAX_EXTRA_IDS)),
            add_bos_token: config.add_bos_token,
            add_eos_token: config.add_eos_token,
            src_lang: config.src_lang,
            language_codes: config.language_codes,
            separate_vocabs: config.separate_vocabs.unwrap_or(false),
            added_tokens: added_tokens(config.added_tokens_decoder, older, |content| {
                names.contains(content) || seen.contains(content)
            }),
            additional_special_tokens: additional,
            names,
        })
    }
}

/// The newer list has properties, so it wins where both have a token. `is_special` is for the older one.
fn added_tokens(
    newer: BTreeMap<u32, AddedTokenFields>,
    older: BTreeMap<String, u32>,
    is_special: impl Fn(&str) -> bool,
) -> Vec<AddedToken> {
    let older = older.into_iter().map(|(content, id)| {
        let special = is_special(&content);
        let plain =
            AddedTokenFields { content, single_word: false, lstrip: false, rstrip: false, normalized: None, special };
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

/// What `config.json` says that the model is.
pub(super) fn model_type(folder: &Path) -> Result<Option<String>, TokenizerError> {
    #[derive(Default, Deserialize)]
    struct ModelConfig {
        model_type: Option<String>,
    }
    let config: ModelConfig = file_or_default(&folder.join("config.json"))?;
    Ok(config.model_type)
}

fn file_or_default<T: Default + for<'a> Deserialize<'a>>(path: &Path) -> Result<T, TokenizerError> {
    match read_if_there(path)? {
        Some(bytes) => JsonFile::new(&path.display().to_string(), &bytes)?.root(),
        None => Ok(T::default()),
    }
}
