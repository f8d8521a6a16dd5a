//! A model folder: which file tells how to tokenize, and what the others add.

use std::path::Path;

use super::side_files::SideFiles;
use super::{byt5, read_if_there, sentencepiece, tokenizer_json, vocab_and_merges, vocab_txt};
use crate::{Tokenizer, TokenizerError};

pub(crate) fn load(folder: &Path) -> Result<Tokenizer, TokenizerError> {
    let side_files = SideFiles::read(folder)?;
    let path = folder.join("tokenizer.json");
    if let Some(bytes) = read_if_there(&path)? {
        return tokenizer_json::parse(&path.display().to_string(), &bytes, &side_files);
    }
    if byt5::is_meant(&side_files) {
        return byt5::load(folder, side_files);
    }
    if let Some(tokenizer) = sentencepiece::load(folder, &side_files)? {
        return Ok(tokenizer);
    }
    if let Some(bytes) = read_if_there(&folder.join("merges.txt"))? {
        return vocab_and_merges::load(folder, &bytes, side_files);
    }
    let path = folder.join("vocab.txt");
    if let Some(bytes) = read_if_there(&path)? {
        return vocab_txt::parse(&path.display().to_string(), &bytes, &side_files);
    }
    Err(TokenizerError::NoTokenizer { path: folder.to_owned() })
}
