//! Cold start: from starting a process to the first embedding of one short sentence, files in the page cache, and the
//! most memory held until then.
//!
//! loquat is measured as its users meet it, by `loquat embed`, which tokenizes and prints; a peer by its worker, which gets
//! ids. For the Python workers this includes starting Python and importing the library.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use loquat_benches::Result;
use loquat_benches::precision::Precision;
use loquat_benches::workload::Workload;
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Kind, Places};
use crate::statistics::Spread;

/// What `loquat embed` gets: as many word pieces as the workload `1x16`.
const SENTENCE: &str = "The reason is, said the Gryphon, that they would go";

/// One start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Start {
    /// Wall-clock nanoseconds from starting the process.
    pub ns: u64,
    /// Bytes.
    pub peak_rss_bytes: u64,
}

/// The starts of one contender.
#[derive(Debug, Clone, Serialize)]
pub struct ColdStart {
    /// What was started.
    pub name: String,
    /// One entry a start.
    pub starts: Vec<Start>,
}

impl ColdStart {
    /// Milliseconds.
    pub fn milliseconds(&self) -> Option<Spread> {
        Spread::of(self.starts.iter().map(|start| start.ns as f64 / 1e6))
    }

    /// The median of the peaks, in MB (10^6 bytes).
    pub fn megabytes(&self) -> Option<f64> {
        Spread::of(self.starts.iter().map(|start| start.peak_rss_bytes as f64 / 1e6)).map(|spread| spread.median)
    }
}

/// Starts a worker with one thread and asks it for the embeddings of `workload`.
pub fn of_worker(
    id: &'static str,
    kind: Kind,
    places: &Places,
    workload: &Workload,
    precision: Precision,
) -> Result<Start> {
    let start = Instant::now();
    let mut contender = Contender::start(id, kind, places, 1, precision)?;
    contender.load(&workload.sequences)?;
    contender.outputs(0)?;
    let ns = u64::try_from(start.elapsed().as_nanos())?;
    Ok(Start { ns, peak_rss_bytes: contender.peak_rss()? })
}

/// Runs `loquat embed` to its end. A process's peak memory is known to its parent only, and only as the highest of all
/// its children, so this program starts itself once more to have one child.
pub fn of_command(loquat: &Path, model: &Path, precision: Precision) -> Result<Start> {
    let output = Command::new(std::env::current_exe()?)
        .arg(crate::MEASURE)
        .arg(loquat)
        .args(["embed", "--threads", "1", "--json", "--precision", precision.name(), "--model"])
        .arg(model)
        .arg(SENTENCE)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{} embed failed ({})", loquat.display(), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs a command, its output thrown away, and prints a [`Start`].
pub fn measure(mut arguments: impl Iterator<Item = String>) -> Result<ExitCode> {
    let program = arguments.next().ok_or("no command to measure")?;
    let start = Instant::now();
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let ns = u64::try_from(start.elapsed().as_nanos())?;
    if !status.success() {
        return Ok(ExitCode::FAILURE);
    }
    let kib = u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())?;
    println!("{}", serde_json::to_string(&Start { ns, peak_rss_bytes: kib * 1024 })?);
    Ok(ExitCode::SUCCESS)
}
