//! Transformer NLP in pure Rust: sentence embeddings and more, fast, exact and batch-invariant.
//!
//! ```
//! # #[cfg(feature = "embedded-model")] {
//! use loquat::{SentenceEmbeddings, similarity};
//!
//! let model = SentenceEmbeddings::builder().build()?;
//! let embeddings = model.encode(&["A cat sleeps on the sofa.", "The kitten is napping."])?;
//! let rows: Vec<&[f32]> = embeddings.iter().collect();
//! assert!(similarity(rows[0], rows[1])? > 0.5);
//! # }
//! # Ok::<(), loquat::Error>(())
//! ```
//!
//! * [`SentenceEmbeddings`] turns texts into vectors, with any sentence-transformers folder, any plain encoder folder, or the
//!   model that the feature `embedded-model` puts into the binary.
//! * [`Corpus`] finds the texts that are closest to a query.
//! * [`TextClassification`], [`TokenClassification`] (named entities, parts of speech), [`QuestionAnswering`],
//!   [`ZeroShotClassification`], [`FillMask`], [`MultipleChoice`] and [`Reranker`] give what the pipelines of transformers give for the same folder.
//! * [`FeatureExtraction`] gives the vectors of a text's tokens, [`KeywordExtraction`] finds what a text is about.
//! * [`Encoder`] runs a model on token ids and gives its named outputs.
//! * [`Quantizer`] writes a model folder with weights in fewer bits.
//! * [`Tokenizer`] turns texts into ids and back, with offsets.
//!
//! A model is `Send + Sync` and runs behind `&self`. A text's result never depends, to the last bit, on what else is in the
//! batch, on the number of threads, or on how a batch is split. No input makes a call panic: failures are [`Error`]s that say
//! what to do.

#![forbid(unsafe_code)]

mod compact_embeddings;
mod embeddings;
mod encoder;
mod error;
mod feature_extraction;
mod fill_mask;
mod keywords;
mod model;
mod multiple_choice;
mod pipeline;
mod progress;
mod quantize;
mod question_answering;
mod rerank;
mod search;
mod sentence_embeddings;
mod similarity;
mod text_classification;
mod token_classification;
mod zero_shot;

pub use compact_embeddings::EmbeddingRanges;
pub use embeddings::{Embeddings, Truncated};
pub use encoder::{Encoder, EncoderBuilder};
pub use error::{Error, TextProblem, error_chain};
pub use feature_extraction::{FeatureExtraction, FeatureExtractionBuilder, Features};
pub use fill_mask::{FillMask, FillMaskBuilder, MaskGuess};
pub use keywords::{Keyword, KeywordExtraction, KeywordExtractionBuilder, KeywordSelection};
pub use model::{ModelSource, load::load_tokenizer};
pub use multiple_choice::{Choice, MultipleChoice, MultipleChoiceBuilder};
pub use pipeline::{LabelScore, Results};
pub use progress::{CancelToken, Control, Progress};
pub use quantize::{LayerReport, QuantizationReport, Quantizer, TableFormat, TensorReport, WeightFormat};
pub use question_answering::{Answer, QuestionAnswering, QuestionAnsweringBuilder};
pub use rerank::{Ranked, Reranker, RerankerBuilder};
pub use search::{Corpus, Hit};
pub use sentence_embeddings::{Overlong, SentenceEmbeddings, SentenceEmbeddingsBuilder};
pub use similarity::{Metric, similarity};
pub use text_classification::{FunctionToApply, TextClassification, TextClassificationBuilder, TopK};
pub use token_classification::{AggregationStrategy, Entity, TokenClassification, TokenClassificationBuilder};
pub use zero_shot::{ZeroShotClassification, ZeroShotClassificationBuilder};

pub use loquat_models::{Labels, ProblemType, Task};
pub use loquat_runtime::{
    Batch, Inspection, Outputs, Precision, Profile, StepProfile, Tensor, graph::Graph, weights::Weights,
};
pub use loquat_tokenizer::{
    DecodeOptions, EncodeOptions, Encoding, Input, Padding, PaddingLength, Side, Tokenizer, TokenizerError, Truncation,
    TruncationStrategy,
};

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<SentenceEmbeddings>();
    shared_between_threads::<Encoder>();
    shared_between_threads::<Corpus>();
    shared_between_threads::<TextClassification>();
    shared_between_threads::<TokenClassification>();
    shared_between_threads::<QuestionAnswering>();
    shared_between_threads::<ZeroShotClassification>();
    shared_between_threads::<FeatureExtraction>();
    shared_between_threads::<FillMask>();
    shared_between_threads::<MultipleChoice>();
    shared_between_threads::<Reranker>();
    shared_between_threads::<KeywordExtraction>();
    shared_between_threads::<Error>();
};
