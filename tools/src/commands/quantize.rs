//! `loquat quantize`: a model folder with weights in fewer bits.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use loquat::{QuantizationReport, Quantizer, TableFormat, WeightFormat};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    input::{InputFormat, Inputs},
    output::{Output, OutputArgs, progress},
};

const AFTER_HELP: &str = "\
Writes a folder that every command takes as --model: weights in the layout of compressed-tensors, config.json with a
quantization_config, tokenizer, modules and licences as they were. It appears when it is whole. Then both models run, and the
report says how far the new one is from the original: each tensor, the results of each layer, and the embeddings of the texts.
With --json, one object: {\"out\", \"tensors\", \"layers\", \"kept\", \"embeddings\", \"bytes_before\", \"bytes_after\"}.

Examples:
  loquat quantize all-MiniLM-L6-v2 --to int8 --out all-MiniLM-L6-v2-int8
  loquat quantize all-MiniLM-L6-v2 --to int8 --calibrate texts.txt --out DIR
  loquat quantize all-MiniLM-L6-v2 --to int4 --group 64 --calibrate texts.txt --texts queries.txt --out DIR";

/// Write a copy of a model with its weights in fewer bits, and say what that cost
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Quantize {
    /// Folder of the original model
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// What weights of linear layers become
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,

    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Inputs that share a scale in int4
    #[arg(long, value_name = "N", default_value = "32", value_parser = ["32", "64"])]
    group: String,

    /// What tables of embeddings become [default: int8 with int8, f16 with int4, else as the weights]
    #[arg(long, value_enum, value_name = "FORMAT")]
    embeddings: Option<Table>,

    /// Choose roundings, and for int8 layers to keep in half precision, by these texts, one a line
    #[arg(long, value_name = "TEXTS")]
    calibrate: Option<PathBuf>,

    /// The cosine that calibration wants every one of its texts to keep
    #[arg(long, value_name = "COSINE", default_value = "0.995", requires = "calibrate")]
    least_cosine: f64,

    /// Compare the models on these texts, one a line [default: a few dozen of various kinds]
    #[arg(long, value_name = "TEXTS")]
    texts: Option<PathBuf>,

    /// Replace a model folder that is there already
    #[arg(long)]
    force: bool,

    /// Threads to use [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    #[command(flatten)]
    output: OutputArgs,
}

/// What weights become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Bytes with a scale for each output; activations become bytes too when the model runs.
    Int8,
    /// 4 bits with a scale for each group of inputs.
    Int4,
    /// The upper half of an f32.
    Bf16,
    /// IEEE half precision.
    F16,
}

/// What tables of embeddings become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    F32,
    Bf16,
    F16,
    Int8,
}

impl Quantize {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let format = match self.to {
            Format::Int8 => WeightFormat::Int8,
            Format::Int4 => WeightFormat::Int4,
            Format::Bf16 => WeightFormat::Bf16,
            Format::F16 => WeightFormat::F16,
        };
        let mut quantizer = Quantizer::new(self.model.as_path(), format)
            .group(if self.group == "64" { 64 } else { 32 })
            .least_cosine(self.least_cosine)
            .force(self.force);
        if let Some(table) = self.embeddings {
            quantizer = quantizer.tables(match table {
                Table::F32 => TableFormat::F32,
                Table::Bf16 => TableFormat::Bf16,
                Table::F16 => TableFormat::F16,
                Table::Int8 => TableFormat::Int8,
            });
        }
        if let Some(path) = &self.calibrate {
            quantizer = quantizer.calibrate(texts(path)?);
        }
        if let Some(path) = &self.texts {
            quantizer = quantizer.texts(texts(path)?);
        }
        if let Some(threads) = self.threads {
            quantizer = quantizer.threads(threads.get());
        }
        let bar = progress("");
        let report = quantizer.write_with(&self.out, &mut |what, progress| {
            bar.set_message(format!("of {} {what}", progress.total));
            bar.set_position(progress.done as u64);
        });
        bar.finish_and_clear();
        let report = report?;
        let mut out = Output::stdout();
        if self.output.json {
            out.json(&json(&report, &self.out))?;
        } else {
            print(&mut out, &report, &self.out)?;
        }
        out.flush()
    }
}

/// The lines of a file.
fn texts(path: &Path) -> Result<Vec<String>, Failure> {
    let items = Inputs::file(path, InputFormat::Text)?.read_all()?;
    items.into_iter().map(|item| item.into_text()).collect()
}

fn json(report: &QuantizationReport, folder: &Path) -> Value {
    let tensors: Vec<Value> = report
        .tensors
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name,
                "stored_as": tensor.stored_as,
                "bytes_before": tensor.bytes_before,
                "bytes_after": tensor.bytes_after,
                "cosine": tensor.cosine,
                "max_error": tensor.max_error,
            })
        })
        .collect();
    let layers: Vec<Value> = report
        .layers
        .iter()
        .map(|layer| {
            json!({
                "name": layer.name,
                "cosine": layer.cosine,
                "max_error": layer.max_error,
                "largest": layer.largest,
            })
        })
        .collect();
    json!({
        "out": folder.display().to_string(),
        "tensors": tensors,
        "layers": layers,
        "kept": report.kept,
        "embeddings": {
            "texts": report.texts,
            "mean_cosine": report.mean_cosine,
            "least_cosine": report.least_cosine,
            "max_error": report.max_error,
            "top1_agreement": report.top1_agreement,
        },
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
    })
}

fn print(out: &mut Output, report: &QuantizationReport, folder: &Path) -> Result<(), Failure> {
    out.line("tensor                                                 as        bytes    cosine  max error")?;
    for tensor in report.tensors.iter().filter(|tensor| tensor.max_error > 0.0) {
        out.line(format_args!(
            "{:<52} {:>4} {:>12} {:>9.6} {:>10.2e}",
            tensor.name, tensor.stored_as, tensor.bytes_after, tensor.cosine, tensor.max_error
        ))?;
    }
    out.line(
        "\nresults of layer                                                            cosine  max error   largest",
    )?;
    for layer in &report.layers {
        out.line(format_args!(
            "{:<72} {:>9.6} {:>10.2e} {:>9.2e}",
            layer.name, layer.cosine, layer.max_error, layer.largest
        ))?;
    }
    for layer in &report.kept {
        out.line(format_args!("kept in f16: {layer}"))?;
    }
    out.line(format_args!(
        "\nembeddings of {} texts: cosine {:.6} on average, {:.6} at least; max error {:.2e}; closest text the same for {:.1} %",
        report.texts,
        report.mean_cosine,
        report.least_cosine,
        report.max_error,
        100.0 * report.top1_agreement
    ))?;
    out.line(format_args!(
        "{} bytes from {} ({:.1} %) in {}",
        report.bytes_after,
        report.bytes_before,
        100.0 * report.bytes_after as f64 / report.bytes_before.max(1) as f64,
        folder.display()
    ))
}
