//! `vocab.json` with `merges.txt`, the format of GPT-2 and its kin. How text is split and which special tokens go around
//! it is not in these files: it follows from the class of the tokenizer.

use std::path::Path;

use serde::Deserialize;

use super::json::JsonFile;
use super::side_files::SideFiles;
use super::vocabulary_map::VocabularyMap;
use super::{outline, read, read_if_there};
use crate::added_vocabulary::{AddedFault, AddedToken, AddedVocabulary};
use crate::decoders::{BpeDecoder, Decoder};
use crate::models::{Bpe, BpeParts, MergeList, Model, Vocabulary};
use crate::normalizers::{BertNormalizer, Normalizer};
use crate::pipeline::Pipeline;
use crate::pre_tokenizers::{ByteLevel, PreTokenizer};
use crate::processors::{PostProcessor, Trim};
use crate::special_tokens::SpecialNames;
use crate::{Tokenizer, TokenizerError};

const VERSION: &str = "#version";
const END_OF_WORD: &str = "</w>";

/// What tells one family from another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// GPT: lower case, words as BERT has them, and a mark at the end of each.
    Gpt,
    /// GPT-2: byte level, nothing around the text.
    Gpt2,
    /// RoBERTa, BART and others: byte level, `<s> … </s>` around the text.
    Roberta,
}

const SUPPORTED: &str =
    "BartTokenizer, GPT2Tokenizer, LEDTokenizer, LongformerTokenizer, OpenAIGPTTokenizer, RobertaTokenizer";

/// The part of `config.json` that says what the model is.
#[derive(Default, Deserialize)]
struct ModelConfig {
    model_type: Option<String>,
}

impl Family {
    /// By the class of the tokenizer, else by the type of the model, else by the special tokens there are.
    fn of(folder: &Path, side_files: &SideFiles, vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let unsupported = |file: &str, path: &str, found: &str| TokenizerError::Unsupported {
            file: folder.join(file).display().to_string(),
            path: path.to_owned(),
            component: "a vocab.json with merges.txt for a tokenizer",
            found: found.to_owned(),
            supported: SUPPORTED,
        };
        if let Some(class) = &side_files.tokenizer_class {
            return match class.strip_suffix("Fast").unwrap_or(class) {
                "GPT2Tokenizer" => Ok(Family::Gpt2),
                "OpenAIGPTTokenizer" => Ok(Family::Gpt),
                "BartTokenizer" | "LEDTokenizer" | "LongformerTokenizer" | "RobertaTokenizer" => Ok(Family::Roberta),
                other => Err(unsupported("tokenizer_config.json", "tokenizer_class", other)),
            };
        }
        let path = folder.join("config.json");
        let config: ModelConfig = match read_if_there(&path)? {
            Some(bytes) => JsonFile::new(&path.display().to_string(), &bytes)?.root()?,
            None => ModelConfig::default(),
        };
        match config.model_type.as_deref() {
            Some("gpt2" | "gpt_neo" | "gptj") => Ok(Family::Gpt2),
            Some("openai-gpt") => Ok(Family::Gpt),
            Some("bart" | "led" | "longformer" | "roberta") => Ok(Family::Roberta),
            Some(other) => Err(unsupported("config.json", "model_type", other)),
            None if ["<s>", "</s>", "<mask>"].iter().all(|token| vocabulary.token_to_id(token).is_some()) => {
                Ok(Family::Roberta)
            }
            None if vocabulary.token_to_id("<|endoftext|>").is_some() => Ok(Family::Gpt2),
            None => Err(unsupported("tokenizer_config.json", "tokenizer_class", "none")),
        }
    }

    /// The names of its special tokens where no file has others.
    fn names(self) -> SpecialNames {
        let name = |name: &str| Some(name.to_owned());
        match self {
            Family::Gpt => SpecialNames { unk: name("<unk>"), ..SpecialNames::default() },
            Family::Gpt2 => {
                let end = name("<|endoftext|>");
                SpecialNames { unk: end.clone(), bos: end.clone(), eos: end, ..SpecialNames::default() }
            }
            Family::Roberta => SpecialNames {
                cls: name("<s>"),
                sep: name("</s>"),
                pad: name("<pad>"),
                mask: name("<mask>"),
                unk: name("<unk>"),
                bos: name("<s>"),
                eos: name("</s>"),
            },
        }
    }
}

/// `merges` is the content of `merges.txt`.
pub(super) fn load(folder: &Path, merges: &[u8], side_files: SideFiles) -> Result<Tokenizer, TokenizerError> {
    let vocab_path = folder.join("vocab.json").display().to_string();
    let vocab = read(Path::new(&vocab_path))?;
    let merges_path = folder.join("merges.txt").display().to_string();
    let invalid = |file: &str, path: &str, expected: &str, found: String| TokenizerError::Invalid {
        file: file.to_owned(),
        path: path.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    let builder = match outline::vocabulary(&vocab) {
        Some(builder) => builder,
        None => JsonFile::new(&vocab_path, &vocab)?.root::<VocabularyMap>()?.0,
    };
    let vocabulary = builder.build();
    let vocabulary =
        vocabulary.map_err(|fault| invalid(&vocab_path, "$", "every token and every id once", format!("{fault:?}")))?;
    let family = Family::of(folder, &side_files, &vocabulary)?;
    let names = side_files.names.clone().or(family.names());
    let listed = added_tokens(&vocabulary, &names, &side_files);
    let (merges, lines) = merge_list(&merges_path, merges)?;
    let parts = BpeParts {
        vocabulary,
        merges,
        unk_token: names.unk.clone().filter(|_| family == Family::Gpt),
        continuing_subword_prefix: String::new(),
        end_of_word_suffix: if family == Family::Gpt { END_OF_WORD.to_owned() } else { String::new() },
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
    };
    let model = Bpe::new(parts).map_err(|fault| {
        let line = fault.place().and_then(|place| lines.get(place));
        let line = line.map_or_else(|| "all lines".to_owned(), |line| format!("line {line}"));
        invalid(&merges_path, &line, fault.expected(), fault.found())
    })?;

    let required = |part: &str, name: &Option<String>| {
        let name = name.as_deref().unwrap_or_default();
        let expected = format!("the token that {part} a text, {name:?}");
        let id = model.vocabulary().token_to_id(name);
        id.ok_or_else(|| invalid(&vocab_path, "$", &expected, "none".to_owned()))
    };
    let add_prefix_space = side_files.add_prefix_space.unwrap_or(false);
    let processor = match family {
        Family::Gpt | Family::Gpt2 => PostProcessor::default(),
        Family::Roberta => {
            let (cls, sep) = (required("begins", &names.cls)?, required("ends", &names.sep)?);
            PostProcessor::roberta(cls, sep, Some(Trim { add_prefix_space }))
        }
    };
    let (normalizer, pre_tokenizer, decoder) = match family {
        Family::Gpt => (
            Some(Normalizer::Bert(BertNormalizer::new(true, true, None, true))),
            PreTokenizer::Bert,
            Decoder::Bpe(BpeDecoder { suffix: END_OF_WORD.to_owned() }),
        ),
        Family::Gpt2 | Family::Roberta => {
            (None, PreTokenizer::ByteLevel(ByteLevel { add_prefix_space, use_regex: true }), Decoder::ByteLevel)
        }
    };
    let added = AddedVocabulary::new(listed, model.vocabulary(), normalizer.as_ref()).map_err(|fault| {
        let found = match fault {
            AddedFault::Id { content, found, expected, .. } => {
                format!("id {found} for {content:?}, which has or would get {expected}")
            }
            AddedFault::Automaton(message) | AddedFault::Normalizer(message) => message,
        };
        let expected = "added tokens that fit the vocabulary";
        invalid("tokenizer_config.json, added_tokens.json", "all tokens", expected, found)
    })?;
    let mut tokenizer = Tokenizer {
        pipeline: Pipeline::new(added, normalizer, Some(pre_tokenizer), Model::Bpe(model)),
        processor,
        decoder,
        special_tokens: Default::default(),
        default_truncation: None,
        default_padding: None,
        model_max_length: side_files.model_max_length,
        padding_side: side_files.padding_side,
        clean_up: side_files.clean_up,
    };
    tokenizer.special_tokens = names.resolve(|name| tokenizer.token_to_id(name));
    Ok(tokenizer)
}

/// The merges, and the line of each.
fn merge_list(name: &str, bytes: &[u8]) -> Result<(MergeList, Vec<usize>), TokenizerError> {
    let fault = |line: usize, expected: &str, found: String| TokenizerError::Invalid {
        file: name.to_owned(),
        path: format!("line {line}"),
        expected: expected.to_owned(),
        found,
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        fault(line, "UTF-8", "bytes that are not".to_owned())
    })?;
    let (mut merges, mut lines) = (MergeList::default(), Vec::new());
    for (line, merge) in (1..).zip(text.lines()) {
        if merge.is_empty() || merge.starts_with(VERSION) {
            continue;
        }
        if !merges.push_line(merge) {
            return Err(fault(line, "two tokens with one space between", format!("{merge:?}")));
        }
        lines.push(line);
    }
    Ok((merges, lines))
}

/// The special tokens that the vocabulary has, then whatever the side files add. The mask takes the space before it.
fn added_tokens(vocabulary: &Vocabulary, names: &SpecialNames, side_files: &SideFiles) -> Vec<AddedToken> {
    let special = [&names.bos, &names.eos, &names.unk, &names.sep, &names.pad, &names.cls, &names.mask];
    let special = special.into_iter().flatten().filter_map(|content| {
        Some(AddedToken {
            content: content.clone(),
            id: vocabulary.token_to_id(content)?,
            special: true,
            single_word: false,
            lstrip: names.mask.as_ref() == Some(content),
            rstrip: false,
            normalized: false,
        })
    });
    special.chain(side_files.added_tokens.iter().cloned()).collect()
}
