//! One file per command.

pub mod classify;
pub mod decode;
pub mod embed;
pub mod fill_mask;
pub mod forward;
pub mod hwbench;
pub mod inspect;
pub mod keywords;
pub mod ner;
pub mod pos;
pub mod profile;
pub mod qa;
pub mod quantize;
pub mod rerank;
pub mod search;
pub mod similarity;
pub mod tokenize;
pub mod zero_shot;
