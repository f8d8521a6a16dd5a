//! A model with a head, its tokenizer, and running many inputs through both.

use loquat_models::{Labels, Task};
use loquat_runtime::{Batch, Outputs, RunError, Session, graph::Index};
use loquat_tokenizer::{EncodeOptions, Encoding, Input, Tokenizer, Truncation, TruncationStrategy};

use super::Settings;
use crate::{
    Error, Overlong, TextProblem, Truncated,
    model::{load, resolve},
};

/// A model for one task, ready to run.
#[derive(Debug)]
pub(crate) struct TaskModel {
    session: Session,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) labels: Labels,
    /// The most tokens of an input, special tokens included.
    pub(crate) max_length: usize,
    positions: usize,
    /// Whether the model tells types of tokens apart.
    typed: bool,
    overlong: Overlong,
    token_budget: usize,
}

/// How an input is made to fit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fit {
    /// As the setting for overlong inputs says, by this strategy.
    Truncate(TruncationStrategy),
    /// Not at all: an input that is too long is an error.
    Whole,
    /// Not at all: the caller cuts it into windows.
    Any,
}

/// An input's tokens.
#[derive(Debug)]
pub(crate) struct EncodedText {
    pub(crate) encoding: Encoding,
    pub(crate) truncated: Option<Truncated>,
}

/// The raw outputs for one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceOutputs<'a> {
    outputs: &'a Outputs,
    sequence: usize,
}

impl<'a> SequenceOutputs<'a> {
    /// The rows of an output that belong to this sequence: one for each token, or one in all.
    pub(crate) fn rows(&self, name: &str) -> Result<std::slice::ChunksExact<'a, f32>, Error> {
        let tensor = self.outputs.get(name).ok_or_else(|| Error::NoOutput { name: name.to_owned() })?;
        let width = tensor.shape[1];
        let rows = match tensor.rows {
            loquat_runtime::graph::Rows::Tokens => {
                let ends = self.outputs.cu_seqlens();
                ends[self.sequence] as usize..ends[self.sequence + 1] as usize
            }
            loquat_runtime::graph::Rows::Sequences => self.sequence..self.sequence + 1,
        };
        Ok(tensor.data[rows.start * width..rows.end * width].chunks_exact(width))
    }

    /// The only row of an output that has one for each sequence.
    pub(crate) fn row(&self, name: &str) -> Result<&'a [f32], Error> {
        self.rows(name)?.next().ok_or_else(|| Error::NoOutput { name: name.to_owned() })
    }

    /// An output with one number for each token.
    pub(crate) fn column(&self, name: &str) -> Result<Vec<f32>, Error> {
        Ok(self.rows(name)?.filter_map(|row| row.first().copied()).collect())
    }
}

impl TaskModel {
    pub(crate) fn load(settings: &Settings, task: Task) -> Result<TaskModel, Error> {
        let files = resolve::resolve(&settings.source)?;
        let loaded = load::task_model(&files, &settings.run, task)?;
        let positions = loaded.positions;
        let max_length = match settings.max_length {
            Some(asked) if asked > positions => {
                return Err(Error::Setting {
                    setting: "max_length",
                    problem: format!("{asked} is more than the {positions} positions that the model has"),
                });
            }
            Some(asked) => asked,
            None => loaded.tokenizer.model_max_length().unwrap_or(positions).min(positions),
        };
        let special_tokens = loaded.tokenizer.special_tokens_added(false);
        if max_length <= special_tokens {
            return Err(Error::Setting {
                setting: "max_length",
                problem: format!(
                    "{max_length} leaves no room beside the {special_tokens} special tokens of every text"
                ),
            });
        }
        let types = loaded.session.program().limits().rows(Index::TypeIds);
        Ok(TaskModel {
            session: loaded.session,
            tokenizer: loaded.tokenizer,
            labels: loaded.labels,
            max_length,
            positions,
            typed: types.is_some_and(|types| types > 1),
            overlong: settings.overlong,
            token_budget: settings.token_budget.max(1),
        })
    }

    /// Width of an output.
    pub(crate) fn width(&self, output: &str) -> Result<usize, Error> {
        let shapes = self.session.program().outputs();
        let found = shapes.iter().find(|(name, _)| name == output).map(|(_, shape)| shape.width);
        found.ok_or_else(|| Error::NoOutput { name: output.to_owned() })
    }

    /// How many threads the model has.
    pub(crate) fn threads(&self) -> usize {
        self.session.threads()
    }

    /// The tokens of input number `index`.
    pub(crate) fn encode(&self, index: usize, input: Input<'_>, fit: Fit) -> Result<EncodedText, Error> {
        let fault = |error: loquat_tokenizer::TokenizerError| Error::Text { index, problem: error.into() };
        let encode = |truncation| {
            let options = EncodeOptions { truncation, ..EncodeOptions::default() };
            self.tokenizer.encode(input.text, input.pair, &options).map_err(fault)
        };
        let encoding = encode(None)?;
        let tokens = encoding.len();
        let too_long = |limit| Error::Text { index, problem: TextProblem::TooLong { tokens, limit } };
        let strategy = match fit {
            _ if tokens <= self.max_length => return Ok(EncodedText { encoding, truncated: None }),
            Fit::Whole if tokens <= self.positions => return Ok(EncodedText { encoding, truncated: None }),
            Fit::Whole => return Err(too_long(self.positions)),
            Fit::Any => return Ok(EncodedText { encoding, truncated: None }),
            Fit::Truncate(_) if self.overlong == Overlong::Refuse => return Err(too_long(self.max_length)),
            Fit::Truncate(strategy) => strategy,
        };
        let direction = self.tokenizer.truncation_side();
        let encoding = encode(Some(Truncation { strategy, direction, ..Truncation::to(self.max_length) }))?;
        let truncated = Some(Truncated { index, tokens, kept: encoding.len() });
        Ok(EncodedText { encoding, truncated })
    }

    /// Encodes many inputs on the model's threads. `input` gives each by its number.
    pub(crate) fn encode_all<'a>(
        &self,
        count: usize,
        fit: Fit,
        input: impl Fn(usize) -> Input<'a> + Sync,
    ) -> Result<Vec<EncodedText>, Error> {
        let bytes: usize = (0..count).map(&input).map(|each| each.text.len() + each.pair.map_or(0, str::len)).sum();
        // Starting a thread takes as long as encoding some kilobytes.
        let threads = self.threads().min(bytes >> 15).min(count).max(1);
        let share = count.div_ceil(threads).max(1);
        let encode = |numbers: std::ops::Range<usize>| -> Result<Vec<EncodedText>, Error> {
            numbers.map(|index| self.encode(index, input(index), fit)).collect()
        };
        if threads == 1 {
            return encode(0..count);
        }
        let (encode, mut all) = (&encode, Vec::with_capacity(count));
        let shares = std::thread::scope(|scope| -> Vec<_> {
            let workers: Vec<_> = (0..count)
                .step_by(share)
                .map(|start| scope.spawn(move || encode(start..(start + share).min(count))))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        for share in shares {
            all.extend(share?);
        }
        Ok(all)
    }

    /// Runs encodings, as many at once as the token budget allows, and hands each one's number and outputs to `read`, in order. `text_of` says
    /// which text an encoding is of, for messages.
    pub(crate) fn run<'e>(
        &self,
        encodings: impl IntoIterator<Item = &'e Encoding>,
        text_of: impl Fn(usize) -> usize,
        mut read: impl FnMut(usize, SequenceOutputs<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut batch = Batch::new();
        let mut done = 0;
        let mut run = |batch: &mut Batch| -> Result<(), Error> {
            let outputs = self.session.run(batch).map_err(|error| match error {
                RunError::Index { sequence, what, found, limit, .. } => {
                    Error::Text { index: text_of(done + sequence), problem: TextProblem::Id { what, found, limit } }
                }
                RunError::TooLong { sequence, found, limit, .. } => Error::Text {
                    index: text_of(done + sequence),
                    problem: TextProblem::TooLong { tokens: found, limit },
                },
                other => Error::Run(other),
            })?;
            for sequence in 0..batch.sequences() {
                read(done + sequence, SequenceOutputs { outputs: &outputs, sequence })?;
            }
            done += batch.sequences();
            batch.clear();
            Ok(())
        };
        for encoding in encodings {
            if batch.sequences() > 0 && batch.tokens() + encoding.len() > self.token_budget {
                run(&mut batch)?;
            }
            batch.push(&encoding.ids, self.typed.then_some(encoding.type_ids.as_slice()))?;
        }
        if batch.sequences() > 0 {
            run(&mut batch)?;
        }
        Ok(())
    }
}
