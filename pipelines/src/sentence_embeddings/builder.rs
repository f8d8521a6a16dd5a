//! What can be asked of a sentence embedding model before it is loaded.

use crate::{
    Error, ModelSource, Precision, SentenceEmbeddings,
    model::{
        load::{self, RunOptions},
        modules::{Modules, Step},
        resolve,
    },
    sentence_embeddings::{prompts::Prompts, tokens::TextTokenizer},
};

/// What happens to a text that is longer than the model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlong {
    /// Its beginning counts (or its end, as `truncation_side` of the folder says), and
    /// [`Embeddings::truncated`](crate::Embeddings::truncated) lists it.
    #[default]
    Report,
    /// It is an error.
    Refuse,
}

/// Tokens that are encoded at once by default: enough for all threads, few enough for tens of megabytes of scratch.
const TOKEN_BUDGET: usize = 16 << 10;

/// Chooses a model and its settings; made by [`SentenceEmbeddings::builder`].
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// use loquat::{Precision, SentenceEmbeddings};
///
/// let model = SentenceEmbeddings::builder()
///     .threads(2)
///     .precision(Precision::F32)
///     .max_length(128)
///     .build()?;
/// assert_eq!(model.max_length(), 128);
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SentenceEmbeddingsBuilder {
    source: ModelSource,
    run: RunOptions,
    max_length: Option<usize>,
    normalize: Option<bool>,
    overlong: Overlong,
    token_budget: usize,
    prompt: Option<String>,
    prompt_name: Option<String>,
}

impl Default for SentenceEmbeddingsBuilder {
    fn default() -> Self {
        SentenceEmbeddingsBuilder {
            source: ModelSource::default(),
            run: RunOptions::default(),
            max_length: None,
            normalize: None,
            overlong: Overlong::default(),
            token_budget: TOKEN_BUDGET,
            prompt: None,
            prompt_name: None,
        }
    }
}

impl SentenceEmbeddingsBuilder {
    /// The model: a folder, or [`ModelSource::Embedded`], which is the default.
    ///
    /// A folder that sentence-transformers made is used as its `modules.json` says. Any other folder of a supported
    /// encoder gives the mean of its hidden states, not normalised.
    pub fn model(mut self, source: impl Into<ModelSource>) -> Self {
        self.source = source.into();
        self
    }

    /// How many threads work, the caller's included. By default as many as the machine has cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.run.threads = Some(threads);
        self
    }

    /// The arithmetic of the matrix products.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.run.precision = precision;
        self
    }

    /// Weights whose products are computed in `bf16` where others are in int8.
    pub(crate) fn keep_high(mut self, weights: Vec<String>) -> Self {
        self.run.keep_high = weights;
        self
    }

    /// The most tokens of a text that count, special tokens included. By default what the model's files say.
    pub fn max_length(mut self, tokens: usize) -> Self {
        self.max_length = Some(tokens);
        self
    }

    /// Whether embeddings are scaled to length 1, whatever the model's files say.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = Some(normalize);
        self
    }

    /// What happens to texts that are too long.
    pub fn overlong(mut self, overlong: Overlong) -> Self {
        self.overlong = overlong;
        self
    }

    /// The most tokens that are encoded at once, 16384 by default. It bounds memory and changes no result; a single text may
    /// be longer.
    pub fn token_budget(mut self, tokens: usize) -> Self {
        self.token_budget = tokens;
        self
    }

    /// A text to put before every text, instead of the prompt that the model's files name as the default.
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// A prompt by the name that the model's files give it, such as `query`.
    pub fn prompt_name(mut self, name: impl Into<String>) -> Self {
        self.prompt_name = Some(name.into());
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, isn't supported, or contradicts itself or a setting.
    pub fn build(self) -> Result<SentenceEmbeddings, Error> {
        let files = resolve::resolve(&self.source)?;
        let mut modules = Modules::read(&files)?;
        match self.normalize {
            Some(true) if modules.steps.last() != Some(&Step::Normalize) => modules.steps.push(Step::Normalize),
            Some(false) => modules.steps.retain(|step| *step != Step::Normalize),
            _ => {}
        }
        let prompt = match self.prompt {
            Some(prompt) => prompt,
            None => Prompts::read(&files)?.get(self.prompt_name.as_deref())?,
        };
        if !prompt.is_empty() && !modules.pool_prompt {
            return Err(Error::Setting {
                setting: "prompt",
                problem: format!("the model leaves the prompt {prompt:?} out of its pooling, which isn't supported"),
            });
        }
        let loaded = load::sentence_model(&files, &modules, &self.run)?;
        let max_length = max_length(self.max_length, &modules, loaded.tokenizer.model_max_length(), loaded.positions)?;
        let special_tokens = loaded.tokenizer.special_tokens_added(false);
        if max_length < special_tokens {
            return Err(Error::Setting {
                setting: "max_length",
                problem: format!("{max_length} leaves no room for the {special_tokens} special tokens of every text"),
            });
        }
        Ok(SentenceEmbeddings {
            tokenizer: TextTokenizer {
                tokenizer: loaded.tokenizer,
                max_length,
                lower_case: modules.lower_case,
                prompt,
                refuse_overlong: self.overlong == Overlong::Refuse,
                threads: loaded.session.threads(),
            },
            session: loaded.session,
            head: loaded.head,
            token_budget: self.token_budget.max(1),
        })
    }
}

/// What was asked for if the model can take it, else what its files say, never beyond its position table.
fn max_length(
    asked: Option<usize>,
    modules: &Modules,
    tokenizer: Option<usize>,
    positions: usize,
) -> Result<usize, Error> {
    match asked {
        Some(asked) if asked > positions => Err(Error::Setting {
            setting: "max_length",
            problem: format!("{asked} is more than the {positions} positions that the model has"),
        }),
        Some(asked) => Ok(asked),
        None => Ok(modules.max_seq_length.or(tokenizer).unwrap_or(positions).min(positions)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_length_is_what_was_asked_then_what_the_files_say_within_the_positions() {
        let modules = |max_seq_length| Modules { max_seq_length, ..Modules::plain() };
        assert_eq!(max_length(Some(7), &modules(Some(256)), Some(128), 512).unwrap(), 7);
        assert_eq!(max_length(None, &modules(Some(256)), Some(128), 512).unwrap(), 256);
        assert_eq!(max_length(None, &modules(None), Some(128), 512).unwrap(), 128);
        assert_eq!(max_length(None, &modules(None), None, 512).unwrap(), 512);
        assert_eq!(max_length(None, &modules(Some(1 << 40)), None, 512).unwrap(), 512);
        assert!(max_length(Some(513), &modules(None), None, 512).is_err());
    }
}
