//! The lines that the comparison and its workers exchange. `benches/peers/protocol.py` speaks the same.

use serde::{Deserialize, Serialize};

/// The first line of a worker: who it is, or why it can't run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Hello {
    /// The worker is ready for requests.
    Ready {
        /// The engine's name as the table prints it.
        name: String,
        /// The engine's version.
        version: String,
    },
    /// The worker ends after this line.
    Unavailable {
        /// What is missing, and what to do about it.
        unavailable: String,
    },
}

/// A request to a worker, one a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    /// Prepare this work; answered by [`Answer::Strategies`].
    Load {
        /// Token ids with special tokens, one list a sequence.
        sequences: Vec<Vec<u32>>,
    },
    /// Do the work once; answered by [`Answer::Outputs`].
    Outputs {
        /// Index into the strategies.
        strategy: usize,
    },
    /// Do the work and time it; answered by [`Answer::Times`].
    Time {
        /// Index into the strategies.
        strategy: usize,
        /// Runs before the timed ones.
        warmups: usize,
        /// Timed runs.
        repeats: usize,
    },
    /// The worker's peak memory so far; answered by [`Answer::Peak`].
    Peak,
}

/// A worker's answer to one [`Request`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// The ways in which this worker can do the loaded work.
    Strategies {
        /// What sets each apart (batch size, graph, streams).
        strategies: Vec<String>,
    },
    /// The embeddings, one after the other in the order of the loaded sequences.
    Outputs {
        /// The length of an embedding.
        dim: usize,
        /// `sequences × dim` values.
        values: Vec<f32>,
    },
    /// One wall-clock time per timed run.
    Times {
        /// Nanoseconds.
        ns: Vec<u64>,
    },
    /// Peak resident memory.
    Peak {
        /// Bytes.
        peak_rss_bytes: u64,
    },
    /// The request failed; the worker goes on.
    Failed {
        /// Why.
        error: String,
    },
}
