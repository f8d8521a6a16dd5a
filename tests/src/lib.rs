//! What the tests of this package share: where the goldens lie, how they are read, and how differences are reported.
//!
//! The tests themselves are in `tests/`; `goldens/README.md` says what each golden file holds.

mod goldens;
mod report;

pub use goldens::{SentenceCase, goldens, original_minilm, read_json, repository, sentences};
pub use report::Report;
