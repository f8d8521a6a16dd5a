//! SentencePiece's `.model` files, alone or in a folder that has no `tokenizer.json`.
//!
//! Tokenizers are put together as the reference's converters do it, so that they are those of the `tokenizer.json` that
//! the reference would write. SentencePiece itself differs on a few inputs: it takes the longest text of the character map
//! where the reference goes by clusters, and it finds user-defined pieces while tokenizing, where the reference finds
//! them before.

mod families;
mod languages;
mod merges;
mod model;

use std::path::Path;

use families::{Family, Normalization, Tail, Words};
use model::{Algorithm, ModelPiece, PieceKind, SentencePieceModel};

use super::side_files::SideFiles;
use super::{json::JsonFile, read_if_there};
use crate::added_vocabulary::{AddedFault, AddedToken, AddedVocabulary};
use crate::decoders::{Decoder, MetaspaceDecoder, StripDecoder};
use crate::models::vocabulary::VocabularyBuilder;
use crate::models::{Bpe, BpeParts, Model, Unigram, UnigramFault, UnigramParts};
use crate::normalizers::{Normalizer, Precompiled, Prepend, Replace, Strip};
use crate::pipeline::Pipeline;
use crate::pre_tokenizers::{Behavior, Metaspace, Pattern, PreTokenizer, PrependScheme};
use crate::processors::{PostProcessor, Template, TemplatePiece};
use crate::special_tokens::SpecialNames;
use crate::{Tokenizer, TokenizerError};

/// The names that a model's file has in a folder.
const FILES: [&str; 5] =
    ["sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "sentencepiece.model"];

/// What stands for a space in pieces.
const MARK: char = '▁';

/// The tokenizer of a folder with a `.model` file; `None` where there is none.
pub(super) fn load(folder: &Path, side_files: &SideFiles) -> Result<Option<Tokenizer>, TokenizerError> {
    for file in FILES {
        let path = folder.join(file);
        if let Some(bytes) = read_if_there(&path)? {
            let name = path.display().to_string();
            let family = family(folder, &name, side_files)?;
            return assemble(&name, &bytes, family, side_files).map(Some);
        }
    }
    Ok(None)
}

/// A `.model` file alone.
pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
    assemble(name, bytes, &families::PLAIN, &SideFiles::default())
}

#[derive(Default, serde::Deserialize)]
struct ModelConfig {
    model_type: Option<String>,
}

/// The family that `tokenizer_config.json` names, or else `config.json`.
fn family(folder: &Path, name: &str, side_files: &SideFiles) -> Result<&'static Family, TokenizerError> {
    let unsupported = |path: &str, found: &str| TokenizerError::Unsupported {
        file: name.to_owned(),
        path: path.to_owned(),
        component: "a SentencePiece model for a tokenizer",
        found: found.to_owned(),
        supported: families::NAMES,
    };
    if let Some(class) = &side_files.tokenizer_class
        && class != "PreTrainedTokenizerFast"
        && class != "TokenizersBackend"
    {
        return families::of_class(class).ok_or_else(|| unsupported("tokenizer_class of tokenizer_config.json", class));
    }
    let path = folder.join("config.json");
    let Some(bytes) = read_if_there(&path)? else {
        return Ok(&families::PLAIN);
    };
    let config: ModelConfig = JsonFile::new(&path.display().to_string(), &bytes)?.root()?;
    match config.model_type {
        Some(model_type) => {
            families::of_model(&model_type).ok_or_else(|| unsupported("model_type of config.json", &model_type))
        }
        None => Ok(&families::PLAIN),
    }
}

/// What is being put together, for errors that name the file.
struct Assembly<'a> {
    name: &'a str,
    family: &'static Family,
    side_files: &'a SideFiles,
}

fn assemble(
    name: &str,
    bytes: &[u8],
    family: &'static Family,
    side_files: &SideFiles,
) -> Result<Tokenizer, TokenizerError> {
    let spm = SentencePieceModel::parse(name, bytes)?;
    let assembly = Assembly { name, family, side_files };
    let names = side_files.names.clone().or(family.names());
    let pieces = assembly.pieces(&spm);
    let model = assembly.model(&spm, &pieces)?;
    let normalizer = assembly.normalizer(&spm)?;
    let added = assembly.added_tokens(&spm, &names, &model, normalizer.as_ref())?;
    let mut tokenizer = Tokenizer {
        pipeline: Pipeline::new(added, normalizer, assembly.pre_tokenizer(&spm), model),
        processor: PostProcessor::default(),
        decoder: assembly.decoder(&spm)?,
        special_tokens: Default::default(),
        default_truncation: None,
        default_padding: None,
        model_max_length: side_files.model_max_length,
        padding_side: side_files.padding_side,
        clean_up: side_files.clean_up,
    };
    if let Some((single, pair)) = family.templates {
        let template = |text: &str| assembly.template(text, &names, |token| tokenizer.token_to_id(token));
        tokenizer.processor = PostProcessor { single: template(single)?, pair: template(pair)?, trim: None };
    }
    tokenizer.special_tokens = names.resolve(|name| tokenizer.token_to_id(name));
    Ok(tokenizer)
}

impl Assembly<'_> {
    fn invalid(&self, path: &str, expected: impl Into<String>, found: impl Into<String>) -> TokenizerError {
        TokenizerError::Invalid {
            file: self.name.to_owned(),
            path: path.to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The pieces in the order of their ids.
    fn pieces(&self, spm: &SentencePieceModel) -> Vec<(String, f64)> {
        let score = |piece: &ModelPiece| {
            let lowered = self.family.lowers_numbers && ends_in_number_and_comma(&piece.text);
            f64::from(piece.score) - if lowered { 100.0 } else { 0.0 }
        };
        let own = spm.pieces.iter().skip(self.family.dropped).map(|piece| (piece.text.clone(), score(piece)));
        let zero = |piece: String| (piece, 0.0);
        let head = self.family.head.iter().map(|&(piece, score)| (piece.to_owned(), score));
        let unused = (2..self.family.unused_until).map(|number| (format!("<unk_{number}>"), -100.0));
        let mut pieces: Vec<(String, f64)> = head.chain(unused).chain(own).collect();
        match self.family.tail {
            Tail::None => {}
            Tail::Mask => pieces.push(zero("<mask>".to_owned())),
            Tail::ExtraIds => {
                let extra = self.side_files.extra_ids.unwrap_or(100);
                pieces.extend((0..extra).rev().map(|number| zero(format!("<extra_id_{number}>"))));
            }
            Tail::Languages { count } => {
                pieces.extend(languages::MBART50.split(' ').take(count).map(|language| zero(language.to_owned())));
                pieces.push(zero("<mask>".to_owned()));
            }
        }
        pieces
    }

    fn unk_id(&self, spm: &SentencePieceModel) -> Option<u32> {
        let own = || u32::try_from(spm.unk_id).ok()?.checked_add(self.family.unk_offset);
        self.family.unk_id.or_else(own)
    }

    fn model(&self, spm: &SentencePieceModel, pieces: &[(String, f64)]) -> Result<Model, TokenizerError> {
        let mut builder = VocabularyBuilder::default();
        for ((piece, _), id) in pieces.iter().zip(0..) {
            let too_large = |_| self.invalid("pieces", "less than 4 GiB of pieces", "more");
            builder.push(piece, id).map_err(too_large)?;
        }
        let vocabulary =
            builder.build().map_err(|fault| self.invalid("pieces", "every piece once", format!("{fault:?}")))?;
        if spm.algorithm == Algorithm::Bpe {
            let merges = merges::of_scores(&vocabulary, pieces);
            let unk_token = self.unk_id(spm).and_then(|id| vocabulary.id_to_token(id)).map(str::to_owned);
            let parts = BpeParts {
                merges,
                unk_token,
                continuing_subword_prefix: String::new(),
                end_of_word_suffix: String::new(),
                fuse_unk: true,
                byte_fallback: spm.byte_fallback,
                ignore_merges: false,
                vocabulary,
            };
            let bpe = Bpe::new(parts);
            return bpe.map(Model::Bpe).map_err(|fault| self.invalid("pieces", fault.expected(), fault.found()));
        }
        let unk_id = self.unk_id(spm);
        let scores = pieces.iter().map(|&(_, score)| score).collect();
        let parts = UnigramParts { vocabulary, scores, unk_id, byte_fallback: spm.byte_fallback };
        Unigram::new(parts).map(Model::Unigram).map_err(|fault| match fault {
            UnigramFault::UnkId { pieces } => {
                self.invalid("unk_id", format!("the place of one of {pieces} pieces"), format!("{unk_id:?}"))
            }
            UnigramFault::Trie(fault) => self.invalid("pieces", "pieces that fit into a trie", format!("{fault:?}")),
        })
    }

    fn normalizer(&self, spm: &SentencePieceModel) -> Result<Option<Normalizer>, TokenizerError> {
        let mut steps = Vec::new();
        let lowers = self.side_files.do_lower_case;
        let replace = |pattern, content: &str| Normalizer::Replace(Replace { pattern, content: content.to_owned() });
        let text = |text: &str| Pattern::Literal(text.to_owned());
        let spaces = || Pattern::regex(" {2,}").map_err(|message| self.invalid("normalizer", "an expression", message));
        if let Normalization::Llama = self.family.normalization {
            if self.side_files.legacy == Some(false) {
                return Ok(None);
            }
            if self.side_files.add_prefix_space != Some(false) {
                steps.push(Normalizer::Prepend(Prepend { text: MARK.to_string() }));
            }
            steps.push(replace(text(" "), "▁"));
            return Ok(Some(Normalizer::Sequence(steps)));
        }
        if let Normalization::Albert { lowers: by_default } = self.family.normalization {
            steps.push(replace(text("``"), "\""));
            steps.push(replace(text("''"), "\""));
            if !self.side_files.keep_accents.unwrap_or(false) {
                steps.extend([Normalizer::Nfkd, Normalizer::StripAccents]);
            }
            if lowers.unwrap_or(by_default) {
                steps.push(Normalizer::Lowercase);
            }
        }
        if let Normalization::Deberta = self.family.normalization {
            if lowers.unwrap_or(false) {
                steps.push(Normalizer::Lowercase);
            }
            steps.push(Normalizer::Strip(Strip { left: true, right: true }));
        }
        if !spm.precompiled_charsmap.is_empty() {
            let map = Precompiled::new(&spm.precompiled_charsmap);
            steps.push(Normalizer::Precompiled(map.map_err(|fault| {
                let expected = format!("{} at byte {} of the map", fault.expected, fault.at);
                self.invalid("normalizer_spec.precompiled_charsmap", expected, fault.found)
            })?));
        }
        match self.family.normalization {
            Normalization::Plain if spm.remove_extra_whitespaces => {
                steps.push(Normalizer::Strip(Strip { left: false, right: true }));
                steps.push(replace(spaces()?, "▁"));
            }
            Normalization::Plain => {}
            _ => steps.push(replace(spaces()?, " ")),
        }
        Ok((!steps.is_empty()).then_some(Normalizer::Sequence(steps)))
    }

    fn prepend_scheme(&self, spm: &SentencePieceModel) -> PrependScheme {
        match (self.side_files.add_prefix_space.unwrap_or(spm.add_dummy_prefix), self.side_files.legacy) {
            (false, _) => PrependScheme::Never,
            (true, Some(false)) => PrependScheme::First,
            (true, _) => PrependScheme::Always,
        }
    }

    fn pre_tokenizer(&self, spm: &SentencePieceModel) -> Option<PreTokenizer> {
        let prepend_scheme = self.prepend_scheme(spm);
        let metaspace = |split| PreTokenizer::Metaspace(Metaspace { replacement: MARK, prepend_scheme, split });
        match self.family.words {
            Words::AtSpaces => Some(metaspace(true)),
            Words::AtWhiteSpace => Some(PreTokenizer::Sequence(vec![PreTokenizer::WhitespaceSplit, metaspace(true)])),
            Words::Deberta => {
                let splits = self.side_files.split_by_punct.unwrap_or(false);
                let punctuation = splits.then_some(PreTokenizer::Punctuation(Behavior::Isolated));
                Some(PreTokenizer::Sequence(punctuation.into_iter().chain([metaspace(true)]).collect()))
            }
            Words::Llama => (self.side_files.legacy == Some(false)).then(|| metaspace(false)),
        }
    }

    fn decoder(&self, spm: &SentencePieceModel) -> Result<Decoder, TokenizerError> {
        let prepended = self.prepend_scheme(spm) != PrependScheme::Never;
        if self.family.words != Words::Llama && !spm.byte_fallback {
            return Ok(Decoder::Metaspace(MetaspaceDecoder { replacement: MARK, prepended }));
        }
        let pattern = Pattern::Literal(MARK.to_string());
        let mut steps =
            vec![Decoder::Replace(Replace { pattern, content: " ".to_owned() }), Decoder::ByteFallback, Decoder::Fuse];
        if prepended {
            steps.push(Decoder::Strip(StripDecoder { content: ' ', start: 1, stop: 0 }));
        }
        Ok(Decoder::Sequence(steps))
    }

    /// Control and user-defined pieces, the tokens that play a part, and those of the side files.
    fn added_tokens(
        &self,
        spm: &SentencePieceModel,
        names: &SpecialNames,
        model: &Model,
        normalizer: Option<&Normalizer>,
    ) -> Result<AddedVocabulary, TokenizerError> {
        let vocabulary = model.vocabulary();
        let mut listed: Vec<AddedToken> = Vec::new();
        let add = |content: &str, special: bool, listed: &mut Vec<AddedToken>| {
            if listed.iter().any(|token| token.content == content) {
                return;
            }
            let token = AddedToken {
                content: content.to_owned(),
                id: 0,
                special,
                single_word: false,
                lstrip: names.mask.as_deref() == Some(content) && self.family.mask_takes_space,
                rstrip: false,
                normalized: false,
            };
            listed.push(token);
        };
        for piece in spm.pieces.iter().filter(|piece| vocabulary.token_to_id(&piece.text).is_some()) {
            match piece.kind {
                PieceKind::Control => add(&piece.text, true, &mut listed),
                PieceKind::UserDefined => add(&piece.text, false, &mut listed),
                _ => {}
            }
        }
        listed.sort_by_key(|token| vocabulary.token_to_id(&token.content));
        let own = [&names.bos, &names.eos, &names.unk, &names.sep, &names.pad, &names.cls];
        own.into_iter().flatten().for_each(|name| add(name, true, &mut listed));
        match self.family.tail {
            Tail::ExtraIds => {
                let extra = self.side_files.extra_ids.unwrap_or(100);
                (0..extra).rev().for_each(|number| add(&format!("<extra_id_{number}>"), true, &mut listed));
            }
            Tail::Languages { count } => {
                languages::MBART50.split(' ').take(count).for_each(|language| add(language, true, &mut listed));
            }
            Tail::None | Tail::Mask => {}
        }
        let further = self.side_files.added_tokens.iter();
        let is_listed = |content: &str| further.clone().any(|token| token.content == content);
        let languages = self.family.languages_beyond.split(' ').filter(|language| !language.is_empty());
        let beyond = languages.chain(names.mask.as_deref()).chain(self.family.beyond.iter().copied());
        for token in beyond.filter(|token| !is_listed(token)) {
            add(token, true, &mut listed);
        }
        // The side files know the properties best, and say the ids of what they add.
        for token in further.clone() {
            listed.retain(|other| other.content != token.content);
        }
        let known = listed.iter().filter_map(|token| vocabulary.token_to_id(&token.content));
        let mut next = vocabulary.len() as u32;
        let mut known: Vec<u32> = known.collect();
        known.sort_unstable();
        let (mut ours, mut theirs) = (listed, self.side_files.added_tokens.clone());
        theirs.sort_by_key(|token| token.id);
        for token in theirs.iter().filter(|token| vocabulary.token_to_id(&token.content).is_none()) {
            next = next.max(token.id.saturating_add(1));
        }
        for token in &mut ours {
            token.id = vocabulary.token_to_id(&token.content).unwrap_or_else(|| {
                let id = next;
                next = next.saturating_add(1);
                id
            });
        }
        theirs.extend(ours);
        theirs.sort_by_key(|token| token.id);
        AddedVocabulary::new(theirs, vocabulary, normalizer).map_err(|fault| {
            let expected = "added tokens that fit the vocabulary";
            let found = match fault {
                AddedFault::Id { content, found, expected, .. } => {
                    format!("id {found} for {content:?}, which has or would get {expected}")
                }
                AddedFault::Automaton(message) | AddedFault::Normalizer(message) => message,
            };
            self.invalid("tokenizer_config.json, added_tokens.json", expected, found)
        })
    }

    /// `$A` and `$B` are the texts, `:1` after a part its type, `$lang` the language, any other word a token.
    fn template(
        &self,
        text: &str,
        names: &SpecialNames,
        id_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<Template, TokenizerError> {
        let mut pieces = Vec::new();
        for part in text.split(' ') {
            let (part, type_id) = match part.rsplit_once(':') {
                Some((part, number)) => (part, number.parse().unwrap_or(0)),
                None => (part, 0),
            };
            let token = match part {
                "$A" | "$B" => {
                    pieces.push(TemplatePiece::Sequence { index: u8::from(part == "$B"), type_id });
                    continue;
                }
                "$lang" => self.side_files.src_lang.as_deref().unwrap_or(self.family.language),
                "$bos" => names.bos.as_deref().unwrap_or_default(),
                "$cls" => names.cls.as_deref().unwrap_or_default(),
                "$sep" => names.sep.as_deref().unwrap_or_default(),
                "$eos" => names.eos.as_deref().unwrap_or_default(),
                token => token,
            };
            let id = id_of(token).ok_or_else(|| {
                self.invalid("pieces", format!("the token {token:?}, which is put around texts"), "none")
            })?;
            pieces.push(TemplatePiece::Special { id, type_id });
        }
        Ok(Template::new(pieces))
    }
}

/// Whether a piece is a number with a comma after it, which some families make unlikely.
fn ends_in_number_and_comma(piece: &str) -> bool {
    let before = piece.strip_suffix(',').and_then(|rest| rest.chars().next_back());
    before.is_some_and(|c| c.is_numeric())
}
