//! Tokenizers for transformer models, exact to the reference, with offsets.
//!
//! A [`Tokenizer`] is read from the files of a published model (`tokenizer.json`, `vocab.txt`, `vocab.json` with
//! `merges.txt`, SentencePiece's `.model`) and gives the ids that Hugging Face's `tokenizers` gives for the same text, to the
//! last one, along with the place of each token in the original text.
//!
//! ```
//! # let folder = std::env::temp_dir().join(format!("loquat-tokenizer-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # std::fs::write(folder.join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n,\n")?;
//! use loquat_tokenizer::{EncodeOptions, Tokenizer};
//!
//! let tokenizer = Tokenizer::from_folder(&folder)?;
//! let encoding = tokenizer.encode("Hello, world", None, &EncodeOptions::default())?;
//! assert_eq!(encoding.ids, [2, 5, 7, 6, 3]);
//! assert_eq!(encoding.offsets, [(0, 0), (0, 5), (5, 6), (7, 12), (0, 0)]);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Making tables of a large vocabulary takes up to a tenth of a second. [`Tokenizer::to_compiled`] gives them as they are, and
//! [`Tokenizer::from_compiled`] uses them in place from a mapped file.
//!
//! The way of a text: added tokens are cut out, the normalizer changes the text, the pre-tokenizer splits it into words,
//! the model turns each word into tokens, the post-processor puts special tokens around them. A decoder goes the
//! other way. There is a module for each of these, and one for the file formats.

#![forbid(unsafe_code)]

mod added_vocabulary;
mod batch;
mod both;
mod byte_alphabet;
mod char_offsets;
#[cfg(test)]
mod collisions;
mod compiled;
mod decode_stream;
mod decoders;
mod double_array;
mod encoding;
mod error;
mod formats;
mod ids_batch;
mod large_table;
mod models;
mod normalized;
mod normalizers;
mod numbers;
mod options;
mod pipeline;
mod pool;
mod pre_tokenizers;
mod probes;
mod processors;
mod special_tokens;
mod tokenizer;
mod truncation;
mod unicode;

pub use added_vocabulary::AddedToken;
pub use decode_stream::DecodeStream;
pub use encoding::Encoding;
pub use error::TokenizerError;
pub use ids_batch::IdsBatch;
pub use options::{DecodeOptions, EncodeOptions, Input, Padding, PaddingLength, Side, Truncation, TruncationStrategy};
pub use special_tokens::{SpecialToken, SpecialTokens};
pub use tokenizer::{IdsEncoded, Tokenizer};
