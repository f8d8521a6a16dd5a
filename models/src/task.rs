//! What a model is run for.

use std::fmt;

/// What a model is run for: which head stands on its encoder, and so which outputs it has.
///
/// | task | outputs |
/// | --- | --- |
/// | feature extraction | `last_hidden_state` `[tokens, hidden]`, and `pooler_output` `[sequences, hidden]` where there is a pooler |
/// | fill-mask | `logits` `[tokens, vocabulary]` |
/// | next-sentence prediction | `logits` `[sequences, 2]` |
/// | replaced-token detection | `logits` `[tokens, 1]` |
/// | text classification | `logits` `[sequences, labels]` |
/// | token classification | `logits` `[tokens, labels]` |
/// | question answering | `start_logits` and `end_logits` `[tokens, 1]` |
/// | multiple choice | `logits` `[sequences, 1]`: each choice is a sequence of its own |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Task {
    /// The encoder's own outputs.
    #[default]
    FeatureExtraction,
    /// Which token stands behind a mask.
    FillMask,
    /// Whether the second text follows the first.
    NextSentencePrediction,
    /// Which tokens aren't the original ones.
    ReplacedTokenDetection,
    /// A label for a text or a pair of texts.
    TextClassification,
    /// A label for each token.
    TokenClassification,
    /// Where in a text the answer stands.
    QuestionAnswering,
    /// Which of several texts fits best.
    MultipleChoice,
}

impl Task {
    /// All of them.
    pub const ALL: [Task; 8] = [
        Task::FeatureExtraction,
        Task::FillMask,
        Task::NextSentencePrediction,
        Task::ReplacedTokenDetection,
        Task::TextClassification,
        Task::TokenClassification,
        Task::QuestionAnswering,
        Task::MultipleChoice,
    ];

    /// Its name, that of transformers' pipeline where there is one.
    pub fn name(self) -> &'static str {
        match self {
            Task::FeatureExtraction => "feature-extraction",
            Task::FillMask => "fill-mask",
            Task::NextSentencePrediction => "next-sentence-prediction",
            Task::ReplacedTokenDetection => "replaced-token-detection",
            Task::TextClassification => "text-classification",
            Task::TokenClassification => "token-classification",
            Task::QuestionAnswering => "question-answering",
            Task::MultipleChoice => "multiple-choice",
        }
    }

    /// Whether a checkpoint of this class, such as `BertForTokenClassification`, says that it has another head than this one, of those whose
    /// tensors may go by the same names.
    pub(crate) fn contradicts(self, class: &str) -> bool {
        let of_class = [
            ("ForSequenceClassification", Task::TextClassification),
            ("ForTokenClassification", Task::TokenClassification),
            ("ForMultipleChoice", Task::MultipleChoice),
            ("ForQuestionAnswering", Task::QuestionAnswering),
        ];
        let said = of_class.iter().find(|(suffix, _)| class.ends_with(suffix)).map(|(_, task)| *task);
        of_class.iter().any(|(_, task)| *task == self) && said.is_some_and(|task| task != self)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_checkpoint_tells_heads_of_one_name_apart() {
        assert!(Task::TextClassification.contradicts("BertForTokenClassification"));
        assert!(!Task::TokenClassification.contradicts("BertForTokenClassification"));
        assert!(!Task::FillMask.contradicts("BertForTokenClassification"), "its tensors tell");
        assert!(!Task::TextClassification.contradicts("BertModel"));
    }
}
