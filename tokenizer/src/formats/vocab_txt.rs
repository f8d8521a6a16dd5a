//! `vocab.txt`, the format of the original BERT: one token a line, its id the number of the line from 0.

use std::collections::HashMap;

use super::side_files::SideFiles;
use super::utf8;
use crate::added_vocabulary::{AddedVocabulary, ListedIds};
use crate::decoders::{Decoder, WordPieceDecoder};
use crate::models::vocabulary::{VocabularyBuilder, VocabularyFault};
use crate::models::{Model, Vocabulary, WordPiece, WordPieceParts};
use crate::normalizers::{BertNormalizer, Normalizer};
use crate::pipeline::Pipeline;
use crate::pre_tokenizers::PreTokenizer;
use crate::processors::PostProcessor;
use crate::special_tokens::SpecialNames;
use crate::{Tokenizer, TokenizerError};

const PREFIX: &str = "##";
const MAX_INPUT_CHARS_PER_WORD: usize = 100;

/// The tokenizers that read a `vocab.txt` just as BERT does. Others put other special tokens around a text, or
/// split it in other ways, which the file doesn't say.
const BERT_LIKE: [&str; 12] = [
    "BertTokenizer",
    "ConvBertTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DPRReaderTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "MobileBertTokenizer",
    "RetriBertTokenizer",
    "SqueezeBertTokenizer",
];
const BERT_LIKE_NAMES: &str = "BertTokenizer, ConvBertTokenizer, DPR…Tokenizer, DistilBertTokenizer, \
    ElectraTokenizer, LayoutLMTokenizer, LxmertTokenizer, MobileBertTokenizer, RetriBertTokenizer, SqueezeBertTokenizer";

pub(crate) fn parse(name: &str, bytes: &[u8], side_files: &SideFiles) -> Result<Tokenizer, TokenizerError> {
    if let Some(class) = &side_files.tokenizer_class {
        let slow = class.strip_suffix("Fast").unwrap_or(class);
        if !BERT_LIKE.contains(&slow) && slow != "PreTrainedTokenizer" {
            return Err(TokenizerError::Unsupported {
                file: name.to_owned(),
                path: "tokenizer_class of tokenizer_config.json".to_owned(),
                component: "a vocab.txt for a tokenizer",
                found: class.clone(),
                supported: BERT_LIKE_NAMES,
            });
        }
    }
    let invalid = |path: &str, expected: String, found: String| TokenizerError::Invalid {
        file: name.to_owned(),
        path: path.to_owned(),
        expected,
        found,
    };
    let vocabulary = vocabulary(name, bytes)?;
    let names = side_files.names.clone().or(SpecialNames::bert());
    let required = |part: &str, token: &Option<String>| {
        let token = token.as_deref().unwrap_or_default();
        vocabulary.token_to_id(token).ok_or_else(|| {
            let expected = format!("a line with the {part} {token:?}");
            invalid("all lines", expected, "none".to_owned())
        })
    };
    let cls = required("token that begins a text", &names.cls)?;
    let sep = required("token that ends a text", &names.sep)?;
    required("token for unknown words", &names.unk)?;

    let normalizer = Normalizer::Bert(BertNormalizer::new(
        true,
        side_files.tokenize_chinese_chars.unwrap_or(true),
        side_files.strip_accents,
        side_files.do_lower_case.unwrap_or(true),
    ));
    let listed = side_files.added_to(&vocabulary, &names, false);
    let added = AddedVocabulary::new(listed, ListedIds::Count, &vocabulary, Some(&normalizer))
        .map_err(|fault| fault.of_side_files(name))?;
    let parts = WordPieceParts {
        vocabulary,
        unk_token: names.unk.clone().unwrap_or_default(),
        continuing_subword_prefix: PREFIX.to_owned(),
        max_input_chars_per_word: MAX_INPUT_CHARS_PER_WORD,
    };
    let model = WordPiece::new(parts).map_err(|fault| {
        let expected = "every token once, and one for unknown words".to_owned();
        invalid("all lines", expected, format!("{fault:?}"))
    })?;
    let pipeline = Pipeline::new(added, Some(normalizer), Some(PreTokenizer::Bert), Model::WordPiece(model));
    let decoder = Decoder::WordPiece(WordPieceDecoder { prefix: PREFIX.to_owned(), cleanup: true });
    Ok(side_files.tokenizer(pipeline, PostProcessor::bert(cls, sep), decoder, names))
}

/// The last of several equal lines counts, as the reference has it.
fn vocabulary(name: &str, bytes: &[u8]) -> Result<Vocabulary, TokenizerError> {
    let fault = |line: usize, expected: &str, found: String| TokenizerError::Invalid {
        file: name.to_owned(),
        path: format!("line {line}"),
        expected: expected.to_owned(),
        found,
    };
    let text = utf8(name, bytes)?;
    let fault_of_all = |error: VocabularyFault| {
        let line = match &error {
            VocabularyFault::Collides(token) => text.lines().position(|line| line == token).unwrap_or(0),
            _ => 0,
        };
        fault(line + 1, "a vocabulary that can be looked up", error.found())
    };
    let all = |_: usize, _: &str| true;
    match builder(text, fault, all)?.build() {
        Err(VocabularyFault::DuplicateToken(_)) => {
            let last: HashMap<&str, usize> = text.lines().enumerate().map(|(id, token)| (token, id)).collect();
            builder(text, fault, |id, token| last.get(token) == Some(&id))?.build().map_err(fault_of_all)
        }
        result => result.map_err(fault_of_all),
    }
}

/// The lines that `keeps` accepts by their number and text.
fn builder(
    text: &str,
    fault: impl Fn(usize, &str, String) -> TokenizerError,
    keeps: impl Fn(usize, &str) -> bool,
) -> Result<VocabularyBuilder, TokenizerError> {
    let mut builder = VocabularyBuilder::default();
    for (id, token) in text.lines().enumerate().filter(|&(id, token)| keeps(id, token)) {
        let id = u32::try_from(id).map_err(|_| fault(id + 1, "fewer than 2^32 lines", "more".to_owned()))?;
        builder.push(token, id).map_err(|_| fault(id as usize + 1, "less than 4 GiB of tokens", "more".to_owned()))?;
    }
    Ok(builder)
}
