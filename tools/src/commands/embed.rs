//! `loquat embed`: texts to vectors.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use loquat::{EmbeddingRanges, Embeddings, SentenceEmbeddings};
use serde::Serialize;

use crate::{
    failure::Failure,
    input::{InputArgs, InputFormat, Inputs},
    item::Place,
    model::{EmbeddingArgs, TruncationReport, truncated_flags},
    output::{Output, OutputArgs, progress},
};

const AFTER_HELP: &str = "\
With --json, a line per text: {\"text\", \"embedding\": [...], \"truncated\": true if only a part of it counted}.
The result of a text doesn't depend on the other texts or on --threads. With --values int8 or uint8 a byte's range is what the embeddings of
--calibrate FILE range over, else what those of all the texts do; with binary or ubinary a byte holds eight values, 1 where one is above 0.

Examples:
  loquat embed \"The quick brown fox\"
  loquat embed --json --input texts.txt > embeddings.jsonl
  printf 'first\\nsecond\\n' | loquat embed --json
  echo '\"two\\nlines\"' | loquat embed --json --input-format jsonl
  loquat embed --json --values int8 --calibrate corpus.txt \"The quick brown fox\"";

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

    /// Put PROMPT before every text [default: the prompt that the model names as its default]
    #[arg(long, value_name = "PROMPT", conflicts_with = "prompt_name")]
    prompt: Option<String>,

    /// Put the prompt before every text that the model has by this name, such as query or document
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,

    /// Scale embeddings to length 1, or not [default: what the model says]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    normalize: Option<bool>,

    /// Print the first N values of each embedding alone, for models trained for that
    #[arg(long, value_name = "N")]
    truncate_dim: Option<usize>,

    /// What the values of an embedding are printed as
    #[arg(long, value_enum, value_name = "TYPE", default_value = "float32")]
    values: Values,

    /// Texts, one a line, whose embeddings say what the values range over, for --values int8 and uint8
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
}

/// What the values of an embedding are printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Values {
    /// Numbers as the model computes them.
    Float32,
    /// Bytes from -128 to 127, of each value's range.
    Int8,
    /// Bytes from 0 to 255, of each value's range.
    Uint8,
    /// A bit for each value, eight to a byte from -128 to 127.
    Binary,
    /// A bit for each value, eight to a byte from 0 to 255.
    Ubinary,
}

impl Values {
    /// Whether they are bytes of a range.
    fn have_ranges(self) -> bool {
        matches!(self, Values::Int8 | Values::Uint8)
    }
}

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    embedding: Row<'a>,
    truncated: bool,
}

/// An embedding, as it is printed.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Floats(&'a [f32]),
    Bytes(&'a [u8]),
    SignedBytes(&'a [i8]),
}

/// Embeddings, as they are printed: values row after row.
enum Rows<'a> {
    Floats(&'a [f32]),
    Bytes(Vec<u8>),
    SignedBytes(Vec<i8>),
}

impl Rows<'_> {
    /// One of `count` embeddings.
    fn row(&self, index: usize, count: usize) -> Row<'_> {
        fn part<T>(values: &[T], index: usize, count: usize) -> &[T] {
            let width = values.len() / count;
            &values[index * width..][..width]
        }
        match self {
            Rows::Floats(values) => Row::Floats(part(values, index, count)),
            Rows::Bytes(values) => Row::Bytes(part(values, index, count)),
            Rows::SignedBytes(values) => Row::SignedBytes(part(values, index, count)),
        }
    }
}

impl Embed {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut inputs = self.input.open(&self.texts)?;
        let model = self.load()?;
        let mut out = Output::stdout();
        let mut report = TruncationReport::default();
        let bar = progress("texts");
        let mut show = |texts: &[String], places: &[Place], rows: Rows, embeddings: &Embeddings| {
            self.print(&mut out, texts, &rows, embeddings)?;
            out.flush()?;
            bar.inc(texts.len() as u64);
            report.add(embeddings, places);
            Ok::<(), Failure>(())
        };
        let ranges = self.ranges(&model)?;
        if self.values.have_ranges() && ranges.is_none() {
            let (texts, places) = inputs.all_texts()?;
            let embeddings = encode(&model, &texts, &places)?;
            if !texts.is_empty() {
                let ranges = EmbeddingRanges::of(&embeddings)?;
                show(&texts, &places, self.rows(&embeddings, Some(&ranges))?, &embeddings)?;
            }
        } else {
            while let Some((texts, places)) = inputs.next_texts()? {
                let embeddings = encode(&model, &texts, &places)?;
                show(&texts, &places, self.rows(&embeddings, ranges.as_ref())?, &embeddings)?;
            }
        }
        bar.finish_and_clear();
        report.print();
        Ok(())
    }

    fn load(&self) -> Result<SentenceEmbeddings, Failure> {
        let mut builder = self.model.builder();
        if let Some(prompt) = &self.prompt {
            builder = builder.prompt(prompt);
        }
        if let Some(name) = &self.prompt_name {
            builder = builder.prompt_name(name);
        }
        if let Some(normalize) = self.normalize {
            builder = builder.normalize(normalize);
        }
        if let Some(dim) = self.truncate_dim {
            builder = builder.truncate_dim(dim);
        }
        Ok(builder.build()?)
    }

    /// What the embeddings of `--calibrate` range over.
    fn ranges(&self, model: &SentenceEmbeddings) -> Result<Option<EmbeddingRanges>, Failure> {
        let Some(file) = &self.calibrate else { return Ok(None) };
        if !self.values.have_ranges() {
            return Err(Failure::Usage("--calibrate FILE is for --values int8 or uint8".into()));
        }
        let (texts, places) = Inputs::file(file, InputFormat::Text)?.all_texts()?;
        Ok(Some(EmbeddingRanges::of(&encode(model, &texts, &places)?)?))
    }

    /// The embeddings as they are to be printed; bytes have ranges.
    fn rows<'a>(&self, embeddings: &'a Embeddings, ranges: Option<&EmbeddingRanges>) -> Result<Rows<'a>, Failure> {
        Ok(match (self.values, ranges) {
            (Values::Binary, _) => Rows::SignedBytes(embeddings.to_binary()),
            (Values::Ubinary, _) => Rows::Bytes(embeddings.to_ubinary()),
            (Values::Int8, Some(ranges)) => Rows::SignedBytes(embeddings.to_int8(ranges)?),
            (Values::Uint8, Some(ranges)) => Rows::Bytes(embeddings.to_uint8(ranges)?),
            _ => Rows::Floats(embeddings.as_flat()),
        })
    }

    fn print(&self, out: &mut Output, texts: &[String], rows: &Rows, embeddings: &Embeddings) -> Result<(), Failure> {
        for ((index, text), truncated) in texts.iter().enumerate().zip(truncated_flags(embeddings)) {
            let embedding = rows.row(index, texts.len());
            if self.output.json {
                out.json(&Line { text, embedding, truncated })?;
                continue;
            }
            match embedding {
                Row::Floats(values) => print(out, text, values, |value| format!("{value:10.6}"))?,
                Row::Bytes(values) => print(out, text, values, |value| format!("{value:4}"))?,
                Row::SignedBytes(values) => print(out, text, values, |value| format!("{value:4}"))?,
            }
        }
        Ok(())
    }
}

fn encode(model: &SentenceEmbeddings, texts: &[String], places: &[Place]) -> Result<Embeddings, Failure> {
    model.encode(texts).map_err(|error| Failure::of_texts(error, places))
}

/// The text, then its vector, eight values a row.
fn print<T>(out: &mut Output, text: &str, embedding: &[T], show: impl Fn(&T) -> String) -> Result<(), Failure> {
    out.line(format_args!("{text:?}, {} values:", embedding.len()))?;
    for row in embedding.chunks(8) {
        let values: Vec<String> = row.iter().map(&show).collect();
        out.line(values.join(" "))?;
    }
    out.line("")
}
