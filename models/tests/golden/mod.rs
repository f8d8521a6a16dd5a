//! Golden folders: batches to run, and what the reference implementation gave for them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use loquat_models::{Task, load};
use loquat_runtime::{Batch, Options, Session, Weights};
use serde_json::Value;

/// Absolute, for values of order 1. The error of `f32` arithmetic itself is about 1e-6 a layer there, so a wrong formula is far outside
/// and another order of summation far inside.
pub const TOLERANCE: f32 = 1e-4;

/// The folder of one kind of goldens.
pub fn goldens(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens").join(kind)
}

/// The folders in a folder, by name.
pub fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).expect("the goldens are part of the repository");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

pub fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The named batches of a folder's `cases.json`.
pub fn batches(folder: &Path) -> Vec<(String, Batch)> {
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

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A session for a task, in `f32`.
pub fn session(folder: &Path, task: Task, options: &Options) -> Session {
    let loaded = load(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let graph = loaded.model.graph(task, &loaded.weights).unwrap_or_else(|error| panic!("{error}"));
    Session::new(graph, loaded.weights, options).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// The errors of one model, a line for each batch and output.
#[derive(Default)]
pub struct Table {
    pub lines: String,
    pub failures: usize,
}

impl Table {
    /// Runs the batches and compares every output with what `folder` holds for it.
    pub fn compare(&mut self, label: &str, folder: &Path, task: Task, batches: &[(String, Batch)]) {
        let expected = Weights::open(folder.join("cases.safetensors")).unwrap();
        let session = session(folder, task, &Options::default());
        let mut compared = 0;
        for (case, batch) in batches {
            let outputs = session.run(batch).unwrap();
            for (output, tensor) in outputs.iter() {
                let reference = expected.get(&format!("{case}.{output}")).expect("a golden for every output");
                assert_eq!(tensor.shape[..], *reference.shape, "{label} {case} {output}");
                let errors = tensor.data.iter().zip(floats(reference.bytes)).map(|(a, b)| (a - b).abs());
                let worst =
                    errors.fold(0.0, |worst: f32, error| if error.is_nan() { f32::NAN } else { worst.max(error) });
                let fits = worst <= TOLERANCE;
                self.failures += usize::from(!fits);
                compared += 1;
                let mark = if fits { "" } else { "  FAILED" };
                writeln!(self.lines, "{label:<40} {case:<10} {output:<18} max abs error {worst:.2e}{mark}").unwrap();
            }
        }
        let stored = expected.names().filter(|name| !name.ends_with("cu_seqlens")).count();
        assert_eq!(compared, stored, "{label}: some goldens were not compared");
    }

    pub fn assert_all_fit(self) {
        println!("{}", self.lines);
        assert_eq!(self.failures, 0, "beyond {TOLERANCE:e}:\n{}", self.lines);
    }
}
