//! Every model folder under `tests/goldens/bert` against the hidden states that the reference implementation gave for it.

mod golden;

use std::path::PathBuf;

use golden::{Table, batches, goldens, name, session};
use loquat_models::Task;
use loquat_runtime::Options;

fn folders() -> Vec<PathBuf> {
    golden::folders(&goldens("bert"))
}

#[test]
fn hidden_states_equal_the_reference() {
    let folders = folders();
    assert!(folders.len() >= 10, "only {} golden models found", folders.len());
    let mut table = Table::default();
    for folder in &folders {
        table.compare(&name(folder), folder, Task::FeatureExtraction, &batches(folder));
    }
    table.assert_all_fit();
}

#[test]
fn only_buffers_and_pretraining_heads_go_unused() {
    for folder in folders() {
        let session = session(&folder, Task::FeatureExtraction, &Options::default());
        let expected = |name: &&String| name.ends_with("position_ids") || name.starts_with("cls.");
        let unused: Vec<&String> = session.program().unused_tensors().iter().filter(|name| !expected(name)).collect();
        assert!(unused.is_empty(), "{}: {unused:?}", folder.display());
    }
}
