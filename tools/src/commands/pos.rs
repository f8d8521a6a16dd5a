//! `loquat pos`: parts of speech.

use clap::Args;
use loquat::AggregationStrategy;

use super::ner::TaggingArgs;
use crate::failure::Failure;

const AFTER_HELP: &str = "\
With --json, a line per text: {\"entities\": [{\"entity_group\", \"score\", \"word\", \"start\", \"end\"}]}, an entity for each word;
start and end count characters. A word has the label of its first token.

Examples:
  loquat pos --model DIR \"My name is Sarah.\"";

/// Label the words of texts with their parts of speech
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Pos {
    /// Texts [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    #[command(flatten)]
    tagging: TaggingArgs,
}

impl Pos {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        self.tagging.run(&self.texts, AggregationStrategy::Words, Vec::new())
    }
}
