//! `vocab.json` with `merges.txt`, the format of GPT-2 and its kin. How text is split and which special tokens go around
//! it is not in these files: it follows from the class of the tokenizer.

use std::path::Path;

use super::json::JsonFile;
use super::outline;
use super::side_files::{SideFiles, model_type};
use super::vocabulary_map::VocabularyMap;
use super::{read, utf8};
use crate::added_vocabulary::{AddedVocabulary, ListedIds};
use crate::decoders::{BpeDecoder, Decoder, StripDecoder};
use crate::models::{Bpe, BpeParts, MergeList, Model, Vocabulary};
use crate::normalizers::{BertNormalizer, Normalizer, Replace};
use crate::pipeline::Pipeline;
use crate::pre_tokenizers::{Behavior, ByteLevel, Pattern, PreTokenizer, Split};
use crate::processors::{PostProcessor, Template, TemplatePiece, Trim};
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
    /// Blenderbot: byte level, `</s>` after the text.
    Blenderbot,
    /// CLIP: lower case, letters and single numbers on the byte level, a mark at the end of each, a token at both ends of the text.
    Clip,
}

const SUPPORTED: &str = "BartTokenizer, BlenderbotTokenizer, CLIPTokenizer, GPT2Tokenizer, LEDTokenizer, LongformerTokenizer, \
    OpenAIGPTTokenizer, RobertaTokenizer";

/// What CLIP takes words from; special tokens are cut out before.
const CLIP_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

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
                "BlenderbotTokenizer" => Ok(Family::Blenderbot),
                "CLIPTokenizer" => Ok(Family::Clip),
                "BartTokenizer" | "LEDTokenizer" | "LongformerTokenizer" | "RobertaTokenizer" => Ok(Family::Roberta),
                other => Err(unsupported("tokenizer_config.json", "tokenizer_class", other)),
            };
        }
        match model_type(folder)?.as_deref() {
            Some("gpt2" | "gpt_neo" | "gptj") => Ok(Family::Gpt2),
            Some("openai-gpt") => Ok(Family::Gpt),
            Some("blenderbot") => Ok(Family::Blenderbot),
            Some("clip" | "clip_text_model") => Ok(Family::Clip),
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
            Family::Clip => {
                let end = || name("<|endoftext|>");
                SpecialNames {
                    unk: end(),
                    bos: name("<|startoftext|>"),
                    eos: end(),
                    pad: end(),
                    ..SpecialNames::default()
                }
            }
            Family::Roberta | Family::Blenderbot => SpecialNames {
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
    let listed = side_files.added_to(&vocabulary, &names, true);
    let (merges, lines) = merge_list(&merges_path, merges)?;
    let marks_ends = matches!(family, Family::Gpt | Family::Clip);
    let parts = BpeParts {
        vocabulary,
        table: None,
        merges,
        unk_token: names.unk.clone().filter(|_| marks_ends),
        continuing_subword_prefix: String::new(),
        end_of_word_suffix: if marks_ends { END_OF_WORD.to_owned() } else { String::new() },
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
    let add_prefix_space = side_files.add_prefix_space.unwrap_or(family == Family::Blenderbot);
    let processor = match family {
        Family::Gpt | Family::Gpt2 => PostProcessor::default(),
        Family::Blenderbot => {
            let end = TemplatePiece::Special { id: required("ends", &names.eos)?, type_id: 0 };
            let text = TemplatePiece::Sequence { index: 0, type_id: 0 };
            PostProcessor { single: Template::new(vec![text, end]), ..PostProcessor::default() }
        }
        Family::Clip => {
            let (begin, end) = (required("begins", &names.bos)?, required("ends", &names.eos)?);
            PostProcessor::roberta(begin, end, None)
        }
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
        Family::Clip => {
            let expression = |expression| {
                Pattern::regex(expression)
                    .map_err(|message| invalid(&merges_path, "the words of CLIP", "an expression", message))
            };
            let one_space = Replace { pattern: expression(r"\s+")?, content: " ".to_owned() };
            let words = Split { pattern: expression(CLIP_WORDS)?, behavior: Behavior::Removed, invert: true };
            let byte_level = ByteLevel { add_prefix_space: false, use_regex: true };
            let no_mark = Replace { pattern: Pattern::Literal(END_OF_WORD.to_owned()), content: " ".to_owned() };
            (
                Some(Normalizer::Sequence(vec![
                    Normalizer::Nfc,
                    Normalizer::Replace(one_space),
                    Normalizer::Lowercase,
                ])),
                PreTokenizer::Sequence(vec![PreTokenizer::Split(words), PreTokenizer::ByteLevel(byte_level)]),
                Decoder::Sequence(vec![
                    Decoder::ByteLevel,
                    Decoder::Replace(no_mark),
                    Decoder::Strip(StripDecoder { content: ' ', start: 0, stop: 1 }),
                ]),
            )
        }
        Family::Gpt2 | Family::Roberta | Family::Blenderbot => {
            (None, PreTokenizer::ByteLevel(ByteLevel { add_prefix_space, use_regex: true }), Decoder::ByteLevel)
        }
    };
    let added = AddedVocabulary::new(listed, ListedIds::Count, model.vocabulary(), normalizer.as_ref())
        .map_err(|fault| fault.of_side_files(&vocab_path))?;
    let pipeline = Pipeline::new(added, normalizer, Some(pre_tokenizer), Model::Bpe(model));
    Ok(side_files.tokenizer(pipeline, processor, decoder, names))
}

/// The merges, and the line of each.
fn merge_list(name: &str, bytes: &[u8]) -> Result<(MergeList, Vec<usize>), TokenizerError> {
    let fault = |line: usize, expected: &str, found: String| TokenizerError::Invalid {
        file: name.to_owned(),
        path: format!("line {line}"),
        expected: expected.to_owned(),
        found,
    };
    let text = utf8(name, bytes)?;
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
