//! The command as scripts see it: exit status, stdout, stderr.

mod bad_input;
mod bad_models;
mod embed;
mod forward;
mod look_inside;
mod pipelines;
mod quantize;
mod run;
mod search;
mod tiny_model;
mod tokenize;
mod usage;
