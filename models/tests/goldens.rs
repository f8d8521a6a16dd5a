//! Every model folder under `tests/goldens/bert` against the hidden states that the reference implementation gave for it.
//!
//! Tolerance: 1e-4 absolute, for hidden states of order 1 after a layer norm. The error of `f32` arithmetic itself is about 1e-6 a layer
//! there, so a wrong formula is far outside and another order of summation far inside.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use loquat_models::load;
use loquat_runtime::{Batch, Options, Session, Weights};
use serde_json::Value;

const TOLERANCE: f32 = 1e-4;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/bert")
}

fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(goldens()).expect("the goldens are part of the repository");
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("model.safetensors").is_file()).collect();
    folders.sort();
    folders
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The named batches of a folder's `cases.json`.
fn batches(folder: &Path) -> Vec<(String, Batch)> {
    let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    let mut batches = Vec::new();
    for case in cases["batches"].as_array().unwrap() {
        let mut batch = Batch::new();
        for sequence in case["sequences"].as_array().unwrap() {
            let type_ids = sequence.get("type_ids").map(ids);
            batch.push(&ids(&sequence["ids"]), type_ids.as_deref()).unwrap();
        }
        batches.push((case["name"].as_str().unwrap().to_owned(), batch));
    }
    batches
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn hidden_states_equal_the_reference() {
    let folders = folders();
    assert!(folders.len() >= 10, "only {} golden models found", folders.len());
    let mut table = String::new();
    let mut failures = 0;
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        let expected = Weights::open(folder.join("cases.safetensors")).unwrap();
        let loaded = load(folder).unwrap();
        let graph = loaded.model.graph(&loaded.weights).unwrap();
        let session = Session::new(graph, loaded.weights, &Options::default()).unwrap();
        let mut compared = 0;
        for (case, batch) in batches(folder) {
            let outputs = session.run(&batch).unwrap();
            for (output, tensor) in outputs.iter() {
                let reference = expected.get(&format!("{case}.{output}")).expect("a golden for every output");
                assert_eq!(tensor.shape[..], *reference.shape, "{name} {case} {output}");
                let errors = tensor.data.iter().zip(floats(reference.bytes)).map(|(a, b)| (a - b).abs());
                let worst =
                    errors.fold(0.0, |worst: f32, error| if error.is_nan() { f32::NAN } else { worst.max(error) });
                let fits = worst <= TOLERANCE;
                failures += usize::from(!fits);
                compared += 1;
                let mark = if fits { "" } else { "  FAILED" };
                writeln!(table, "{name:<28} {case:<10} {output:<18} max abs error {worst:.2e}{mark}").unwrap();
            }
        }
        let stored = expected.names().filter(|name| !name.ends_with("cu_seqlens")).count();
        assert_eq!(compared, stored, "{name}: some goldens were not compared");
    }
    println!("{table}");
    assert_eq!(failures, 0, "beyond {TOLERANCE:e}:\n{table}");
}

#[test]
fn only_buffers_and_pretraining_heads_go_unused() {
    for folder in folders() {
        let loaded = load(&folder).unwrap();
        let graph = loaded.model.graph(&loaded.weights).unwrap();
        let session = Session::new(graph, loaded.weights, &Options::default()).unwrap();
        let expected = |name: &&String| name.ends_with("position_ids") || name.starts_with("cls.");
        let unused: Vec<&String> = session.program().unused_tensors().iter().filter(|name| !expected(name)).collect();
        assert!(unused.is_empty(), "{}: {unused:?}", folder.display());
    }
}
