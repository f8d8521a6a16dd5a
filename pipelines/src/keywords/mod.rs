//! The words and phrases that a text is about: those whose embeddings are closest to the text's own.

mod candidates;
mod select;

use crate::{Error, Metric, ModelSource, Precision, SentenceEmbeddings};
use candidates::candidates;

/// How keywords are chosen among the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum KeywordSelection {
    /// Those closest to the text.
    #[default]
    Cosine,
    /// One after another, each as close to the text and as far from those chosen before as `diversity`, from 0 to 1, balances the two.
    MaximalMarginalRelevance {
        /// How much weight difference has: 0 none, 1 all of it.
        diversity: f32,
    },
    /// Of the `candidates` closest to the text those that are least alike.
    MaxSum {
        /// How many candidates there are to choose from.
        candidates: usize,
    },
}

/// A word or phrase of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyword {
    /// Its words in lower case, with a space between them.
    pub keyword: String,
    /// The cosine between its embedding and the text's.
    pub score: f32,
    /// Where it stands in the text: first character and the one behind the last, for each time.
    pub offsets: Vec<(usize, usize)>,
}

/// Chooses a model and its settings; made by [`KeywordExtraction::builder`].
#[derive(Clone, Debug)]
pub struct KeywordExtractionBuilder {
    source: ModelSource,
    threads: Option<usize>,
    precision: Precision,
    max_length: Option<usize>,
    ngram_range: (usize, usize),
    stop_words: Vec<String>,
    top_k: usize,
    selection: KeywordSelection,
}

/// Finds the keywords of texts with a sentence embedding model.
///
/// ```
/// # #[cfg(feature = "embedded-model")] {
/// use loquat::KeywordExtraction;
///
/// let model = KeywordExtraction::builder().top_k(2).build()?;
/// let keywords = model.predict(&["Rust is a language for systems programming; its compiler checks memory."])?;
/// assert_eq!(keywords[0].len(), 2);
/// # }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct KeywordExtraction {
    model: SentenceEmbeddings,
    ngram_range: (usize, usize),
    stop_words: Vec<String>,
    top_k: usize,
    selection: KeywordSelection,
}

impl Default for KeywordExtractionBuilder {
    fn default() -> Self {
        KeywordExtractionBuilder {
            source: ModelSource::default(),
            threads: None,
            precision: Precision::default(),
            max_length: None,
            ngram_range: (1, 1),
            stop_words: candidates::english_stop_words(),
            top_k: 5,
            selection: KeywordSelection::default(),
        }
    }
}

impl KeywordExtractionBuilder {
    /// The model: a folder, or [`ModelSource::Embedded`], which is the default.
    pub fn model(mut self, source: impl Into<ModelSource>) -> Self {
        self.source = source.into();
        self
    }

    /// How many threads work, the caller's included. By default as many as the machine has cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The arithmetic of the matrix products.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The most tokens of a text that count, special tokens included. By default what the model's files say.
    pub fn max_length(mut self, tokens: usize) -> Self {
        self.max_length = Some(tokens);
        self
    }

    /// The fewest and the most words of a keyword; by default one word.
    pub fn ngram_range(mut self, least: usize, most: usize) -> Self {
        self.ngram_range = (least, most);
        self
    }

    /// Words that no keyword holds, in lower case; by default the function words of English.
    pub fn stop_words<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.stop_words = words.into_iter().map(Into::into).collect();
        self
    }

    /// How many keywords a text gets; 5 by default.
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// How keywords are chosen; by default those closest to the text.
    pub fn selection(mut self, selection: KeywordSelection) -> Self {
        self.selection = selection;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, isn't supported, or contradicts itself or a setting.
    pub fn build(self) -> Result<KeywordExtraction, Error> {
        let setting = |setting, problem: String| Err(Error::Setting { setting, problem });
        let (least, most) = self.ngram_range;
        if least == 0 || least > most {
            return setting(
                "ngram_range",
                format!("{least} to {most} words, expected at least 1, and no more at least than at most"),
            );
        }
        match self.selection {
            KeywordSelection::MaximalMarginalRelevance { diversity } if !(0.0..=1.0).contains(&diversity) => {
                return setting("diversity", format!("{diversity}, expected 0 to 1"));
            }
            KeywordSelection::MaxSum { candidates } => select::check_max_sum(candidates, self.top_k)?,
            _ => {}
        }
        let mut builder = SentenceEmbeddings::builder().model(self.source).precision(self.precision);
        if let Some(threads) = self.threads {
            builder = builder.threads(threads);
        }
        if let Some(max_length) = self.max_length {
            builder = builder.max_length(max_length);
        }
        Ok(KeywordExtraction {
            model: builder.build()?,
            ngram_range: self.ngram_range,
            stop_words: self.stop_words,
            top_k: self.top_k,
            selection: self.selection,
        })
    }
}

impl KeywordExtraction {
    /// Begins to load a model: the embedded one unless [`KeywordExtractionBuilder::model`] says otherwise.
    pub fn builder() -> KeywordExtractionBuilder {
        KeywordExtractionBuilder::default()
    }

    /// The keywords of each text, the closest first; of equally close ones, the first in the alphabet.
    ///
    /// # Errors
    /// If a text can't be tokenized.
    pub fn predict<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Vec<Keyword>>, Error> {
        let whole = self.model.encode(texts)?;
        texts.iter().zip(&whole).map(|(text, embedding)| self.keywords(text.as_ref(), embedding)).collect()
    }

    fn keywords(&self, text: &str, embedding: &[f32]) -> Result<Vec<Keyword>, Error> {
        let found = candidates(text, self.ngram_range, &self.stop_words);
        let phrases: Vec<&str> = found.iter().map(|(phrase, _)| phrase.as_str()).collect();
        let embeddings = self.model.encode(&phrases)?;
        let rows: Vec<&[f32]> = embeddings.iter().collect();
        let scores = rows.iter().map(|row| Metric::Cosine.between(row, embedding)).collect::<Result<Vec<_>, _>>()?;
        let chosen = select::select(self.selection, self.top_k, &scores, &rows)?;
        let keyword = |place: usize| Keyword {
            keyword: found[place].0.clone(),
            score: scores[place],
            offsets: found[place].1.clone(),
        };
        Ok(chosen.into_iter().map(keyword).collect())
    }
}
