//! RTen on the ONNX exports of the golden models, against loquat on the folders: two implementations that share no code.
//!
//! Tolerance: 1e-4 absolute, for hidden states of order 1 after a layer norm.

use std::path::{Path, PathBuf};

use loquat::{Batch, Encoder};
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

fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(goldens("bert")).expect("the goldens are part of the repository");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    folders.sort();
    folders
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

fn compare(folder: &Path, report: &mut Report) {
    let name = folder.file_name().expect("a folder").to_string_lossy();
    let cases: Cases = read_json(&folder.join("cases.json"));
    let rten = Model::load_file(folder.join("model.onnx")).expect("RTen reads the export");
    let encoder = Encoder::builder().model(folder).build().expect("loquat reads the folder");
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
    let folders = folders();
    for folder in &folders {
        compare(folder, &mut report);
    }
    report.finish(5 * folders.len());
}
