//! `loquat classify`: labels for texts.

use clap::{Args, ValueEnum};
use loquat::{FunctionToApply, TextClassification, TopK};
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{PipelineArgs, TruncationReport, configured},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
With --json, a line per text: {\"labels\": [{\"label\", \"score\"}]}, the best first.
With --input-format jsonl an input may be a pair of texts: [A, B], or {\"text\", \"pair\"}.

Examples:
  loquat classify --model DIR \"I love this.\"
  loquat classify --model DIR --json --top-k all --input texts.txt";

/// Label texts: sentiment, topics, inference
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Classify {
    /// Texts [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// How many labels to give, or `all`
    #[arg(long, value_name = "K", default_value = "1", value_parser = top_k)]
    top_k: TopK,

    /// What turns logits into scores [default: what the model says]
    #[arg(long, value_enum, value_name = "FUNCTION")]
    function_to_apply: Option<Function>,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// What turns logits into scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Function {
    /// Each label by itself.
    Sigmoid,
    /// All labels together.
    Softmax,
    /// Nothing: the logits.
    None,
}

/// A number of labels, or all.
pub fn top_k(text: &str) -> Result<TopK, String> {
    match text.parse() {
        Ok(0) => Err("0 labels are no result".to_owned()),
        Ok(most) => Ok(TopK::Most(most)),
        Err(_) if text == "all" => Ok(TopK::All),
        Err(_) => Err("expected a number, or all".to_owned()),
    }
}

/// A label as JSON.
#[derive(Serialize)]
struct Label<'a> {
    label: &'a str,
    score: f32,
}

#[derive(Serialize)]
struct Line<'a> {
    labels: Vec<Label<'a>>,
}

impl Classify {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.texts)?;
        let mut builder = configured!(TextClassification::builder(), self.pipeline).top_k(self.top_k);
        if let Some(function) = self.function_to_apply {
            builder = builder.function_to_apply(match function {
                Function::Sigmoid => FunctionToApply::Sigmoid,
                Function::Softmax => FunctionToApply::Softmax,
                Function::None => FunctionToApply::None,
            });
        }
        let model = builder.build()?;
        let mut out = Output::stdout();
        let mut report = TruncationReport::default();
        while let Some(chunk) = inputs.next_chunk()? {
            let places: Vec<_> = chunk.iter().map(|item| item.place.clone()).collect();
            let texts = chunk.into_iter().map(|item| match item.is_pair() {
                true => item.into_pair().map(|(text, pair)| (text, Some(pair))),
                false => item.into_text().map(|text| (text, None)),
            });
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            let borrowed: Vec<Borrowed<'_>> =
                texts.iter().map(|(text, pair)| Borrowed(text, pair.as_deref())).collect();
            let results = model.predict(&borrowed).map_err(|error| Failure::of_texts(error, &places))?;
            report.note(texts.len(), results.truncated(), &places);
            for labels in results.iter() {
                if self.output.json {
                    let labels = labels.iter().map(|label| Label { label: &label.label, score: label.score });
                    out.json(&Line { labels: labels.collect() })?;
                } else {
                    let labels: Vec<String> =
                        labels.iter().map(|label| format!("{}\t{:.6}", label.label, label.score)).collect();
                    out.line(labels.join("\t"))?;
                }
            }
            out.flush()?;
        }
        report.print();
        Ok(())
    }
}

/// A text or a pair of texts.
struct Borrowed<'a>(&'a str, Option<&'a str>);

impl<'a> From<&'a Borrowed<'a>> for loquat::Input<'a> {
    fn from(Borrowed(text, pair): &'a Borrowed<'a>) -> Self {
        loquat::Input { text, pair: *pair }
    }
}
