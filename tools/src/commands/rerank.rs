//! `loquat rerank`: documents in the order in which they answer a query.

use std::num::NonZeroUsize;

use clap::Args;
use loquat::Reranker;
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{PipelineArgs, TruncationReport, configured},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
With --json, one line: {\"results\": [{\"corpus_id\", \"score\", \"text\"}]}, the best first; corpus_id counts documents from 0.

Examples:
  loquat rerank --model DIR \"What is a loquat?\" < documents.txt
  loquat rerank --model DIR --json --top-k 3 \"What is a loquat?\" \"A fruit.\" \"A city.\"";

/// Order documents by how well they answer a query, with a cross-encoder
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Rerank {
    /// The query
    #[arg(value_name = "QUERY")]
    query: String,

    /// Documents [default: lines of --input or stdin]
    #[arg(value_name = "DOCUMENT")]
    documents: Vec<String>,

    /// How many documents to give [default: all]
    #[arg(long, value_name = "K")]
    top_k: Option<NonZeroUsize>,

    /// Give the model's logits as they are
    #[arg(long)]
    raw_scores: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// A document as JSON.
#[derive(Serialize)]
struct Document<'a> {
    corpus_id: usize,
    score: f32,
    text: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    results: Vec<Document<'a>>,
}

impl Rerank {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let inputs = self.input.open(&self.documents)?;
        let mut builder = configured!(Reranker::builder(), self.pipeline);
        if self.raw_scores {
            builder = builder.raw_scores(true);
        }
        let model = builder.build()?;
        let items = inputs.read_all()?;
        let places: Vec<_> = items.iter().map(|item| item.place.clone()).collect();
        let texts = items.into_iter().map(|item| item.into_text()).collect::<Result<Vec<_>, _>>()?;
        let ranked = model.rank(&self.query, &texts).map_err(|error| Failure::of_texts(error, &places))?;
        let mut report = TruncationReport::default();
        report.note(texts.len(), ranked.truncated(), &places);
        let most = self.top_k.map_or(usize::MAX, NonZeroUsize::get);
        let mut out = Output::stdout();
        let best = ranked.iter().take(most);
        if self.output.json {
            let results = best.map(|hit| Document { corpus_id: hit.index, score: hit.score, text: &texts[hit.index] });
            out.json(&Line { results: results.collect() })?;
        } else {
            for hit in best {
                out.line(format_args!("{:.6}\t{}", hit.score, texts[hit.index]))?;
            }
        }
        out.flush()?;
        report.print();
        Ok(())
    }
}
