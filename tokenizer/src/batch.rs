//! The same work on many inputs, on several threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::TokenizerError;

/// Inputs that a thread takes at a time where nothing speaks for another number: few enough that long texts spread, many enough
/// that the counter is quiet.
pub(crate) const CHUNK: usize = 16;

/// Applies `work` to every input, `size` of them at a time, results in the order of the inputs; the first error in that order
/// wins.
pub(crate) fn in_parallel<'a, T: Sync, R: Send>(
    inputs: &'a [T],
    threads: Option<NonZeroUsize>,
    size: usize,
    work: impl Fn(&'a T) -> Result<R, TokenizerError> + Sync,
) -> Result<Vec<R>, TokenizerError> {
    let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.map_or_else(available, NonZeroUsize::get).min(inputs.len().div_ceil(size));
    if threads <= 1 {
        return inputs.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let Some(inputs) = inputs.chunks(size).nth(chunk) else {
                return done;
            };
            let results: Result<Vec<R>, TokenizerError> = inputs.iter().map(&work).collect();
            done.push((chunk, results));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, worker).ok()).collect();
        let mut done = worker();
        for other in others {
            match other.join() {
                Ok(results) => done.extend(results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|&(chunk, _)| chunk);
    let mut results = Vec::with_capacity(inputs.len());
    for (_, chunk) in done {
        results.extend(chunk?);
    }
    Ok(results)
}
