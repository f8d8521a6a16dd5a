//! `loquat profile`: where the time of a run goes.

use std::{num::NonZeroUsize, path::PathBuf, time::Instant};

use clap::Args;
use loquat::{Batch, Encoder, Profile as Times};
use loquat_kernels::{Cpu, peak};
use serde::Serialize;

use crate::{
    atomic,
    failure::Failure,
    model::RunArgs,
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
The batch is B sequences of S tokens each. GFLOP/s and the share of the measured f32 peak are those of the threads that work on a
step: one where sequences are spread over the threads (mode sharded), all of them where the threads share each step (team).
With --json, one object: {\"mode\", \"threads\", \"milliseconds\", \"steps\": [{\"name\", \"kernel\", \"microseconds\", ...}], ...}.
The trace opens in Chrome (chrome://tracing) and Perfetto.

Examples:
  loquat profile path/to/model
  loquat profile path/to/model --batch 1 --seq 16 --threads 1
  loquat profile path/to/model --outputs last_hidden_state --trace trace.json";

/// Time every step of a model
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Profile {
    /// Model folder [default: the embedded all-MiniLM-L6-v2]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,

    /// Sequences
    #[arg(long, value_name = "B", default_value = "32")]
    batch: NonZeroUsize,

    /// Tokens of each sequence [default: 128, or all positions if the model has fewer]
    #[arg(long, value_name = "S")]
    seq: Option<NonZeroUsize>,

    /// Runs to time, after one that isn't timed
    #[arg(long, value_name = "N", default_value = "10")]
    repeat: NonZeroUsize,

    /// Outputs to compute, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "sentence_embedding")]
    outputs: Vec<String>,

    /// Save the first run as a Chrome trace
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    mode: &'static str,
    level: String,
    threads: usize,
    batch: usize,
    seq: usize,
    runs: usize,
    milliseconds: f64,
    best_milliseconds: f64,
    tokens_per_second: f64,
    peak_gflops: f64,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    name: String,
    kernel: String,
    calls: usize,
    /// Per run.
    microseconds: f64,
    share_of_time: f64,
    gflops: f64,
    gbytes_per_second: f64,
    share_of_peak: f64,
}

impl Profile {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let mut builder = Encoder::builder().precision(self.run.precision.into()).outputs(self.outputs.clone());
        if let Some(model) = &self.model {
            builder = builder.model(model.as_path());
        }
        if let Some(threads) = self.run.threads {
            builder = builder.threads(threads.get());
        }
        let encoder = builder.build()?;
        let seq = self.seq.map_or(128.min(encoder.positions()), NonZeroUsize::get);
        let batch = synthetic_batch(self.batch.get(), seq, encoder.vocabulary())?;
        encoder.run(&batch)?;
        let (_, mut times) = encoder.profile(&batch)?;
        for _ in 1..self.repeat.get() {
            times.add(&encoder.profile(&batch)?.1);
        }
        if let Some(trace) = &self.trace {
            atomic::write(trace, times.chrome_trace().as_bytes())?;
        }
        let report = self.report(&encoder, &times, seq);
        let mut out = Output::stdout();
        if self.output.json {
            out.json(&report)?
        } else {
            print(&mut out, &report)?
        }
        out.flush()
    }

    fn report(&self, encoder: &Encoder, times: &Times, seq: usize) -> Report {
        let inspection = encoder.inspect();
        let cpu = inspection.program().cpu();
        let threads = inspection.threads();
        let workers = if times.mode() == "team" { threads } else { 1 };
        let peak_gflops = peak_gflops(cpu);
        let runs = times.runs().max(1) as f64;
        let seconds = times.wall().as_secs_f64() / runs;
        let busy: f64 = times.steps().iter().map(|step| step.time.as_secs_f64()).sum();
        let steps = times.steps().iter().map(|step| Step {
            name: step.name.clone(),
            kernel: step.kernel.clone(),
            calls: step.calls,
            microseconds: step.time.as_secs_f64() * 1e6 / runs,
            share_of_time: if busy > 0.0 { step.time.as_secs_f64() / busy } else { 0.0 },
            gflops: step.gflops(),
            gbytes_per_second: step.gbytes(),
            share_of_peak: step.gflops() / (peak_gflops * workers as f64),
        });
        Report {
            mode: times.mode(),
            level: cpu.level().to_string(),
            threads,
            batch: self.batch.get(),
            seq,
            runs: times.runs(),
            milliseconds: seconds * 1e3,
            best_milliseconds: times.best_wall().as_secs_f64() * 1e3,
            tokens_per_second: (self.batch.get() * seq) as f64 / seconds,
            peak_gflops,
            steps: steps.collect(),
        }
    }
}

/// Sequences whose ids differ but are the same on every run.
fn synthetic_batch(sequences: usize, tokens: usize, vocabulary: usize) -> Result<Batch, Failure> {
    let mut batch = Batch::new();
    let mut state = 1u64;
    for _ in 0..sequences {
        let ids: Vec<u32> = (0..tokens)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) % vocabulary.max(1) as u64) as u32
            })
            .collect();
        batch.push(&ids, None).map_err(|error| Failure::from_error(&error))?;
    }
    Ok(batch)
}

/// Multiply-adds of one core, the best of many short runs.
fn peak_gflops(cpu: &Cpu) -> f64 {
    let rate = |_| {
        let start = Instant::now();
        let flop = peak::multiply_adds(cpu, 20_000);
        flop as f64 / start.elapsed().as_nanos().max(1) as f64
    };
    (0..200).map(rate).fold(f64::MIN_POSITIVE, f64::max)
}

fn print(out: &mut Output, report: &Report) -> Result<(), Failure> {
    out.line(format_args!(
        "{} x {} tokens, {} on {} threads, {} runs: {:.3} ms a run ({:.3} at best), {:.0} tokens/s",
        report.batch,
        report.seq,
        report.mode,
        report.threads,
        report.runs,
        report.milliseconds,
        report.best_milliseconds,
        report.tokens_per_second
    ))?;
    out.line(format_args!("{} level, f32 peak of one core {:.1} GFLOP/s", report.level, report.peak_gflops))?;
    out.line("")?;
    out.line(format_args!(
        "{:>10} {:>6} {:>6} {:>8} {:>6} {:>7}  {:<36} step",
        "us/run", "%", "calls", "GFLOP/s", "% f32", "GB/s", "kernel"
    ))?;
    for step in &report.steps {
        out.line(format_args!(
            "{:>10.1} {:>6.1} {:>6} {:>8.1} {:>6.1} {:>7.1}  {:<36} {}",
            step.microseconds,
            100.0 * step.share_of_time,
            step.calls,
            step.gflops,
            100.0 * step.share_of_peak,
            step.gbytes_per_second,
            step.kernel,
            step.name
        ))?;
    }
    Ok(())
}
