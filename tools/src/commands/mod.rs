//! One file per command.

pub mod compile_tokenizer;
pub mod decode;
pub mod embed;
pub mod forward;
pub mod hwbench;
pub mod inspect;
pub mod profile;
pub mod search;
pub mod similarity;
pub mod tokenize;
