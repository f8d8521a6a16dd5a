//! From what a user calls a model to its files. Everything that knows where models come from is here.

use std::path::{Path, PathBuf};

use super::files::ModelFiles;
use crate::Error;

/// Which model to use.
///
/// A string or path is a folder; [`ModelSource::Embedded`], the default, is the model inside the binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSource {
    /// all-MiniLM-L6-v2 with int8 weights, which the feature `embedded-model` puts into the binary.
    #[default]
    Embedded,
    /// A model folder: `config.json`, weights and tokenizer, with or without sentence-transformers' `modules.json`.
    Folder(PathBuf),
}

impl From<&Path> for ModelSource {
    fn from(path: &Path) -> Self {
        ModelSource::Folder(path.to_owned())
    }
}

impl From<&PathBuf> for ModelSource {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<PathBuf> for ModelSource {
    fn from(path: PathBuf) -> Self {
        ModelSource::Folder(path)
    }
}

impl From<&str> for ModelSource {
    fn from(path: &str) -> Self {
        ModelSource::Folder(path.into())
    }
}

impl From<String> for ModelSource {
    fn from(path: String) -> Self {
        ModelSource::Folder(path.into())
    }
}

/// The model's files.
pub(crate) fn resolve(source: &ModelSource) -> Result<ModelFiles, Error> {
    match source {
        ModelSource::Embedded => embedded(),
        ModelSource::Folder(path) if path.is_dir() => Ok(ModelFiles::Folder(path.clone())),
        ModelSource::Folder(path) => Err(Error::NoSuchModel {
            name: path.display().to_string(),
            problem: match path.try_exists() {
                Ok(true) => "a file, not a folder",
                Ok(false) => "there is no such folder",
                Err(_) => "the folder can't be reached",
            },
        }),
    }
}

/// Bytes that begin where a cache line does, as the tables in them want it.
#[cfg(feature = "embedded-model")]
#[repr(align(64))]
struct Aligned<B: ?Sized>(B);

#[cfg(feature = "embedded-model")]
fn embedded() -> Result<ModelFiles, Error> {
    macro_rules! files {
        ($($path:literal),* $(,)?) => {
            &[$(($path, {
                static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/../assets/all-MiniLM-L6-v2-int8/",
                    $path
                )));
                &FILE.0
            })),*]
        };
    }
    static FILES: &[(&str, &[u8])] = files![
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "tokenizer.loqtok",
    ];
    Ok(ModelFiles::Embedded { name: "embedded all-MiniLM-L6-v2-int8", files: FILES })
}

#[cfg(not(feature = "embedded-model"))]
fn embedded() -> Result<ModelFiles, Error> {
    Err(Error::NoEmbeddedModel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_folder_says_how_to_get_one() {
        let error = resolve(&"sentence-transformers/no-such-model".into()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("sentence-transformers/no-such-model"), "{message}");
        assert!(message.contains("no such folder"), "{message}");
        assert!(message.contains("config.json"), "{message}");
    }

    #[cfg(feature = "embedded-model")]
    #[test]
    fn the_embedded_model_has_the_files_that_a_folder_needs() {
        let files = resolve(&ModelSource::Embedded).unwrap();
        for path in ["config.json", "model.safetensors", "tokenizer.loqtok", "modules.json", "1_Pooling/config.json"] {
            assert!(files.read(path).unwrap().is_some_and(|bytes| !bytes.is_empty()), "{path}");
        }
        assert!(files.read("no.json").unwrap().is_none());
    }
}
