//! A model by itself: token ids in, its named outputs out.

use std::sync::Arc;

use loquat_models::{Model, Task};
use loquat_runtime::{Batch, Inspection, Outputs, Precision, Profile, Session, weights::Weights};

use crate::{
    Error, ModelSource,
    model::{
        load::{self, RunOptions},
        modules::Modules,
        resolve,
    },
};

/// A model without a tokenizer: it runs ragged batches of token ids and gives the outputs that the reference
/// implementation names, such as `last_hidden_state` (`[tokens, hidden]`) and `pooler_output` (`[sequences, hidden]`).
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// use loquat::{Batch, Encoder};
///
/// let encoder = Encoder::builder().build()?;
/// // Two sequences of different lengths; nothing is padded.
/// let outputs = encoder.run(&Batch::from_ids(&[vec![101, 7592, 102], vec![101, 2088, 999, 102]])?)?;
/// let hidden = outputs.get("last_hidden_state").expect("every encoder has it");
/// assert_eq!(hidden.shape, [7, 384]);
/// assert_eq!(outputs.cu_seqlens(), [0, 3, 7]);
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct Encoder {
    session: Session,
    weights: Arc<Weights>,
    config: String,
    model: Box<dyn Model>,
}

/// Chooses a model and its settings; made by [`Encoder::builder`].
#[derive(Clone, Debug, Default)]
pub struct EncoderBuilder {
    source: ModelSource,
    run: RunOptions,
    task: Task,
    outputs: Option<Vec<String>>,
}

impl EncoderBuilder {
    /// The model: a folder, or [`ModelSource::Embedded`], which is the default.
    pub fn model(mut self, source: impl Into<ModelSource>) -> Self {
        self.source = source.into();
        self
    }

    /// How many threads work, the caller's included. By default as many as the machine has cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.run.threads = Some(threads);
        self
    }

    /// The arithmetic of the matrix products.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.run.precision = precision;
        self
    }

    /// Which head stands on the encoder; by default none, and the outputs are the encoder's own.
    ///
    /// Building then fails if the checkpoint has no such head.
    pub fn task(mut self, task: Task) -> Self {
        self.task = task;
        self
    }

    /// Only these outputs; what no output needs isn't computed. By default all that the model has by itself.
    /// `sentence_embedding` stands for what [`SentenceEmbeddings`](crate::SentenceEmbeddings) computes from the same folder.
    pub fn outputs<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.outputs = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, isn't supported, or contradicts itself; or if it lacks an output.
    pub fn build(self) -> Result<Encoder, Error> {
        let files = resolve::resolve(&self.source)?;
        let modules = Modules::read(&files)?;
        let loaded = load::encoder(&files, &modules, &self.run, self.task, self.outputs)?;
        Ok(Encoder { session: loaded.session, weights: loaded.weights, config: loaded.config, model: loaded.model })
    }
}

impl Encoder {
    /// Begins to load a model: the embedded one unless [`EncoderBuilder::model`] says otherwise.
    pub fn builder() -> EncoderBuilder {
        EncoderBuilder::default()
    }

    /// Runs a batch.
    ///
    /// # Errors
    /// If an id is outside the vocabulary or a sequence is too long; the error names the sequence and the position.
    pub fn run(&self, batch: &Batch) -> Result<Outputs, Error> {
        Ok(self.session.run(batch)?)
    }

    /// Runs a batch and says where the time went.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn profile(&self, batch: &Batch) -> Result<(Outputs, Profile), Error> {
        Ok(self.session.profile(batch)?)
    }

    /// What runs: the graph before and after each pass, the memory plan, the kernels.
    pub fn inspect(&self) -> Inspection<'_> {
        self.session.inspect()
    }

    /// The model's `config.json`, as it stands.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The model's tensors, as they lie in its files.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The most tokens of a sequence.
    pub fn positions(&self) -> usize {
        self.model.max_positions()
    }

    /// Ids run from 0 to one less than this.
    pub fn vocabulary(&self) -> usize {
        self.model.vocab_size()
    }
}
