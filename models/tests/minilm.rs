//! The embedded default model on real sentences, against PyTorch with the same dequantised weights. With `LOQUAT_MINILM_DIR` set to the folder
//! of the original all-MiniLM-L6-v2, that model as well.
//!
//! Tolerances: 2e-5 absolute on unit-norm embeddings, 1e-4 on hidden states, whose values reach about 2.

use std::path::{Path, PathBuf};

use loquat_models::{Encoder, Loaded, Task, load};
use loquat_runtime::{Batch, Options, Pooling, Session, Weights, graph::GraphBuilder};
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn goldens() -> (Value, Weights) {
    let folder = repository().join("tests/goldens/minilm");
    let cases = std::fs::read_to_string(folder.join("cases.json")).unwrap();
    (serde_json::from_str(&cases).unwrap(), Weights::open(folder.join("cases.safetensors")).unwrap())
}

fn ids(case: &Value) -> Vec<u32> {
    case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn batch(cases: &Value) -> Batch {
    let sequences: Vec<Vec<u32>> = cases.as_array().unwrap().iter().map(ids).collect();
    Batch::from_ids(&sequences).unwrap()
}

fn max_error(found: &[f32], goldens: &Weights, name: &str) -> f32 {
    let expected = goldens.get(name).expect("a golden of that name");
    let expected: Vec<f32> = expected.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, |worst: f32, error| if error.is_nan() { f32::NAN } else { worst.max(error) })
}

/// Hidden states, the pooler's output, and mean-pooled normalised embeddings in one graph.
fn session(loaded: Loaded) -> Session {
    let mut builder = GraphBuilder::new("minilm");
    let Encoder { last_hidden_state } = loaded.model.encoder(&mut builder).unwrap();
    let mean = builder.pool(last_hidden_state, Pooling::Mean).unwrap();
    let embedding = builder.l2_normalize(mean).unwrap();
    builder.output("last_hidden_state", last_hidden_state).output("embedding", embedding);
    Session::new(builder.finish().unwrap(), loaded.weights, &Options::default()).unwrap()
}

fn compare(session: &Session, kind: &str, hidden: &str) {
    let (cases, goldens) = goldens();
    for group in ["sentences", "edges"] {
        let outputs = session.run(&batch(&cases[group])).unwrap();
        let error = max_error(&outputs.get("embedding").unwrap().data, &goldens, &format!("{group}.{kind}"));
        println!("{group}.{kind}: max abs error {error:.2e}");
        assert!(error <= 2e-5, "{group}.{kind}: {error:e}");
    }
    for index in cases["hidden"].as_array().unwrap() {
        let index = index.as_u64().unwrap() as usize;
        let outputs = session.run(&Batch::from_ids(&[ids(&cases["sentences"][index])]).unwrap()).unwrap();
        let name = format!("hidden.{index}{hidden}.last_hidden_state");
        let error = max_error(&outputs.get("last_hidden_state").unwrap().data, &goldens, &name);
        println!("{name}: max abs error {error:.2e}");
        assert!(error <= 1e-4, "{name}: {error:e}");
    }
}

#[test]
fn the_default_model_embeds_real_sentences_as_the_reference_does() {
    let loaded = load(repository().join("assets/all-MiniLM-L6-v2-int8")).unwrap();
    compare(&session(loaded), "int8", ".int8");
}

#[test]
fn the_original_model_does_too() {
    let Some(folder) = std::env::var_os("LOQUAT_MINILM_DIR") else {
        println!("skipped: LOQUAT_MINILM_DIR names no folder with the original model");
        return;
    };
    compare(&session(load(&folder).unwrap()), "f32", "");
    let loaded = load(&folder).unwrap();
    let graph = loaded.model.graph(Task::FeatureExtraction, &loaded.weights).unwrap();
    let options = Options { outputs: Some(vec!["pooler_output".into()]), ..Options::default() };
    let session = Session::new(graph, loaded.weights, &options).unwrap();
    let (cases, goldens) = goldens();
    for index in cases["hidden"].as_array().unwrap() {
        let index = index.as_u64().unwrap() as usize;
        let outputs = session.run(&Batch::from_ids(&[ids(&cases["sentences"][index])]).unwrap()).unwrap();
        let name = format!("hidden.{index}.pooler_output");
        let error = max_error(&outputs.get("pooler_output").unwrap().data, &goldens, &name);
        println!("{name}: max abs error {error:.2e}");
        assert!(error <= 2e-5, "{name}: {error:e}");
    }
}
