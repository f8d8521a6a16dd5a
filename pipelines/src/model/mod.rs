//! Models: finding their files, reading them, making them ready to run.

pub(crate) mod files;
pub(crate) mod head;
pub(crate) mod load;
pub(crate) mod modules;
pub(crate) mod resolve;

pub use resolve::ModelSource;
