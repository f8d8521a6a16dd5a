//! The files that tokenizers are published in: one file per format.

mod base64;
mod byt5;
mod file_bytes;
pub(crate) mod folder;
mod json;
mod merges;
mod outline;
mod protobuf;
pub(crate) mod sentencepiece;
mod side_files;
pub(crate) mod tokenizer_json;
mod vocab_and_merges;
pub(crate) mod vocab_txt;
mod vocabulary_map;

use std::path::Path;

use file_bytes::FileBytes;

use crate::TokenizerError;

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<FileBytes, TokenizerError> {
    FileBytes::read(path).map_err(|source| TokenizerError::Io { path: path.to_owned(), source })
}

/// Reads a whole file, if there is one.
fn read_if_there(path: &Path) -> Result<Option<FileBytes>, TokenizerError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(TokenizerError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of a file of lines.
fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, TokenizerError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        TokenizerError::Invalid {
            file: name.to_owned(),
            path: format!("line {}", 1 + before.iter().filter(|&&byte| byte == b'\n').count()),
            expected: "UTF-8".to_owned(),
            found: format!("the byte 0x{byte:02X}, which is not"),
        }
    })
}
