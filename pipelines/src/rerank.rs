//! How well texts answer a query, by a model that reads both at once (a cross-encoder).

use loquat_models::Task;
use loquat_tokenizer::{Input, TruncationStrategy};

use crate::{
    Error,
    pipeline::{Fit, Results, Settings, TaskModel, descending, setting_methods, sigmoid},
};

/// Chooses a model and its settings; made by [`Reranker::builder`].
#[derive(Clone, Debug, Default)]
pub struct RerankerBuilder {
    settings: Settings,
    raw: Option<bool>,
}

/// Scores pairs of texts, and orders documents by a query.
///
/// ```no_run
/// use loquat::Reranker;
///
/// let model = Reranker::builder().model("ms-marco-MiniLM-L6-v2").build()?;
/// let documents = ["Loquats are fruit.", "Berlin is a city."];
/// for hit in model.rank("What is a loquat?", &documents)? {
///     println!("{:.3} {}", hit.score, documents[hit.index]);
/// }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct Reranker {
    model: TaskModel,
    raw: bool,
}

/// A document and how well it answers the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Which of the documents, from 0.
    pub index: usize,
    /// Its score, higher for better.
    pub score: f32,
}

impl RerankerBuilder {
    setting_methods!();

    /// Whether scores are the model's logits as they are rather than between 0 and 1. By default as sentence-transformers notes it in the
    /// model's configuration, and between 0 and 1 where it notes nothing.
    pub fn raw_scores(mut self, raw: bool) -> Self {
        self.raw = Some(raw);
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, has no head with one output, or contradicts itself or a setting.
    pub fn build(self) -> Result<Reranker, Error> {
        let model = TaskModel::load(&self.settings, Task::TextClassification)?;
        let outputs = model.width("logits")?;
        if outputs != 1 {
            let problem = format!("its head has {outputs} outputs, but a cross-encoder that ranks has one");
            return Err(Error::Setting { setting: "model", problem });
        }
        let raw = match (self.raw, model.labels.cross_encoder_activation()) {
            (Some(raw), _) => raw,
            (None, None) => false,
            (None, Some(name)) => match name.rsplit('.').next() {
                Some("Identity") => true,
                Some("Sigmoid") => false,
                _ => {
                    return Err(Error::Setting {
                        setting: "model",
                        problem: format!("its activation {name:?} isn't supported, only Identity and Sigmoid are"),
                    });
                }
            },
        };
        Ok(Reranker { model, raw })
    }
}

impl Reranker {
    /// Begins to load a model.
    pub fn builder() -> RerankerBuilder {
        RerankerBuilder::default()
    }

    /// The score of each pair of texts.
    ///
    /// # Errors
    /// If a pair can't be tokenized, or is too long and that is an error.
    pub fn predict<A, B>(&self, pairs: &[(A, B)]) -> Result<Results<f32>, Error>
    where
        A: AsRef<str> + Sync,
        B: AsRef<str> + Sync,
    {
        let input = |index: usize| Input { text: pairs[index].0.as_ref(), pair: Some(pairs[index].1.as_ref()) };
        let texts = self.model.encode_all(pairs.len(), Fit::Truncate(TruncationStrategy::LongestFirst), input)?;
        let mut scores = Vec::with_capacity(pairs.len());
        self.model.run(
            texts.iter().map(|text| &text.encoding),
            |index| index,
            |_, outputs| {
                let logit = outputs.row("logits")?[0];
                scores.push(if self.raw { logit } else { sigmoid(logit) });
                Ok(())
            },
        )?;
        Ok(Results::new(scores, texts.iter().filter_map(|text| text.truncated).collect()))
    }

    /// The documents in the order in which they answer the query, the best first; of equal ones, the first one first.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn rank<T: AsRef<str> + Sync>(&self, query: &str, documents: &[T]) -> Result<Results<Ranked>, Error> {
        let pairs: Vec<(&str, &str)> = documents.iter().map(|document| (query, document.as_ref())).collect();
        let scores = self.predict(&pairs)?;
        let truncated = scores.truncated().to_vec();
        let mut ranked: Vec<Ranked> = (0..).zip(scores).map(|(index, score)| Ranked { index, score }).collect();
        ranked.sort_by(|a, b| descending(a.score, b.score));
        Ok(Results::new(ranked, truncated))
    }
}
