//! What can go wrong, and what to do about it.

use std::path::PathBuf;

/// Why a tokenizer could not be loaded, or a text not be encoded.
///
/// Every message names the file or the argument, where in it, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file could not be read.
    #[error("{path}: can't be read: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A folder holds no tokenizer.
    #[error(
        "{path}: no tokenizer here: expected a file tokenizer.json, a SentencePiece model (sentencepiece.bpe.model, spiece.model, \
         spm.model, tokenizer.model, sentencepiece.model, source.spm), merges.txt with vocab.json, or vocab.txt",
        path = path.display()
    )]
    NoTokenizer {
        /// The folder.
        path: PathBuf,
    },

    /// A file is not JSON, or its JSON has another shape than expected.
    #[error("{file}, line {line}, column {column} ({path}): {message}")]
    Json {
        /// The file.
        file: String,
        /// The value that was being read, as a path from the root `$`.
        path: String,
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault in bytes, from 1; 0 where the fault is the line as a whole.
        column: usize,
        /// What was expected and what was found.
        message: String,
    },

    /// A component of `tokenizer.json` that this version doesn't know.
    #[error("{file} ({path}): {component} of type {found:?} is not supported; supported are {supported}")]
    Unsupported {
        /// The file.
        file: String,
        /// Where in the file, as a path from the root `$`.
        path: String,
        /// What kind of component: `normalizer`, `model`, …
        component: &'static str,
        /// Its type.
        found: String,
        /// The types that would do.
        supported: &'static str,
    },

    /// A value is well-formed but makes no sense.
    #[error("{file} ({path}): expected {expected}, found {found}")]
    Invalid {
        /// The file.
        file: String,
        /// Where in the file: a path from the root `$`, or a line.
        path: String,
        /// What would have done.
        expected: String,
        /// What is there.
        found: String,
    },

    /// A word can't be encoded: its unknown parts have no token to stand for them.
    #[error("{word:?} is unknown, and the token for what is unknown, {unk_token:?}, is not in the vocabulary")]
    NoUnknownToken {
        /// The name that the model gives the token.
        unk_token: String,
        /// The word, or its beginning.
        word: String,
    },

    /// A regular expression of the file gave up on a text.
    #[error("the regular expression {pattern:?} can't split the text: {message}")]
    Regex {
        /// The expression.
        pattern: String,
        /// What its engine says.
        message: String,
    },

    /// The text has 4 GiB or more.
    #[error("a text of {bytes} bytes is too long to encode: split it below {limit} bytes")]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
        /// The first length that is too long.
        limit: usize,
    },

    /// `max_length` leaves no room for the special tokens alone.
    #[error(
        "max_length {max_length} is less than the {special_tokens} special tokens that are added: \
         raise it or encode without special tokens"
    )]
    MaxLengthTooSmall {
        /// What was asked for; it counts the special tokens.
        max_length: usize,
        /// How many special tokens the template adds.
        special_tokens: usize,
    },

    /// Windows that overlap by `stride` tokens would not move forward.
    #[error(
        "stride {stride} must be less than the {room} tokens of a window \
         (max_length less special tokens, or a sequence's share of it)"
    )]
    StrideTooLarge {
        /// Tokens that neighbouring windows share.
        stride: usize,
        /// Tokens of the text in one window.
        room: usize,
    },

    /// `only_second` without a second text.
    #[error("truncation strategy only_second needs a pair of texts, found one text")]
    NoSecondSequence,

    /// The one sequence that may be truncated is too short for it.
    #[error(
        "truncation strategy {strategy} would have to remove {remove} tokens from a sequence of {length}: \
         raise max_length or use longest_first"
    )]
    SequenceTooShort {
        /// The strategy, as the reference names it.
        strategy: &'static str,
        /// Tokens that must go.
        remove: usize,
        /// Tokens there are.
        length: usize,
    },

    /// The overflow would be beyond reason; both texts of a pair overflow in every combination of their windows.
    #[error(
        "the overflow would take {tokens} tokens in all, more than {limit}: \
         raise max_length, lower the stride or don't ask for overflow"
    )]
    TooMuchOverflow {
        /// How many tokens all windows would have.
        tokens: usize,
        /// How many are allowed.
        limit: usize,
    },

    /// A batch has more ids than 32 bits can count.
    #[error("the batch has {tokens} tokens, more than {}: split it", u32::MAX)]
    BatchTooLarge {
        /// How many ids all texts have.
        tokens: usize,
    },

    /// The padded length can't be held in memory.
    #[error("padding to {length} tokens is more than memory can hold: lower the padded length")]
    PaddingTooLong {
        /// The length to pad to.
        length: usize,
    },
}

/// Characters of a word that an error shows.
const SHOWN: usize = 40;

impl TokenizerError {
    pub(crate) fn no_unknown_token(unk_token: &str, word: &str) -> Self {
        TokenizerError::NoUnknownToken { unk_token: unk_token.to_owned(), word: word.chars().take(SHOWN).collect() }
    }
}
