//! stdout for results, one JSON object a line or text for people; stderr for everything else.

use std::{
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// The option that every command with results takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Print one JSON object per input, in the order of the inputs
    #[arg(long)]
    pub json: bool,
}

/// Buffered stdout.
pub struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Takes stdout.
    pub fn stdout() -> Self {
        Output { stdout: BufWriter::with_capacity(1 << 16, io::stdout().lock()) }
    }

    /// One line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.stdout, value).map_err(|error| Failure::from(io::Error::from(error)))?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// One line of text.
    pub fn line(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{line}")?)
    }

    /// Hands over what is buffered, so that a reader sees it now.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }
}

/// A count on stderr of what is done, if a person watches and the results don't run over the same screen.
pub fn progress(what: &str) -> ProgressBar {
    let watched = io::stderr().is_terminal() && !io::stdout().is_terminal();
    let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg} in {elapsed}, {per_sec}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    if watched {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}
