//! Every folder under `goldens/sentence-transformers` against what sentence-transformers made of it.
//!
//! Tolerance: 2e-5 absolute, ten times what a two-layer model of this size differs by from one order of summation to another.

use loquat::{Embeddings, Overlong, SentenceEmbeddings, Weights};
use loquat_tests::{Report, SentenceCase, goldens, read_json};
use serde::Deserialize;

const TOLERANCE: f32 = 2e-5;

#[derive(Deserialize)]
struct Cases {
    max_seq_length: usize,
    cases: Vec<SentenceCase>,
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Names of the golden folders, and whether loquat loads them.
fn folders() -> Vec<(String, bool)> {
    let entries = std::fs::read_dir(goldens("sentence-transformers")).expect("the goldens are part of the repository");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), name != "weighted-mean")).collect()
}

fn load(name: &str) -> SentenceEmbeddings {
    let folder = goldens("sentence-transformers").join(name);
    SentenceEmbeddings::builder().model(folder).build().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn cases(name: &str) -> Cases {
    read_json(&goldens("sentence-transformers").join(name).join("cases.json"))
}

#[test]
fn embeddings_equal_the_reference() {
    let mut report = Report::default();
    for (name, _) in folders().into_iter().filter(|(_, loads)| *loads) {
        let cases = cases(&name);
        let path = goldens("sentence-transformers").join(&name).join("cases.safetensors");
        let goldens = Weights::open(path).expect("the goldens are sound");
        let golden = goldens.get("embeddings").expect("they hold embeddings");
        let model = load(&name);
        let texts: Vec<&str> = cases.cases.iter().map(|case| case.text.as_str()).collect();
        let embeddings = model.encode(&texts).expect("golden texts can be encoded");
        report.case(format_args!("{name}, max_length"), model.max_length() == cases.max_seq_length, model.max_length());
        report.close(&name, embeddings.as_flat(), &floats(golden.bytes), TOLERANCE);
        let shape = [embeddings.len(), embeddings.dim()];
        report.case(format_args!("{name}, shape"), shape[..] == *golden.shape, format_args!("{shape:?}"));
    }
    report.finish(3 * 12);
}

#[test]
fn ids_and_truncation_equal_the_reference() {
    let mut report = Report::default();
    for (name, _) in folders().into_iter().filter(|(_, loads)| *loads) {
        let model = load(&name);
        let cases = cases(&name).cases;
        // `no-max-seq-length` lowers letters before its tokenizer sees them, which `encode` does and the tokenizer alone doesn't.
        let lowers = name == "no-max-seq-length";
        for (index, case) in cases.iter().enumerate() {
            let mut ids = Vec::new();
            let text = if lowers { case.text.to_lowercase() } else { case.text.clone() };
            let encoded = model.tokenizer().encode_ids(&text, Some(model.max_length()), &mut ids).expect("it is text");
            report.case(format_args!("{name} {index}, ids"), ids == case.ids, format_args!("{ids:?}"));
            report.case(format_args!("{name} {index}, cut"), encoded.truncated == case.truncated, encoded.tokens);
        }
        let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
        let embeddings = model.encode(&texts).expect("golden texts can be encoded");
        let cut: Vec<usize> = embeddings.truncated().iter().map(|truncated| truncated.index).collect();
        let expected: Vec<usize> = (0..cases.len()).filter(|&index| cases[index].truncated).collect();
        report.case(format_args!("{name}, report of truncation"), cut == expected, format_args!("{cut:?}"));
    }
    report.finish(100);
}

#[test]
fn a_pooling_that_is_not_there_is_named_with_those_that_are() {
    for (name, _) in folders().into_iter().filter(|(_, loads)| !*loads) {
        let folder = goldens("sentence-transformers").join(&name);
        let message = SentenceEmbeddings::builder().model(folder).build().expect_err(&name).to_string();
        assert!(message.contains("weightedmean") && message.contains("supported are cls, max, mean"), "{message}");
    }
}

#[test]
fn what_is_too_long_can_be_refused() {
    let folder = goldens("sentence-transformers/mean");
    let model = SentenceEmbeddings::builder().model(folder).overlong(Overlong::Refuse).build().expect("it loads");
    let long = "the cat ".repeat(20);
    let error = model.encode(&["short", &long, &long]).expect_err("the second text has more than 16 tokens");
    assert_eq!(error.to_string(), "text 1: 42 tokens, the model takes 16: shorten or split it, or allow truncation");
}

#[test]
fn normalisation_can_be_asked_for_and_refused() {
    let norms = |embeddings: &Embeddings| -> Vec<f32> {
        embeddings.iter().map(|row| row.iter().map(|value| value * value).sum::<f32>().sqrt()).collect()
    };
    let encode = |name: &str, normalize| {
        let folder = goldens("sentence-transformers").join(name);
        let model = SentenceEmbeddings::builder().model(folder).normalize(normalize).build().expect("it loads");
        model.encode(&["the cat", "a"]).expect("it is text")
    };
    for name in ["mean", "mean-normalize-0-transformer", "cls-max-mean", "dense-normalize"] {
        assert!(norms(&encode(name, true)).iter().all(|norm| (norm - 1.0).abs() < 1e-5), "{name}");
        assert!(norms(&encode(name, false)).iter().all(|norm| (norm - 1.0).abs() > 1e-3), "{name}");
    }
}

#[test]
fn a_folder_without_modules_gives_the_plain_mean() {
    // The model in the folder of the Transformer module is a plain folder of its own.
    let plain = goldens("sentence-transformers/mean-normalize-0-transformer/0_Transformer");
    let plain = SentenceEmbeddings::builder().model(plain).build().expect("it loads");
    let folder = goldens("sentence-transformers/mean-normalize-0-transformer");
    let unnormalised = SentenceEmbeddings::builder().model(folder).normalize(false).build().expect("it loads");
    let texts = ["the cat sat", ""];
    assert_eq!(plain.encode(&texts).expect("text"), unnormalised.encode(&texts).expect("text"));
}
