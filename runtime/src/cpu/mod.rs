//! The CPU back end: a graph lowered to steps over one arena.

mod arena;
mod check;
mod cost;
mod load;
mod lower;
mod memory;
mod position_tables;
mod program;
mod record;
mod shard;
mod step;

pub use arena::Arena;
pub use check::{IndexLimits, RunError};
pub(crate) use cost::Cost;
pub use program::{Program, ProgramError};
pub(crate) use record::{Event, Recorder};
pub(crate) use shard::{Schedule, Shard};
