//! One file per command.

pub mod decode;
pub mod embed;
pub mod forward;
pub mod hwbench;
pub mod inspect;
pub mod profile;
pub mod quantize;
pub mod search;
pub mod similarity;
pub mod tokenize;
