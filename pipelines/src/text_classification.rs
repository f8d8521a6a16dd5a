//! Labels for texts: sentiment, topics, inference between two texts.

use loquat_models::{ProblemType, Task};
use loquat_tokenizer::{Input, TruncationStrategy};

use crate::{
    Error,
    pipeline::{Fit, LabelScore, Results, Settings, TaskModel, arg_max, descending, setting_methods, sigmoid, softmax},
};

/// What turns a classifier's logits into scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionToApply {
    /// Each label by itself, from 0 to 1.
    Sigmoid,
    /// All labels together: scores add up to 1.
    Softmax,
    /// The logits as they are.
    None,
}

/// Chooses a model and its settings; made by [`TextClassification::builder`].
#[derive(Clone, Debug, Default)]
pub struct TextClassificationBuilder {
    settings: Settings,
    top_k: TopK,
    function_to_apply: Option<FunctionToApply>,
}

/// How many labels a result has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopK {
    /// The best one.
    #[default]
    Best,
    /// So many, the best first.
    Most(usize),
    /// All, the best first.
    All,
}

/// Classifies texts, or pairs of texts.
///
/// ```no_run
/// use loquat::TextClassification;
///
/// let model = TextClassification::builder().model("distilbert-base-uncased-finetuned-sst-2-english").build()?;
/// for labels in model.predict(&["I love this.", "I don't."])? {
///     println!("{} {:.3}", labels[0].label, labels[0].score);
/// }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct TextClassification {
    model: TaskModel,
    labels: Vec<String>,
    top_k: TopK,
    function_to_apply: FunctionToApply,
}

impl TextClassificationBuilder {
    setting_methods!();

    /// How many labels a result has; by default the best one.
    pub fn top_k(mut self, top_k: TopK) -> Self {
        self.top_k = top_k;
        self
    }

    /// What turns logits into scores. By default the model's configuration decides: nothing for regression, the sigmoid for several labels
    /// at once or a single one, else the softmax.
    pub fn function_to_apply(mut self, function: FunctionToApply) -> Self {
        self.function_to_apply = Some(function);
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, has no such head, or contradicts itself or a setting.
    pub fn build(self) -> Result<TextClassification, Error> {
        let model = TaskModel::load(&self.settings, Task::TextClassification)?;
        let labels = model.labels.names(model.width("logits")?)?;
        let function_to_apply = self.function_to_apply.unwrap_or(match model.labels.problem_type() {
            Some(ProblemType::Regression) => FunctionToApply::None,
            Some(ProblemType::MultiLabelClassification) => FunctionToApply::Sigmoid,
            _ if labels.len() == 1 => FunctionToApply::Sigmoid,
            _ => FunctionToApply::Softmax,
        });
        Ok(TextClassification { model, labels, top_k: self.top_k, function_to_apply })
    }
}

impl TextClassification {
    /// Begins to load a model.
    pub fn builder() -> TextClassificationBuilder {
        TextClassificationBuilder::default()
    }

    /// The labels, in the order of the model's outputs.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The best labels of each input, the best first. An input is a text or a pair of texts.
    ///
    /// # Errors
    /// If an input can't be tokenized, or is too long and that is an error.
    pub fn predict<'a, T>(&self, inputs: &'a [T]) -> Result<Results<Vec<LabelScore>>, Error>
    where
        T: Sync,
        &'a T: Into<Input<'a>>,
    {
        let fit = Fit::Truncate(TruncationStrategy::LongestFirst);
        let texts = self.model.encode_all(inputs.len(), fit, |index| (&inputs[index]).into())?;
        let mut results = Vec::with_capacity(inputs.len());
        self.model.run(
            texts.iter().map(|text| &text.encoding),
            |index| index,
            |_, outputs| {
                results.push(self.best(outputs.row("logits")?));
                Ok(())
            },
        )?;
        Ok(Results::new(results, texts.iter().filter_map(|text| text.truncated).collect()))
    }

    fn best(&self, logits: &[f32]) -> Vec<LabelScore> {
        let scores = match self.function_to_apply {
            FunctionToApply::Sigmoid => logits.iter().copied().map(sigmoid).collect(),
            FunctionToApply::Softmax => softmax(logits),
            FunctionToApply::None => logits.to_vec(),
        };
        let label = |id: usize| LabelScore { label: self.labels[id].clone(), score: scores[id] };
        if self.top_k == TopK::Best {
            return vec![label(arg_max(&scores))];
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| descending(scores[a], scores[b]));
        if let TopK::Most(most) = self.top_k {
            order.truncate(most);
        }
        order.into_iter().map(label).collect()
    }
}
