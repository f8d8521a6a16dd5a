//! A model ready to run, shared by any number of threads.

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use loquat_kernels::{Cpu, CpuError, Exec, Lease, Team};

use crate::{
    batch::{Batch, BatchView},
    cpu::{Arena, Event, Program, ProgramError, Recorder, RunError, Schedule, Shard},
    graph::{Graph, GraphError},
    inspect::{Inspection, Stage},
    options::{Options, Precision},
    outputs::{Outputs, Tensor},
    passes::PASSES,
    profile::Profile,
    weights::{Weights, unquantized},
};

/// A model ready to run.
///
/// It is `Send + Sync`: any number of threads may run batches at once. One of them at a time has the session's threads; the others run
/// on their own thread alone, with the same results.
pub struct Session {
    program: Program,
    team: Team,
    arenas: Mutex<Vec<Arena>>,
    stages: Vec<Stage>,
    files: String,
    options: Options,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The graph lacks an output that was asked for, or isn't consistent.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The weights don't fit the graph, or don't fit in memory.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The CPU level isn't there.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The threads can't be started.
    #[error("can't start {threads} threads: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        source: io::Error,
    },
    /// A pass to leave out that doesn't exist.
    #[error("there is no pass {name:?} to disable: the passes are {known}")]
    UnknownPass {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
}

impl Session {
    /// Runs the passes over a graph, plans its memory and packs its weights. `weights` may be shared with other sessions as an
    /// [`Arc`].
    ///
    /// # Errors
    /// If the weights don't fit the graph, or an option names something that isn't there.
    pub fn new(graph: Graph, weights: impl Into<Arc<Weights>>, options: &Options) -> Result<Session, SessionError> {
        let weights = weights.into();
        let cpu = match options.level {
            Some(level) => Cpu::with_level(level)?,
            None => Cpu::detect()?,
        };
        let threads =
            options.threads.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let team = start(threads).map_err(|source| SessionError::Threads { threads: threads.get(), source })?;
        let (graph, stages) = optimise(graph, &weights, options)?;
        let program = {
            let lease = team.lease_blocking();
            Program::new(&graph, Arc::clone(&weights), cpu, Exec::Team(&lease))?
        };
        Ok(Session {
            program,
            team,
            arenas: Mutex::new(Vec::new()),
            stages,
            files: weights.files(),
            options: options.clone(),
        })
    }

    /// Runs a batch.
    ///
    /// # Errors
    /// If an id is outside of its table or a sequence too long, named by sequence and position; nothing is computed then.
    pub fn run(&self, batch: &Batch) -> Result<Outputs, RunError> {
        self.run_recorded(batch, None).map(|(outputs, _)| outputs)
    }

    /// Runs a batch and times every step.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn profile(&self, batch: &Batch) -> Result<(Outputs, Profile), RunError> {
        let mut events = Vec::new();
        let start = Instant::now();
        let (outputs, mode) = self.run_recorded(batch, Some(&mut events))?;
        let wall = start.elapsed();
        let profile = Profile::new(&self.program, events, wall, mode, self.team.threads(), batch.tokens());
        Ok((outputs, profile))
    }

    /// What became of the graph, where its values lie, and which kernels run it.
    pub fn inspect(&self) -> Inspection<'_> {
        Inspection { program: &self.program, stages: &self.stages, files: &self.files, threads: self.team.threads() }
    }

    /// The program that the session runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    fn run_recorded(
        &self,
        batch: &Batch,
        events: Option<&mut Vec<Event>>,
    ) -> Result<(Outputs, &'static str), RunError> {
        let view = batch.view();
        self.program.limits().check(view)?;
        let mut tensors = Vec::with_capacity(self.program.outputs().len());
        for (name, shape) in self.program.outputs() {
            let tensor = Tensor::zeroed(*shape, shape.rows(view), shape.len(view)?);
            tensors.push((name.clone(), tensor));
        }
        let lease = if self.team.threads() > 1 { self.team.lease() } else { None };
        let workers = lease.as_ref().map_or(1, Lease::workers);
        let schedule = Schedule::new(view, workers, self.options.parallel, self.options.shard_tokens);
        let work = self.split_outputs(&mut tensors, schedule.shards());
        let origin = events.is_some().then(Instant::now);
        let recorded = match (&schedule, &lease) {
            (Schedule::Sharded(_), Some(lease)) => self.run_sharded(view, lease, work, origin)?,
            (Schedule::Team(_), Some(lease)) => self.run_in_order(view, Exec::Team(lease), work, origin)?,
            _ => self.run_in_order(view, Exec::Serial, work, origin)?,
        };
        if let Some(events) = events {
            *events = recorded;
        }
        Ok((Outputs { tensors, cu_seqlens: view.cu_seqlens().to_vec() }, schedule.name()))
    }

    /// Gives each shard its rows of every output.
    fn split_outputs<'o>(&self, tensors: &'o mut [(String, Tensor)], shards: &[Shard]) -> Vec<Work<'o>> {
        let mut work: Vec<Work<'o>> = shards
            .iter()
            .map(|shard| Work { shard: shard.clone(), outputs: Vec::with_capacity(tensors.len()) })
            .collect();
        for (_, tensor) in tensors {
            let width = tensor.shape[1];
            let mut rest = tensor.data.as_mut_slice();
            for work in &mut work {
                let (own, after) = rest.split_at_mut(work.shard.rows(tensor.rows).len() * width);
                work.outputs.push(own);
                rest = after;
            }
        }
        work
    }

    fn run_in_order(
        &self,
        batch: BatchView<'_>,
        exec: Exec<'_>,
        work: Vec<Work<'_>>,
        origin: Option<Instant>,
    ) -> Result<Vec<Event>, RunError> {
        let mut recorder = origin.map(|origin| Recorder::new(origin, 0));
        let mut arena = self.take_arena();
        let result =
            work.into_iter().try_for_each(|work| work.run(&self.program, batch, &mut arena, exec, recorder.as_mut()));
        self.return_arena(arena);
        result?;
        Ok(recorder.map(|recorder| recorder.events).unwrap_or_default())
    }

    fn run_sharded(
        &self,
        batch: BatchView<'_>,
        lease: &Lease<'_>,
        work: Vec<Work<'_>>,
        origin: Option<Instant>,
    ) -> Result<Vec<Event>, RunError> {
        let work: Vec<Mutex<Option<Work<'_>>>> = work.into_iter().map(|work| Mutex::new(Some(work))).collect();
        let next = AtomicUsize::new(0);
        let finished: Mutex<Result<Vec<Event>, RunError>> = Mutex::new(Ok(Vec::new()));
        lease.run(&|worker| {
            let mut recorder = origin.map(|origin| Recorder::new(origin, worker));
            let mut arena = self.take_arena();
            let mut result = Ok(());
            while let Some(slot) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(work) = taken else { continue };
                result = work.run(&self.program, batch, &mut arena, Exec::Serial, recorder.as_mut());
                if result.is_err() {
                    break;
                }
            }
            self.return_arena(arena);
            let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Err(error) => *finished = Err(error),
                Ok(()) => {
                    if let (Ok(events), Some(recorder)) = (finished.as_mut(), recorder) {
                        events.extend(recorder.events);
                    }
                }
            }
        });
        finished.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_arena(&self) -> Arena {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn return_arena(&self, arena: Arena) {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
    }
}

/// A shard and the rows of the outputs that are its to write.
struct Work<'o> {
    shard: Shard,
    outputs: Vec<&'o mut [f32]>,
}

impl Work<'_> {
    fn run(
        mut self,
        program: &Program,
        batch: BatchView<'_>,
        arena: &mut Arena,
        exec: Exec<'_>,
        recorder: Option<&mut Recorder>,
    ) -> Result<(), RunError> {
        let view = batch.slice(self.shard.sequences);
        program.run_checked(view, arena, exec, &mut self.outputs, recorder)
    }
}

/// Threads that a session may have: more than machines have cores, few enough to start.
const MAX_THREADS: usize = 1024;

fn start(threads: NonZeroUsize) -> io::Result<Team> {
    if threads.get() > MAX_THREADS {
        return Err(io::Error::other(format!("a session takes at most {MAX_THREADS}")));
    }
    Team::new(threads)
}

/// Keeps the outputs that were asked for and runs the passes.
fn optimise(graph: Graph, weights: &Weights, options: &Options) -> Result<(Graph, Vec<Stage>), SessionError> {
    for name in &options.disabled_passes {
        if !PASSES.iter().any(|pass| pass.name == name) {
            let known = PASSES.iter().map(|pass| pass.name).collect::<Vec<_>>().join(", ");
            return Err(SessionError::UnknownPass { name: name.clone(), known });
        }
    }
    let mut graph = match &options.outputs {
        Some(names) => graph.with_outputs(names)?,
        None => graph,
    };
    graph.verify()?;
    let mut precision = options.precision;
    graph.kept_high = options.keep_high.clone();
    if let Some(quantization) = weights.quantization() {
        graph.kept_high.extend(unquantized(&graph, weights));
        if precision == Precision::Auto {
            precision = quantization.precision();
        }
    }
    let mut stages = vec![Stage { pass: None, report: Default::default(), graph: graph.clone() }];
    for pass in PASSES.iter().filter(|pass| !options.disabled_passes.iter().any(|name| pass.name == name)) {
        let report = pass.run(&mut graph, precision)?;
        stages.push(Stage { pass: Some(pass.name), report, graph: graph.clone() });
    }
    Ok((graph, stages))
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("weights", &self.files)
            .field("threads", &self.team.threads())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Session>();
};
