//! ByT5: no vocabulary at all. A token is a byte of UTF-8, its id the byte's number after three special tokens.

use std::path::Path;

use super::side_files::SideFiles;
use crate::added_vocabulary::{AddedVocabulary, ListedIds};
use crate::byte_alphabet::CHARS;
use crate::decoders::Decoder;
use crate::models::vocabulary::VocabularyBuilder;
use crate::models::{Bpe, BpeParts, MergeList, Model};
use crate::pipeline::Pipeline;
use crate::pre_tokenizers::{ByteLevel, PreTokenizer};
use crate::processors::{PostProcessor, Template, TemplatePiece};
use crate::special_tokens::SpecialNames;
use crate::{Tokenizer, TokenizerError};

/// In the order of their ids.
const SPECIAL: [&str; 3] = ["<pad>", EOS, "<unk>"];
const EOS: &str = "</s>";
const EOS_ID: u32 = 1;
const EXTRA_IDS: u32 = 125;

/// Whether the side files are those of ByT5.
pub(super) fn is_meant(side_files: &SideFiles) -> bool {
    side_files.tokenizer_class.as_deref() == Some("ByT5Tokenizer")
}

/// Byte-level BPE that has all bytes and no merges.
pub(super) fn load(folder: &Path, mut side_files: SideFiles) -> Result<Tokenizer, TokenizerError> {
    let name = folder.join("tokenizer_config.json").display().to_string();
    let invalid = |found: String| TokenizerError::Invalid {
        file: name.clone(),
        path: "$".to_owned(),
        expected: "special tokens beside the bytes".to_owned(),
        found,
    };
    let bytes = CHARS.iter().map(|c| c.to_string());
    let mut builder = VocabularyBuilder::default();
    for (token, id) in SPECIAL.into_iter().map(str::to_owned).chain(bytes).zip(0..) {
        builder.push(&token, id).map_err(|fault| invalid(format!("{fault:?}")))?;
    }
    let parts = BpeParts {
        vocabulary: builder.build().map_err(|fault| invalid(format!("{fault:?}")))?,
        table: None,
        merges: MergeList::default(),
        unk_token: None,
        continuing_subword_prefix: String::new(),
        end_of_word_suffix: String::new(),
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
    };
    let model = Bpe::new(parts).map_err(|fault| invalid(fault.found()))?;
    if side_files.additional_special_tokens.is_empty() && side_files.added_tokens.is_empty() {
        let extra = 0..side_files.extra_ids.unwrap_or(EXTRA_IDS);
        side_files.additional_special_tokens = extra.map(|number| format!("<extra_id_{number}>")).collect();
    }
    let [pad, eos, unk] = SPECIAL.map(|token| Some(token.to_owned()));
    let names = SpecialNames { pad, eos, unk, ..SpecialNames::default() };
    let mut listed = side_files.added_to(model.vocabulary(), &names, false);
    for token in listed.iter_mut().filter(|token| SPECIAL.contains(&&*token.content)) {
        (token.lstrip, token.rstrip) = (true, true);
    }
    let added = AddedVocabulary::new(listed, ListedIds::Count, model.vocabulary(), None)
        .map_err(|fault| fault.of_side_files(&name))?;
    let end = TemplatePiece::Special { id: EOS_ID, type_id: 0 };
    let text = |index| TemplatePiece::Sequence { index, type_id: 0 };
    let processor = PostProcessor {
        single: Template::new(vec![text(0), end]),
        pair: Template::new(vec![text(0), end, text(1), end]),
        trim: None,
    };
    let words = PreTokenizer::ByteLevel(ByteLevel { add_prefix_space: false, use_regex: false });
    let pipeline = Pipeline::new(added, None, Some(words), Model::Bpe(model));
    Ok(side_files.tokenizer(pipeline, processor, Decoder::ByteLevel, names))
}
