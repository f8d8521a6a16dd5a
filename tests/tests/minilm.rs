//! all-MiniLM-L6-v2 on real sentences: the embedded int8 weights, and the original f32 weights where they are at hand.
//!
//! Tolerances on unit-norm embeddings: 2e-5 absolute and a cosine of 0.99999 between the same weights here and in PyTorch; a mean cosine of
//! 0.9995 between int8 weights and the original model.

use loquat::{Batch, Embeddings, Encoder, Precision, SentenceEmbeddings, Weights, similarity};
use loquat_tests::{Report, SentenceCase, goldens, original_minilm, read_json};
use serde::Deserialize;

const TOLERANCE: f32 = 2e-5;
const COSINE: f32 = 0.99999;
const MEAN_COSINE_OF_INT8: f64 = 0.9995;

#[derive(Deserialize)]
struct Cases {
    max_seq_length: usize,
    hidden: Vec<usize>,
    sentences: Vec<SentenceCase>,
    edges: Vec<SentenceCase>,
}

struct Golden {
    cases: Cases,
    tensors: Weights,
}

impl Golden {
    fn open() -> Golden {
        let cases = read_json(&goldens("minilm/cases.json"));
        let tensors = Weights::open(goldens("minilm/cases.safetensors")).expect("the goldens are sound");
        Golden { cases, tensors }
    }

    fn values(&self, name: &str) -> Vec<f32> {
        let tensor = self.tensors.get(name).unwrap_or_else(|| panic!("no golden {name}"));
        tensor.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

fn texts(cases: &[SentenceCase]) -> Vec<&str> {
    cases.iter().map(|case| case.text.as_str()).collect()
}

fn embedded() -> SentenceEmbeddings {
    SentenceEmbeddings::builder().precision(Precision::F32).build().expect("the embedded model is sound")
}

fn close_to(report: &mut Report, what: &str, found: &Embeddings, expected: &[f32]) {
    report.close(what, found.as_flat(), expected, TOLERANCE);
    for (index, (found, expected)) in found.iter().zip(expected.chunks_exact(found.dim())).enumerate() {
        let cosine = similarity(found, expected).expect("they are of one size");
        report.case(format_args!("{what} {index}, cosine"), cosine >= COSINE, format_args!("{cosine:.7}"));
    }
}

#[test]
fn the_embedded_model_equals_its_weights_in_pytorch() {
    let golden = Golden::open();
    let model = embedded();
    let mut report = Report::default();
    for (name, cases) in [("sentences", &golden.cases.sentences), ("edges", &golden.cases.edges)] {
        let embeddings = model.encode(&texts(cases)).expect("golden texts can be encoded");
        close_to(&mut report, name, &embeddings, &golden.values(&format!("{name}.int8")));
    }
    report.finish(34);
}

#[test]
fn int8_weights_cost_less_than_half_a_thousandth_of_cosine() {
    let golden = Golden::open();
    let embeddings = embedded().encode(&texts(&golden.cases.sentences)).expect("golden texts can be encoded");
    let original = golden.values("sentences.f32");
    let cosines: Vec<f64> = embeddings
        .iter()
        .zip(original.chunks_exact(embeddings.dim()))
        .map(|(int8, f32)| f64::from(similarity(int8, f32).expect("they are of one size")))
        .collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    println!("mean cosine {mean:.6}, least {:.6}", cosines.iter().copied().fold(1.0, f64::min));
    assert!(mean >= MEAN_COSINE_OF_INT8, "mean cosine {mean} of {cosines:?}");
}

/// The embedded model in each precision, against PyTorch's f32 with the same weights: the largest error, the least cosine, and how often
/// the closest other sentences are the same as in f32.
#[test]
fn every_precision_keeps_its_tolerance_and_the_order_of_retrieval() {
    const NEIGHBOURS: usize = 5;
    let golden = Golden::open();
    let texts = texts(&golden.cases.sentences);
    let expected = golden.values("sentences.int8");
    let closest = |embeddings: &[&[f32]]| -> Vec<Vec<usize>> {
        let rank = |query: usize| {
            let mut others: Vec<(usize, f32)> = (0..embeddings.len())
                .filter(|&other| other != query)
                .map(|other| (other, similarity(embeddings[query], embeddings[other]).expect("they are of one size")))
                .collect();
            others.sort_by(|a, b| b.1.total_cmp(&a.1));
            others.into_iter().take(NEIGHBOURS).map(|(other, _)| other).collect()
        };
        (0..embeddings.len()).map(rank).collect()
    };
    let limits = [
        (Precision::Bf16x3, 1e-5, [0.99999; 2], 0.99),
        (Precision::Bf16, 5e-3, [0.9999; 2], 0.95),
        (Precision::Int8, 3e-2, [0.995, 0.99], 0.9),
        (Precision::Int4, 8e-2, [0.965, 0.945], 0.7),
    ];
    println!("{:<8} {:>10} {:>10} {:>10} {:>8} {:>8}", "", "max error", "mean cos", "least cos", "top 1", "top 5");
    for (precision, tolerance, [mean_cosine, least_cosine], least_overlap) in limits {
        let model = SentenceEmbeddings::builder().precision(precision).build().expect("the embedded model is sound");
        let found = model.encode(&texts).expect("golden texts can be encoded");
        let error = found.as_flat().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let (found, expected): (Vec<&[f32]>, Vec<&[f32]>) = found.iter().zip(expected.chunks_exact(384)).unzip();
        let cosines: Vec<f32> =
            found.iter().zip(&expected).map(|(a, b)| similarity(a, b).expect("they are of one size")).collect();
        let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
        let least = cosines.iter().copied().fold(1.0, f32::min);
        let (own, reference) = (closest(&found), closest(&expected));
        let first = own.iter().zip(&reference).filter(|(a, b)| a[0] == b[0]).count() as f64 / own.len() as f64;
        let kept = |(a, b): (&Vec<usize>, &Vec<usize>)| a.iter().filter(|other| b.contains(other)).count();
        let overlap = own.iter().zip(&reference).map(kept).sum::<usize>() as f64 / (NEIGHBOURS * own.len()) as f64;
        println!("{precision:<8?} {error:>10.1e} {mean:>10.6} {least:>10.6} {first:>8.3} {overlap:>8.3}");
        assert!(error <= tolerance, "{precision:?}: error {error:e}");
        assert!(
            mean >= mean_cosine && least >= least_cosine,
            "{precision:?}: cosine {mean} on average, {least} at least"
        );
        assert!(first >= least_overlap && overlap >= least_overlap, "{precision:?}: top 1 {first}, top 5 {overlap}");
    }
}

#[test]
fn the_original_model_equals_pytorch() {
    let Some(folder) = original_minilm() else { return };
    let golden = Golden::open();
    let model = SentenceEmbeddings::builder().model(folder).precision(Precision::F32).build().expect("it loads");
    let mut report = Report::default();
    for (name, cases) in [("sentences", &golden.cases.sentences), ("edges", &golden.cases.edges)] {
        let embeddings = model.encode(&texts(cases)).expect("golden texts can be encoded");
        close_to(&mut report, name, &embeddings, &golden.values(&format!("{name}.f32")));
    }
    report.finish(34);
}

/// Hidden states aren't of unit norm but of order 1 in each element, after six layers: 1e-4 is 20 times what rounding makes of them.
#[test]
fn hidden_states_equal_pytorch() {
    let golden = Golden::open();
    let mut models = vec![("int8.", Encoder::builder().build().expect("the embedded model is sound"))];
    if let Some(folder) = original_minilm() {
        models.push(("", Encoder::builder().model(folder).build().expect("it loads")));
    }
    let mut report = Report::default();
    for (kind, model) in models {
        for &index in &golden.cases.hidden {
            let batch = Batch::from_ids(&[&golden.cases.sentences[index].ids]).expect("it isn't empty");
            let outputs = model.run(&batch).expect("its ids are in the vocabulary");
            for (name, tensor) in outputs.iter() {
                let name = format!("hidden.{index}.{kind}{name}");
                if golden.tensors.get(&name).is_some() {
                    report.close(&name, &tensor.data, &golden.values(&name), 1e-4);
                }
            }
        }
    }
    report.finish(2);
}

#[test]
fn ids_and_truncation_equal_the_reference() {
    let golden = Golden::open();
    let model = embedded();
    assert_eq!(model.max_length(), golden.cases.max_seq_length);
    let mut report = Report::default();
    for case in golden.cases.sentences.iter().chain(&golden.cases.edges) {
        let mut ids = Vec::new();
        let encoded = model.tokenizer().encode_ids(&case.text, Some(model.max_length()), &mut ids).expect("it is text");
        let text: String = case.text.chars().take(30).collect();
        let fits = ids == case.ids && encoded.truncated == case.truncated;
        report.case(format_args!("{text:?}"), fits, format_args!("{} tokens", encoded.tokens));
    }
    report.finish(34);
}
