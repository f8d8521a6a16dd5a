//! Where the time of a run goes.

use std::{fmt, fmt::Write, time::Duration};

use crate::cpu::{Event, Program};

/// Times of one or more runs, by step.
#[derive(Clone, Debug)]
pub struct Profile {
    steps: Vec<StepProfile>,
    /// Of the first run.
    events: Vec<Event>,
    wall: Duration,
    best_wall: Duration,
    runs: usize,
    mode: &'static str,
    threads: usize,
    tokens: usize,
}

/// All calls of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepProfile {
    /// Name of the step: its module in the reference implementation.
    pub name: String,
    /// The kernel that ran.
    pub kernel: String,
    /// Number of calls: one per shard and run.
    pub calls: usize,
    /// Time of all calls together, over all workers that ran one by themselves.
    pub time: Duration,
    /// Floating-point operations of all calls; a multiply-add counts as two. Only matrix products are counted.
    pub flop: u64,
    /// Bytes of values and weights that all calls read or wrote.
    pub bytes: u64,
}

impl StepProfile {
    /// 10⁹ floating-point operations a second: of one worker where each runs by itself, else of the team.
    pub fn gflops(&self) -> f64 {
        rate(self.flop, self.time)
    }

    /// 10⁹ bytes a second.
    pub fn gbytes(&self) -> f64 {
        rate(self.bytes, self.time)
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds / 1e9 } else { 0.0 }
}

impl Profile {
    pub(crate) fn new(
        program: &Program,
        events: Vec<Event>,
        wall: Duration,
        mode: &'static str,
        threads: usize,
        tokens: usize,
    ) -> Profile {
        let mut steps: Vec<StepProfile> = program
            .steps()
            .map(|(name, kernel)| StepProfile {
                name: name.to_owned(),
                kernel,
                calls: 0,
                time: Duration::ZERO,
                flop: 0,
                bytes: 0,
            })
            .collect();
        for event in &events {
            let step = &mut steps[event.step];
            step.calls += 1;
            step.time += event.time;
            step.flop += event.cost.flop;
            step.bytes += event.cost.bytes;
        }
        Profile { steps, events, wall, best_wall: wall, runs: 1, mode, threads, tokens }
    }

    /// Adds the times of further runs of the same session.
    pub fn add(&mut self, other: &Profile) {
        for (step, more) in self.steps.iter_mut().zip(&other.steps) {
            step.calls += more.calls;
            step.time += more.time;
            step.flop += more.flop;
            step.bytes += more.bytes;
        }
        self.wall += other.wall;
        self.best_wall = self.best_wall.min(other.best_wall);
        self.runs += other.runs;
        self.tokens += other.tokens;
    }

    /// The steps, in the order in which they run.
    pub fn steps(&self) -> &[StepProfile] {
        &self.steps
    }

    /// Wall-clock time of all runs together.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// Wall-clock time of the fastest run.
    pub fn best_wall(&self) -> Duration {
        self.best_wall
    }

    /// Number of runs.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// How the batch was spread over the threads: `serial`, `team` or `sharded`.
    pub fn mode(&self) -> &'static str {
        self.mode
    }

    /// The first run in the JSON trace format of Chrome, which Perfetto reads too: one line of events per worker.
    pub fn chrome_trace(&self) -> String {
        let mut trace = String::from("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
        for (index, event) in self.events.iter().enumerate() {
            let step = &self.steps[event.step];
            let separator = if index == 0 { "" } else { ",\n" };
            let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
            // Writing to a string can't fail.
            let _ = write!(
                trace,
                "{separator}{{\"name\":{},\"cat\":{},\"ph\":\"X\",\"pid\":1,\"tid\":{},\"ts\":{:.3},\"dur\":{:.3},\
                 \"args\":{{\"gflops\":{:.1},\"bytes\":{}}}}}",
                serde_json::Value::from(step.name.as_str()),
                serde_json::Value::from(step.kernel.as_str()),
                event.worker,
                micros(event.start),
                micros(event.time),
                rate(event.cost.flop, event.time),
                event.cost.bytes,
            );
        }
        trace.push_str("\n]}\n");
        trace
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.steps.iter().map(|step| step.time).sum();
        let runs = self.runs.max(1) as f64;
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        writeln!(f, "{:>9} {:>6} {:>6} {:>9} {:>7}  kernel; step", "ms/run", "%", "calls", "GFLOP/s", "GB/s")?;
        for step in &self.steps {
            let share = 100.0 * step.time.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE);
            writeln!(
                f,
                "{:>9.4} {share:>6.1} {:>6} {:>9.1} {:>7.1}  {}; {}",
                millis(step.time) / runs,
                step.calls,
                step.gflops(),
                step.gbytes(),
                step.kernel,
                step.name
            )?;
        }
        let flop: u64 = self.steps.iter().map(|step| step.flop).sum();
        writeln!(
            f,
            "{} runs, {}, {} threads: {:.3} ms a run ({:.3} at best), {:.0} tokens/s, {:.1} GFLOP/s; steps took {:.3} ms a run",
            self.runs,
            self.mode,
            self.threads,
            millis(self.wall) / runs,
            millis(self.best_wall),
            self.tokens as f64 / self.wall.as_secs_f64().max(f64::MIN_POSITIVE),
            rate(flop, self.wall),
            millis(total) / runs,
        )
    }
}
