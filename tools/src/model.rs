//! The options that choose a model and how it runs.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueEnum};
use loquat::{Embeddings, ModelSource, SentenceEmbeddings, SentenceEmbeddingsBuilder, Tokenizer, Truncated};

use crate::{failure::Failure, item::Place};

/// Which model.
#[derive(Clone, Debug, Args)]
pub struct ModelArgs {
    /// Model folder, or a tokenizer's file where only that is needed [default: the embedded all-MiniLM-L6-v2]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

impl ModelArgs {
    /// The folder, or the embedded model.
    pub fn source(&self) -> ModelSource {
        self.model.clone().map_or(ModelSource::Embedded, ModelSource::Folder)
    }

    /// The model's tokenizer alone.
    pub fn tokenizer(&self) -> Result<Tokenizer, Failure> {
        Ok(loquat::load_tokenizer(self.source())?)
    }
}

/// How a model runs.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Arithmetic of the matrix products
    #[arg(long, value_enum, value_name = "PRECISION", default_value = "auto")]
    pub precision: Precision,
}

/// Arithmetic of the matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// Two bf16 for each value: nearly as exact as f32. Needs AMX, else f32 runs.
    Bf16x3,
    /// bf16 values, sums in f32. Needs AMX, else f32 runs.
    Bf16,
    /// Bytes, with a scale for each row of activations and each column of weights.
    Int8,
    /// Weights of four bits, with a scale for each 32; activations of 16. Reads the least memory.
    Int4,
    /// The fastest that stays within f32's tolerance on this machine.
    Auto,
}

impl From<Precision> for loquat::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => loquat::Precision::F32,
            Precision::Bf16x3 => loquat::Precision::Bf16x3,
            Precision::Bf16 => loquat::Precision::Bf16,
            Precision::Int8 => loquat::Precision::Int8,
            Precision::Int4 => loquat::Precision::Int4,
            Precision::Auto => loquat::Precision::Auto,
        }
    }
}

/// The options of the commands that embed texts.
#[derive(Clone, Debug, Args)]
pub struct EmbeddingArgs {
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub run: RunArgs,

    /// Cut texts to N tokens, special tokens included [default: what the model says]
    #[arg(long, value_name = "N")]
    pub max_length: Option<NonZeroUsize>,
}

impl EmbeddingArgs {
    /// The model, ready.
    pub fn load(&self) -> Result<SentenceEmbeddings, Failure> {
        Ok(self.builder().build()?)
    }

    /// The model with these options, about to be loaded.
    pub fn builder(&self) -> SentenceEmbeddingsBuilder {
        let mut builder = SentenceEmbeddings::builder().model(self.model.source()).precision(self.run.precision.into());
        if let Some(threads) = self.run.threads {
            builder = builder.threads(threads.get());
        }
        if let Some(max_length) = self.max_length {
            builder = builder.max_length(max_length.get());
        }
        builder
    }
}

/// The options of the commands that run a pipeline.
#[derive(Clone, Debug, Args)]
pub struct PipelineArgs {
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub run: RunArgs,

    /// The longest input in tokens, special tokens included [default: what the model says]
    #[arg(long, value_name = "N")]
    pub max_length: Option<NonZeroUsize>,
}

/// Hands [`PipelineArgs`] to a pipeline's builder.
macro_rules! configured {
    ($builder:expr, $args:expr) => {{
        let args: &$crate::model::PipelineArgs = &$args;
        let mut builder = $builder.model(args.model.source()).precision(args.run.precision.into());
        if let Some(threads) = args.run.threads {
            builder = builder.threads(threads.get());
        }
        if let Some(max_length) = args.max_length {
            builder = builder.max_length(max_length.get());
        }
        builder
    }};
}
pub(crate) use configured;

/// Counts texts that were cut, to say so once at the end.
#[derive(Default)]
pub struct TruncationReport {
    texts: usize,
    cut: usize,
    first: Option<(Place, Truncated)>,
}

impl TruncationReport {
    /// Takes note of a chunk: `places[i]` is where text `i` of `embeddings` stood.
    pub fn add(&mut self, embeddings: &Embeddings, places: &[Place]) {
        self.note(embeddings.len(), embeddings.truncated(), places);
    }

    /// The same for `texts` texts of which `truncated` were cut.
    pub fn note(&mut self, texts: usize, truncated: &[Truncated], places: &[Place]) {
        self.texts += texts;
        self.cut += truncated.len();
        if let (None, Some(&first)) = (&self.first, truncated.first()) {
            self.first = places.get(first.index).cloned().map(|place| (place, first));
        }
    }

    /// Says on stderr how many texts were cut, if any were.
    pub fn print(self) {
        if let Some((place, Truncated { tokens, kept, .. })) = self.first {
            eprintln!(
                "loquat: {} of {} texts were cut to {kept} tokens; the first is {place}, with {tokens} tokens",
                self.cut, self.texts
            );
        }
    }
}

/// For each text, whether it was cut.
pub fn truncated_flags(embeddings: &Embeddings) -> Vec<bool> {
    let mut flags = vec![false; embeddings.len()];
    for truncated in embeddings.truncated() {
        if let Some(flag) = flags.get_mut(truncated.index) {
            *flag = true;
        }
    }
    flags
}
