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

use std::collections::HashSet;
use std::path::Path;

use families::{Family, Normalization, Tail, Words};
use model::{Algorithm, ModelPiece, PieceKind, SentencePieceModel};

use super::json::JsonFile;
use super::side_files::{SideFiles, model_type};
use super::vocabulary_map::VocabularyMap;
use super::{read, read_if_there};
use crate::added_vocabulary::{AddedToken, AddedVocabulary, ListedIds};
use crate::decoders::{Decoder, MetaspaceDecoder, StripDecoder};
use crate::models::vocabulary::VocabularyBuilder;
use crate::models::{Bpe, BpeParts, Mapped, Model, Pieces, Unigram, UnigramFault, UnigramParts, Vocabulary};
use crate::normalizers::{Normalizer, Precompiled, Prepend, Replace, Strip};
use crate::pipeline::Pipeline;
use crate::pre_tokenizers::{Behavior, Metaspace, Pattern, PreTokenizer, PrependScheme, Split};
use crate::processors::{PostProcessor, Template, TemplatePiece};
use crate::special_tokens::SpecialNames;
use crate::{Tokenizer, TokenizerError};

/// The names that a model's file has in a folder.
const FILES: [&str; 6] =
    ["sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "sentencepiece.model", "source.spm"];

/// What stands for a space in pieces.
const MARK: char = '▁';

/// The tokenizer of a folder with a `.model` file; `None` where there is none.
pub(super) fn load(folder: &Path, side_files: &SideFiles) -> Result<Option<Tokenizer>, TokenizerError> {
    for file in FILES {
        let path = folder.join(file);
        if let Some(bytes) = read_if_there(&path)? {
            let name = path.display().to_string();
            let family = family(folder, &name, side_files)?;
            let ids = family.ids_elsewhere.then(|| vocabulary(folder, side_files)).transpose()?;
            return assemble(&name, &bytes, family, side_files, ids).map(Some);
        }
    }
    Ok(None)
}

/// A `.model` file alone.
pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
    assemble(name, bytes, &families::ALONE, &SideFiles::default(), None)
}

/// The ids of `vocab.json`, where they are not those of the model.
fn vocabulary(folder: &Path, side_files: &SideFiles) -> Result<Vocabulary, TokenizerError> {
    let invalid = |option: &str, expected: &str, found: &str| TokenizerError::Invalid {
        file: folder.join("tokenizer_config.json").display().to_string(),
        path: option.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    if side_files.separate_vocabs {
        return Err(invalid("separate_vocabs", "one vocabulary for both languages", "one for each"));
    }
    if let Some(codes) = side_files.language_codes.as_deref().filter(|&codes| codes != "m2m100") {
        return Err(invalid("language_codes", "the languages of m2m100", codes));
    }
    let path = folder.join("vocab.json");
    let name = path.display().to_string();
    let VocabularyMap(builder) = JsonFile::new(&name, &read(&path)?)?.root()?;
    builder.build().map_err(|fault| TokenizerError::Invalid {
        file: name,
        path: "$".to_owned(),
        expected: "every token and every id once".to_owned(),
        found: format!("{fault:?}"),
    })
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
    match model_type(folder)? {
        Some(model_type) => {
            families::of_model(&model_type).ok_or_else(|| unsupported("model_type of config.json", &model_type))
        }
        None => Ok(&families::ALONE),
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
    ids: Option<Vocabulary>,
) -> Result<Tokenizer, TokenizerError> {
    let spm = SentencePieceModel::parse(name, bytes)?;
    let assembly = Assembly { name, family, side_files };
    let names = side_files.names.clone().or(family.names());
    let pieces = assembly.pieces(&spm);
    let mut model = assembly.model(&spm, &pieces)?;
    if let Some(ids) = ids {
        model = assembly.mapped(model, ids, &names)?;
    }
    let normalizer = assembly.normalizer(&spm)?;
    let added = assembly.added_tokens(&spm, &names, &model, normalizer.as_ref())?;
    let pipeline = Pipeline::new(added, normalizer, assembly.pre_tokenizer(&spm), model);
    let processor = match family.templates {
        Some((single, pair)) => {
            let template = |text: &str| assembly.template(text, &names, |token| pipeline.token_to_id(token));
            PostProcessor { single: template(single)?, pair: template(pair)?, trim: None }
        }
        None => PostProcessor::default(),
    };
    Ok(side_files.tokenizer(pipeline, processor, assembly.decoder(&spm)?, names))
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
            Tail::MadeUpWords => pieces.extend(made_up_words().map(zero)),
            Tail::Languages { count } => {
                pieces.extend(languages::MBART50.split(' ').take(count).map(|language| zero(language.to_owned())));
                pieces.push(zero("<mask>".to_owned()));
            }
        }
        // The first models of Gemma have the tab among the bytes only.
        if self.family.words == Words::Gemma
            && !pieces.iter().any(|(piece, _)| piece == "\t")
            && let Some(tab) = pieces.iter_mut().find(|(piece, _)| piece == "<0x09>")
        {
            *tab = zero("\t".to_owned());
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
                table: None,
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
        let parts = UnigramParts { vocabulary, trie: None, scores, unk_id, byte_fallback: spm.byte_fallback };
        Unigram::new(parts).map(Model::Unigram).map_err(|fault| match fault {
            UnigramFault::UnkId { pieces } => {
                self.invalid("unk_id", format!("the place of one of {pieces} pieces"), format!("{unk_id:?}"))
            }
            UnigramFault::Trie(fault) => self.invalid("pieces", "pieces that fit into a trie", format!("{fault:?}")),
        })
    }

    /// The model with the ids of `vocab.json`.
    fn mapped(&self, model: Model, ids: Vocabulary, names: &SpecialNames) -> Result<Model, TokenizerError> {
        let unk = names.unk.as_deref().unwrap_or_default();
        let unk_id = ids.token_to_id(unk);
        let unk_id = unk_id.ok_or_else(|| self.invalid("vocab.json", format!("the unknown token {unk:?}"), "none"))?;
        let pieces = match model {
            Model::Bpe(model) => Pieces::Bpe(model),
            Model::Unigram(model) => Pieces::Unigram(model),
            other => return Ok(other),
        };
        Ok(Model::Mapped(Box::new(Mapped::new(pieces, ids, unk_id))))
    }

    fn normalizer(&self, spm: &SentencePieceModel) -> Result<Option<Normalizer>, TokenizerError> {
        let mut steps = Vec::new();
        let lowers = self.side_files.do_lower_case;
        let replace = |pattern, content: &str| Normalizer::Replace(Replace { pattern, content: content.to_owned() });
        let text = |text: &str| Pattern::Literal(text.to_owned());
        let expression = |expression| {
            Pattern::regex(expression).map_err(|message| self.invalid("normalizer", "an expression", message))
        };
        let spaces = || expression(" {2,}");
        if let Normalization::Gemma = self.family.normalization {
            return Ok(Some(replace(text(" "), "▁")));
        }
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
        if let Normalization::RemBert = self.family.normalization {
            steps.extend([replace(text("``"), "\""), replace(text("''"), "\""), replace(spaces()?, " ")]);
            if !self.side_files.keep_accents.unwrap_or(true) {
                steps.extend([Normalizer::Nfkd, Normalizer::StripAccents]);
            }
            if lowers.unwrap_or(false) {
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
            let map = Precompiled::new(&spm.precompiled_charsmap).map_err(|fault| {
                let expected = format!("{} at byte {} of the map", fault.expected, fault.at);
                self.invalid("normalizer_spec.precompiled_charsmap", expected, fault.found)
            })?;
            steps.push(Normalizer::Precompiled(match self.family.normalization {
                Normalization::SentencePiece => map.by_longest(),
                _ => map,
            }));
        }
        if self.takes_text_whole(spm) {
            if spm.remove_extra_whitespaces {
                steps.extend([Normalizer::Strip(Strip { left: true, right: true }), replace(spaces()?, " ")]);
            }
            if self.prepend_scheme(spm) != PrependScheme::Never {
                steps.push(Normalizer::Prepend(Prepend { text: MARK.to_string() }));
            }
            steps.push(replace(text(" "), "▁"));
            return Ok(Some(Normalizer::Sequence(steps)));
        }
        match self.family.normalization {
            Normalization::Plain if spm.remove_extra_whitespaces => {
                steps.push(Normalizer::Strip(Strip { left: false, right: true }));
                steps.push(replace(spaces()?, "▁"));
            }
            Normalization::SentencePiece if spm.remove_extra_whitespaces => {
                steps.extend([replace(expression(r"\A +| +\z")?, ""), replace(spaces()?, " ")]);
            }
            Normalization::Plain | Normalization::RemBert | Normalization::SentencePiece => {}
            _ => steps.push(replace(spaces()?, " ")),
        }
        Ok((!steps.is_empty()).then_some(Normalizer::Sequence(steps)))
    }

    /// Whether words can't be told apart before pieces are.
    fn takes_text_whole(&self, spm: &SentencePieceModel) -> bool {
        let reaches_over = |piece: &ModelPiece| piece.text.rfind(MARK).is_some_and(|at| at > 0);
        self.family.words == Words::AsPieces && spm.pieces.iter().any(reaches_over)
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
            Words::AsPieces if self.takes_text_whole(spm) => None,
            Words::AtSpaces | Words::AsPieces => Some(metaspace(true)),
            Words::AtWhiteSpace => Some(PreTokenizer::Sequence(vec![PreTokenizer::WhitespaceSplit, metaspace(true)])),
            Words::Deberta => {
                let splits = self.side_files.split_by_punct.unwrap_or(false);
                let punctuation = splits.then_some(PreTokenizer::Punctuation(Behavior::Isolated));
                Some(PreTokenizer::Sequence(punctuation.into_iter().chain([metaspace(true)]).collect()))
            }
            Words::Llama => (self.side_files.legacy == Some(false)).then(|| metaspace(false)),
            Words::Gemma => Some(PreTokenizer::Split(Split {
                pattern: Pattern::Literal(" ".to_owned()),
                behavior: Behavior::MergedWithPrevious,
                invert: false,
            })),
        }
    }

    fn decoder(&self, spm: &SentencePieceModel) -> Result<Decoder, TokenizerError> {
        let words = self.family.words;
        let prepended = self.prepend_scheme(spm) != PrependScheme::Never && words != Words::Gemma;
        if !matches!(words, Words::Llama | Words::Gemma) && !spm.byte_fallback && !self.takes_text_whole(spm) {
            let pieces = Decoder::Metaspace(MetaspaceDecoder { replacement: MARK, prepended });
            if self.family.normalization != Normalization::SentencePiece {
                return Ok(pieces);
            }
            // The whole text without the spaces around it.
            let strip = StripDecoder { content: ' ', start: usize::MAX, stop: usize::MAX };
            return Ok(Decoder::Sequence(vec![pieces, Decoder::Fuse, Decoder::Strip(strip)]));
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
        // The side files know the properties best, and say the ids of what they add.
        let mut all = self.side_files.added_tokens.clone();
        let mut seen: HashSet<String> = all.iter().map(|token| token.content.clone()).collect();
        let is_new = |token: &AddedToken| vocabulary.token_to_id(&token.content).is_none();
        let beyond = all.iter().filter(|token| is_new(token)).map(|token| token.id.saturating_add(1));
        let mut next = beyond.fold(vocabulary.len() as u32, u32::max);
        let mut add = |content: &str, special: bool| {
            if !seen.insert(content.to_owned()) {
                return;
            }
            let id = vocabulary.token_to_id(content).unwrap_or_else(|| {
                next = next.saturating_add(1);
                next - 1
            });
            all.push(AddedToken {
                content: content.to_owned(),
                id,
                special,
                single_word: false,
                lstrip: names.mask.as_deref() == Some(content) && self.family.mask_takes_space,
                rstrip: false,
                normalized: false,
            });
        };
        if !self.family.ids_elsewhere {
            for piece in spm.pieces.iter().filter(|piece| vocabulary.token_to_id(&piece.text).is_some()) {
                match piece.kind {
                    PieceKind::Control => add(&piece.text, true),
                    PieceKind::UserDefined => add(&piece.text, self.family.special_pieces.contains(&&*piece.text)),
                    _ => {}
                }
            }
        }
        let own = [&names.bos, &names.eos, &names.unk, &names.sep, &names.pad, &names.cls];
        own.into_iter().flatten().for_each(|name| add(name, true));
        match self.family.tail {
            Tail::ExtraIds => {
                let extra = self.side_files.extra_ids.unwrap_or(100);
                (0..extra).rev().for_each(|number| add(&format!("<extra_id_{number}>"), true));
            }
            Tail::MadeUpWords => made_up_words().for_each(|word| add(&word, true)),
            Tail::Languages { count } => {
                languages::MBART50.split(' ').take(count).for_each(|language| add(language, true));
            }
            Tail::None | Tail::Mask => {}
        }
        let languages = self.family.languages_beyond.split(' ').filter(|language| !language.is_empty());
        languages.for_each(|language| add(&self.language_token(language), true));
        // Marian's vocabulary says which languages it translates to, by tokens that stand before a text.
        if self.family.ids_elsewhere {
            let tokens = vocabulary.entries().map(|entry| vocabulary.text_of(entry));
            let languages = tokens.filter(|token| token.starts_with(">>") && token.ends_with("<<"));
            languages.for_each(|token| add(token, false));
        }
        let additional = self.side_files.additional_special_tokens.iter().map(String::as_str);
        let last = names.mask.as_deref().into_iter().chain(self.family.beyond.iter().copied()).chain(additional);
        last.for_each(|token| add(token, true));
        all.sort_by_key(|token| token.id);
        AddedVocabulary::new(all, ListedIds::Count, vocabulary, normalizer)
            .map_err(|fault| fault.of_side_files(self.name))
    }

    fn language_token(&self, language: &str) -> String {
        let marks = self.family.language_marks;
        format!("{marks}{language}{marks}")
    }

    /// `$A` and `$B` are the texts, `:1` after a part its type, `$lang` the language, any other word a token.
    fn template(
        &self,
        text: &str,
        names: &SpecialNames,
        id_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<Template, TokenizerError> {
        let mut pieces = Vec::new();
        let open = matches!(self.family.words, Words::Llama | Words::Gemma);
        let begins = !open || self.side_files.add_bos_token.unwrap_or(true);
        let ends = !open || self.side_files.add_eos_token.unwrap_or(false);
        for part in text.split(' ') {
            if part.starts_with("$bos") && !begins || part.starts_with("$eos") && !ends {
                continue;
            }
            let (part, type_id) = match part.rsplit_once(':') {
                Some((part, number)) => (part, number.parse().unwrap_or(0)),
                None => (part, 0),
            };
            let language;
            let token = match part {
                "$A" | "$B" => {
                    pieces.push(TemplatePiece::Sequence { index: u8::from(part == "$B"), type_id });
                    continue;
                }
                "$lang" => {
                    language = self.language_token(self.side_files.src_lang.as_deref().unwrap_or(self.family.language));
                    &language
                }
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

/// Tokens that XGLM's embeddings have room for and no text is cut into.
fn made_up_words() -> impl Iterator<Item = String> {
    (0..7).map(|number| format!("<madeupword{number}>"))
}

/// Whether a piece is a number with a comma after it, which some families make unlikely.
fn ends_in_number_and_comma(piece: &str) -> bool {
    let before = piece.strip_suffix(',').and_then(|rest| rest.chars().next_back());
    before.is_some_and(|c| c.is_numeric())
}
