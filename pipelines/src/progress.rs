//! Watching a long run, and stopping it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// How far an `encode`, or a part of another long work, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Texts whose embeddings are done, or other things that are.
    pub done: usize,
    /// All of them.
    pub total: usize,
}

/// A switch that stops a run from another thread; clones are the same switch.
///
/// ```
/// let token = loquat::CancelToken::new();
/// let other = token.clone();
/// std::thread::spawn(move || other.cancel()).join().unwrap();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A switch that is off.
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Asks the runs that hold this switch to stop. They do so before their next batch.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether `cancel` was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a caller may want to do while texts are encoded.
#[derive(Default)]
pub struct Control<'a> {
    /// Called on the caller's thread after each batch.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
    /// Looked at before each batch.
    pub cancel: Option<&'a CancelToken>,
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("progress", &self.progress.is_some()).field("cancel", &self.cancel).finish()
    }
}
