//! Texts to vectors.

mod builder;
mod prompts;
mod tokens;

pub use builder::{Overlong, SentenceEmbeddingsBuilder};

use loquat_runtime::{Batch, Inspection, RunError, Session};
use loquat_tokenizer::Tokenizer;

use crate::{Control, Embeddings, Error, Progress, TextProblem, model::head::Head};
use prompts::Prompts;
use tokens::TextTokenizer;

/// A sentence embedding model, ready to run.
///
/// It can be shared between threads: `encode` takes `&self`. A text's embedding is the same, bit for bit, whatever
/// other texts it is encoded with, however many threads run, and whatever the token budget is.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// use loquat::SentenceEmbeddings;
///
/// let model = SentenceEmbeddings::builder().build()?;
/// let embeddings = model.encode(&["The quick brown fox", "jumps over the lazy dog"])?;
/// assert_eq!(embeddings.row(0).map(<[f32]>::len), Some(model.dim()));
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct SentenceEmbeddings {
    session: Session,
    tokenizer: TextTokenizer,
    /// Put before every text, unless a call says otherwise.
    prompt: String,
    prompts: Prompts,
    head: Head,
    token_budget: usize,
}

impl SentenceEmbeddings {
    /// Begins to load a model: the embedded one unless [`SentenceEmbeddingsBuilder::model`] says otherwise.
    pub fn builder() -> SentenceEmbeddingsBuilder {
        SentenceEmbeddingsBuilder::default()
    }

    /// Values per embedding.
    pub fn dim(&self) -> usize {
        self.head.dim()
    }

    /// The most tokens of a text that count, special tokens included.
    pub fn max_length(&self) -> usize {
        self.tokenizer.max_length
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer.tokenizer
    }

    /// What runs: the graph before and after each pass, the memory plan, the kernels.
    pub fn inspect(&self) -> Inspection<'_> {
        self.session.inspect()
    }

    /// The embeddings of `texts`, in their order.
    ///
    /// An empty text has an embedding too, that of the special tokens alone. Texts longer than [`max_length`](Self::max_length)
    /// are cut, and [`Embeddings::truncated`] lists them, unless the builder made that an error.
    ///
    /// # Errors
    /// If a text can't be tokenized, or is too long and that is an error.
    pub fn encode<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Embeddings, Error> {
        self.encode_with(texts, Control::default())
    }

    /// The same, with a report of progress and a way to stop.
    ///
    /// ```
    /// # #[cfg(feature = "embedded-model")] {
    /// use loquat::{CancelToken, Control, SentenceEmbeddings};
    ///
    /// let model = SentenceEmbeddings::builder().build()?;
    /// let cancel = CancelToken::new(); // a clone of it goes to whoever may press the button
    /// let mut show = |progress: loquat::Progress| eprintln!("{} of {}", progress.done, progress.total);
    /// let control = Control { progress: Some(&mut show), cancel: Some(&cancel) };
    /// let embeddings = model.encode_with(&["one", "two"], control)?;
    /// assert_eq!(embeddings.len(), 2);
    /// # }
    /// # Ok::<(), loquat::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and [`Error::Cancelled`].
    pub fn encode_with<T: AsRef<str> + Sync>(&self, texts: &[T], control: Control<'_>) -> Result<Embeddings, Error> {
        self.encode_prompted(&self.prompt, texts, control)
    }

    /// The embeddings of queries that are to be compared with documents: with the prompt before them that the model's files call `query`, if
    /// they have one.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_query<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Embeddings, Error> {
        self.encode_query_with(texts, Control::default())
    }

    /// The same, with a report of progress and a way to stop.
    ///
    /// # Errors
    /// As [`encode_with`](Self::encode_with).
    pub fn encode_query_with<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        control: Control<'_>,
    ) -> Result<Embeddings, Error> {
        self.encode_prompted(&self.prompts.chosen(None, Some(prompts::QUERY))?, texts, control)
    }

    /// The embeddings of documents that are to be compared with queries: with the prompt before them that the model's files call `document`, if
    /// they have one.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_document<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Embeddings, Error> {
        self.encode_document_with(texts, Control::default())
    }

    /// The same, with a report of progress and a way to stop.
    ///
    /// # Errors
    /// As [`encode_with`](Self::encode_with).
    pub fn encode_document_with<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        control: Control<'_>,
    ) -> Result<Embeddings, Error> {
        self.encode_prompted(&self.prompts.chosen(None, Some(prompts::DOCUMENT))?, texts, control)
    }

    fn encode_prompted<T: AsRef<str> + Sync>(
        &self,
        prompt: &str,
        texts: &[T],
        mut control: Control<'_>,
    ) -> Result<Embeddings, Error> {
        let mut embeddings = Embeddings::with_capacity(self.dim(), texts.len());
        let mut batch = Batch::new();
        let mut start = 0;
        while start < texts.len() {
            let window = self.tokenizer.window(&texts[start..], self.token_budget);
            for shard in self.tokenizer.tokenize(prompt, start, &texts[start..start + window])? {
                for text in shard.texts() {
                    if batch.sequences() > 0 && batch.tokens() + text.ids.len() > self.token_budget {
                        self.run(&mut batch, &mut embeddings, texts.len(), &mut control)?;
                    }
                    if let Some(truncated) = text.truncated {
                        embeddings.push_truncated(truncated);
                    }
                    batch.push(text.ids, None)?;
                }
            }
            start += window;
        }
        if batch.sequences() > 0 {
            self.run(&mut batch, &mut embeddings, texts.len(), &mut control)?;
        }
        Ok(embeddings)
    }

    /// Runs what has gathered in `batch` and empties it.
    fn run(
        &self,
        batch: &mut Batch,
        embeddings: &mut Embeddings,
        total: usize,
        control: &mut Control<'_>,
    ) -> Result<(), Error> {
        if control.cancel.is_some_and(|token| token.is_cancelled()) {
            return Err(Error::Cancelled { done: embeddings.len(), total });
        }
        let outputs = self.session.run(batch).map_err(|error| match error {
            RunError::Index { sequence, what, found, limit, .. } => {
                Error::Text { index: embeddings.len() + sequence, problem: TextProblem::Id { what, found, limit } }
            }
            other => Error::Run(other),
        })?;
        self.head.append(&outputs, embeddings)?;
        batch.clear();
        if let Some(progress) = &mut control.progress {
            progress(Progress { done: embeddings.len(), total });
        }
        Ok(())
    }
}
