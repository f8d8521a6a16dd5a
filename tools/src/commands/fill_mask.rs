//! `loquat fill-mask`: which tokens may stand behind masks.

use std::num::NonZeroUsize;

use clap::Args;
use loquat::MaskGuess;
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{PipelineArgs, configured},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
With --json, a line per text: {\"masks\": [[{\"token\", \"token_str\", \"score\"}]]}, a list for each mask, the best first.

Examples:
  loquat fill-mask --model DIR \"Paris is the [MASK] of France.\"
  loquat fill-mask --model DIR --json --targets capital,heart \"Paris is the [MASK] of France.\"";

/// Guess the tokens behind masks
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct FillMask {
    /// Texts with masks [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// How many guesses to give for each mask
    #[arg(long, value_name = "K", default_value = "5")]
    top_k: NonZeroUsize,

    /// The only tokens to choose from, separated by commas
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    targets: Option<Vec<String>>,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// A guess as JSON.
#[derive(Serialize)]
struct Guess<'a> {
    token: u32,
    token_str: &'a str,
    score: f32,
}

impl<'a> From<&'a MaskGuess> for Guess<'a> {
    fn from(guess: &'a MaskGuess) -> Self {
        Guess { token: guess.token, token_str: &guess.token_str, score: guess.score }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    masks: Vec<Vec<Guess<'a>>>,
}

impl FillMask {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.texts)?;
        let mut builder = configured!(loquat::FillMask::builder(), self.pipeline).top_k(self.top_k.get());
        if let Some(targets) = &self.targets {
            builder = builder.targets(targets);
        }
        let model = builder.build()?;
        let mut out = Output::stdout();
        while let Some(chunk) = inputs.next_chunk()? {
            let places: Vec<_> = chunk.iter().map(|item| item.place.clone()).collect();
            let texts = chunk.into_iter().map(|item| item.into_text()).collect::<Result<Vec<_>, _>>()?;
            let results = model.predict(&texts).map_err(|error| Failure::of_texts(error, &places))?;
            for masks in results.iter() {
                if self.output.json {
                    let masks = masks.iter().map(|guesses| guesses.iter().map(Guess::from).collect());
                    out.json(&Line { masks: masks.collect() })?;
                    continue;
                }
                for guesses in masks {
                    let guesses: Vec<String> =
                        guesses.iter().map(|guess| format!("{}\t{:.6}", guess.token_str, guess.score)).collect();
                    out.line(guesses.join("\t"))?;
                }
            }
            out.flush()?;
        }
        Ok(())
    }
}
