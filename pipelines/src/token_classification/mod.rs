//! Labels for tokens and words: named entities, parts of speech.

mod aggregate;

pub use aggregate::AggregationStrategy;

use loquat_models::Task;
use loquat_tokenizer::{EncodeOptions, Encoding, Input, Truncation, TruncationStrategy};

use crate::{
    Error,
    pipeline::{EncodedText, Fit, Results, Settings, TaskModel, setting_methods, softmax},
};
use aggregate::{Aggregator, Token};

/// Chooses a model and its settings; made by [`TokenClassification::builder`].
#[derive(Clone, Debug)]
pub struct TokenClassificationBuilder {
    settings: Settings,
    strategy: AggregationStrategy,
    ignore_labels: Vec<String>,
    stride: Option<usize>,
}

/// Finds named entities and other labelled spans in texts.
///
/// ```no_run
/// use loquat::TokenClassification;
///
/// let model = TokenClassification::builder().model("bert-base-NER").build()?;
/// for entity in &model.predict(&["Amélie lives in Zürich."])?[0] {
///     println!("{} {} at {}..{}", entity.label, entity.word, entity.start, entity.end);
/// }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct TokenClassification {
    model: TaskModel,
    labels: Vec<String>,
    strategy: AggregationStrategy,
    ignore_labels: Vec<String>,
    stride: Option<usize>,
    subwords_are_marked: bool,
}

/// A labelled span of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// Its label, of groups without the `B-` or `I-` before it.
    pub label: String,
    /// How sure the model is.
    pub score: f32,
    /// Its text as the tokenizer's decoder gives it, which may differ in case and spaces from the original.
    pub word: String,
    /// Its first character in the text, from 0.
    pub start: usize,
    /// The character behind its last one.
    pub end: usize,
    /// The same span in bytes.
    pub bytes: (usize, usize),
    /// Its token's place in the text's encoding, where the result is a token and no group.
    pub index: Option<usize>,
}

impl Default for TokenClassificationBuilder {
    fn default() -> Self {
        TokenClassificationBuilder {
            settings: Settings::default(),
            strategy: AggregationStrategy::Simple,
            ignore_labels: vec!["O".to_owned()],
            stride: None,
        }
    }
}

impl TokenClassificationBuilder {
    setting_methods!();

    /// How tokens become words and groups; by default neighbours with one label are a group.
    pub fn aggregation_strategy(mut self, strategy: AggregationStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Labels that no result has; by default `O`.
    pub fn ignore_labels<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.ignore_labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Reads texts that are too long in windows that share so many tokens, instead of cutting them. Of entities that overlap, the longer
    /// one counts, then the one with the higher score.
    pub fn stride(mut self, tokens: usize) -> Self {
        self.stride = Some(tokens);
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, has no such head, or contradicts itself or a setting.
    pub fn build(self) -> Result<TokenClassification, Error> {
        let setting = |setting, problem: String| Err(Error::Setting { setting, problem });
        if self.stride.is_some() && !self.strategy.groups() {
            return setting("stride", format!("windows need groups to merge, which {:?} doesn't make", self.strategy));
        }
        let model = TaskModel::load(&self.settings, Task::TokenClassification)?;
        let room = model.max_length.saturating_sub(model.tokenizer.special_tokens_added(false));
        if let Some(stride) = self.stride
            && stride >= room
        {
            return setting("stride", format!("{stride} tokens, expected fewer than the {room} that a window holds"));
        }
        let labels = model.labels.names(model.width("logits")?)?;
        let subwords_are_marked = model.tokenizer.continuing_subword_prefix().is_some();
        let TokenClassificationBuilder { strategy, ignore_labels, stride, .. } = self;
        Ok(TokenClassification { model, labels, strategy, ignore_labels, stride, subwords_are_marked })
    }
}

impl TokenClassification {
    /// Begins to load a model.
    pub fn builder() -> TokenClassificationBuilder {
        TokenClassificationBuilder::default()
    }

    /// The labels, in the order of the model's outputs.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The entities of each text, in the order of the text.
    ///
    /// # Errors
    /// If a text can't be tokenized, or is too long and that is an error.
    pub fn predict<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Results<Vec<Entity>>, Error> {
        let fit = match self.stride {
            None => Fit::Truncate(TruncationStrategy::LongestFirst),
            Some(_) => Fit::Any,
        };
        let encoded = self.model.encode_all(texts.len(), fit, |index| Input::from(texts[index].as_ref()))?;
        let windowed = encoded.iter().zip(texts).map(|(text, each)| self.windows(text, each.as_ref()));
        let windowed = windowed.collect::<Result<Vec<Option<Encoding>>, Error>>()?;
        // Every window with the number of its text.
        let windows: Vec<(usize, &Encoding)> = (0..)
            .zip(encoded.iter().zip(&windowed))
            .flat_map(|(index, (text, windowed))| {
                let first = windowed.as_ref().unwrap_or(&text.encoding);
                std::iter::once(first).chain(&first.overflowing).map(move |window| (index, window))
            })
            .collect();
        let mut found: Vec<(usize, Vec<Entity>)> = texts.iter().map(|_| (0, Vec::new())).collect();
        self.model.run(
            windows.iter().map(|(_, window)| *window),
            |window| windows[window].0,
            |window, outputs| {
                let (index, encoding) = windows[window];
                let (count, entities) = &mut found[index];
                *count += 1;
                entities.extend(self.entities(texts[index].as_ref(), encoding, outputs.rows("logits")?)?);
                Ok(())
            },
        )?;
        let merge = |(windows, entities)| if windows > 1 { aggregate::without_overlaps(entities) } else { entities };
        let results = found.into_iter().map(merge).collect();
        Ok(Results::new(results, encoded.iter().filter_map(|text| text.truncated).collect()))
    }

    /// The windows of a text that is too long for one, if there is a stride.
    fn windows(&self, text: &EncodedText, original: &str) -> Result<Option<Encoding>, Error> {
        let Some(stride) = self.stride.filter(|_| text.encoding.len() > self.model.max_length) else { return Ok(None) };
        let truncation = Truncation {
            stride,
            overflow: true,
            direction: self.model.tokenizer.truncation_side(),
            ..Truncation::to(self.model.max_length)
        };
        let options = EncodeOptions { truncation: Some(truncation), ..EncodeOptions::default() };
        Ok(Some(self.model.tokenizer.encode(original, None, &options)?))
    }

    fn entities<'l>(
        &self,
        text: &str,
        encoding: &Encoding,
        logits: impl Iterator<Item = &'l [f32]>,
    ) -> Result<Vec<Entity>, Error> {
        let tokenizer = &self.model.tokenizer;
        let unknown = tokenizer.special_tokens().unk.as_ref().map(|unk| unk.id);
        let characters = encoding.char_offsets(text);
        let mut tokens = Vec::new();
        for (index, logits) in logits.enumerate() {
            if encoding.special_tokens_mask[index] != 0 {
                continue;
            }
            let (bytes, (start, end), id) = (encoding.offsets[index], characters[index], encoding.ids[index]);
            let original = &text[bytes.0..bytes.1];
            let token = tokenizer.id_to_token(id).unwrap_or_default();
            let (word, is_subword) = if Some(id) == unknown {
                (original, false)
            } else if self.subwords_are_marked {
                (token, token.chars().count() != end - start)
            } else {
                // Where nothing marks them: a token is the first of a word if a space stands before it or at its beginning.
                let before = text[..bytes.0].chars().next_back();
                let first = text[bytes.0..].chars().next();
                (token, before.is_some() && before != Some(' ') && first != Some(' '))
            };
            tokens.push(Token { word: word.to_owned(), scores: softmax(logits), start, end, bytes, index, is_subword });
        }
        let aggregator = Aggregator { tokenizer, labels: &self.labels };
        let mut entities = aggregator.aggregate(tokens, self.strategy)?;
        entities.retain(|entity| !self.ignore_labels.contains(&entity.label));
        Ok(entities)
    }
}
