//! `cargo run --release -p loquat-benches --bin compare -- --model FOLDER`: loquat and its peers on the same work, interleaved.

#![forbid(unsafe_code)]

mod agreement;
mod calibration;
mod cold_start;
mod contender;
mod options;
mod ours;
mod report;
mod rounds;
mod statistics;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use loquat_benches::manifest::Manifest;
use loquat_benches::precision::Precision;
use loquat_benches::workload::{self, EncoderSize, Workload};
use loquat_benches::{Error, Result};

use crate::calibration::Reference;
use crate::cold_start::ColdStart;
use crate::contender::{ALL, Contender, Kind, Places};
use crate::options::Options;
use crate::ours::Loquat;
use crate::report::Report;
use crate::rounds::{Comparison, Plan, Shuffle};

/// The first argument when this program is to be loquat's worker.
const WORKER: &str = "worker-loquat";
/// The first argument when it is to measure the command that follows.
const MEASURE: &str = "measure-process";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some(WORKER) => loquat_benches::worker::serve(arguments, Loquat::new).map(|()| ExitCode::SUCCESS),
        Some(MEASURE) => cold_start::measure(arguments),
        _ => run(Options::parse().resolved()).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("compare: {error}");
        ExitCode::FAILURE
    })
}

fn run(options: Options) -> Result<()> {
    let (places, model, _scratch) = places(&options)?;
    let size = EncoderSize::of(&model)?;
    let all = workload::all()?;
    let chosen = choose(&all, &options.workloads)?;
    if let Some(unknown) = options.only.iter().find(|id| !ALL.iter().any(|(known, _)| known == id)) {
        let known: Vec<&str> = ALL.iter().map(|(id, _)| *id).collect();
        return Err(format!("--only {unknown}: the contenders are {}", known.join(", ")).into());
    }

    let mut report = Report {
        machine: report::machine(),
        settings: settings(&options),
        comparisons: Vec::new(),
        cold_starts: Vec::new(),
        skipped: Vec::new(),
    };
    let mut plan = Plan { rounds: options.rounds, block: options.block(), shuffle: Shuffle::new(options.seed) };
    for &threads in &options.threads {
        let mut contenders = start_all(&options, &places, threads, &mut report.skipped)?;
        let mut referee = referee(&options, &places);
        for workload in &chosen {
            eprintln!("{} with {threads} thread(s) …", workload.name);
            let reference = reference(referee.as_mut(), &mut contenders, workload, options.precision)?;
            let flops = workload.flops(&size);
            let comparison = rounds::compare(&mut contenders, &reference, workload, threads, flops, &mut plan)?;
            progress(&comparison);
            report.comparisons.push(comparison);
        }
    }
    report.cold_starts = cold_starts(&options, &places, &model, &all)?;

    print!("{}", report.markdown());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string(&report)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Where everything is. The workers get a manifest of their own, in which `--model` has replaced the model folder.
fn places(options: &Options) -> Result<(Places, PathBuf, tempfile::TempDir)> {
    let given = options.peers.join("manifest.json");
    let mut manifest: serde_json::Value = match std::fs::read_to_string(&given) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{}: {error}", given.display()))?,
        Err(_) => serde_json::json!({}),
    };
    if let Some(model) = &options.model {
        manifest["model"] = serde_json::to_value(model)?;
    }
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("manifest.json");
    std::fs::write(&path, manifest.to_string())?;
    let manifest = Manifest::read(&path)?;
    let model = manifest.model.ok_or_else(|| {
        format!("no model: give --model DIR, or run benches/peers/setup.py, which writes {}", given.display())
    })?;
    let places = Places {
        manifest: path,
        python: manifest.python,
        rust_workers: options.peers.join("target/release"),
        python_workers: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers"),
    };
    Ok((places, model, scratch))
}

fn choose<'a>(all: &'a [Workload], names: &[String]) -> Result<Vec<&'a Workload>> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    let find = |name: &String| {
        let known: Vec<&str> = all.iter().map(|workload| workload.name.as_str()).collect();
        all.iter()
            .find(|workload| workload.name == *name)
            .ok_or_else(|| Error::from(format!("--workloads {name}: there are {}", known.join(", "))))
    };
    names.iter().map(find).collect()
}

fn settings(options: &Options) -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    format!(
        "{}; {} rounds of blocks of at least {} ms, order shuffled from seed {}; load average at the start {}{}",
        match options.precision {
            Precision::Bf16x3 => "loquat in bf16x3, its peers in f32",
            precision => precision.name(),
        },
        options.rounds,
        options.block_ms,
        options.seed,
        load.join(" "),
        if options.quick { "; a smoke run (--quick)" } else { "" },
    )
}

/// Whose outputs are the right ones: a PyTorch that computes in `f32`, where it is installed.
fn referee(options: &Options, places: &Places) -> Option<Contender> {
    let (_, torch) = ALL.into_iter().find(|(id, _)| *id == "torch")?;
    if options.precision == Precision::F32 && options.includes("torch") {
        return None; // it is among the contenders
    }
    let referee = Contender::start("torch", torch, places, 1, Precision::F32).ok()?;
    referee.pause().ok()?;
    Some(referee)
}

/// The right outputs of a workload: the referee's, else PyTorch's among the contenders, else those of the first contender that has any.
fn reference(
    referee: Option<&mut Contender>,
    contenders: &mut [Contender],
    workload: &Workload,
    precision: Precision,
) -> Result<Reference> {
    if let Some(referee) = referee {
        return Reference::of(referee, workload, precision);
    }
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    order.sort_by_key(|&index| contenders[index].id != "torch");
    order
        .into_iter()
        .find_map(|index| Reference::of(&mut contenders[index], workload, precision).ok())
        .ok_or_else(|| "no contender is able to run".into())
}

/// Starts every contender and stops it until its turn.
fn start_all(
    options: &Options,
    places: &Places,
    threads: usize,
    skipped: &mut Vec<(String, String)>,
) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for (id, kind) in ALL.into_iter().filter(|(id, _)| options.includes(id)) {
        match Contender::start(id, kind, places, threads, options.precision) {
            Ok(contender) => {
                contender.pause()?;
                contenders.push(contender);
            }
            Err(error) => {
                let entry = (id.to_owned(), error.to_string());
                eprintln!("skipping {id}: {error}");
                if !skipped.contains(&entry) {
                    skipped.push(entry);
                }
            }
        }
    }
    Ok(contenders)
}

/// A short word on stderr as soon as a comparison is done.
fn progress(comparison: &Comparison) {
    for measured in &comparison.measured {
        if let Some(time) = measured.milliseconds() {
            eprintln!("    {}: {:.2} ms  {}", measured.name, time.median, measured.calibrated.name);
        }
    }
    for (name, reason) in &comparison.skipped {
        eprintln!("    {name}: {reason}");
    }
}

/// Starts each contender again and again, in turn.
fn cold_starts(options: &Options, places: &Places, model: &Path, all: &[Workload]) -> Result<Vec<ColdStart>> {
    if options.cold_starts == 0 {
        return Ok(Vec::new());
    }
    eprintln!("cold starts …");
    let workload = all.first().ok_or("benches/workloads.json is empty")?;
    let loquat = options.loquat.clone().or_else(|| Some(std::env::current_exe().ok()?.parent()?.join("loquat")));
    let mut results: Vec<(&str, Kind, ColdStart)> = ALL
        .into_iter()
        .filter(|(id, _)| options.includes(id))
        .map(|(id, kind)| {
            let name = match kind {
                Kind::Own => "loquat embed".to_owned(),
                Kind::Python(_) => format!("{id} (Python)"),
                Kind::Rust(_) => format!("{id} (Rust)"),
            };
            (id, kind, ColdStart { name, starts: Vec::new() })
        })
        .collect();
    // One start more than asked for: the first brings the files into the page cache.
    for number in 0..=options.cold_starts {
        results.retain_mut(|(id, kind, cold)| {
            let start = match (&kind, &loquat) {
                (Kind::Own, Some(loquat)) if loquat.exists() => {
                    cold_start::of_command(loquat, model, options.precision)
                }
                (Kind::Own, _) => {
                    Err("build the command first (cargo build --release) or name it with --loquat FILE".into())
                }
                _ => cold_start::of_worker(id, *kind, places, workload, options.precision),
            };
            match start {
                Ok(start) if number > 0 => cold.starts.push(start),
                Ok(_) => {}
                Err(error) => {
                    eprintln!("    {}: {error}", cold.name);
                    return false;
                }
            }
            true
        });
    }
    Ok(results.into_iter().map(|(_, _, cold)| cold).collect())
}
