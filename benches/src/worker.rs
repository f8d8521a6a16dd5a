//! A Rust worker: an [`Engine`] behind the protocol on stdin and stdout.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use crate::manifest::Manifest;
use crate::precision::Precision;
use crate::protocol::{Answer, Hello, Request};
use crate::workload::EncoderSize;
use crate::{Error, Result};

/// Computes the embeddings of the loaded sequences into `[sequences, dim]`, in the order in which they were given.
pub type Run = Box<dyn FnMut(&mut [f32]) -> Result<()>>;

/// A contender that runs inside a Rust worker.
pub trait Engine {
    /// One way to do the work; its text says what sets it apart.
    type Strategy: std::fmt::Display;
    /// The name that the table prints.
    fn name(&self) -> String;
    /// The version that the table prints.
    fn version(&self) -> String;
    /// The length of an embedding.
    fn dim(&self) -> usize;
    /// The ways to embed `sequences` that are worth trying. The first is the one that a cold start uses.
    fn strategies(&self, sequences: &[Vec<u32>]) -> Vec<Self::Strategy>;
    /// Loads what the strategy needs and prepares its inputs, which is not part of the timed work.
    fn prepare(&mut self, strategy: &Self::Strategy, sequences: &[Vec<u32>]) -> Result<Run>;
}

/// What a worker is told on its command line.
pub struct Setup {
    /// Where the forms of the model are.
    pub manifest: Manifest,
    /// How many threads may compute.
    pub threads: usize,
    /// How exactly to compute.
    pub precision: Precision,
}

impl Setup {
    /// The size of the model.
    pub fn size(&self) -> Result<EncoderSize> {
        let folder = self.manifest.model.as_ref().ok_or("there is no model: give compare --model DIR")?;
        EncoderSize::of(folder)
    }
}

/// Answers requests until stdin ends. Reads `--manifest FILE --threads N --precision NAME` from `arguments`.
pub fn serve<E: Engine>(arguments: impl Iterator<Item = String>, make: impl FnOnce(&Setup) -> Result<E>) -> Result<()> {
    // A worker may be stopped by a signal when the comparison dies: it must not outlive it.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let mut stdout = std::io::stdout().lock();
    let mut say = |line: String| -> Result<()> {
        writeln!(stdout, "{line}")?;
        Ok(stdout.flush()?)
    };

    let engine = match setup(arguments).and_then(|setup| make(&setup)) {
        Ok(engine) => engine,
        Err(error) => {
            return say(serde_json::to_string(&Hello::Unavailable { unavailable: error.to_string() })?);
        }
    };
    say(serde_json::to_string(&Hello::Ready { name: engine.name(), version: engine.version() })?)?;

    let mut loaded = Loaded { engine, sequences: Vec::new(), strategies: Vec::new(), out: Vec::new() };
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Error::from)
            .and_then(|request| loaded.answer(request))
            .unwrap_or_else(|error| Answer::Failed { error: error.to_string() });
        say(serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

fn setup(mut arguments: impl Iterator<Item = String>) -> Result<Setup> {
    let (mut manifest, mut threads, mut precision) = (None, None, Precision::F32);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--manifest" => manifest = Some(Manifest::read(&PathBuf::from(value))?),
            "--threads" => threads = Some(value.parse()?),
            "--precision" => precision = value.parse()?,
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    Ok(Setup {
        manifest: manifest.ok_or("--manifest FILE is needed")?,
        threads: threads.ok_or("--threads N is needed")?,
        precision,
    })
}

struct Loaded<E: Engine> {
    engine: E,
    sequences: Vec<Vec<u32>>,
    /// Prepared when first asked for.
    strategies: Vec<(E::Strategy, Option<Run>)>,
    out: Vec<f32>,
}

impl<E: Engine> Loaded<E> {
    fn answer(&mut self, request: Request) -> Result<Answer> {
        Ok(match request {
            Request::Load { sequences } => {
                let strategies = self.engine.strategies(&sequences);
                self.out = vec![0.0; sequences.len() * self.engine.dim()];
                self.sequences = sequences;
                let names = strategies.iter().map(ToString::to_string).collect();
                self.strategies = strategies.into_iter().map(|strategy| (strategy, None)).collect();
                Answer::Strategies { strategies: names }
            }
            Request::Outputs { strategy } => {
                self.out.fill(f32::NAN);
                self.run(strategy)?;
                Answer::Outputs { dim: self.engine.dim(), values: self.out.clone() }
            }
            Request::Time { strategy, warmups, repeats } => {
                self.prepared(strategy)?;
                for _ in 0..warmups {
                    self.run(strategy)?;
                }
                let mut ns = Vec::with_capacity(repeats);
                for _ in 0..repeats {
                    let start = Instant::now();
                    self.run(strategy)?;
                    ns.push(u64::try_from(start.elapsed().as_nanos())?);
                }
                Answer::Times { ns }
            }
            Request::Peak => Answer::Peak { peak_rss_bytes: peak_rss()? },
        })
    }

    fn run(&mut self, strategy: usize) -> Result<()> {
        let mut out = std::mem::take(&mut self.out);
        let result = self.prepared(strategy).and_then(|run| run(&mut out));
        self.out = out;
        result
    }

    fn prepared(&mut self, strategy: usize) -> Result<&mut Run> {
        let count = self.strategies.len();
        let (chosen, run) = self
            .strategies
            .get_mut(strategy)
            .ok_or_else(|| format!("strategy {strategy} asked for, {count} loaded"))?;
        match run {
            Some(run) => Ok(run),
            None => Ok(run.insert(self.engine.prepare(chosen, &self.sequences)?)),
        }
    }
}

fn peak_rss() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("/proc/self/status has no VmHWM line")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("the VmHWM line has no number")?.parse()?;
    Ok(kib * 1024)
}
