//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use loquat_benches::precision::Precision;

/// Measures loquat against its peers on the same token ids, interleaved, in one precision.
///
/// Every contender runs in a process of its own and times itself; inputs are prepared before, outputs are compared before
/// anything is timed, and only one process runs at a time. `benches/peers/setup.py` installs the peers; one that is missing
/// is listed with the reason.
#[derive(Debug, Clone, Parser)]
#[command(name = "compare")]
pub struct Options {
    /// The model folder for loquat (default: the one that setup.py unpacked)
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// The folder that setup.py filled
    #[arg(long, value_name = "DIR", default_value = ".cache/peers")]
    pub peers: PathBuf,
    /// Only these contenders, by id, comma-separated
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these workloads, comma-separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub workloads: Vec<String>,
    /// f32, bf16x3 (loquat alone; its peers in f32), bf16 or int8
    #[arg(long, value_name = "NAME", default_value = "f32")]
    pub precision: Precision,
    /// Numbers of threads to measure with
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2")]
    pub threads: Vec<usize>,
    /// Rounds: in each, every contender runs one block, in shuffled order
    #[arg(long, default_value_t = 15)]
    pub rounds: usize,
    /// How long a block lasts at least, in milliseconds; work that takes longer runs once
    #[arg(long, default_value_t = 150)]
    pub block_ms: u64,
    /// Cold starts per contender (0: none)
    #[arg(long, default_value_t = 7)]
    pub cold_starts: usize,
    /// The `loquat` command for its cold start (default: beside this program)
    #[arg(long, value_name = "FILE")]
    pub loquat: Option<PathBuf>,
    /// Seed of the order of contenders within the rounds
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A smoke run: three rounds of short blocks, two cold starts. Its numbers mean little
    #[arg(long)]
    pub quick: bool,
    /// Write every sample here as well
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Options {
    /// The options with `--quick` worked in.
    pub fn resolved(mut self) -> Options {
        if self.quick {
            self.rounds = self.rounds.min(3);
            self.block_ms = self.block_ms.min(30);
            self.cold_starts = self.cold_starts.min(2);
        }
        self
    }

    /// How long a block lasts at least.
    pub fn block(&self) -> Duration {
        Duration::from_millis(self.block_ms)
    }

    /// Whether the contender with this id takes part.
    pub fn includes(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }
}
