//! `loquat embed`: texts to vectors.

use clap::Args;
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{EmbeddingArgs, TruncationReport, truncated_flags},
    output::{Output, OutputArgs, progress},
};

const AFTER_HELP: &str = "\
With --json, a line per text: {\"text\", \"embedding\": [...], \"truncated\": true if only a part of it counted}.
The result of a text doesn't depend on the other texts or on --threads.

Examples:
  loquat embed \"The quick brown fox\"
  loquat embed --json --input texts.txt > embeddings.jsonl
  printf 'first\\nsecond\\n' | loquat embed --json
  echo '\"two\\nlines\"' | loquat embed --json --input-format jsonl";

/// Turn texts into embeddings
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Embed {
    /// Texts [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    model: EmbeddingArgs,
}

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    embedding: &'a [f32],
    truncated: bool,
}

impl Embed {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.texts)?;
        let model = self.model.load()?;
        let mut out = Output::stdout();
        let mut report = TruncationReport::default();
        let bar = progress("texts");
        while let Some((texts, places)) = inputs.next_texts()? {
            let embeddings = model.encode(&texts).map_err(|error| Failure::of_texts(error, &places))?;
            let truncated = truncated_flags(&embeddings);
            for ((text, embedding), truncated) in texts.iter().zip(&embeddings).zip(truncated) {
                if self.output.json {
                    out.json(&Line { text, embedding, truncated })?;
                } else {
                    print(&mut out, text, embedding)?;
                }
            }
            out.flush()?;
            bar.inc(texts.len() as u64);
            report.add(&embeddings, &places);
        }
        bar.finish_and_clear();
        report.print();
        Ok(())
    }
}

/// The text, then its vector, eight values a row.
fn print(out: &mut Output, text: &str, embedding: &[f32]) -> Result<(), Failure> {
    out.line(format_args!("{text:?}, {} values:", embedding.len()))?;
    for row in embedding.chunks(8) {
        let values: Vec<String> = row.iter().map(|value| format!("{value:10.6}")).collect();
        out.line(values.join(" "))?;
    }
    out.line("")
}
