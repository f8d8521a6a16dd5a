//! What can be wrong with weights.

use std::{fmt, io, path::PathBuf};

/// Weights that can't be opened, or that don't fit the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file can't be opened or mapped.
    #[error("can't open {}: {source}", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder with weights in a format that isn't read.
    #[error(
        "{} holds its weights as {found}, which isn't supported: save them as model.safetensors or pytorch_model.bin",
        folder.display()
    )]
    Format {
        /// The folder.
        folder: PathBuf,
        /// The file that was found.
        found: &'static str,
    },
    /// A folder without weights.
    #[error("{} has no weights: expected a model.safetensors, pytorch_model.bin, rust_model.ot or model.npz", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// The file isn't a complete safetensors file.
    #[error("{file} is no valid safetensors file: {what}")]
    Header {
        /// The file.
        file: String,
        /// What is expected, and what was found.
        what: String,
    },
    /// The file isn't one that PyTorch saved tensors in, or holds more than tensors.
    #[error("{file} can't be read as tensors that PyTorch saved: {what}")]
    Torch {
        /// The file.
        file: String,
        /// What is expected, and what was found.
        what: String,
    },
    /// The file isn't an archive of NumPy arrays, or is one that can't be read in place.
    #[error("{file} can't be read as arrays that NumPy saved: {what}")]
    Npz {
        /// The file.
        file: String,
        /// What is expected, and what was found.
        what: String,
    },
    /// The index of several files isn't one, or says something else than they do.
    #[error("{file} is no valid index of weights: {what}")]
    Index {
        /// The index.
        file: String,
        /// What is expected, and what was found.
        what: String,
    },
    /// The header says something impossible about a tensor.
    #[error("{file}: tensor {tensor:?}: {what}")]
    Tensor {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What is expected, and what was found.
        what: String,
    },
    /// Two files hold a tensor of the same name.
    #[error("tensor {tensor:?} is both in {first} and in {second}")]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// The weights are quantised in a way that isn't read.
    #[error("{file}: the weights are quantised by {method}: {what}")]
    Quantization {
        /// The configuration that says so.
        file: String,
        /// The method.
        method: String,
        /// What isn't supported, and what to do.
        what: String,
    },
    /// Tensors that the model needs are missing or have another shape or type.
    #[error("{file} doesn't hold what the model needs: {}", ListOf(problems))]
    Mismatch {
        /// The file.
        file: String,
        /// All that is wrong.
        problems: Vec<TensorProblem>,
    },
}

/// How a tensor differs from what the model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorProblem {
    /// Name of the tensor.
    pub tensor: String,
    /// What is expected, and what was found.
    pub what: String,
}

/// Problems on one line, not more than a reader wants to see.
struct ListOf<'a>(&'a [TensorProblem]);

impl fmt::Display for ListOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (i, problem) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}tensor {:?}: {}", if i == 0 { "" } else { "; " }, problem.tensor, problem.what)?;
        }
        if self.0.len() > SHOWN {
            write!(f, "; and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}
