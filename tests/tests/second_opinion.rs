//! RTen on the ONNX exports of the golden models, against loquat on the folders: two implementations that share no code.
//!
//! Tolerance: 1e-4 absolute, for hidden states of order 1 after a layer norm, and for logits of any head.

use std::path::{Path, PathBuf};

use loquat::{Batch, Encoder, Task};
use loquat_tests::{Report, goldens, read_json};
use rten::{Model, Value};
use rten_tensor::{AsView, Tensor};
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Cases {
    batches: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    sequences: Vec<Sequence>,
}

#[derive(Deserialize)]
struct Sequence {
    ids: Vec<u32>,
    type_ids: Option<Vec<u32>>,
}

/// A golden model with an ONNX export.
struct Exported {
    name: String,
    task: Task,
    folder: PathBuf,
    cases: PathBuf,
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the goldens are part of the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths
}

/// The BERTs without heads, all of which have an export, and those of `goldens/encoders` that have one.
fn models() -> Vec<Exported> {
    let mut models = Vec::new();
    for folder in list(&goldens("bert")) {
        let (name, cases) = (name(&folder), folder.join("cases.json"));
        models.push(Exported { name, task: Task::FeatureExtraction, folder, cases });
    }
    for architecture in list(&goldens("encoders")) {
        for folder in list(&architecture).into_iter().filter(|folder| folder.join("model.onnx").is_file()) {
            let task = Task::ALL.into_iter().find(|task| task.name() == name(&folder));
            let task = task.expect("folders are named for tasks");
            let cases = architecture.join("cases.json");
            models.push(Exported { name: format!("{} {task}", name(&architecture)), task, folder, cases });
        }
    }
    models
}

fn name(path: &Path) -> String {
    path.file_name().expect("a folder").to_string_lossy().into_owned()
}

/// One sequence through RTen: the named output's values.
fn run_rten(model: &Model, sequence: &Sequence, output: &str) -> Vec<f32> {
    let len = sequence.ids.len();
    let types = sequence.type_ids.clone().unwrap_or_else(|| vec![0; len]);
    let row = |values: Vec<i32>| Tensor::from_data(&[1, len], values);
    let signed = |values: &[u32]| values.iter().map(|&value| i32::try_from(value).expect("small")).collect();
    let inputs = [
        ("input_ids", row(signed(&sequence.ids))),
        ("attention_mask", row(vec![1; len])),
        ("token_type_ids", row(signed(&types))),
    ];
    // An export leaves out inputs that its graph doesn't read.
    let inputs: Vec<_> =
        inputs.into_iter().filter_map(|(name, tensor)| Some((model.node_id(name).ok()?, tensor.into()))).collect();
    let output = model.node_id(output).expect("the export has this output");
    let [result] = model.run_n(inputs, [output], None).expect("RTen runs the export");
    let Value::FloatTensor(tensor) = result else { panic!("an output that isn't f32") };
    tensor.to_vec()
}

fn compare(model: &Exported, report: &mut Report) {
    let Exported { name, task, folder, cases } = model;
    let cases: Cases = read_json(cases);
    let rten = Model::load_file(folder.join("model.onnx")).expect("RTen reads the export");
    let encoder = Encoder::builder().model(folder.as_path()).task(*task).build().expect("loquat reads the folder");
    for case in &cases.batches {
        let mut batch = Batch::new();
        for sequence in &case.sequences {
            batch.push(&sequence.ids, sequence.type_ids.as_deref()).expect("golden sequences are sound");
        }
        let outputs = encoder.run(&batch).expect("golden batches can be run");
        for (output, tensor) in outputs.iter() {
            let expected: Vec<f32> =
                case.sequences.iter().flat_map(|sequence| run_rten(&rten, sequence, output)).collect();
            report.close(format_args!("{name} {} {output}", case.name), &tensor.data, &expected, TOLERANCE);
        }
    }
}

#[test]
fn rten_and_loquat_agree_on_every_golden_model() {
    let mut report = Report::default();
    let models = models();
    for architecture in ["distilbert", "roberta", "mpnet", "modernbert", "deberta-v2"] {
        assert!(models.iter().any(|model| model.name.starts_with(architecture)), "no export of a {architecture}");
    }
    for model in &models {
        compare(model, &mut report);
    }
    report.finish(70);
}
