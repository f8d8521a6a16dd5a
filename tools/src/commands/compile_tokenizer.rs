//! `loquat compile-tokenizer`: a tokenizer in the form that opens fastest.

use std::path::PathBuf;

use clap::Args;
use loquat::Tokenizer;
use serde::Serialize;

use crate::{
    atomic,
    failure::Failure,
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
Writes one file that has the tokenizer's tables as they are in memory, to be mapped: it opens in about a millisecond, whatever
the vocabulary. It is for this version of loquat; keep the files that it is made of. Every command takes it as --model where only a
tokenizer is needed, and a model folder may have it as tokenizer.loqtok in place of its other tokenizer files, which otherwise win.
With --json, one object: {\"out\", \"bytes\", \"tokens\"}.

Examples:
  loquat compile-tokenizer path/to/model --out model.loqtok
  loquat tokenize --model model.loqtok \"unaffordable housing\"";

/// Write a tokenizer in a form that opens in a millisecond
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CompileTokenizer {
    /// Model folder, tokenizer.json, vocab.txt or SentencePiece model
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Line {
    out: String,
    bytes: usize,
    tokens: usize,
}

impl CompileTokenizer {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let tokenizer: Tokenizer = loquat::load_tokenizer(self.model)?;
        let bytes = tokenizer.to_compiled();
        atomic::write(&self.out, &bytes)?;
        let line = Line { out: self.out.display().to_string(), bytes: bytes.len(), tokens: tokenizer.vocab_size() };
        let mut out = Output::stdout();
        match self.output.json {
            true => out.json(&line)?,
            false => out.line(format_args!("{}: {} tokens, {} bytes", line.out, line.tokens, line.bytes))?,
        }
        out.flush()
    }
}
