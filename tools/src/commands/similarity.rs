//! `loquat similarity`: how alike two texts are.

use clap::Args;
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{EmbeddingArgs, TruncationReport, truncated_flags},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
The similarity is the cosine of the two embeddings: 1 for the same meaning, about 0 for unrelated texts.
Without arguments, every line of the input is a pair: two texts with a tab between them, or a JSON array of two.
With --json, a line per pair: {\"texts\": [A, B], \"similarity\", \"truncated\": true if only the beginning of one counted}.

Examples:
  loquat similarity \"A cat sleeps.\" \"The kitten is napping.\"
  loquat similarity --json --input pairs.tsv";

/// Compare two texts by meaning
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Similarity {
    /// Two texts [default: pairs, one a line of --input or stdin]
    #[arg(value_name = "TEXT", num_args = 2, value_names = ["A", "B"])]
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
    texts: [&'a str; 2],
    similarity: f32,
    truncated: bool,
}

impl Similarity {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.texts)?;
        let model = self.model.load()?;
        let mut out = Output::stdout();
        let mut report = TruncationReport::default();
        while let Some(chunk) = inputs.next_chunk()? {
            let mut places = Vec::with_capacity(2 * chunk.len());
            let mut texts = Vec::with_capacity(2 * chunk.len());
            if self.texts.is_empty() {
                for item in chunk {
                    places.extend([item.place.clone(), item.place.clone()]);
                    texts.extend(<[String; 2]>::from(item.into_pair()?));
                }
            } else {
                for item in chunk {
                    places.push(item.place.clone());
                    texts.push(item.into_text()?);
                }
            }
            let embeddings = model.encode(&texts).map_err(|error| Failure::of_texts(error, &places))?;
            let truncated = truncated_flags(&embeddings);
            let rows: Vec<&[f32]> = embeddings.iter().collect();
            for ((texts, rows), truncated) in
                texts.chunks_exact(2).zip(rows.chunks_exact(2)).zip(truncated.chunks_exact(2))
            {
                let similarity = loquat::similarity(rows[0], rows[1])?;
                if self.output.json {
                    out.json(&Line {
                        texts: [&texts[0], &texts[1]],
                        similarity,
                        truncated: truncated[0] || truncated[1],
                    })?;
                } else {
                    out.line(format_args!("{similarity:.6}"))?;
                }
            }
            out.flush()?;
            report.add(&embeddings, &places);
        }
        report.print();
        Ok(())
    }
}
