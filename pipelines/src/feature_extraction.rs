//! The vectors that a model gives a text's tokens.

use loquat_models::Task;
use loquat_tokenizer::{Input, TruncationStrategy};

use crate::{
    Error,
    pipeline::{Fit, Results, Settings, TaskModel, setting_methods},
};

/// Chooses a model and its settings; made by [`FeatureExtraction::builder`].
#[derive(Clone, Debug, Default)]
pub struct FeatureExtractionBuilder {
    settings: Settings,
}

/// Gives the vectors of the tokens of texts: the encoder's last hidden states.
///
/// [`SentenceEmbeddings`](crate::SentenceEmbeddings) has one vector for a whole text.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// use loquat::FeatureExtraction;
///
/// let model = FeatureExtraction::builder().build()?;
/// let features = &model.predict(&["Rust is fast."])?[0];
/// assert_eq!((features.iter().count(), features.dim()), (6, 384));
/// assert_eq!(features.ids[2], 2003);
/// assert_eq!(features.offsets[2], (5, 7)); // "is"
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct FeatureExtraction {
    model: TaskModel,
}

/// The tokens of a text, special tokens among them, and their vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The tokens' ids.
    pub ids: Vec<u32>,
    /// Where each token stands in the text: first byte and the one behind the last, `(0, 0)` for special tokens.
    pub offsets: Vec<(usize, usize)>,
    values: Vec<f32>,
    dim: usize,
}

impl Features {
    /// How many values a vector has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vectors, one for each token, in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dim)
    }

    /// All vectors, one behind the other: `[tokens, dim]`.
    pub fn as_flat(&self) -> &[f32] {
        &self.values
    }
}

impl FeatureExtractionBuilder {
    setting_methods!();

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, isn't supported, or contradicts itself or a setting.
    pub fn build(self) -> Result<FeatureExtraction, Error> {
        Ok(FeatureExtraction { model: TaskModel::load(&self.settings, Task::FeatureExtraction)? })
    }
}

impl FeatureExtraction {
    /// Begins to load a model: the embedded one unless [`FeatureExtractionBuilder::model`] says otherwise.
    pub fn builder() -> FeatureExtractionBuilder {
        FeatureExtractionBuilder::default()
    }

    /// The tokens of each input with their vectors. An input is a text or a pair of texts.
    ///
    /// # Errors
    /// If an input can't be tokenized, or is too long and that is an error.
    pub fn predict<'a, T>(&self, inputs: &'a [T]) -> Result<Results<Features>, Error>
    where
        T: Sync,
        &'a T: Into<Input<'a>>,
    {
        let fit = Fit::Truncate(TruncationStrategy::LongestFirst);
        let texts = self.model.encode_all(inputs.len(), fit, |index| (&inputs[index]).into())?;
        let dim = self.model.width("last_hidden_state")?;
        let mut values = Vec::with_capacity(inputs.len());
        self.model.run(
            texts.iter().map(|text| &text.encoding),
            |index| index,
            |_, outputs| {
                values.push(outputs.rows("last_hidden_state")?.flatten().copied().collect::<Vec<f32>>());
                Ok(())
            },
        )?;
        let truncated = texts.iter().filter_map(|text| text.truncated).collect();
        let features = texts.into_iter().zip(values).map(|(text, values)| {
            let encoding = text.encoding;
            Features { ids: encoding.ids, offsets: encoding.offsets, values, dim }
        });
        Ok(Results::new(features.collect(), truncated))
    }
}
