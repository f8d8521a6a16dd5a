//! A fixed set of threads for fork-join work that lasts microseconds.
//!
//! Between two jobs of one run workers spin, since waking a parked thread costs as much as a whole small GEMM; a worker that
//! has had nothing to do for a while parks. The caller is worker 0 and takes part.

use std::{
    any::Any,
    cell::UnsafeCell,
    io,
    marker::PhantomData,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

/// How often a waiting thread looks before it parks. One look is a `pause`, some 40 to 140 cycles, so this is of the order of
/// 0.1 ms: longer than the gaps between the steps of one run, shorter than anybody would notice as load.
const SPINS: u32 = 2000;

/// A job, its lifetime forgotten.
type Job = dyn Fn(usize) + Sync + 'static;

/// A counter on cache lines of its own (two, since they are fetched in pairs), so that workers don't slow each other down.
#[repr(align(128))]
struct Counter(AtomicUsize);

/// What the threads of a team share.
struct Shared {
    /// Counts the jobs. A change tells workers that there is something to do.
    epoch: AtomicU32,
    /// The job of the current epoch. Written only while no worker is between "saw the epoch" and "counted itself done".
    job: UnsafeCell<Option<*const Job>>,
    /// Workers that haven't finished the current job.
    remaining: AtomicUsize,
    /// One per worker, the caller's first: the next item of the worker's own share, while `Exec::for_each` runs.
    next: Box<[Counter]>,
    /// One per started worker: whether it is (about to be) parked.
    parked: Box<[AtomicBool]>,
    stop: AtomicBool,
    spins: u32,
    /// The first panic of a worker in this job, to be raised again in the caller.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    done: Condvar,
    done_lock: Mutex<()>,
}

// SAFETY: `job` is the only field that isn't `Sync` by itself. The caller writes it before it publishes a new epoch, and workers
// read it after they have seen that epoch and before they count themselves done, so writes and reads never overlap.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is only followed while the caller that lent it waits in `Lease::run`.
unsafe impl Send for Shared {}

/// A fixed set of threads that run one job at a time, together.
///
/// ```
/// use std::{num::NonZeroUsize, sync::atomic::{AtomicUsize, Ordering}};
/// use loquat_kernels::Team;
///
/// let team = Team::new(NonZeroUsize::new(2).unwrap())?;
/// let sum = AtomicUsize::new(0);
/// team.lease_blocking().run(&|worker| {
///     sum.fetch_add(worker + 1, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 3);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    in_use: Mutex<()>,
}

impl Team {
    /// A team of `threads`, the calling thread among them: `threads - 1` are started.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn new(threads: NonZeroUsize) -> io::Result<Team> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shared = Arc::new(Shared {
            epoch: AtomicU32::new(0),
            job: UnsafeCell::new(None),
            remaining: AtomicUsize::new(0),
            next: (0..threads.get()).map(|_| Counter(AtomicUsize::new(0))).collect(),
            parked: (1..threads.get()).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            // With more threads than cores a spinning thread takes the core of one that has work.
            spins: if threads.get() > cores { 0 } else { SPINS },
            panic: Mutex::new(None),
            done: Condvar::new(),
            done_lock: Mutex::new(()),
        });
        // Built first and filled thread by thread, so that its drop stops those that did start when one doesn't.
        let mut team = Team { shared, workers: Vec::with_capacity(threads.get() - 1), in_use: Mutex::new(()) };
        for worker in 1..threads.get() {
            let shared = Arc::clone(&team.shared);
            let handle =
                std::thread::Builder::new().name(format!("loquat-{worker}")).spawn(move || work(&shared, worker))?;
            team.workers.push(handle);
        }
        Ok(team)
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// The team for the caller alone, or `None` while another thread has it.
    pub fn lease(&self) -> Option<Lease<'_>> {
        match self.in_use.try_lock() {
            Ok(guard) => Some(Lease::new(self, guard)),
            // A job that panicked left the team itself in order.
            Err(TryLockError::Poisoned(error)) => Some(Lease::new(self, error.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The team for the caller alone, as soon as it is free.
    pub fn lease_blocking(&self) -> Lease<'_> {
        Lease::new(self, self.in_use.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs, so there is nothing to hear from it.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team").field("threads", &self.threads()).finish()
    }
}

/// A [`Team`] taken by one caller.
///
/// Not `Sync`, so that a job can't start another job on the team that is running it.
pub struct Lease<'a> {
    team: &'a Team,
    _guard: MutexGuard<'a, ()>,
    _not_sync: PhantomData<*const ()>,
}

impl<'a> Lease<'a> {
    fn new(team: &'a Team, guard: MutexGuard<'a, ()>) -> Lease<'a> {
        Lease { team, _guard: guard, _not_sync: PhantomData }
    }

    /// Number of workers that a job gets.
    pub fn workers(&self) -> usize {
        self.team.threads()
    }

    /// Runs `job(worker)` once on every worker `0 .. workers()` and returns when all are done. Allocates nothing.
    ///
    /// # Panics
    /// Raises a panic of the job again, after every worker has finished.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.team.shared;
        let helpers = self.team.workers.len();
        if helpers == 0 {
            return job(0);
        }
        // SAFETY: no worker looks at `job` now: the last one has counted itself done before the previous `run` returned. The
        // transmute forgets the lifetime of the borrow, which outlives its last use, since this function returns (or unwinds)
        // only after every worker has counted itself done.
        unsafe {
            *shared.job.get() =
                Some(std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const Job>(std::ptr::from_ref(job)));
        }
        shared.remaining.store(helpers, Ordering::Relaxed);
        // Sequentially consistent with the worker's "parked, then look at the epoch": one of the two sees the other.
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (parked, worker) in shared.parked.iter().zip(&self.team.workers) {
            if parked.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        wait_until_done(shared);
        let theirs = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        if let Some(panic) = theirs {
            resume_unwind(panic);
        }
    }
}

fn wait_until_done(shared: &Shared) {
    for _ in 0..shared.spins {
        if shared.remaining.load(Ordering::Acquire) == 0 {
            return;
        }
        std::hint::spin_loop();
    }
    let mut guard = shared.done_lock.lock().unwrap_or_else(PoisonError::into_inner);
    while shared.remaining.load(Ordering::Acquire) != 0 {
        guard = shared.done.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
}

/// The life of worker `worker`.
fn work(shared: &Shared, worker: usize) {
    let mut seen = 0;
    loop {
        seen = next_epoch(shared, worker, seen);
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: the epoch changed and this worker hasn't counted itself done, so the caller waits in `Lease::run`: the job is
        // written, and what it borrows is alive.
        let result = unsafe { (*shared.job.get()).map(|job| catch_unwind(AssertUnwindSafe(|| (*job)(worker)))) };
        if let Some(Err(panic)) = result {
            shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        if shared.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Taking the lock orders this after the caller's "not done yet, so wait".
            drop(shared.done_lock.lock().unwrap_or_else(PoisonError::into_inner));
            shared.done.notify_one();
        }
    }
}

/// Waits until the epoch differs from `seen`, and returns it.
fn next_epoch(shared: &Shared, worker: usize, seen: u32) -> u32 {
    for _ in 0..shared.spins {
        let epoch = shared.epoch.load(Ordering::Acquire);
        if epoch != seen {
            return epoch;
        }
        std::hint::spin_loop();
    }
    let parked = &shared.parked[worker - 1];
    parked.store(true, Ordering::SeqCst);
    loop {
        let epoch = shared.epoch.load(Ordering::SeqCst);
        if epoch != seen {
            parked.store(false, Ordering::Relaxed);
            return epoch;
        }
        std::thread::park();
    }
}

/// Whether a kernel may use several threads.
///
/// The result is the same, bit for bit, either way.
#[derive(Clone, Copy)]
pub enum Exec<'a> {
    /// On the calling thread.
    Serial,
    /// On all threads of a team.
    Team(&'a Lease<'a>),
}

impl Exec<'_> {
    /// Number of workers.
    pub fn workers(&self) -> usize {
        match self {
            Exec::Serial => 1,
            Exec::Team(lease) => lease.workers(),
        }
    }

    /// Calls `body(worker, item)` for each item of `0 .. items`.
    ///
    /// Each worker starts with an equal, contiguous share, in ascending order, so that neighbouring items find each other's data
    /// in cache. One that is done takes what is left of the others' shares, so a worker that is held up (by another process,
    /// say) does less.
    pub fn for_each(&self, items: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        match self {
            Exec::Team(lease) if items > 1 && lease.workers() > 1 => {
                let next = &lease.team.shared.next;
                let share = |worker: usize| items * worker / next.len();
                for (worker, counter) in next.iter().enumerate() {
                    counter.0.store(share(worker), Ordering::Relaxed);
                }
                lease.run(&|worker| {
                    for offset in 0..next.len() {
                        let owner = (worker + offset) % next.len();
                        loop {
                            let item = next[owner].0.fetch_add(1, Ordering::Relaxed);
                            if item >= share(owner + 1) {
                                break;
                            }
                            body(worker, item);
                        }
                    }
                });
            }
            _ => (0..items).for_each(|item| body(0, item)),
        }
    }

    /// Calls `body(worker, start, len)` for consecutive blocks of `0 .. rows`: a few blocks per worker, none shorter than
    /// `least` rows but the last.
    pub fn for_each_block(&self, rows: usize, least: usize, body: &(dyn Fn(usize, usize, usize) + Sync)) {
        /// Blocks per worker: enough to even out a worker that is held up, few enough to keep the counting cheap.
        const SHARE: usize = 4;
        let workers = self.workers();
        let block = if workers == 1 { rows.max(1) } else { rows.div_ceil(workers * SHARE).max(least).max(1) };
        self.for_each(rows.div_ceil(block), &|worker, item| {
            let start = item * block;
            body(worker, start, block.min(rows - start));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(threads: usize) -> Team {
        Team::new(NonZeroUsize::new(threads).unwrap()).unwrap()
    }

    #[test]
    fn every_item_is_visited_once() {
        for threads in [1, 2, 3, 8] {
            let team = team(threads);
            let lease = team.lease_blocking();
            for items in [0, 1, 2, 7, 100] {
                let visits: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..50 {
                    Exec::Team(&lease).for_each(items, &|worker, item| {
                        assert!(worker < threads);
                        visits[item].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(
                    visits.iter().all(|count| count.load(Ordering::Relaxed) == 50),
                    "{threads} threads, {items} items"
                );
            }
        }
    }

    #[test]
    fn blocks_cover_the_rows_without_overlap() {
        let team = team(3);
        let lease = team.lease_blocking();
        for rows in [0, 1, 5, 16, 17, 1000] {
            let visits: Vec<AtomicUsize> = (0..rows).map(|_| AtomicUsize::new(0)).collect();
            Exec::Team(&lease).for_each_block(rows, 4, &|_, start, len| {
                (start..start + len).for_each(|row| {
                    visits[row].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(visits.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{rows} rows");
        }
    }

    #[test]
    fn parked_workers_wake_up() {
        let team = team(3);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let count = AtomicUsize::new(0);
            team.lease_blocking().run(&|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 3);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_team_usable() {
        let team = team(3);
        for culprit in 0..3 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                team.lease_blocking().run(&|worker| assert!(worker != culprit, "worker {worker} fails"));
            }));
            assert!(caught.is_err());
            let count = AtomicUsize::new(0);
            team.lease().expect("free again").run(&|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 3);
        }
    }

    #[test]
    fn a_team_in_use_is_not_lent_twice() {
        let team = team(2);
        let lease = team.lease();
        assert!(lease.is_some());
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(team.lease().is_none()));
        });
        drop(lease);
        assert!(team.lease().is_some());
    }
}
