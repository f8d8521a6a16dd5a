//! What can be asked of every pipeline before it is loaded.

use crate::{ModelSource, model::load::RunOptions, sentence_embeddings::Overlong};

/// Tokens that are run at once by default: enough for all threads, few enough for tens of megabytes of scratch.
const TOKEN_BUDGET: usize = 8 << 10;

/// The settings that builders share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) source: ModelSource,
    pub(crate) run: RunOptions,
    pub(crate) max_length: Option<usize>,
    pub(crate) overlong: Overlong,
    pub(crate) token_budget: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            source: ModelSource::default(),
            run: RunOptions::default(),
            max_length: None,
            overlong: Overlong::default(),
            token_budget: TOKEN_BUDGET,
        }
    }
}

/// The methods of a builder with a field `settings`.
macro_rules! setting_methods {
    () => {
        /// The model: a folder with `config.json`, weights that hold the head, and a tokenizer.
        pub fn model(mut self, source: impl Into<$crate::ModelSource>) -> Self {
            self.settings.source = source.into();
            self
        }

        /// How many threads work, the caller's included. By default as many as the machine has cores.
        pub fn threads(mut self, threads: usize) -> Self {
            self.settings.run.threads = Some(threads);
            self
        }

        /// The arithmetic of the matrix products.
        pub fn precision(mut self, precision: $crate::Precision) -> Self {
            self.settings.run.precision = precision;
            self
        }

        /// The most tokens of an input that count, special tokens included. By default what the model's files say.
        pub fn max_length(mut self, tokens: usize) -> Self {
            self.settings.max_length = Some(tokens);
            self
        }

        /// What happens to inputs that are too long.
        pub fn overlong(mut self, overlong: $crate::Overlong) -> Self {
            self.settings.overlong = overlong;
            self
        }

        /// The most tokens that are run at once, 8192 by default. It bounds memory and changes no result; a single input may
        /// be longer.
        pub fn token_budget(mut self, tokens: usize) -> Self {
            self.settings.token_budget = tokens;
            self
        }
    };
}
pub(crate) use setting_methods;
