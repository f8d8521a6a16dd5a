//! What a configuration says about a classifier's outputs.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{ModelError, Source};

/// The labels of a classifier, and what kind of problem it solves.
///
/// ```
/// use loquat_models::{Labels, Source};
///
/// let text = r#"{"id2label": {"0": "O", "1": "B-PER"}}"#.to_owned();
/// let labels = Labels::parse(&Source { file: "config.json".to_owned(), text })?;
/// assert_eq!(labels.names(2)?, ["O", "B-PER"]);
/// assert!(labels.names(3).is_err(), "the head has as many outputs as there are labels");
/// # Ok::<(), loquat_models::ModelError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    file: String,
    names: Option<BTreeMap<usize, String>>,
    ids: Vec<(String, i64)>,
    problem_type: Option<ProblemType>,
    cross_encoder_activation: Option<String>,
}

/// What a classifier's outputs stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemType {
    /// Numbers.
    Regression,
    /// One of the labels holds.
    SingleLabelClassification,
    /// Each label holds or not.
    MultiLabelClassification,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    id2label: Option<BTreeMap<String, String>>,
    #[serde(default)]
    label2id: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    problem_type: Option<ProblemType>,
    #[serde(default)]
    sentence_transformers: Option<CrossEncoder>,
    #[serde(default)]
    sbert_ce_default_activation_function: Option<String>,
}

#[derive(Deserialize)]
struct CrossEncoder {
    #[serde(default)]
    activation_fn: Option<String>,
}

impl Labels {
    /// Reads them from the text of a `config.json`.
    ///
    /// # Errors
    /// If a field isn't what it should be.
    pub fn parse(source: &Source) -> Result<Labels, ModelError> {
        let fields: Fields = source.parse()?;
        let error = |field, found: String, expected: &str| ModelError::Field {
            file: source.file.clone(),
            field,
            found,
            expected: expected.to_owned(),
        };
        let names = fields.id2label.filter(|names| !names.is_empty()).map(|names| {
            let parsed = names.into_iter().map(|(id, name)| match id.parse() {
                Ok(id) => Ok((id, name)),
                Err(_) => Err(error("id2label", format!("one with the key {id:?}"), "numbers from 0 as keys")),
            });
            parsed.collect::<Result<BTreeMap<usize, String>, _>>()
        });
        let ids = fields.label2id.unwrap_or_default().into_iter().map(|(name, id)| match id.as_i64() {
            Some(id) => Ok((name, id)),
            None => Err(error("label2id", format!("one with the value {id}"), "whole numbers as values")),
        });
        let cross_encoder = fields.sentence_transformers.and_then(|fields| fields.activation_fn);
        Ok(Labels {
            file: source.file.clone(),
            names: names.transpose()?,
            ids: ids.collect::<Result<_, _>>()?,
            problem_type: fields.problem_type,
            cross_encoder_activation: cross_encoder.or(fields.sbert_ce_default_activation_function),
        })
    }

    /// The labels of a head with so many outputs: `LABEL_0` and so on where the configuration names none.
    ///
    /// # Errors
    /// If it names other ones than the head has outputs.
    pub fn names(&self, outputs: usize) -> Result<Vec<String>, ModelError> {
        let Some(names) = &self.names else { return Ok((0..outputs).map(|id| format!("LABEL_{id}")).collect()) };
        if names.len() != outputs || names.keys().copied().ne(0..outputs) {
            return Err(ModelError::Field {
                file: self.file.clone(),
                field: "id2label",
                found: format!("{} labels with the ids {:?}", names.len(), Summary(names)),
                expected: format!("the ids 0 to {}, one for each output of the head", outputs.saturating_sub(1)),
            });
        }
        Ok(names.values().cloned().collect())
    }

    /// The first output with a label whose name begins so, in whatever case, of a head with so many outputs. `label2id` is asked, and where
    /// there is none, the names.
    pub fn id_starting_with(&self, prefix: &str, outputs: usize) -> Option<usize> {
        let fits = |name: &str| name.to_lowercase().starts_with(prefix);
        if self.ids.is_empty() {
            let mut names = self.names.iter().flatten();
            return names.find(|(id, name)| **id < outputs && fits(name)).map(|(id, _)| *id);
        }
        let ids = self.ids.iter().filter(|(name, _)| fits(name)).filter_map(|(_, id)| usize::try_from(*id).ok());
        ids.min().filter(|id| *id < outputs)
    }

    /// What kind of problem the classifier solves, if the configuration says so.
    pub fn problem_type(&self) -> Option<ProblemType> {
        self.problem_type
    }

    /// The activation that sentence-transformers notes for a cross-encoder, such as `torch.nn.modules.linear.Identity`.
    pub fn cross_encoder_activation(&self) -> Option<&str> {
        self.cross_encoder_activation.as_deref()
    }
}

/// The first few ids.
struct Summary<'a>(&'a BTreeMap<usize, String>);

impl std::fmt::Debug for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<&usize> = self.0.keys().take(8).collect();
        write!(f, "{shown:?}{}", if self.0.len() > shown.len() { " and more" } else { "" })
    }
}
