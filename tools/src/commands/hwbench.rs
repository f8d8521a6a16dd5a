//! `loquat hwbench`: what this machine can do, and how near the kernels come to it.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use clap::Args;
use loquat_kernels::{
    AlignedBuf, Arithmetic, Cpu, Epilogue, Exec, Level, MatMut, MatRef, PackedRhs, RhsShape, gemm,
    gemm::{kernel_for, kernels_of, scratch_len},
    peak,
};
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
One thread. First every unit's peak, measured and not looked up: independent operations in registers, the best of many short runs,
since other load can only lower it. Then every microkernel at the shapes of MiniLM and BERT-base. Clocks change with the load, so
the kernels of an arithmetic and the loop of their unit take turns; shares are medians over the turns. `*` marks the kernel that
runs by default (LOQUAT_CPU forces a lower level), `vs *` is a kernel's rate over that one's.
Products of one row, whose weights come from memory, are measured in the bytes of weights that they read, against plain reading.
With --json, one object: {\"units\": [...], \"read_gbytes\": [...], \"gemm\": [...], \"gemv\": [...]}.

Examples:
  loquat hwbench
  loquat hwbench --level avx2 --milliseconds 300
  loquat hwbench --assert --least-share 0.7";

/// Measure this machine's units and the kernels' share of their peaks
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct HwBench {
    /// Only this instruction-set level [default: all that the machine has]
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,

    /// Time to spend on each number
    #[arg(long, value_name = "MS", default_value = "100")]
    milliseconds: u64,

    /// Fail if a kernel is more than a tenth faster than the one that runs by default
    #[arg(long)]
    assert: bool,

    /// Fail if a default kernel reaches less than this share of its unit's peak with 128 rows
    #[arg(long, value_name = "SHARE")]
    least_share: Option<f64>,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    units: Vec<UnitReport>,
    read_gbytes: Vec<ReadReport>,
    gemm: Vec<GemmReport>,
    gemv: Vec<GemvReport>,
}

/// What a unit does in registers.
#[derive(Serialize)]
struct UnitReport {
    level: String,
    arithmetic: &'static str,
    peak_gops: f64,
}

#[derive(Serialize)]
struct ReadReport {
    level: String,
    kibibytes: usize,
    gbytes_per_second: f64,
}

#[derive(Serialize)]
struct GemmReport {
    kernel: &'static str,
    arithmetic: &'static str,
    /// Whether products of this shape run on it by default.
    default: bool,
    m: usize,
    k: usize,
    n: usize,
    /// The best.
    gops: f64,
    /// The median.
    share_of_peak: f64,
    /// The median of its rate over that of the default kernel.
    of_default: f64,
}

/// Products of one row with weights that no cache holds.
#[derive(Serialize)]
struct GemvReport {
    kernel: &'static str,
    arithmetic: &'static str,
    k: usize,
    n: usize,
    /// Of weights, in the form they are packed in: the best.
    gbytes_per_second: f64,
    /// Over reading as many bytes and doing nothing else, in turns: the median.
    share_of_read: f64,
    /// The best.
    gops: f64,
}

const ARITHMETICS: [Arithmetic; 4] = [Arithmetic::F32, Arithmetic::Bf16x3, Arithmetic::Bf16, Arithmetic::Int8];

/// `[k, n]` of the products in MiniLM-L6 and BERT-base: attention output, merged QKV, and the two of the feed-forward part.
const WEIGHTS: [(usize, usize); 8] =
    [(384, 384), (384, 1152), (384, 1536), (1536, 384), (768, 768), (768, 2304), (768, 3072), (3072, 768)];

/// Rows: a short query, and a full batch's shard.
const ROWS: [usize; 2] = [16, 128];

/// `[k, n]` of products of one row: BERT-base's, and those of larger decoders.
const GEMV_WEIGHTS: [(usize, usize); 4] = [(768, 3072), (3072, 768), (2048, 2048), (4096, 4096)];

/// Bytes of weights that a measurement of products of one row goes through before it comes back to the first.
const GEMV_BYTES: usize = 64 << 20;

/// A buffer that fits the first-level cache, the second, the third, and none.
const READ_KIBIBYTES: [usize; 4] = [24, 1 << 10, 16 << 10, 256 << 10];

impl HwBench {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let default = Cpu::detect().map_err(|error| Failure::from_error(&error))?;
        let only = self.level.as_deref().map(str::parse::<Level>).transpose();
        let only = only.map_err(|error| Failure::Usage(format!("--level: {error}")))?;
        if let Some(level) = only {
            Cpu::with_level(level).map_err(|error| Failure::from_error(&error))?;
        }
        let budget = Duration::from_millis(self.milliseconds);
        let mut out = Output::stdout();
        let mut report = Report { units: Vec::new(), read_gbytes: Vec::new(), gemm: Vec::new(), gemv: Vec::new() };
        let text = !self.output.json;
        let chosen = |cpu: &Cpu| only.is_none_or(|level| cpu.level() == level);
        let levels = || Cpu::available().into_iter().filter(chosen);
        for cpu in levels() {
            for arithmetic in ARITHMETICS.into_iter().filter(|&arithmetic| has_own_unit(&cpu, arithmetic)) {
                let peak_gops = best_rate(budget, || unit(&cpu, arithmetic));
                let unit = UnitReport { level: cpu.level().to_string(), arithmetic: arithmetic.name(), peak_gops };
                if text {
                    out.line(format_args!("{:<12} {:<7} {peak_gops:>8.1} GOP/s", unit.level, unit.arithmetic))?;
                    out.flush()?;
                }
                report.units.push(unit);
            }
        }
        for cpu in levels().filter(|cpu| cpu.vector_level() == cpu.level()) {
            report.read_gbytes.extend(READ_KIBIBYTES.map(|kibibytes| read(&cpu, kibibytes, budget)));
        }
        if text {
            for read in &report.read_gbytes {
                let ReadReport { level, kibibytes, gbytes_per_second } = read;
                out.line(format_args!("{level:<12} read {kibibytes:>6} KiB {gbytes_per_second:>8.1} GB/s"))?;
            }
            out.line(format_args!(
                "  {:<30} {:>5} {:>5} {:>5} {:>8} {:>7} {:>6}",
                "kernel", "m", "k", "n", "GOP/s", "% peak", "vs *"
            ))?;
        }
        for arithmetic in ARITHMETICS {
            for (k, n) in WEIGHTS {
                for m in ROWS {
                    let rows = measure(&default, chosen, arithmetic, (m, k, n), budget)?;
                    if text {
                        rows.iter().try_for_each(|row| print(&mut out, row))?;
                        out.flush()?;
                    }
                    report.gemm.extend(rows);
                }
            }
        }
        if text {
            out.line(format_args!(
                "  {:<30} {:>5} {:>5} {:>5} {:>8} {:>7} {:>8}",
                "kernel", "m", "k", "n", "GB/s", "% read", "GOP/s"
            ))?;
        }
        for arithmetic in [Arithmetic::F32, Arithmetic::Int8, Arithmetic::Int4] {
            for (k, n) in GEMV_WEIGHTS {
                let row = measure_one_row(&default, arithmetic, (k, n), budget)?;
                if text {
                    let GemvReport { kernel, gbytes_per_second, share_of_read, gops, .. } = &row;
                    let share = 100.0 * share_of_read;
                    out.line(format_args!(
                        "* {kernel:<30} {:>5} {k:>5} {n:>5} {gbytes_per_second:>8.1} {share:>7.1} {gops:>8.1}",
                        1
                    ))?;
                    out.flush()?;
                }
                report.gemv.push(row);
            }
        }
        if !text {
            out.json(&report)?;
            out.flush()?;
        }
        self.check(&report)
    }

    /// Holds the kernels to what `--assert` and `--least-share` ask for.
    fn check(&self, report: &Report) -> Result<(), Failure> {
        let mut faults = Vec::new();
        for gemm in &report.gemm {
            let GemmReport { kernel, m, k, n, .. } = gemm;
            if self.assert && !gemm.default && gemm.of_default > 1.1 {
                faults.push(format!("{kernel} at {m}x{k}x{n} is {:.2} times as fast as the default", gemm.of_default));
            }
            if let Some(least) = self.least_share
                && gemm.default
                && gemm.m >= 128
                && gemm.share_of_peak < least
            {
                faults.push(format!("{kernel} at {m}x{k}x{n}: {:.1} % of peak", 100.0 * gemm.share_of_peak));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Failure::Failed(faults.join("; "))) }
    }
}

/// Whether this level, and none below it, has the unit that computes in this arithmetic.
fn has_own_unit(cpu: &Cpu, arithmetic: Arithmetic) -> bool {
    match arithmetic {
        Arithmetic::F32 => cpu.vector_level() == cpu.level(),
        Arithmetic::Int8 => cpu.vector_level() != cpu.level(),
        _ => cpu.level() == Level::Amx,
    }
}

/// A short run of what the peak is measured with; gives its operations.
fn unit(cpu: &Cpu, arithmetic: Arithmetic) -> f64 {
    peak::products(cpu, arithmetic, 20_000) as f64
}

fn read(cpu: &Cpu, kibibytes: usize, budget: Duration) -> ReadReport {
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
    ReadReport { level: cpu.level().to_string(), kibibytes, gbytes_per_second }
}

/// A kernel at one shape, ready to run.
struct Candidate {
    cpu: Cpu,
    rhs: PackedRhs,
    scratch: AlignedBuf,
    default: bool,
    gops: f64,
    rates: Vec<f64>,
}

/// Measures all kernels of an arithmetic at one shape, in turns.
fn measure(
    default: &Cpu,
    chosen: impl Fn(&Cpu) -> bool,
    arithmetic: Arithmetic,
    (m, k, n): (usize, usize, usize),
    budget: Duration,
) -> Result<Vec<GemmReport>, Failure> {
    let failed = |error: loquat_kernels::KernelError| Failure::from_error(&error);
    let fill = |column: usize, row: &mut [f32]| {
        row.iter_mut().enumerate().for_each(|(i, value)| *value = ((column * 31 + i * 17) % 64) as f32 / 64.0 - 0.5);
    };
    let best = kernel_for(default, arithmetic, n).name;
    let mut candidates: Vec<Candidate> = Vec::new();
    for cpu in Cpu::available() {
        for kernel in kernels_of(&cpu, arithmetic) {
            let is_default = kernel.name == best;
            let is_new = candidates.iter().all(|candidate| candidate.rhs.kernel_name() != kernel.name);
            if is_new && (chosen(&cpu) || is_default) {
                let rhs = PackedRhs::pack_for(kernel, &cpu, Exec::Serial, k, n, &fill).map_err(failed)?;
                let scratch = AlignedBuf::zeroed(scratch_len(&rhs, m, 1).map_err(failed)?).map_err(failed)?;
                candidates.push(Candidate { cpu, rhs, scratch, default: is_default, gops: 0.0, rates: Vec::new() });
            }
        }
    }
    let Some(reference) = candidates.iter().position(|candidate| candidate.default) else { return Ok(Vec::new()) };
    let mut lhs = AlignedBuf::zeroed(m * k).map_err(failed)?;
    lhs.iter_mut().enumerate().for_each(|(i, value)| *value = (i % 61) as f32 / 61.0 - 0.5);
    let bias = vec![0.5f32; n];
    let mut out = AlignedBuf::zeroed(m * n).map_err(failed)?;
    let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
    let operations = 2.0 * m as f64 * k as f64 * n as f64;
    let mut shares = vec![Vec::new(); candidates.len()];
    let begin = Instant::now();
    let mut result = Ok(());
    while shares[reference].len() < 3 || begin.elapsed() < budget * candidates.len() as u32 {
        for (candidate, shares) in candidates.iter_mut().zip(&mut shares) {
            let Candidate { cpu, rhs, scratch, gops, rates, .. } = candidate;
            let peak = rate(|| unit(cpu, arithmetic));
            let mut run = || {
                let (lhs, out) = (MatRef::new(&lhs, m, k, k)?, MatMut::new(&mut out, m, n, n)?);
                gemm(cpu, Exec::Serial, lhs, rhs, &epilogue, scratch, out)
            };
            // Runs of a few microseconds are repeated, so that the others' leavings in the caches don't count.
            let repeats = (1e8 / operations).clamp(1.0, 8.0) as usize;
            let own = rate(|| {
                for _ in 0..repeats {
                    if let Err(error) = run() {
                        result = Err(failed(error));
                    }
                }
                operations * repeats as f64
            });
            *gops = gops.max(own);
            rates.push(own);
            shares.push(own / peak);
        }
    }
    result?;
    let of_default = |candidate: &Candidate| {
        let ratios = candidate.rates.iter().zip(&candidates[reference].rates).map(|(own, default)| own / default);
        median(ratios.collect())
    };
    let report = |(candidate, shares): (&Candidate, &Vec<f64>)| GemmReport {
        kernel: candidate.rhs.kernel_name(),
        arithmetic: arithmetic.name(),
        default: candidate.default,
        m,
        k,
        n,
        gops: candidate.gops,
        share_of_peak: median(shares.clone()),
        of_default: of_default(candidate),
    };
    let reports = candidates.iter().zip(&shares).filter(|(candidate, _)| chosen(&candidate.cpu));
    Ok(reports.map(report).collect())
}

/// Measures products of one row, each with another of many matrices, in turns with reading as much memory.
fn measure_one_row(
    cpu: &Cpu,
    arithmetic: Arithmetic,
    (k, n): (usize, usize),
    budget: Duration,
) -> Result<GemvReport, Failure> {
    let failed = |error: loquat_kernels::KernelError| Failure::from_error(&error);
    let fill = |_: usize, column: usize, row: &mut [f32]| {
        row.iter_mut().enumerate().for_each(|(i, value)| *value = ((column * 31 + i * 17) % 16) as f32 / 16.0 - 0.5);
    };
    let shape = RhsShape { arithmetic, k, n };
    let pack = |count| PackedRhs::pack_all(cpu, Exec::Serial, &vec![shape; count], &fill).map_err(failed);
    let bytes = pack(1)?[0].bytes();
    let matrices = pack((GEMV_BYTES / bytes).max(1))?;
    let mut scratch = vec![0.0; scratch_len(&matrices[0], 1, 1).map_err(failed)?];
    let (lhs, mut out) = (vec![0.5f32; k], vec![0.0f32; n]);
    let plain = vec![1.0f32; GEMV_BYTES / size_of::<f32>()];
    let total = (bytes * matrices.len()) as f64;
    let (mut best, mut shares) = (0.0f64, Vec::new());
    let begin = Instant::now();
    while shares.len() < 3 || begin.elapsed() < budget {
        let reading = rate(|| {
            black_box(peak::read(cpu, black_box(&plain)));
            GEMV_BYTES as f64
        });
        let start = Instant::now();
        for rhs in &matrices {
            let (lhs, out) = (MatRef::new(&lhs, 1, k, k), MatMut::new(&mut out, 1, n, n));
            let mut run = |lhs, out| gemm(cpu, Exec::Serial, lhs, rhs, &Epilogue::default(), &mut scratch, out);
            lhs.and_then(|lhs| run(lhs, out?)).map_err(failed)?;
        }
        let own = total / start.elapsed().as_nanos().max(1) as f64;
        best = best.max(own);
        shares.push(own / reading);
    }
    Ok(GemvReport {
        kernel: matrices[0].kernel_name(),
        arithmetic: arithmetic.name(),
        k,
        n,
        gbytes_per_second: best,
        share_of_read: median(shares),
        gops: best * 2.0 * (k * n) as f64 / bytes as f64,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

fn print(out: &mut Output, row: &GemmReport) -> Result<(), Failure> {
    let GemmReport { kernel, default, m, k, n, gops, share_of_peak, of_default, .. } = row;
    let (mark, share) = (if *default { '*' } else { ' ' }, 100.0 * share_of_peak);
    out.line(format_args!("{mark} {kernel:<30} {m:>5} {k:>5} {n:>5} {gops:>8.1} {share:>7.1} {of_default:>6.2}"))
}
