//! The `loquat` command.
//!
//! Results go to stdout, everything else to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.

mod atomic;
mod commands;
mod failure;
mod input;
mod item;
mod model;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    compile_tokenizer::CompileTokenizer, decode::Decode, embed::Embed, forward::Forward, hwbench::HwBench,
    inspect::Inspect, profile::Profile, search::Search, similarity::Similarity, tokenize::Tokenize,
};

const AFTER_HELP: &str = "\
Inputs come as arguments, from --input FILE, or one a line on stdin. Exit status: 0 done, 1 failed, 2 wrong usage.
The environment variable LOQUAT_CPU (scalar, avx2, avx512, neon) forces a lower instruction set.

Examples:
  loquat embed \"The quick brown fox\"
  loquat embed --json --input texts.txt > embeddings.jsonl
  loquat similarity \"A cat sleeps.\" \"The kitten is napping.\"
  loquat search --corpus texts.txt --top-k 3 \"weather tomorrow\"
  loquat tokenize \"unaffordable\"
  loquat profile path/to/model --batch 32 --seq 128";

/// Transformer NLP without dependencies: sentence embeddings, search, tokenization, and a look inside models
#[derive(Parser)]
#[command(name = "loquat", version, after_help = AFTER_HELP, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Embed(Embed),
    Similarity(Similarity),
    Search(Search),
    Tokenize(Tokenize),
    Decode(Decode),
    CompileTokenizer(CompileTokenizer),
    Forward(Forward),
    Inspect(Inspect),
    Profile(Profile),
    #[command(name = "hwbench")]
    HwBench(HwBench),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Embed(command) => command.run(),
        Command::Similarity(command) => command.run(),
        Command::Search(command) => command.run(),
        Command::Tokenize(command) => command.run(),
        Command::Decode(command) => command.run(),
        Command::CompileTokenizer(command) => command.run(),
        Command::Forward(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Profile(command) => command.run(),
        Command::HwBench(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
