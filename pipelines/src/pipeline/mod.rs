//! What the pipelines share: a builder's settings, a model with a head and a tokenizer, batches by a token budget, and scores.
//!
//! A pipeline is a file or folder of this crate. Its builder holds [`Settings`], which become a [`TaskModel`] for one [`Task`](crate::Task);
//! the pipeline turns texts into encodings, has the model run them, and reads each sequence's raw outputs as the reference's pipeline of
//! the same task does.

mod runner;
mod scores;
mod settings;

pub(crate) use runner::{EncodedText, Fit, TaskModel};
pub(crate) use scores::{arg_max, descending, sigmoid, softmax};
pub(crate) use settings::{Settings, setting_methods};

use crate::Truncated;

/// What a pipeline found for each text, and which texts were cut.
///
/// It reads as a slice of results, one for each text in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Results<T> {
    results: Vec<T>,
    truncated: Vec<Truncated>,
}

impl<T> Results<T> {
    pub(crate) fn new(results: Vec<T>, truncated: Vec<Truncated>) -> Self {
        Results { results, truncated }
    }

    /// The texts that were longer than the model takes, in order: only a part of each counted.
    pub fn truncated(&self) -> &[Truncated] {
        &self.truncated
    }

    /// The results alone.
    pub fn into_vec(self) -> Vec<T> {
        self.results
    }
}

impl<T> std::ops::Deref for Results<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.results
    }
}

impl<T> IntoIterator for Results<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}

/// A label and how sure the model is of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScore {
    /// The label, as the model's configuration names it.
    pub label: String,
    /// Its score.
    pub score: f32,
}
