//! `loquat search`: the texts of a corpus that are closest to a query.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;
use loquat::{Corpus, SentenceEmbeddings};
use serde::Serialize;

use crate::{
    failure::Failure,
    input::{InputArgs, InputFormat, Inputs},
    model::{EmbeddingArgs, TruncationReport, truncated_flags},
    output::{Output, OutputArgs, progress},
};

const AFTER_HELP: &str = "\
Scores are cosines. Hits come best first; equal scores in the order of the corpus. `index` counts the corpus's texts from 0.
With --json, a line per query: {\"query\", \"hits\": [{\"index\", \"score\", \"text\"}], \"truncated\"}.

Examples:
  loquat search --corpus texts.txt \"weather tomorrow\"
  loquat search --corpus texts.txt --top-k 3 --json --input queries.txt";

/// Find the texts of a corpus that are closest to a query
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Search {
    /// Queries [default: lines of --input or stdin]
    #[arg(value_name = "QUERY")]
    queries: Vec<String>,

    /// The texts to search in, one a line
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,

    /// What a line of the corpus holds
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    corpus_format: InputFormat,

    /// How many texts to find for each query
    #[arg(long, value_name = "K", default_value = "10")]
    top_k: NonZeroUsize,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    model: EmbeddingArgs,
}

#[derive(Serialize)]
struct Line<'a> {
    query: &'a str,
    hits: Vec<HitLine<'a>>,
    truncated: bool,
}

#[derive(Serialize)]
struct HitLine<'a> {
    index: usize,
    score: f32,
    text: &'a str,
}

impl Search {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.queries)?;
        let corpus = Inputs::file(&self.corpus, self.corpus_format)?;
        let model = self.model.load()?;
        let (texts, corpus) = read_corpus(corpus, &model)?;

        let mut out = Output::stdout();
        let mut report = TruncationReport::default();
        while let Some((queries, places)) = inputs.next_texts()? {
            let embeddings = model.encode_query(&queries).map_err(|error| Failure::of_texts(error, &places))?;
            let truncated = truncated_flags(&embeddings);
            for ((query, row), truncated) in queries.iter().zip(&embeddings).zip(truncated) {
                let hits: Vec<HitLine> = corpus
                    .search(row, self.top_k.get())?
                    .into_iter()
                    .map(|hit| HitLine { index: hit.index, score: hit.score, text: &texts[hit.index] })
                    .collect();
                if self.output.json {
                    out.json(&Line { query, hits, truncated })?;
                } else {
                    out.line(format_args!("{query:?}"))?;
                    for hit in hits {
                        out.line(format_args!("  {:9.6}  {:>6}  {:?}", hit.score, hit.index, hit.text))?;
                    }
                }
            }
            out.flush()?;
            report.add(&embeddings, &places);
        }
        report.print();
        Ok(())
    }
}

/// The corpus's texts and their embeddings.
fn read_corpus(inputs: Inputs, model: &SentenceEmbeddings) -> Result<(Vec<String>, Corpus), Failure> {
    let (texts, places) = inputs.all_texts()?;
    let bar = progress("texts of the corpus");
    let mut show = |progress: loquat::Progress| bar.set_position(progress.done as u64);
    let control = loquat::Control { progress: Some(&mut show), ..Default::default() };
    let embeddings = model.encode_document_with(&texts, control).map_err(|error| Failure::of_texts(error, &places))?;
    bar.finish_and_clear();
    let mut report = TruncationReport::default();
    report.add(&embeddings, &places);
    report.print();
    Ok((texts, Corpus::new(embeddings)))
}
