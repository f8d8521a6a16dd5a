//! `loquat keywords`: the words and phrases that texts are about.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use loquat::{KeywordExtraction, KeywordSelection};
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{PipelineArgs, configured},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
With --json, a line per text: {\"keywords\": [{\"keyword\", \"score\", \"offsets\": [[start, end]]}]}, the closest first; offsets count characters.

Examples:
  loquat keywords \"Rust is a language for systems programming.\"
  loquat keywords --json --ngram-range 1,2 --selection mmr --diversity 0.7 --input texts.txt";

/// Find the keywords of texts
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Keywords {
    /// Texts [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// How many keywords to give
    #[arg(long, value_name = "K", default_value = "5")]
    top_k: NonZeroUsize,

    /// The fewest and the most words of a keyword
    #[arg(long, value_name = "LEAST,MOST", default_value = "1,1", value_parser = range)]
    ngram_range: (usize, usize),

    /// Words that no keyword holds, separated by commas [default: function words of English]
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    stop_words: Option<Vec<String>>,

    /// How keywords are chosen
    #[arg(long, value_enum, value_name = "WAY", default_value = "cosine")]
    selection: Selection,

    /// With --selection mmr: how much weight difference has, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.5")]
    diversity: f32,

    /// With --selection max-sum: how many candidates to choose from
    #[arg(long, value_name = "N", default_value = "20")]
    nr_candidates: usize,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// How keywords are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Selection {
    /// Those closest to the text.
    Cosine,
    /// Close to the text and far from one another, one after another.
    Mmr,
    /// Of those closest to the text the ones least alike.
    MaxSum,
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let parsed =
        text.split_once(',').and_then(|(least, most)| Some((least.trim().parse().ok()?, most.trim().parse().ok()?)));
    parsed.ok_or_else(|| "expected two numbers with a comma between them, such as 1,2".to_owned())
}

/// A keyword as JSON.
#[derive(Serialize)]
struct Keyword<'a> {
    keyword: &'a str,
    score: f32,
    offsets: &'a [(usize, usize)],
}

#[derive(Serialize)]
struct Line<'a> {
    keywords: Vec<Keyword<'a>>,
}

impl Keywords {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.texts)?;
        let mut builder = configured!(KeywordExtraction::builder(), self.pipeline)
            .top_k(self.top_k.get())
            .ngram_range(self.ngram_range.0, self.ngram_range.1)
            .selection(match self.selection {
                Selection::Cosine => KeywordSelection::Cosine,
                Selection::Mmr => KeywordSelection::MaximalMarginalRelevance { diversity: self.diversity },
                Selection::MaxSum => KeywordSelection::MaxSum { candidates: self.nr_candidates },
            });
        if let Some(words) = &self.stop_words {
            builder = builder.stop_words(words.iter().map(|word| word.trim().to_lowercase()));
        }
        let model = builder.build()?;
        let mut out = Output::stdout();
        while let Some(chunk) = inputs.next_chunk()? {
            let places: Vec<_> = chunk.iter().map(|item| item.place.clone()).collect();
            let texts = chunk.into_iter().map(|item| item.into_text()).collect::<Result<Vec<_>, _>>()?;
            let results = model.predict(&texts).map_err(|error| Failure::of_texts(error, &places))?;
            for keywords in &results {
                if self.output.json {
                    let keywords = keywords.iter().map(|found| Keyword {
                        keyword: &found.keyword,
                        score: found.score,
                        offsets: &found.offsets,
                    });
                    out.json(&Line { keywords: keywords.collect() })?;
                } else {
                    let keywords: Vec<String> =
                        keywords.iter().map(|found| format!("{}\t{:.6}", found.keyword, found.score)).collect();
                    out.line(keywords.join("\t"))?;
                }
            }
            out.flush()?;
        }
        Ok(())
    }
}
