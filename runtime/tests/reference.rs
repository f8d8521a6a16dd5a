//! Whole models against a plain reference in `f64`, on every level of this machine and with every type of weights.

mod tiny;

use loquat_runtime::{Level, Options, Precision, Session, Weights};
use safetensors::Dtype;
use tiny::{AWKWARD, EVEN, Tensors, Tiny};

/// Absolute, for hidden states of order 1. `f32` gives about 1e-6 here.
const TOLERANCE: f64 = 2e-5;

fn levels() -> Vec<Level> {
    loquat_kernels::Cpu::available().iter().map(|cpu| cpu.level()).collect()
}

fn options(level: Level, precision: Precision) -> Options {
    let threads = std::num::NonZeroUsize::new(2);
    Options { level: Some(level), precision, threads, ..Options::default() }
}

/// Largest error of the hidden states of a batch.
fn error_of(tiny: &Tiny, tensors: &Tensors, weights: Weights, level: Level) -> f64 {
    error_in(Precision::F32, tiny, tensors, weights, level)
}

fn error_in(precision: Precision, tiny: &Tiny, tensors: &Tensors, weights: Weights, level: Level) -> f64 {
    let session = Session::new(tiny.graph(), weights, &options(level, precision)).unwrap();
    let batch = tiny.batch(&[1, 17, 5, 32, 2, 63]);
    let outputs = session.run(&batch).unwrap();
    let hidden = outputs.get("hidden").unwrap();
    let view = batch.view();
    let mut worst = 0.0f64;
    for sequence in 0..batch.sequences() {
        let range = view.token_range(sequence);
        let expected = tiny.reference(tensors, &view.ids()[range.clone()], &view.type_ids()[range.clone()]);
        for (row, expected) in range.zip(expected) {
            for (found, expected) in hidden.row(row).iter().zip(expected) {
                assert!(found.is_finite());
                worst = worst.max((f64::from(*found) - expected).abs());
            }
        }
    }
    worst
}

#[test]
fn every_level_computes_what_the_reference_does() {
    let causal = Tiny { causal: true, ..AWKWARD };
    let mut failures = Vec::new();
    for level in levels() {
        for tiny in [AWKWARD, EVEN, causal] {
            let error = error_of(&tiny, &tiny.tensors(), tiny.weights(), level);
            if error > TOLERANCE {
                failures.push(format!("{level} {tiny:?}: {error:e}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Errors of hidden states of order 1 after two layers: what coding the operands costs, in units of the code's last bit, a few times
/// over. A level without the unit computes in `f32`, and is then held to that.
#[test]
fn every_precision_stays_within_its_tolerance() {
    let mut failures = Vec::new();
    for level in levels() {
        for (precision, tolerance) in
            [(Precision::Bf16x3, 1e-4), (Precision::Bf16, 4e-2), (Precision::Int8, 1e-1), (Precision::Int4, 4e-1)]
        {
            let has_unit = matches!(precision, Precision::Int8 | Precision::Int4) || level == Level::Amx;
            for tiny in [AWKWARD, EVEN] {
                let error = error_in(precision, &tiny, &tiny.tensors(), tiny.weights(), level);
                println!("{level} {precision:?} {}: {error:.1e}", tiny.hidden);
                if error > if has_unit { tolerance } else { TOLERANCE } {
                    failures.push(format!("{level} {precision:?} {tiny:?}: {error:e}"));
                }
                // An error of f32's size would say that something else ran.
                if has_unit && precision != Precision::Bf16x3 && error < 1e-4 {
                    failures.push(format!("{level} {precision:?} {tiny:?}: {error:e} is too good"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// How a kind of storage rounds a value, and writes it.
type Round = fn(f32) -> f32;
type Encode = fn(f32) -> Vec<u8>;

#[test]
fn half_precision_weights_give_what_their_rounded_values_give() {
    let cases: [(Dtype, Round, Encode); 2] = [
        (Dtype::F16, |x| half::f16::from_f32(x).to_f32(), |x| half::f16::from_f32(x).to_le_bytes().to_vec()),
        (Dtype::BF16, |x| half::bf16::from_f32(x).to_f32(), |x| half::bf16::from_f32(x).to_le_bytes().to_vec()),
    ];
    for (dtype, round, encode) in cases {
        let mut tensors = AWKWARD.tensors();
        let mut stored = Vec::new();
        for (name, (shape, values)) in &mut tensors {
            values.iter_mut().for_each(|value| *value = round(*value));
            stored.push((name.clone(), dtype, shape.clone(), values.iter().flat_map(|v| encode(*v)).collect()));
        }
        let weights = Weights::from_vec("half.safetensors", tiny::write(&stored)).unwrap();
        for level in levels() {
            let weights_again = Weights::from_vec("half.safetensors", tiny::write(&stored)).unwrap();
            let error = error_of(&AWKWARD, &tensors, weights_again, level);
            assert!(error <= TOLERANCE, "{dtype:?} {level}: {error:e}");
        }
        assert_eq!(weights.get("words.weight").unwrap().dtype.name(), format!("{dtype:?}"));
    }
}

/// Matrices as int8 with one scale a row; vectors stay as they are.
fn quantised(tensors: &mut Tensors) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let mut stored = Vec::new();
    for (name, (shape, values)) in tensors {
        let [rows, width] = shape[..] else {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            stored.push((name.clone(), Dtype::F32, shape.clone(), bytes));
            continue;
        };
        let mut bytes = Vec::new();
        let mut scales = Vec::new();
        for row in values.chunks_mut(width) {
            let scale = row.iter().fold(0.0f32, |max, value| max.max(value.abs())) / 127.0;
            for value in row {
                let quantised = (*value / scale).round() as i8;
                bytes.push(quantised as u8);
                *value = f32::from(quantised) * scale;
            }
            scales.extend(scale.to_le_bytes());
        }
        stored.push((name.clone(), Dtype::I8, shape.clone(), bytes));
        stored.push((format!("{name}_scale"), Dtype::F32, vec![rows, 1], scales));
    }
    stored
}

#[test]
fn int8_weights_give_what_their_dequantised_values_give() {
    let mut tensors = AWKWARD.tensors();
    let stored = quantised(&mut tensors);
    for level in levels() {
        let weights = Weights::from_vec("int8.safetensors", tiny::write(&stored)).unwrap();
        let error = error_of(&AWKWARD, &tensors, weights, level);
        assert!(error <= TOLERANCE, "{level}: {error:e}");
    }
}

#[test]
fn every_level_is_close_to_scalar() {
    let batch = AWKWARD.batch(&[3, 40, 1, 19]);
    let run = |level| {
        Session::new(AWKWARD.graph(), AWKWARD.weights(), &options(level, Precision::F32)).unwrap().run(&batch).unwrap()
    };
    let scalar = run(Level::Scalar);
    for level in levels() {
        let outputs = run(level);
        for ((name, a), (_, b)) in scalar.iter().zip(outputs.iter()) {
            let error = tiny::max_error(&a.data, &b.data);
            assert!(f64::from(error) <= TOLERANCE, "{level} {name}: {error:e}");
        }
    }
}
