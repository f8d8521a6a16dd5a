//! Which tokens may stand behind masks.

use loquat_models::Task;
use loquat_tokenizer::{EncodeOptions, Input, Truncation};

use crate::{
    Error, TextProblem,
    pipeline::{Fit, Results, Settings, TaskModel, descending, setting_methods, softmax},
};

/// Guesses that a mask has by default.
const TOP_K: usize = 5;

/// Chooses a model and its settings; made by [`FillMask::builder`].
#[derive(Clone, Debug, Default)]
pub struct FillMaskBuilder {
    settings: Settings,
    top_k: Option<usize>,
    targets: Option<Vec<String>>,
}

/// Guesses tokens behind masks.
///
/// ```no_run
/// use loquat::FillMask;
///
/// let model = FillMask::builder().model("bert-base-uncased").build()?;
/// let results = model.predict(&["Paris is the [MASK] of France."])?;
/// for guess in &results[0][0] {
///     println!("{} {:.3}", guess.token_str, guess.score);
/// }
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct FillMask {
    model: TaskModel,
    mask: u32,
    top_k: usize,
    /// The only tokens to guess, without repetition.
    targets: Option<Vec<u32>>,
}

/// A token that may stand behind a mask.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskGuess {
    /// Its id.
    pub token: u32,
    /// Its text.
    pub token_str: String,
    /// Its probability.
    pub score: f32,
}

impl FillMaskBuilder {
    setting_methods!();

    /// How many guesses each mask gets; 5 by default.
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = Some(top_k);
        self
    }

    /// The only tokens to choose from. One that the vocabulary lacks stands for the first token of its text.
    pub fn targets<S: Into<String>>(mut self, targets: impl IntoIterator<Item = S>) -> Self {
        self.targets = Some(targets.into_iter().map(Into::into).collect());
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, has no such head, its tokenizer has no mask, or it contradicts itself or a setting.
    pub fn build(self) -> Result<FillMask, Error> {
        let model = TaskModel::load(&self.settings, Task::FillMask)?;
        let Some(mask) = model.tokenizer.special_tokens().mask.as_ref().map(|mask| mask.id) else {
            return Err(Error::Setting { setting: "model", problem: "its tokenizer has no mask token".to_owned() });
        };
        let vocabulary = model.width("logits")?;
        let targets = match &self.targets {
            None => None,
            Some(targets) => Some(target_ids(&model, targets, vocabulary)?),
        };
        let most = targets.as_ref().map_or(vocabulary, Vec::len);
        Ok(FillMask { model, mask, top_k: self.top_k.unwrap_or(TOP_K).min(most), targets })
    }
}

/// The ids of targets, each once.
fn target_ids(model: &TaskModel, targets: &[String], vocabulary: usize) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    for target in targets {
        let id = match model.tokenizer.token_to_id(target) {
            Some(id) => Some(id),
            None => {
                let options = EncodeOptions {
                    add_special_tokens: false,
                    truncation: Some(Truncation::to(1)),
                    ..EncodeOptions::default()
                };
                model.tokenizer.encode(target, None, &options)?.ids.first().copied()
            }
        };
        match id {
            Some(id) if (id as usize) < vocabulary && !ids.contains(&id) => ids.push(id),
            _ => {}
        }
    }
    if ids.is_empty() {
        let problem = format!("none of {targets:?} is a token that the model knows: give at least one");
        return Err(Error::Setting { setting: "targets", problem });
    }
    Ok(ids)
}

impl FillMask {
    /// Begins to load a model.
    pub fn builder() -> FillMaskBuilder {
        FillMaskBuilder::default()
    }

    /// The text that stands for a mask, such as `[MASK]`.
    pub fn mask_token(&self) -> &str {
        self.model.tokenizer.special_tokens().mask.as_ref().map_or("", |mask| mask.content.as_str())
    }

    /// For each text, the guesses for each of its masks, the best first.
    ///
    /// # Errors
    /// If a text can't be tokenized, is too long, or has no mask.
    pub fn predict<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Results<Vec<Vec<MaskGuess>>>, Error> {
        let encoded = self.model.encode_all(texts.len(), Fit::Whole, |index| Input::from(texts[index].as_ref()))?;
        for (index, text) in encoded.iter().enumerate() {
            if !text.encoding.ids.contains(&self.mask) {
                let problem = TextProblem::NoMask { mask: self.mask_token().to_owned() };
                return Err(Error::Text { index, problem });
            }
        }
        let mut results = Vec::with_capacity(texts.len());
        self.model.run(
            encoded.iter().map(|text| &text.encoding),
            |index| index,
            |index, outputs| {
                let ids = &encoded[index].encoding.ids;
                let masks = outputs.rows("logits")?.zip(ids).filter(|(_, id)| **id == self.mask);
                results.push(masks.map(|(logits, _)| self.guesses(logits)).collect::<Result<_, _>>()?);
                Ok(())
            },
        )?;
        Ok(Results::new(results, Vec::new()))
    }

    fn guesses(&self, logits: &[f32]) -> Result<Vec<MaskGuess>, Error> {
        let scores = softmax(logits);
        let mut ids: Vec<u32> = match &self.targets {
            Some(targets) => targets.clone(),
            // A vocabulary's size fits, since ids have 32 bits.
            None => (0..scores.len() as u32).collect(),
        };
        let by_score = |a: &u32, b: &u32| descending(scores[*a as usize], scores[*b as usize]).then(a.cmp(b));
        if self.top_k < ids.len() {
            ids.select_nth_unstable_by(self.top_k, by_score);
            ids.truncate(self.top_k);
        }
        ids.sort_unstable_by(by_score);
        let guess = |token: u32| {
            let token_str = self.model.tokenizer.decode(&[token], &Default::default())?;
            Ok(MaskGuess { token, token_str, score: scores[token as usize] })
        };
        ids.into_iter().map(guess).collect()
    }
}
