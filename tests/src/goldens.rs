//! The files that the reference implementations left.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

/// A text with what the reference makes of it.
#[derive(Clone, Debug, Deserialize)]
pub struct SentenceCase {
    /// The text.
    pub text: String,
    /// Its ids, special tokens included, after truncation.
    pub ids: Vec<u32>,
    /// Whether it was cut.
    pub truncated: bool,
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A path below `tests/goldens`.
pub fn goldens(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(path)
}

/// The real sentences of `tests/data/sentences.txt`.
///
/// # Panics
/// If the file isn't there: it is part of the repository.
pub fn sentences() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sentences.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// A JSON file.
///
/// # Panics
/// If it can't be read as `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folder of the original model: `LOQUAT_MINILM_DIR`, else `.cache/minilm` as `tools/fetch_minilm.py` leaves it. Without one, a line
/// on stderr says that a test is skipped.
///
/// # Panics
/// If the variable names a folder without the model.
pub fn original_minilm() -> Option<PathBuf> {
    let folder = match std::env::var_os("LOQUAT_MINILM_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => repository().join(".cache/minilm"),
    };
    if folder.join("model.safetensors").is_file() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: {} holds no model.safetensors; fetch it with `python3 tools/fetch_minilm.py`",
        folder.display()
    );
    assert!(std::env::var_os("LOQUAT_MINILM_DIR").is_none(), "LOQUAT_MINILM_DIR names a folder without the model");
    None
}
