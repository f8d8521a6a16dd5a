//! `loquat qa`: answers to questions, found in contexts.

use std::num::NonZeroUsize;

use clap::Args;
use loquat::QuestionAnswering;
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{PipelineArgs, configured},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
Without arguments, every line of the input is a question and its context with a tab between them, or a JSON array of the two; with
--input-format jsonl also {\"question\", \"context\"}.
With --json, a line per question: {\"answers\": [{\"answer\", \"score\", \"start\", \"end\"}]}, the best first; start and end count characters
of the context.

Examples:
  loquat qa --model DIR \"Where do I live?\" \"My name is Wolfgang and I live in Berlin.\"
  loquat qa --model DIR --json --top-k 3 --input questions.tsv";

/// Answer questions from texts, word for word
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Qa {
    /// A question and its context [default: both from each line of --input or stdin]
    #[arg(num_args = 2, value_names = ["QUESTION", "CONTEXT"])]
    texts: Vec<String>,

    /// How many answers to give
    #[arg(long, value_name = "K", default_value = "1")]
    top_k: NonZeroUsize,

    /// Tokens of the context that neighbouring windows share [default: 128, or half of --max-seq-len]
    #[arg(long, value_name = "N")]
    doc_stride: Option<usize>,

    /// The longest answer in tokens
    #[arg(long, value_name = "N", default_value = "15")]
    max_answer_len: NonZeroUsize,

    /// The longest input in tokens, question and window of the context [default: 384, or what the model takes]
    #[arg(long, value_name = "N", conflicts_with = "max_length")]
    max_seq_len: Option<NonZeroUsize>,

    /// The longest question in tokens
    #[arg(long, value_name = "N")]
    max_question_len: Option<NonZeroUsize>,

    /// Let "there is none" be an answer
    #[arg(long)]
    handle_impossible_answer: bool,

    /// Let answers begin and end inside of words
    #[arg(long)]
    no_align_to_words: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// An answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    answer: &'a str,
    score: f32,
    start: usize,
    end: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    answers: Vec<Answer<'a>>,
}

impl Qa {
    /// Runs the command.
    pub fn run(mut self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.texts)?;
        self.pipeline.max_length = self.pipeline.max_length.or(self.max_seq_len);
        let mut builder = configured!(QuestionAnswering::builder(), self.pipeline)
            .top_k(self.top_k.get())
            .max_answer_len(self.max_answer_len.get())
            .handle_impossible_answer(self.handle_impossible_answer)
            .align_to_words(!self.no_align_to_words);
        if let Some(doc_stride) = self.doc_stride {
            builder = builder.doc_stride(doc_stride);
        }
        if let Some(most) = self.max_question_len {
            builder = builder.max_question_len(most.get());
        }
        let model = builder.build()?;
        let mut out = Output::stdout();
        let mut question = None;
        while let Some(chunk) = inputs.next_chunk()? {
            let mut places = Vec::with_capacity(chunk.len());
            let mut pairs = Vec::with_capacity(chunk.len());
            for item in chunk {
                let place = item.place.clone();
                if self.texts.is_empty() {
                    pairs.push(item.into_question()?);
                } else if let Some(question) = question.take() {
                    pairs.push((question, item.into_text()?));
                } else {
                    question = Some(item.into_text()?);
                    continue;
                }
                places.push(place);
            }
            let results = model.predict(&pairs).map_err(|error| Failure::of_texts(error, &places))?;
            for answers in results.iter() {
                if self.output.json {
                    let answers = answers.iter().map(|answer| Answer {
                        answer: &answer.answer,
                        score: answer.score,
                        start: answer.start,
                        end: answer.end,
                    });
                    out.json(&Line { answers: answers.collect() })?;
                    continue;
                }
                for answer in answers {
                    out.line(format_args!("{:.6}\t{}..{}\t{}", answer.score, answer.start, answer.end, answer.answer))?;
                }
            }
            out.flush()?;
        }
        Ok(())
    }
}
