//! Prompts that a model wants before its texts, from `config_sentence_transformers.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Error, model::files::ModelFiles};

const FILE: &str = "config_sentence_transformers.json";

/// The prompts by name, and which is used when none is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Prompts {
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

impl Prompts {
    pub(super) fn read(files: &ModelFiles) -> Result<Self, Error> {
        Ok(files.json(FILE)?.unwrap_or_default())
    }

    /// The prompt of this name, or the default one; empty if there is neither.
    pub(super) fn get(&self, name: Option<&str>) -> Result<String, Error> {
        let Some(name) = name.or(self.default_prompt_name.as_deref()) else { return Ok(String::new()) };
        match self.prompts.get(name) {
            Some(prompt) => Ok(prompt.clone().unwrap_or_default()),
            None => {
                let known: Vec<&str> = self.prompts.keys().map(String::as_str).collect();
                Err(Error::Setting {
                    setting: "prompt_name",
                    problem: format!("the model has no prompt {name:?}; it has {known:?}"),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_chosen_by_name_or_by_default() {
        let prompts: Prompts = serde_json::from_str(
            r#"{"prompts": {"query": "query: ", "document": null}, "default_prompt_name": "query"}"#,
        )
        .unwrap();
        assert_eq!(prompts.get(None).unwrap(), "query: ");
        assert_eq!(prompts.get(Some("document")).unwrap(), "");
        let message = prompts.get(Some("passage")).unwrap_err().to_string();
        assert!(message.contains("passage") && message.contains("document"), "{message}");
        assert_eq!(Prompts::default().get(None).unwrap(), "");
    }
}
