//! Every folder under `goldens/sentence-transformers` against what sentence-transformers made of it.
//!
//! Tolerance: 2e-5 absolute, ten times what a two-layer model of this size differs by from one order of summation to another.

use loquat::{EmbeddingRanges, Embeddings, Overlong, SentenceEmbeddings, Weights};
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

/// Names of the golden folders.
fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(goldens("sentence-transformers")).expect("the goldens are part of the repository");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
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
    for name in folders() {
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
    report.finish(3 * 14);
}

#[test]
fn ids_and_truncation_equal_the_reference() {
    let mut report = Report::default();
    for name in folders() {
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
fn other_forms_of_embeddings_equal_the_reference() {
    const NAME: &str = "layer-norm-prompts";
    let folder = goldens("sentence-transformers").join(NAME);
    let outputs = Weights::open(folder.join("outputs.safetensors")).expect("the goldens are sound");
    let golden = |name: &str| outputs.get(name).unwrap_or_else(|| panic!("no golden {name}")).bytes;
    let cases = cases(NAME).cases;
    let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    let mut report = Report::default();
    let model = load(NAME);
    let query = model.encode_query(&texts).expect("golden texts can be encoded");
    report.close("query", query.as_flat(), &floats(golden("query")), TOLERANCE);
    let document = model.encode_document(&texts).expect("golden texts can be encoded");
    report.close("document", document.as_flat(), &floats(golden("document")), TOLERANCE);
    let named = SentenceEmbeddings::builder().model(folder.as_path()).prompt_name("query").build().expect("it loads");
    report.case("query by name", named.encode(&texts).expect("text") == query, "other values");
    for (name, normalize) in [("first7", None), ("first7_normalized", Some(true))] {
        let mut builder = SentenceEmbeddings::builder().model(folder.as_path()).truncate_dim(7);
        if let Some(normalize) = normalize {
            builder = builder.normalize(normalize);
        }
        let found = builder.build().expect("it loads").encode(&texts).expect("text");
        report.case(format_args!("{name}, values"), found.dim() == 7, found.dim());
        report.close(name, found.as_flat(), &floats(golden(name)), TOLERANCE);
    }
    let plain = model.encode(&texts).expect("text");
    let ranges = floats(golden("ranges"));
    let (least, greatest) = ranges.split_at(plain.dim());
    let ranges = EmbeddingRanges::new(least, greatest).expect("they are sound");
    // A value near the border of two bytes may fall to either side of it.
    let near = |(i, value): (usize, &f32)| {
        let column = i % plain.dim();
        let steps = (value - least[column]) / ((greatest[column] - least[column]) / 255.0);
        (steps - steps.round()).abs() < 2e-2
    };
    let near: Vec<bool> = plain.as_flat().iter().enumerate().map(near).collect();
    let uint8 = plain.to_uint8(&ranges).expect("they fit");
    let same = |found: &[u8], expected: &[u8]| {
        found.len() == expected.len()
            && (found.iter().zip(expected).zip(&near)).all(|((a, b), near)| a == b || *near && a.abs_diff(*b) == 1)
    };
    let unsigned = |values: Vec<i8>| values.into_iter().map(|value| value as u8).collect::<Vec<u8>>();
    report.case("uint8", same(&uint8, golden("uint8")), format_args!("{uint8:?}"));
    let int8 = unsigned(plain.to_int8(&ranges).expect("they fit"));
    report.case("int8", same(&int8, golden("int8")), format_args!("{int8:?}"));
    report.case("ubinary", plain.to_ubinary() == golden("ubinary"), format_args!("{:?}", plain.to_ubinary()));
    report.case("binary", unsigned(plain.to_binary()) == golden("binary"), format_args!("{:?}", plain.to_binary()));
    report.finish(11);
}

#[test]
fn fewer_values_than_one_or_more_than_there_are_are_refused() {
    for dim in [0, 21] {
        let folder = goldens("sentence-transformers/mean");
        let error = SentenceEmbeddings::builder().model(folder).truncate_dim(dim).build().expect_err("it has 20");
        assert!(error.to_string().starts_with("truncate_dim: "), "{error}");
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
