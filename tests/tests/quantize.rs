//! Quantised folders: what they keep of the original, and that their results depend on neither batch nor threads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use loquat::{
    Batch, Embeddings, Encoder, Precision, QuantizationReport, Quantizer, SentenceEmbeddings, WeightFormat, Weights,
};
use loquat_tests::{Report, goldens, original_minilm, sentences};

const FORMATS: [WeightFormat; 4] = [WeightFormat::Int8, WeightFormat::Int4, WeightFormat::Bf16, WeightFormat::F16];

/// Where a test's folder goes.
fn out(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quantize").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.parent().expect("it has one")).expect("the target folder is writable");
    folder
}

fn quantized(model: &Path, format: WeightFormat, name: &str) -> (PathBuf, QuantizationReport) {
    let folder = out(name);
    let report = Quantizer::new(model, format).write(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
    (folder, report)
}

fn cosine_of_all(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn models_of_every_awkward_shape_keep_their_hidden_states() {
    let mut report = Report::default();
    let batch = Batch::from_ids(&[vec![1, 7, 30, 2], vec![5], vec![9, 8, 7, 6, 5, 4, 3, 2, 1]]).expect("ids");
    for entry in fs::read_dir(goldens("bert")).expect("the goldens are there") {
        let model = entry.expect("it can be read").path();
        let name = model.file_name().expect("it has one").to_string_lossy().into_owned();
        let run = |folder: &Path| {
            let encoder = Encoder::builder().model(folder).build().unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut outputs = encoder.run(&batch).expect("ids in range");
            outputs.take("last_hidden_state").expect("every encoder has it").data
        };
        let expected = run(&model);
        for (format, least) in FORMATS.into_iter().zip([0.995, 0.9, 0.9999, 0.99999]) {
            let (folder, _) = quantized(&model, format, &format!("{name}-{format:?}"));
            let cosine = cosine_of_all(&expected, &run(&folder));
            report.case(format_args!("{name}, {format:?}"), cosine >= least, format_args!("{cosine:.6}"));
        }
    }
    report.finish(40);
}

#[test]
fn sixteen_bits_hold_the_nearest_values() {
    let model = goldens("bert/h64-heads1-gelu");
    let original = Weights::open(&model).expect("it is sound");
    for format in [WeightFormat::Bf16, WeightFormat::F16] {
        let (folder, _) = quantized(&model, format, &format!("nearest-{format:?}"));
        let rounded = Weights::open(&folder).expect("it is sound");
        for tensor in original.iter() {
            let (Some(expected), Some(found)) = (tensor.to_f32(), rounded.get(tensor.name).and_then(|t| t.to_f32()))
            else {
                continue;
            };
            // Half of the last of 8 or 11 bits, or of the smallest step there is.
            let (relative, absolute) = if format == WeightFormat::Bf16 { (256.0, 0.0) } else { (2048.0, 3e-8) };
            for (expected, found) in expected.iter().zip(found) {
                let error = (expected - found).abs();
                let exact = tensor.shape.len() == 1;
                let limit = if exact { 0.0 } else { expected.abs() / relative + absolute };
                assert!(error <= limit, "{}: {found} for {expected}", tensor.name);
            }
        }
    }
}

/// Real sentences of mixed lengths, with an empty and an overlong one among them.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = sentences().into_iter().step_by(16).take(12).collect();
    texts.insert(3, String::new());
    texts.insert(9, "one two three ".repeat(200));
    texts
}

#[track_caller]
fn assert_invariant(folder: &Path) {
    let load = |threads, token_budget| {
        let builder = SentenceEmbeddings::builder().model(folder).threads(threads).token_budget(token_budget);
        builder.build().expect("a folder of our own")
    };
    let bits = |embeddings: &Embeddings| embeddings.as_flat().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let texts = texts();
    let model = load(1, 1 << 14);
    let expected = model.encode(&texts).expect("text");
    for (threads, token_budget) in [(1, 1), (2, 257), (3, 1 << 14)] {
        let found = load(threads, token_budget).encode(&texts).expect("text");
        assert_eq!(bits(&found), bits(&expected), "{threads} threads, {token_budget} tokens");
    }
    for (index, text) in texts.iter().enumerate() {
        let alone = model.encode(&[text]).expect("text");
        assert_eq!(alone.row(0), expected.row(index), "text {index} alone");
    }
}

#[test]
fn quantised_folders_depend_on_neither_batch_nor_threads() {
    for format in FORMATS {
        let (folder, _) = quantized(&goldens("sentence-transformers/mean"), format, &format!("invariant-{format:?}"));
        assert_invariant(&folder);
        let (folder, _) = quantized(&goldens("bert/h64-heads1-gelu"), format, &format!("invariant-h64-{format:?}"));
        assert_invariant(&folder);
    }
}

#[test]
fn minilm_keeps_its_embeddings() {
    let Some(model) = original_minilm() else { return };
    println!("{:<6} {:>10} {:>10} {:>10} {:>8} {:>10}", "", "mean cos", "least cos", "max error", "top 1", "bytes");
    let limits = [[0.995, 0.98, 0.85], [0.955, 0.89, 0.7], [0.9999, 0.9995, 0.95], [0.99999, 0.9999, 0.95]];
    for (format, [mean, least, top1]) in FORMATS.into_iter().zip(limits) {
        let folder = out(&format!("minilm-{format:?}"));
        let texts = sentences().into_iter().step_by(4);
        let report = Quantizer::new(model.as_path(), format).texts(texts).write(&folder).expect("it is sound");
        println!(
            "{:<6} {:>10.6} {:>10.6} {:>10.1e} {:>8.3} {:>10}",
            format!("{format:?}"),
            report.mean_cosine,
            report.least_cosine,
            report.max_error,
            report.top1_agreement,
            report.bytes_after
        );
        assert!(report.mean_cosine >= mean && report.least_cosine >= least, "{format:?}");
        assert!(report.top1_agreement >= top1, "{format:?}: {}", report.top1_agreement);
        if matches!(format, WeightFormat::Int8 | WeightFormat::Int4) {
            assert_invariant(&folder);
        }
    }
}

/// The bytes of the file are what the products take: int8 arithmetic on the folder's weights, and on what they stand for, give the same.
#[test]
fn int8_weights_are_taken_over_as_they_are() {
    let (folder, _) = quantized(&goldens("bert/h64-heads1-gelu"), WeightFormat::Int8, "taken-over");
    let dequantised = out("taken-over-f32");
    fs::create_dir_all(&dequantised).expect("it can be made");
    for entry in fs::read_dir(&folder).expect("it was written") {
        let path = entry.expect("it can be read").path();
        fs::copy(&path, dequantised.join(path.file_name().expect("it has one"))).expect("it can be copied");
    }
    let mut config: serde_json::Value = loquat_tests::read_json(&folder.join("config.json"));
    config.as_object_mut().expect("an object").remove("quantization_config");
    fs::write(dequantised.join("config.json"), config.to_string()).expect("it can be written");
    // Without the configuration, the same tensors count as bytes with scales for products in f32.
    let batch = Batch::from_ids(&[vec![1, 7, 30, 2], vec![5]]).expect("ids");
    let run = |folder: &Path, precision| {
        let encoder = Encoder::builder().model(folder).precision(precision).build().expect("it loads");
        encoder.run(&batch).expect("ids in range")
    };
    assert_eq!(run(&folder, Precision::Auto), run(&folder, Precision::Int8));
    assert_eq!(run(&folder, Precision::F32), run(&dequantised, Precision::Auto));
    assert_ne!(run(&folder, Precision::Auto), run(&folder, Precision::F32));
}

/// A folder's int4 weights lie on the grid of the int4 products, so those compute what f32 products of the dequantised weights do, but for the
/// coding of the activations, which moves each by at most 1.6e-5 of the largest of its group.
#[test]
fn int4_weights_are_taken_over_as_they_are() {
    let batch = Batch::from_ids(&[vec![1, 7, 30, 2], vec![5]]).expect("ids");
    let run = |model: &Path, precision| {
        let encoder = Encoder::builder().model(model).precision(precision).build().expect("it loads");
        encoder.run(&batch).expect("ids in range").take("last_hidden_state").expect("every encoder has it").data
    };
    let original = goldens("bert/h64-heads1-gelu");
    for group in [32, 64] {
        let folder = out(&format!("int4-taken-over-{group}"));
        Quantizer::new(&original, WeightFormat::Int4).group(group).write(&folder).expect("it is sound");
        let found = run(&folder, Precision::Int4);
        let expected = run(&folder, Precision::F32);
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("groups of {group}: {worst:.1e} from f32");
        assert!(worst <= 1e-4, "groups of {group}: {worst:.1e} from f32");
    }
}

#[test]
fn calibration_brings_results_closer() {
    let Some(model) = original_minilm() else { return };
    let texts: Vec<String> = sentences().into_iter().step_by(4).collect();
    let write = |name: &str, calibrated: bool| {
        let quantizer = Quantizer::new(model.as_path(), WeightFormat::Int4).texts(texts.iter().step_by(2));
        let quantizer = if calibrated { quantizer.calibrate(texts.iter().skip(1).step_by(2)) } else { quantizer };
        quantizer.write(out(name)).expect("it is sound")
    };
    let (nearest, calibrated) = (write("int4-nearest", false), write("int4-calibrated", true));
    println!("nearest {:.6}, calibrated {:.6}", nearest.mean_cosine, calibrated.mean_cosine);
    let (nearest, calibrated) = (1.0 - nearest.mean_cosine, 1.0 - calibrated.mean_cosine);
    assert!(calibrated < 0.8 * nearest, "{calibrated} against {nearest}");
}
