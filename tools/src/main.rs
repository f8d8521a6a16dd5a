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
    classify::Classify, decode::Decode, embed::Embed, fill_mask::FillMask, forward::Forward, hwbench::HwBench,
    inspect::Inspect, keywords::Keywords, ner::Ner, pos::Pos, profile::Profile, qa::Qa, quantize::Quantize,
    rerank::Rerank, search::Search, similarity::Similarity, tokenize::Tokenize, zero_shot::ZeroShot,
};

const AFTER_HELP: &str = "\
Inputs come as arguments, from --input FILE, or one a line on stdin. Exit status: 0 done, 1 failed, 2 wrong usage.
The environment variable LOQUAT_CPU (scalar, avx2, avx512, neon) forces a lower instruction set.

Examples:
  loquat embed \"The quick brown fox\"
  loquat embed --json --input texts.txt > embeddings.jsonl
  loquat similarity \"A cat sleeps.\" \"The kitten is napping.\"
  loquat search --corpus texts.txt --top-k 3 \"weather tomorrow\"
  loquat ner --model DIR \"My name is Wolfgang and I live in Berlin\"
  loquat tokenize \"unaffordable\"
  loquat profile path/to/model --batch 32 --seq 128
  loquat quantize path/to/model --to int8 --out path/to/new";

/// Transformer NLP without dependencies: embeddings, search, classification, entities, answers, tokenization, and a look inside models
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
    Classify(Classify),
    Ner(Ner),
    Pos(Pos),
    Qa(Qa),
    ZeroShot(ZeroShot),
    FillMask(FillMask),
    Rerank(Rerank),
    Keywords(Keywords),
    Tokenize(Tokenize),
    Decode(Decode),
    Forward(Forward),
    Inspect(Inspect),
    Profile(Profile),
    Quantize(Quantize),
    #[command(name = "hwbench")]
    HwBench(HwBench),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Embed(command) => command.run(),
        Command::Similarity(command) => command.run(),
        Command::Search(command) => command.run(),
        Command::Classify(command) => command.run(),
        Command::Ner(command) => command.run(),
        Command::Pos(command) => command.run(),
        Command::Qa(command) => command.run(),
        Command::ZeroShot(command) => command.run(),
        Command::FillMask(command) => command.run(),
        Command::Rerank(command) => command.run(),
        Command::Keywords(command) => command.run(),
        Command::Tokenize(command) => command.run(),
        Command::Decode(command) => command.run(),
        Command::Forward(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Profile(command) => command.run(),
        Command::Quantize(command) => command.run(),
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
