//! Large tables are made in two halves, at the same time.

use std::num::NonZeroUsize;
use std::thread;

/// What both give; the second on another thread, where there is one for it.
pub(crate) fn both<A, B: Send>(first: impl FnOnce() -> A, mut second: impl FnMut() -> B + Send) -> (A, B) {
    if thread::available_parallelism().map_or(1, NonZeroUsize::get) == 1 {
        return (first(), second());
    }
    let (first, other) = thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, &mut second);
        (first(), other.ok().and_then(|other| other.join().ok()))
    });
    // Where the system gives no thread, this one does all.
    (first, other.unwrap_or_else(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_is_done_once() {
        let (mut left, mut right) = ([0; 100], [0; 100]);
        let count = both(|| left.iter_mut().for_each(|x| *x += 1), || right.iter_mut().map(|x| *x += 2).count()).1;
        assert_eq!((left, right, count), ([1; 100], [2; 100], 100));
    }
}
