//! What can go wrong between a text and its embedding.

use std::{error::Error as StdError, io};

/// Any failure of this crate. Messages name the file, tensor or text they are about, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model name that isn't a folder.
    #[error(
        "model {name:?}: {problem}; a model is given as a folder with config.json, model.safetensors and tokenizer.json \
         (download the files of a model repository into one), or left out for the embedded default"
    )]
    NoSuchModel {
        /// What was asked for.
        name: String,
        /// Why it isn't a model.
        problem: &'static str,
    },
    /// The default model was asked for in a build without it.
    #[error("this build holds no embedded model: give a model folder, or build with the feature \"embedded-model\"")]
    NoEmbeddedModel,
    /// A file that can't be read.
    #[error("{path}: can't be read")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file that can't be written.
    #[error("{path}: can't be written")]
    Write {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A tensor that can't become what is asked for.
    #[error("{path}: tensor {tensor:?}: {problem}")]
    Tensor {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
        /// What is wrong, what was expected.
        problem: String,
    },
    /// A file that isn't the JSON it should be.
    #[error("{path}: not the JSON that is expected here")]
    Json {
        /// The file.
        path: String,
        /// Where and why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A configuration that asks for what can't be, or for what isn't supported.
    #[error("{path}: {problem}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong, what was expected.
        problem: String,
    },
    /// A setting of a builder that doesn't fit the model.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong, what was expected.
        problem: String,
    },
    /// The model can't be built: its configuration, or its configuration together with its weights.
    #[error(transparent)]
    Model(#[from] loquat_models::ModelError),
    /// The weights can't be read.
    #[error(transparent)]
    Weights(#[from] loquat_runtime::weights::WeightsError),
    /// The weights don't fit the model, or the machine can't run it.
    #[error(transparent)]
    Session(#[from] loquat_runtime::SessionError),
    /// The tokenizer can't be loaded, or was asked for what it can't do.
    #[error(transparent)]
    Tokenizer(#[from] loquat_tokenizer::TokenizerError),
    /// Ids that make no batch.
    #[error(transparent)]
    Batch(#[from] loquat_runtime::BatchError),
    /// A batch that the model refuses.
    #[error(transparent)]
    Run(#[from] loquat_runtime::RunError),
    /// One of the texts can't be used.
    #[error("text {index}: {problem}")]
    Text {
        /// Which text, from 0.
        index: usize,
        /// Why.
        problem: TextProblem,
    },
    /// An output that the model should have and hasn't.
    #[error("the model has no output {name:?}")]
    NoOutput {
        /// The output.
        name: String,
    },
    /// Embeddings of different sizes were compared.
    #[error("embeddings of {expected} and of {found} values can't be compared: both must come from the same model")]
    Dimensions {
        /// Values of the first.
        expected: usize,
        /// Values of the second.
        found: usize,
    },
    /// The caller stopped the run.
    #[error("cancelled after {done} of {total} texts")]
    Cancelled {
        /// Texts that were done.
        done: usize,
        /// All texts.
        total: usize,
    },
}

/// Why a text can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextProblem {
    /// It can't be tokenized as asked.
    #[error(transparent)]
    Tokenize(#[from] loquat_tokenizer::TokenizerError),
    /// It is longer than the model takes, and truncation is an error.
    #[error("{tokens} tokens, the model takes {limit}: shorten or split it, or allow truncation")]
    TooLong {
        /// How many tokens it has, special tokens included.
        tokens: usize,
        /// How many the model takes.
        limit: usize,
    },
    /// There are no labels to choose from.
    #[error("no labels to choose from: give at least one")]
    NoLabels,
    /// There is no mask in it.
    #[error("there is no mask in it: write {mask} where a token is to be guessed")]
    NoMask {
        /// The text that stands for a mask.
        mask: String,
    },
    /// The tokenizer gives an id that the model doesn't have.
    #[error("{what} {found} of the tokenizer is out of range, the model has {limit}: they are of different models")]
    Id {
        /// What kind of id it is.
        what: &'static str,
        /// The id.
        found: u32,
        /// How many the model has.
        limit: usize,
    },
}

/// An error and its causes as one line, each after a colon.
///
/// ```
/// let missing = loquat::SentenceEmbeddings::builder().model("no/such/folder").build().unwrap_err();
/// assert!(loquat::error_chain(&missing).starts_with("model \"no/such/folder\": there is no such folder"));
/// ```
pub fn error_chain(error: &(dyn StdError + 'static)) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_message = cause.to_string();
        // A transparent or quoting error has said it already.
        if !message.contains(&cause_message) {
            message.push_str(": ");
            message.push_str(&cause_message);
        }
        next = cause.source();
    }
    message
}
