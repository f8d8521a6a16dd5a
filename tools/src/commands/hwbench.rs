//! `loquat hwbench`: what this machine can do, and how near the kernels come to it.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use clap::Args;
use loquat_kernels::{Cpu, Epilogue, Exec, Level, MatMut, MatRef, PackedRhs, gemm, peak};
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
One thread. Every rate is the best of many short runs, since other load can only lower it. The peak is measured, not looked
up: independent multiply-adds in registers. Clocks change with the load, so a kernel and the peak's loop take turns, and the
share of the peak is the median over the turns. `*` marks the level that runs by default (LOQUAT_CPU forces another).
With --json, one object: {\"levels\": [{\"level\", \"default\", \"peak_gflops\", \"read_gbytes\": [...], \"gemm\": [...]}]}.

Examples:
  loquat hwbench
  loquat hwbench --level avx2 --milliseconds 300
  loquat hwbench --assert 0.85";

/// Measure this machine's peak and the kernels' share of it
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct HwBench {
    /// Only this instruction-set level [default: all that the machine has]
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,

    /// Time to spend on each number
    #[arg(long, value_name = "MS", default_value = "100")]
    milliseconds: u64,

    /// Fail if a product of 128 rows or more reaches less than this share of the default level's peak
    #[arg(long, value_name = "SHARE")]
    assert: Option<f64>,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    levels: Vec<LevelReport>,
}

#[derive(Serialize)]
struct LevelReport {
    level: String,
    default: bool,
    peak_gflops: f64,
    read_gbytes: Vec<ReadReport>,
    gemm: Vec<GemmReport>,
}

#[derive(Serialize)]
struct ReadReport {
    kibibytes: usize,
    gbytes_per_second: f64,
}

#[derive(Serialize)]
struct GemmReport {
    kernel: &'static str,
    m: usize,
    k: usize,
    n: usize,
    gflops: f64,
    share_of_peak: f64,
}

/// `[k, n]` of the products in MiniLM-L6 and BERT-base: attention output, merged QKV, and the two of the feed-forward part.
const WEIGHTS: [(usize, usize); 8] =
    [(384, 384), (384, 1152), (384, 1536), (1536, 384), (768, 768), (768, 2304), (768, 3072), (3072, 768)];

/// Rows: a short query, and a full batch's shard.
const ROWS: [usize; 2] = [16, 128];

/// A buffer that fits the first-level cache, the second, the third, and none.
const READ_KIBIBYTES: [usize; 4] = [24, 1 << 10, 16 << 10, 256 << 10];

impl HwBench {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let default = Cpu::detect().map_err(|error| Failure::from_error(&error))?.level();
        let cpus = match &self.level {
            None => Cpu::available(),
            Some(name) => {
                let level: Level = name.parse().map_err(|error| Failure::Usage(format!("--level: {error}")))?;
                vec![Cpu::with_level(level).map_err(|error| Failure::from_error(&error))?]
            }
        };
        let budget = Duration::from_millis(self.milliseconds);
        let mut out = Output::stdout();
        let mut report = Report { levels: Vec::new() };
        for cpu in cpus {
            let level = measure(&cpu, cpu.level() == default, budget)?;
            if !self.output.json {
                print(&mut out, &level)?;
                out.flush()?;
            }
            report.levels.push(level);
        }
        if self.output.json {
            out.json(&report)?;
            out.flush()?;
        }
        self.check(&report)
    }

    /// Holds the default level's kernels to the share that `--assert` asks for.
    fn check(&self, report: &Report) -> Result<(), Failure> {
        let Some(wanted) = self.assert else { return Ok(()) };
        let short: Vec<String> = report
            .levels
            .iter()
            .filter(|level| level.default)
            .flat_map(|level| &level.gemm)
            .filter(|gemm| gemm.m >= 128 && gemm.share_of_peak < wanted)
            .map(|gemm| {
                format!("{} at {}x{}x{}: {:.1} %", gemm.kernel, gemm.m, gemm.k, gemm.n, 100.0 * gemm.share_of_peak)
            })
            .collect();
        if short.is_empty() {
            return Ok(());
        }
        Err(Failure::Failed(format!("below {:.1} % of peak: {}", 100.0 * wanted, short.join("; "))))
    }
}

fn measure(cpu: &Cpu, default: bool, budget: Duration) -> Result<LevelReport, Failure> {
    let peak_gflops = best_rate(budget, || multiply_adds(cpu));
    let read_gbytes = READ_KIBIBYTES
        .into_iter()
        .map(|kibibytes| {
            let data = vec![1.0f32; kibibytes * 1024 / size_of::<f32>()];
            // A small buffer is read many times in one run, so that the clock's resolution doesn't matter.
            let rounds = (1 << 11) / kibibytes.min(1 << 11);
            let bytes = (rounds * kibibytes * 1024) as f64;
            let gbytes_per_second = best_rate(budget, || {
                for _ in 0..rounds {
                    black_box(peak::read(cpu, black_box(&data)));
                }
                bytes
            });
            ReadReport { kibibytes, gbytes_per_second }
        })
        .collect();
    let mut gemm = Vec::new();
    for (k, n) in WEIGHTS {
        for m in ROWS {
            gemm.push(measure_gemm(cpu, m, k, n, budget)?);
        }
    }
    Ok(LevelReport { level: cpu.level().to_string(), default, peak_gflops, read_gbytes, gemm })
}

/// A short run of what the peak is measured with; gives its floating-point operations.
fn multiply_adds(cpu: &Cpu) -> f64 {
    peak::multiply_adds(cpu, 20_000) as f64
}

fn measure_gemm(cpu: &Cpu, m: usize, k: usize, n: usize, budget: Duration) -> Result<GemmReport, Failure> {
    let failed = |error: loquat_kernels::KernelError| Failure::from_error(&error);
    let fill = |column: usize, row: &mut [f32]| {
        row.iter_mut().enumerate().for_each(|(i, value)| *value = ((column * 31 + i * 17) % 64) as f32 / 64.0 - 0.5);
    };
    let rhs = PackedRhs::pack(cpu, Exec::Serial, k, n, &fill).map_err(failed)?;
    let lhs: Vec<f32> = (0..m * k).map(|i| (i % 61) as f32 / 61.0 - 0.5).collect();
    let bias = vec![0.5f32; n];
    let mut out = vec![0.0f32; m * n];
    let mut scratch = vec![0.0f32; scratch_len(&rhs, m, 1).map_err(failed)?];
    let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
    let flop = 2.0 * m as f64 * k as f64 * n as f64;
    let mut result = Ok(());
    let (mut gflops, mut shares) = (0.0f64, Vec::new());
    let begin = Instant::now();
    while shares.len() < 3 || begin.elapsed() < budget {
        let peak = rate(|| multiply_adds(cpu));
        let own = rate(|| {
            let mut run = || {
                let (lhs, out) = (MatRef::new(&lhs, m, k, k)?, MatMut::new(&mut out, m, n, n)?);
                gemm(cpu, Exec::Serial, lhs, &rhs, &epilogue, &mut scratch, out)
            };
            if let Err(error) = run() {
                result = Err(failed(error));
            }
            flop
        });
        gflops = gflops.max(own);
        shares.push(own / peak);
    }
    result?;
    shares.sort_by(f64::total_cmp);
    Ok(GemmReport { kernel: rhs.kernel_name(), m, k, n, gflops, share_of_peak: shares[shares.len() / 2] })
}

/// The amount of work per nanosecond that one run does.
fn rate(work: impl FnOnce() -> f64) -> f64 {
    let start = Instant::now();
    let amount = work();
    amount / start.elapsed().as_nanos().max(1) as f64
}

/// The best amount of work per nanosecond among as many runs as fit in `budget`, at least three.
fn best_rate(budget: Duration, mut work: impl FnMut() -> f64) -> f64 {
    let begin = Instant::now();
    let mut best = 0.0f64;
    let mut runs = 0;
    while runs < 3 || begin.elapsed() < budget {
        best = best.max(rate(&mut work));
        runs += 1;
    }
    best
}

fn print(out: &mut Output, level: &LevelReport) -> Result<(), Failure> {
    let mark = if level.default { " *" } else { "" };
    out.line(format_args!("{}{mark}: peak {:.1} GFLOP/s f32 on one core", level.level, level.peak_gflops))?;
    for read in &level.read_gbytes {
        out.line(format_args!("  read {:>6} KiB  {:>7.1} GB/s", read.kibibytes, read.gbytes_per_second))?;
    }
    out.line(format_args!("  {:<28} {:>5} {:>5} {:>5} {:>9} {:>7}", "kernel", "m", "k", "n", "GFLOP/s", "% peak"))?;
    for gemm in &level.gemm {
        out.line(format_args!(
            "  {:<28} {:>5} {:>5} {:>5} {:>9.1} {:>7.1}",
            gemm.kernel,
            gemm.m,
            gemm.k,
            gemm.n,
            gemm.gflops,
            100.0 * gemm.share_of_peak
        ))?;
    }
    out.line("")
}
