//! A contender's process: started, asked, stopped while others run.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use loquat_benches::precision::Precision;
use loquat_benches::protocol::{Answer, Hello, Request};
use loquat_benches::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How a contender's worker is started.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// This very program.
    Own,
    /// A script of `benches/peers`.
    Python(&'static str),
    /// A `worker-*` binary that setup.py built for this machine's processor.
    Rust(&'static str),
}

/// Every contender, in the order of the table.
pub const ALL: [(&str, Kind); 7] = [
    ("loquat", Kind::Own),
    ("openvino", Kind::Python("worker_openvino.py")),
    ("onnxruntime", Kind::Rust("worker-ort")),
    ("ctranslate2", Kind::Python("worker_ctranslate2.py")),
    ("torch", Kind::Python("worker_torch.py")),
    ("rten", Kind::Rust("worker-rten")),
    ("candle", Kind::Rust("worker-candle")),
];

/// Where the things are that a worker needs.
#[derive(Debug, Clone)]
pub struct Places {
    /// The manifest that workers read.
    pub manifest: PathBuf,
    /// The Python interpreter with the peers.
    pub python: Option<PathBuf>,
    /// The folder with the Rust workers.
    pub rust_workers: PathBuf,
    /// The folder with the Python workers.
    pub python_workers: PathBuf,
}

const SETUP: &str = "run `python3 benches/peers/setup.py`";

impl Places {
    /// The command that starts a worker, or why it can't be started.
    fn command(&self, kind: Kind) -> Result<Command> {
        Ok(match kind {
            Kind::Own => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(crate::WORKER);
                command
            }
            Kind::Python(script) => {
                let python = self.python.as_ref().ok_or_else(|| format!("not installed: {SETUP}"))?;
                let mut command = Command::new(python);
                command.arg(self.python_workers.join(script));
                command
            }
            Kind::Rust(name) => {
                let program = self.rust_workers.join(name);
                if !program.exists() {
                    return Err(format!("{name} isn't built: {SETUP}").into());
                }
                Command::new(program)
            }
        })
    }
}

/// A running worker. While it isn't asked it is stopped (SIGSTOP), so that threads that wait by spinning take nothing from
/// the contender whose turn it is, and none has to be configured to sleep, which would slow it down in its own turn.
pub struct Contender {
    /// The id on the command line.
    pub id: &'static str,
    /// The name in the table.
    pub name: String,
    /// The engine's version.
    pub version: String,
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Contender {
    /// Starts a worker with `threads` threads that computes in `precision`, and leaves it running.
    pub fn start(
        id: &'static str,
        kind: Kind,
        places: &Places,
        threads: usize,
        precision: Precision,
    ) -> Result<Contender> {
        let mut command = places.command(kind)?;
        command.arg("--manifest").arg(&places.manifest).arg("--threads").arg(threads.to_string());
        let precision = if matches!(kind, Kind::Own) { precision } else { precision.of_peers() };
        command.arg("--precision").arg(precision.name());
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "RTEN_NUM_THREADS"] {
            command.env(variable, threads.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(|error| format!("{}: {error}", display(&command)))?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().ok_or("the worker has no stdout")?;
        let mut contender = Contender {
            id,
            name: id.to_owned(),
            version: String::new(),
            process,
            stdin,
            stdout: BufReader::new(stdout),
        };
        match serde_json::from_str(&contender.line()?)? {
            Hello::Ready { name, version } => {
                (contender.name, contender.version) = (name, version);
                Ok(contender)
            }
            Hello::Unavailable { unavailable } => Err(unavailable.into()),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            let status = self.process.wait()?;
            return Err(format!("the worker ended ({status})").into());
        }
        Ok(line)
    }

    fn ask(&mut self, request: &Request) -> Result<Answer> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let stdin = self.stdin.as_mut().ok_or("the worker's stdin is closed")?;
        stdin.write_all(line.as_bytes())?;
        stdin.flush()?;
        match serde_json::from_str(&self.line()?)? {
            Answer::Failed { error } => Err(error.into()),
            answer => Ok(answer),
        }
    }

    /// Prepares a workload's inputs; gives the names of the strategies.
    pub fn load(&mut self, sequences: &[Vec<u32>]) -> Result<Vec<String>> {
        match self.ask(&Request::Load { sequences: sequences.to_vec() })? {
            Answer::Strategies { strategies } => Ok(strategies),
            other => Err(unexpected(&other)),
        }
    }

    /// The embeddings of the loaded workload: their length and `[sequences, dim]` values.
    pub fn outputs(&mut self, strategy: usize) -> Result<(usize, Vec<f32>)> {
        match self.ask(&Request::Outputs { strategy })? {
            Answer::Outputs { dim, values } => Ok((dim, values)),
            other => Err(unexpected(&other)),
        }
    }

    /// Wall-clock nanoseconds of each timed run.
    pub fn time(&mut self, strategy: usize, warmups: usize, repeats: usize) -> Result<Vec<u64>> {
        match self.ask(&Request::Time { strategy, warmups, repeats })? {
            Answer::Times { ns } if ns.len() == repeats && repeats > 0 => Ok(ns),
            other => Err(unexpected(&other)),
        }
    }

    /// The most memory that the worker has held, in bytes.
    pub fn peak_rss(&mut self) -> Result<u64> {
        match self.ask(&Request::Peak)? {
            Answer::Peak { peak_rss_bytes } => Ok(peak_rss_bytes),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs `work` with the worker awake, and stops it again. After an error it is out of the comparison or asked again,
    /// and may stay awake: it waits for a line.
    pub fn awake<T>(&mut self, work: impl FnOnce(&mut Contender) -> Result<T>) -> Result<T> {
        self.resume()?;
        let result = work(self)?;
        self.pause()?;
        Ok(result)
    }

    /// Stops the process, all its threads included.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.process.id())?;
        kill(Pid::from_raw(id), signal).map_err(Error::from)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // Nothing to save: a worker holds no state, and one that hangs must not hang the comparison. A process that
        // is gone already is fine too.
        drop(self.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unexpected(answer: &Answer) -> Error {
    let text = serde_json::to_string(answer).unwrap_or_default();
    let start: String = text.chars().take(80).collect();
    format!("the worker gave an answer of another kind: {start}").into()
}

fn display(command: &Command) -> String {
    Path::new(command.get_program()).display().to_string()
}
