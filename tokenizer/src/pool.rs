//! Working memory that outlives a call, without a lock.

use crossbeam_queue::ArrayQueue;

/// Working memories to take and give back from any thread. No more are kept than there are processors.
pub(crate) struct Pool<T> {
    idle: ArrayQueue<T>,
}

impl<T> Pool<T> {
    /// An empty pool.
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Pool { idle: ArrayQueue::new(threads) }
    }

    /// Lends `work` a working memory, one that was used before where one is idle. Where `work` panics, it is lost.
    pub(crate) fn with<R>(&self, new: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let mut memory = self.idle.pop().unwrap_or_else(new);
        let result = work(&mut memory);
        // One too many is dropped.
        let _ = self.idle.push(memory);
        result
    }
}

impl<T> std::fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_is_used_again() {
        let pool = Pool::new();
        pool.with(Vec::new, |memory: &mut Vec<u8>| memory.push(1));
        let length = pool.with(Vec::new, |memory| memory.len());
        assert_eq!(length, 1);
    }

    #[test]
    fn nested_users_get_memories_of_their_own() {
        let pool = Pool::new();
        pool.with(
            || 0,
            |outer| {
                *outer = 1;
                pool.with(|| 0, |inner| assert_eq!(*inner, 0));
            },
        );
    }
}
