//! Which of several texts goes on from another one, or answers it.

use loquat_models::Task;
use loquat_tokenizer::{Input, TruncationStrategy};

use crate::{
    Error, TextProblem, Truncated,
    pipeline::{Fit, Results, Settings, TaskModel, descending, setting_methods, softmax},
};

/// Chooses a model and its settings; made by [`MultipleChoice::builder`].
#[derive(Clone, Debug, Default)]
pub struct MultipleChoiceBuilder {
    settings: Settings,
}

/// Chooses between continuations of a text.
///
/// ```no_run
/// use loquat::MultipleChoice;
///
/// let model = MultipleChoice::builder().model("roberta-base-swag").build()?;
/// let choices = ["He opens it.", "He is an umbrella."];
/// let best = &model.predict(&[("A man finds a letter at the door.", &choices[..])])?[0][0];
/// println!("{} {:.3}", choices[best.index], best.score);
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct MultipleChoice {
    model: TaskModel,
}

/// A choice and how likely it is; the scores of a text's choices add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Which of the choices, from 0.
    pub index: usize,
    /// Its score.
    pub score: f32,
}

impl MultipleChoiceBuilder {
    setting_methods!();

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, has no head for multiple choice, or contradicts itself or a setting.
    pub fn build(self) -> Result<MultipleChoice, Error> {
        Ok(MultipleChoice { model: TaskModel::load(&self.settings, Task::MultipleChoice)? })
    }
}

impl MultipleChoice {
    /// Begins to load a model.
    pub fn builder() -> MultipleChoiceBuilder {
        MultipleChoiceBuilder::default()
    }

    /// For each text its choices, the likeliest first; of equal ones, the first one first.
    ///
    /// # Errors
    /// If a text has no choices, or a text with a choice can't be tokenized, or is too long and that is an error.
    pub fn predict<T: AsRef<str>, C: AsRef<str> + Sync>(
        &self,
        texts: &[(T, &[C])],
    ) -> Result<Results<Vec<Choice>>, Error> {
        let mut pairs: Vec<(usize, &str, &str)> = Vec::new();
        for (index, (text, choices)) in texts.iter().enumerate() {
            if choices.is_empty() {
                return Err(Error::Text { index, problem: TextProblem::NoChoices });
            }
            pairs.extend(choices.iter().map(|choice| (index, text.as_ref(), choice.as_ref())));
        }
        let encode = |&(index, text, choice): &(usize, &str, &str)| {
            let input = Input { text, pair: Some(choice) };
            self.model.encode(index, input, Fit::Truncate(TruncationStrategy::LongestFirst))
        };
        let encoded = pairs.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let mut logits = Vec::with_capacity(pairs.len());
        self.model.run(
            encoded.iter().map(|pair| &pair.encoding),
            |pair| pairs[pair].0,
            |_, outputs| {
                logits.push(outputs.row("logits")?[0]);
                Ok(())
            },
        )?;
        let mut rest = logits.as_slice();
        let results = texts.iter().map(|(_, choices)| {
            let (own, after) = rest.split_at(choices.len());
            rest = after;
            let mut ranked: Vec<Choice> =
                softmax(own).into_iter().enumerate().map(|(index, score)| Choice { index, score }).collect();
            ranked.sort_by(|a, b| descending(a.score, b.score));
            ranked
        });
        let results = results.collect();
        let mut truncated: Vec<Truncated> = encoded.iter().filter_map(|pair| pair.truncated).collect();
        truncated.dedup_by_key(|truncated| truncated.index);
        Ok(Results::new(results, truncated))
    }
}
