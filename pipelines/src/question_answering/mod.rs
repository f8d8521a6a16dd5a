//! Answers to questions, found in a context.

mod spans;

use loquat_models::Task;
use loquat_tokenizer::{EncodeOptions, Encoding, Input, Truncation, TruncationStrategy};

use crate::{
    Error,
    pipeline::{Results, Settings, TaskModel, descending, setting_methods},
};
use spans::{Candidates, best_spans};

/// The longest input by default, in tokens.
const MAX_SEQ_LEN: usize = 384;

/// Tokens that neighbouring windows share by default.
const DOC_STRIDE: usize = 128;

/// The longest answer by default, in tokens.
const MAX_ANSWER_LEN: usize = 15;

/// Chooses a model and its settings; made by [`QuestionAnswering::builder`].
#[derive(Clone, Debug)]
pub struct QuestionAnsweringBuilder {
    settings: Settings,
    top_k: usize,
    doc_stride: Option<usize>,
    max_answer_len: usize,
    max_question_len: Option<usize>,
    handle_impossible_answer: bool,
    align_to_words: bool,
}

/// Finds the answers to questions in contexts, word for word.
///
/// Contexts of any length are read in windows.
///
/// ```no_run
/// use loquat::QuestionAnswering;
///
/// let model = QuestionAnswering::builder().model("roberta-base-squad2").build()?;
/// let results = model.predict(&[("Where do I live?", "My name is Wolfgang and I live in Berlin.")])?;
/// println!("{} ({:.3})", results[0][0].answer, results[0][0].score);
/// # Ok::<(), loquat::Error>(())
/// ```
#[derive(Debug)]
pub struct QuestionAnswering {
    model: TaskModel,
    max_seq_len: usize,
    doc_stride: usize,
    top_k: usize,
    max_answer_len: usize,
    max_question_len: Option<usize>,
    handle_impossible_answer: bool,
    align_to_words: bool,
}

/// An answer: a span of the context.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its text; empty for "there is none".
    pub answer: String,
    /// Its probability. That of a text that stands in several places is the sum over them.
    pub score: f32,
    /// Its first character in the context, from 0.
    pub start: usize,
    /// The character behind its last one.
    pub end: usize,
    /// The same span in bytes.
    pub bytes: (usize, usize),
}

impl Default for QuestionAnsweringBuilder {
    fn default() -> Self {
        QuestionAnsweringBuilder {
            settings: Settings::default(),
            top_k: 1,
            doc_stride: None,
            max_answer_len: MAX_ANSWER_LEN,
            max_question_len: None,
            handle_impossible_answer: false,
            align_to_words: true,
        }
    }
}

impl QuestionAnsweringBuilder {
    setting_methods!();

    /// How many answers a question gets; one by default.
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// How many tokens of the context neighbouring windows share; by default 128, or half of the longest input.
    pub fn doc_stride(mut self, tokens: usize) -> Self {
        self.doc_stride = Some(tokens);
        self
    }

    /// The longest answer in tokens; 15 by default.
    pub fn max_answer_len(mut self, tokens: usize) -> Self {
        self.max_answer_len = tokens;
        self
    }

    /// The longest question in tokens; the rest of a longer one doesn't count. By default it may fill the input.
    pub fn max_question_len(mut self, tokens: usize) -> Self {
        self.max_question_len = Some(tokens);
        self
    }

    /// Whether "there is no answer" is one of the answers.
    pub fn handle_impossible_answer(mut self, handle: bool) -> Self {
        self.handle_impossible_answer = handle;
        self
    }

    /// Whether answers begin and end with words rather than tokens; they do by default.
    pub fn align_to_words(mut self, align: bool) -> Self {
        self.align_to_words = align;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// If the model can't be found or read, has no such head, or contradicts itself or a setting.
    pub fn build(self) -> Result<QuestionAnswering, Error> {
        let setting = |setting, problem: &str| Err(Error::Setting { setting, problem: problem.to_owned() });
        if self.top_k == 0 {
            return setting("top_k", "0 answers, expected at least 1");
        }
        if self.max_answer_len == 0 {
            return setting("max_answer_len", "0 tokens, expected at least 1");
        }
        if self.max_question_len == Some(0) {
            return setting("max_question_len", "0 tokens, expected at least 1");
        }
        let model = TaskModel::load(&self.settings, Task::QuestionAnswering)?;
        let max_seq_len = match self.settings.max_length {
            Some(asked) => asked,
            None => model.max_length.min(MAX_SEQ_LEN),
        };
        let doc_stride = self.doc_stride.unwrap_or((max_seq_len / 2).min(DOC_STRIDE));
        if doc_stride > max_seq_len {
            let problem = format!("{doc_stride} tokens, expected at most the longest input, which is {max_seq_len}");
            return Err(Error::Setting { setting: "doc_stride", problem });
        }
        Ok(QuestionAnswering {
            model,
            max_seq_len,
            doc_stride,
            top_k: self.top_k,
            max_answer_len: self.max_answer_len,
            max_question_len: self.max_question_len,
            handle_impossible_answer: self.handle_impossible_answer,
            align_to_words: self.align_to_words,
        })
    }
}

impl QuestionAnswering {
    /// Begins to load a model.
    pub fn builder() -> QuestionAnsweringBuilder {
        QuestionAnsweringBuilder::default()
    }

    /// The answers to each question in its context, the best first. An input is a pair of question and context.
    ///
    /// # Errors
    /// If an input can't be tokenized, or a question leaves no room for its context.
    pub fn predict<Q: AsRef<str>, C: AsRef<str>>(&self, inputs: &[(Q, C)]) -> Result<Results<Vec<Answer>>, Error> {
        let encoded = inputs.iter().enumerate().map(|(index, (question, context))| {
            self.encode(question.as_ref(), context.as_ref())
                .map_err(|error| Error::Text { index, problem: error.into() })
        });
        let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
        let windows: Vec<(usize, &Encoding)> = (0..)
            .zip(&encoded)
            .flat_map(|(index, first)| std::iter::once(first).chain(&first.overflowing).map(move |each| (index, each)))
            .collect();
        let mut found: Vec<Found> = inputs.iter().map(|_| Found::default()).collect();
        self.model.run(
            windows.iter().map(|(_, window)| *window),
            |window| windows[window].0,
            |window, outputs| {
                let (index, encoding) = windows[window];
                let (start, end) = (outputs.column("start_logits")?, outputs.column("end_logits")?);
                let input = Input { text: inputs[index].0.as_ref(), pair: Some(inputs[index].1.as_ref()) };
                self.read_window(input, encoding, &start, &end, &mut found[index]);
                Ok(())
            },
        )?;
        Ok(Results::new(found.into_iter().map(|found| self.ranked(found)).collect(), Vec::new()))
    }

    /// The question with the first window of its context, and the other windows behind it.
    fn encode(&self, question: &str, context: &str) -> Result<Encoding, loquat_tokenizer::TokenizerError> {
        let tokenizer = &self.model.tokenizer;
        let mut question = question;
        if let Some(most) = self.max_question_len {
            let options = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
            let offsets = tokenizer.encode(question, None, &options)?.offsets;
            if offsets.len() > most {
                question = &question[..offsets[most - 1].1];
            }
        }
        let truncation = Truncation {
            strategy: TruncationStrategy::OnlySecond,
            stride: self.doc_stride,
            overflow: true,
            direction: tokenizer.truncation_side(),
            ..Truncation::to(self.max_seq_len)
        };
        let options = EncodeOptions { truncation: None, ..EncodeOptions::default() };
        let whole = tokenizer.encode(question, Some(context), &options)?;
        if whole.len() <= self.max_seq_len {
            return Ok(whole);
        }
        tokenizer.encode(question, Some(context), &EncodeOptions { truncation: Some(truncation), ..options })
    }

    /// Adds a window's answers.
    fn read_window(&self, input: Input<'_>, encoding: &Encoding, start: &[f32], end: &[f32], found: &mut Found) {
        let cls = self.model.tokenizer.special_tokens().cls.as_ref().map(|cls| cls.id);
        let allowed: Vec<bool> = (encoding.sequence_ids.iter().zip(&encoding.ids))
            .map(|(sequence, id)| *sequence == Some(1) || Some(*id) == cls)
            .collect();
        // Some candidates are lost to one another when they are aligned to words.
        let most = if self.align_to_words { 2 * self.top_k + 10 } else { self.top_k };
        let Candidates { spans, null_score } = best_spans(start, end, &allowed, most, self.max_answer_len);
        found.null_score = found.null_score.min(null_score);
        let context = input.pair.unwrap_or_default();
        let characters = encoding.char_offsets(input);
        for span in spans {
            let (first, last) = match self.align_to_words {
                true => words_of(encoding, span.first, span.last),
                false => (span.first, span.last),
            };
            let bytes = (encoding.offsets[first].0, encoding.offsets[last].1);
            let answer = context.get(bytes.0..bytes.1).unwrap_or_default();
            let folded = answer.to_lowercase();
            match found.answers.iter_mut().find(|(known, _)| *known == folded) {
                Some((_, known)) => known.score += span.score,
                None => {
                    let (start, end) = (characters[first].0, characters[last].1);
                    let answer = Answer { answer: answer.to_owned(), score: span.score, start, end, bytes };
                    found.answers.push((folded, answer));
                }
            }
        }
    }

    fn ranked(&self, found: Found) -> Vec<Answer> {
        let mut answers: Vec<Answer> = found.answers.into_iter().map(|(_, answer)| answer).collect();
        if self.handle_impossible_answer {
            let score = found.null_score;
            answers.push(Answer { answer: String::new(), score, start: 0, end: 0, bytes: (0, 0) });
        }
        answers.sort_by(|a, b| descending(a.score, b.score));
        answers.truncate(self.top_k);
        answers
    }
}

/// The answers in all windows of a context.
struct Found {
    /// Each with its text in lower case.
    answers: Vec<(String, Answer)>,
    /// The least probability of "there is no answer" in any window.
    null_score: f32,
}

impl Default for Found {
    fn default() -> Self {
        Found { answers: Vec::new(), null_score: 1e6 }
    }
}

/// The first token of the word that token `first` is of, and the last token of the word that token `last` is of, in this window.
fn words_of(encoding: &Encoding, first: usize, last: usize) -> (usize, usize) {
    let word = |token: usize| encoding.word_ids[token].map(|word| (word, encoding.sequence_ids[token]));
    let of = |token: usize, wanted| word(token) == Some(wanted);
    match (word(first), word(last)) {
        (Some(first_word), Some(last_word)) => {
            let start = (0..=first).find(|token| of(*token, first_word)).unwrap_or(first);
            let end = (last..encoding.len()).rev().find(|token| of(*token, last_word)).unwrap_or(last);
            (start, end)
        }
        _ => (first, last),
    }
}
