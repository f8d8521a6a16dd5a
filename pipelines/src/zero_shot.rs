//! Labels that the model was never trained on, by a model for inference between two texts.

use loquat_models::Task;
use loquat_tokenizer::{Input, TokenizerError, TruncationStrategy};

use crate::{
    Error, TextProblem, Truncated,
    pipeline::{EncodedText, Fit, LabelScore, Results, Settings, TaskModel, descending, setting_methods},
};

/// Chooses a model and its settings; made by [`ZeroShotClassification::builder`].
#[derive(Clone, Debug)]
pub struct ZeroShotClassificationBuilder {
    settings: Settings,
    hypothesis_template: String,
    multi_label: bool,
}

/// Classifies texts by labels given with them.
///
/// Each label becomes a hypothesis; the model says how far the text entails it.
///
/// ```no_run
/// use loquat::ZeroShotClassification;
///
/// let model = ZeroShotClassification::builder().model("nli-distilroberta-base").build()?;
/// let results = model.predict(&["The match ended in a draw."], &["sports", "politics"])?;
/// println!("{} {:.3}", results[0][0].label, results[0][0].score);
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct ZeroShotClassification {
    model: TaskModel,
    template: Template,
    multi_label: bool,
    entailment: usize,
    contradiction: usize,
}

impl Default for ZeroShotClassificationBuilder {
    fn default() -> Self {
        ZeroShotClassificationBuilder {
            settings: Settings::default(),
            hypothesis_template: "This example is {}.".to_owned(),
            multi_label: false,
        }
    }
}

impl ZeroShotClassificationBuilder {
    setting_methods!();

    /// What turns a label into a hypothesis: a text with `{}` where the label goes. By default `This example is {}.`
    pub fn hypothesis_template(mut self, template: impl Into<String>) -> Self {
        self.hypothesis_template = template.into();
        self
    }

    /// Whether several labels may hold at once. Each then has a score of its own; otherwise scores add up to 1.
    pub fn multi_label(mut self, multi_label: bool) -> Self {
        self.multi_label = multi_label;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, has no such head, or contradicts itself or a setting.
    pub fn build(self) -> Result<ZeroShotClassification, Error> {
        let template = Template::parse(&self.hypothesis_template)?;
        let model = TaskModel::load(&self.settings, Task::TextClassification)?;
        let outputs = model.width("logits")?;
        // As the reference has it: the last output where no label says that it is the one.
        let entailment = model.labels.id_starting_with("entail", outputs).unwrap_or(outputs - 1);
        let contradiction = if entailment == 0 { outputs - 1 } else { 0 };
        Ok(ZeroShotClassification { model, template, multi_label: self.multi_label, entailment, contradiction })
    }
}

impl ZeroShotClassification {
    /// Begins to load a model.
    pub fn builder() -> ZeroShotClassificationBuilder {
        ZeroShotClassificationBuilder::default()
    }

    /// The labels of each text with their scores, the best first.
    ///
    /// # Errors
    /// As [`predict_each`](Self::predict_each).
    pub fn predict<T: AsRef<str> + Sync, L: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        labels: &[L],
    ) -> Result<Results<Vec<LabelScore>>, Error> {
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let each: Vec<(&str, &[&str])> = texts.iter().map(|text| (text.as_ref(), labels.as_slice())).collect();
        self.predict_each(&each)
    }

    /// The labels of each text with their scores, the best first; every text has labels of its own.
    ///
    /// # Errors
    /// If there are no labels for a text, or it can't be tokenized, or is too long and that is an error.
    pub fn predict_each<L: AsRef<str> + Sync>(
        &self,
        texts: &[(&str, &[L])],
    ) -> Result<Results<Vec<LabelScore>>, Error> {
        let mut pairs: Vec<(usize, &str, String)> = Vec::new();
        for (index, (text, labels)) in texts.iter().enumerate() {
            if labels.is_empty() {
                return Err(Error::Text { index, problem: TextProblem::NoLabels });
            }
            pairs.extend(labels.iter().map(|label| (index, *text, self.template.with(label.as_ref()))));
        }
        let encoded = pairs.iter().map(|(index, text, hypothesis)| self.encode(*index, text, hypothesis));
        let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
        let mut logits = Vec::with_capacity(pairs.len());
        self.model.run(
            encoded.iter().map(|text| &text.encoding),
            |pair| pairs[pair].0,
            |_, outputs| {
                let row = outputs.row("logits")?;
                logits.push((row[self.contradiction], row[self.entailment]));
                Ok(())
            },
        )?;
        let mut rest = logits.as_slice();
        let results = texts.iter().map(|(_, labels)| {
            let (own, after) = rest.split_at(labels.len());
            rest = after;
            self.scored(labels, own)
        });
        let results = results.collect();
        let mut truncated: Vec<Truncated> = encoded.iter().filter_map(|text| text.truncated).collect();
        truncated.dedup_by_key(|truncated| truncated.index);
        Ok(Results::new(results, truncated))
    }

    /// Only the text loses tokens. Where the hypothesis alone is too long, nothing is cut, and the model says whether it takes that.
    fn encode(&self, index: usize, text: &str, hypothesis: &str) -> Result<EncodedText, Error> {
        let input = Input { text, pair: Some(hypothesis) };
        match self.model.encode(index, input, Fit::Truncate(TruncationStrategy::OnlyFirst)) {
            Err(Error::Text { problem: TextProblem::Tokenize(TokenizerError::SequenceTooShort { .. }), .. }) => {
                self.model.encode(index, input, Fit::Whole)
            }
            other => other,
        }
    }

    fn scored<L: AsRef<str>>(&self, labels: &[L], logits: &[(f32, f32)]) -> Vec<LabelScore> {
        let scores: Vec<f32> = if self.multi_label || labels.len() == 1 {
            let score =
                |(contradiction, entailment): &(f32, f32)| crate::pipeline::softmax(&[*contradiction, *entailment])[1];
            logits.iter().map(score).collect()
        } else {
            let entailments: Vec<f32> = logits.iter().map(|(_, entailment)| *entailment).collect();
            crate::pipeline::softmax(&entailments)
        };
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|&a, &b| descending(scores[a], scores[b]));
        let label = |id: usize| LabelScore { label: labels[id].as_ref().to_owned(), score: scores[id] };
        order.into_iter().map(label).collect()
    }
}

/// What stands before and after a label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    before: String,
    after: String,
}

impl Template {
    fn parse(template: &str) -> Result<Template, Error> {
        match template.split_once("{}") {
            Some((before, after)) if !before.contains(['{', '}']) && !after.contains(['{', '}']) => {
                Ok(Template { before: before.to_owned(), after: after.to_owned() })
            }
            _ => Err(Error::Setting {
                setting: "hypothesis_template",
                problem: format!(
                    "{template:?}, expected a text with {{}} once, where the label goes, and no other braces"
                ),
            }),
        }
    }

    fn with(&self, label: &str) -> String {
        format!("{}{label}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_one_place_for_the_label() {
        assert_eq!(Template::parse("It is {}!").unwrap().with("late"), "It is late!");
        for template in ["It is late.", "{} and {}", "{label}", "a } {}"] {
            let message = Template::parse(template).unwrap_err().to_string();
            assert!(message.contains("hypothesis_template") && message.contains(template), "{message}");
        }
    }
}
