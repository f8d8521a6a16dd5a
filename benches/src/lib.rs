//! What loquat is measured with: the comparison with peers and the pieces its workers share.
//!
//! The command is `cargo run --release -p loquat-benches --bin compare -- --model FOLDER`. It runs every contender,
//! loquat too, as a **worker**: a process that reads a [`protocol::Request`] a line on stdin and times the work inside
//! itself. Workers in Python live in `benches/peers`, the Rust peers are the `worker-*` binaries of this package, each
//! behind the feature of its name.

#![forbid(unsafe_code)]

pub mod batching;
pub mod manifest;
pub mod padded;
pub mod precision;
pub mod protocol;
pub mod versions;
pub mod worker;
pub mod workload;

/// Any error: the comparison prints it and goes on without the contender.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
