//! Prompts that a model wants before its texts, from `config_sentence_transformers.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Error, model::files::ModelFiles};

const FILE: &str = "config_sentence_transformers.json";

/// What every model has a prompt for, empty unless its files say otherwise.
pub(super) const QUERY: &str = "query";
pub(super) const DOCUMENT: &str = "document";

/// The prompts by name, and which is used when none is asked for.
#[derive(Debug)]
pub(super) struct Prompts {
    named: BTreeMap<String, String>,
    default: Option<String>,
    /// Whether a prompt's tokens take part in pooling.
    pooled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

impl Prompts {
    pub(super) fn read(files: &ModelFiles, pooled: bool) -> Result<Self, Error> {
        let Config { prompts, default_prompt_name: default } = files.json(FILE)?.unwrap_or_default();
        let mut named = BTreeMap::from([QUERY, DOCUMENT].map(|name| (name.to_owned(), String::new())));
        named.extend(prompts.into_iter().map(|(name, prompt)| (name, prompt.unwrap_or_default())));
        Ok(Prompts { named, default, pooled })
    }

    /// The prompt itself if it is given, else the one of this name, else the default one; empty if there is none.
    pub(super) fn chosen(&self, prompt: Option<String>, name: Option<&str>) -> Result<String, Error> {
        let prompt = match (prompt, name.or(self.default.as_deref())) {
            (Some(prompt), _) => prompt,
            (None, Some(name)) => self.named.get(name).cloned().ok_or_else(|| {
                let known: Vec<&str> = self.named.keys().map(String::as_str).collect();
                let problem = format!("the model has no prompt {name:?}; it has {known:?}");
                Error::Setting { setting: "prompt_name", problem }
            })?,
            (None, None) => String::new(),
        };
        if prompt.is_empty() || self.pooled {
            return Ok(prompt);
        }
        let problem = format!("the model leaves the prompt {prompt:?} out of its pooling, which isn't supported");
        Err(Error::Setting { setting: "prompt", problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::files::EmbeddedFiles;

    fn prompts(pooled: bool) -> Prompts {
        let files: EmbeddedFiles = &[(
            FILE,
            br#"{"prompts": {"query": "query: ", "document": null, "passage": "p: "}, "default_prompt_name": "query"}"#,
        )];
        Prompts::read(&ModelFiles::Embedded { name: "test", files }, pooled).unwrap()
    }

    #[test]
    fn a_prompt_is_chosen_by_itself_by_name_or_by_default() {
        let prompts = prompts(true);
        assert_eq!(prompts.chosen(None, None).unwrap(), "query: ");
        assert_eq!(prompts.chosen(None, Some("document")).unwrap(), "");
        assert_eq!(prompts.chosen(None, Some("passage")).unwrap(), "p: ");
        assert_eq!(prompts.chosen(Some("own".into()), Some("query")).unwrap(), "own");
        let message = prompts.chosen(None, Some("corpus")).unwrap_err().to_string();
        assert!(message.contains("corpus") && message.contains("document"), "{message}");
    }

    #[test]
    fn every_model_has_prompts_for_queries_and_documents() {
        let plain = Prompts::read(&ModelFiles::Embedded { name: "test", files: &[] }, true).unwrap();
        for name in [None, Some(QUERY), Some(DOCUMENT)] {
            assert_eq!(plain.chosen(None, name).unwrap(), "");
        }
    }

    #[test]
    fn a_prompt_that_is_not_pooled_is_refused() {
        assert!(prompts(false).chosen(None, None).is_err());
        assert_eq!(prompts(false).chosen(None, Some("document")).unwrap(), "");
    }
}
