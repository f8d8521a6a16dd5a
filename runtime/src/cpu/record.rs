//! Times of steps as they run.

use std::time::{Duration, Instant};

use super::Cost;

/// One call of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// Index of the step in its program.
    pub(crate) step: usize,
    /// The worker that ran it; 0 for the whole team.
    pub(crate) worker: usize,
    /// Since the start of the run.
    pub(crate) start: Duration,
    pub(crate) time: Duration,
    pub(crate) cost: Cost,
}

/// Collects the events of one worker.
#[derive(Debug)]
pub(crate) struct Recorder {
    origin: Instant,
    worker: usize,
    pub(crate) events: Vec<Event>,
}

impl Recorder {
    /// A recorder whose times count from `origin`.
    pub(crate) fn new(origin: Instant, worker: usize) -> Recorder {
        Recorder { origin, worker, events: Vec::new() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn record(&mut self, step: usize, start: Duration, cost: Cost) {
        let time = self.now().saturating_sub(start);
        self.events.push(Event { step, worker: self.worker, start, time, cost });
    }
}
