//! `loquat decode`: ids back to text.

use clap::{ArgAction, Args};
use loquat::DecodeOptions;
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    item::Item,
    model::ModelArgs,
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
An input is a list of ids: a JSON array, or numbers with spaces between them. Arguments that are one number each are
one list. With --json, a line per list: {\"ids\", \"text\"}.

Examples:
  loquat decode 101 7592 2088 102
  loquat decode --skip-special-tokens \"[101, 7592, 102]\" \"[101, 2088, 102]\"
  loquat tokenize --json \"Hello\" | loquat decode --input-format jsonl";

/// Turn token ids back into text
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Decode {
    /// Lists of ids [default: lines of --input or stdin]
    #[arg(value_name = "IDS")]
    lists: Vec<String>,

    /// Leave out special tokens such as [CLS] and [SEP]
    #[arg(long)]
    skip_special_tokens: bool,

    /// Take out spaces before punctuation [default: what the tokenizer's files say]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    clean_up: Option<bool>,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Serialize)]
struct Line {
    ids: Vec<u32>,
    text: String,
}

impl Decode {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let single_numbers = self.lists.iter().all(|argument| argument.parse::<u32>().is_ok());
        let arguments =
            if single_numbers && self.lists.len() > 1 { vec![self.lists.join(" ")] } else { self.lists.clone() };
        let mut inputs = self.input.open(&arguments)?;
        let tokenizer = self.model.tokenizer()?;
        let options = DecodeOptions { skip_special_tokens: self.skip_special_tokens, clean_up: self.clean_up };
        let mut out = Output::stdout();
        while let Some(chunk) = inputs.next_chunk()? {
            for item in chunk {
                let Item { place, .. } = &item;
                let place = place.clone();
                let ids = item.into_ids()?;
                let text = tokenizer.decode(&ids, &options).map_err(|error| Failure::at(&place, &error))?;
                if self.output.json {
                    out.json(&Line { ids, text })?;
                } else {
                    out.line(text)?;
                }
            }
            out.flush()?;
        }
        Ok(())
    }
}
