//! Checkpoints in several files, which an index lists.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{Weights, WeightsError};

/// An index as Hugging Face writes it.
#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// Opens the files that an index lists. Each tensor must be in the file that the index names for it, and in no other.
pub(super) fn open(index: &Path) -> Result<Weights, WeightsError> {
    let fault = |what: String| WeightsError::Index { file: index.display().to_string(), what };
    let bytes = std::fs::read(index).map_err(|source| WeightsError::Open { file: index.to_owned(), source })?;
    let Index { weight_map } = serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
    let mut files: Vec<&str> = weight_map.values().map(String::as_str).collect();
    files.sort_unstable();
    files.dedup();
    let folder = index.parent().unwrap_or(Path::new(""));
    let mut weights = Weights::default();
    for file in files {
        if file.contains(['/', '\\']) || matches!(file, "" | "." | "..") {
            return Err(fault(format!("{file:?} isn't the name of a file beside it")));
        }
        let shard = Weights::open_file(&folder.join(file))?;
        if let Some(name) = shard.names().find(|name| weight_map.get(*name).is_none_or(|listed| listed != file)) {
            return Err(fault(match weight_map.get(name) {
                Some(listed) => format!("it lists tensor {name:?} in {listed}, but {file} holds one of that name"),
                None => format!("{file} holds tensor {name:?}, which it doesn't list"),
            }));
        }
        weights = weights.join("", shard)?;
    }
    match weight_map.iter().find(|(name, _)| weights.get(name).is_none()) {
        Some((name, file)) => Err(fault(format!("it lists tensor {name:?} in {file}, which doesn't hold it"))),
        None => Ok(weights),
    }
}
