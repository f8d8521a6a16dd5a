//! Quantised weights: what each layout stands for, what runs on them, and what is refused.

mod tiny;

use std::num::NonZeroUsize;

use half::{bf16, f16};
use loquat_runtime::{
    Batch, Options, Precision, Session, SessionError, Weights,
    graph::{Graph, GraphBuilder, Index, Table},
    weights::Quantization,
};
use proptest::prelude::*;
use safetensors::Dtype;

/// Outputs and inputs of the layer: enough outputs for it not to be taken for a head, inputs that no group divides.
const ROWS: usize = 33;
const WIDTH: usize = 70;

type Tensor = (String, Dtype, Vec<usize>, Vec<u8>);

fn tensor(name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Tensor {
    (name.to_owned(), dtype, shape.to_vec(), bytes)
}

fn f32s(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    tensor(name, Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// A table whose row `i` is 1 in column `i`, so that the layer's result for token `i` is column `i` of its weight.
fn unit_rows() -> Tensor {
    let values: Vec<f32> = (0..WIDTH * WIDTH).map(|i| f32::from(u8::from(i / WIDTH == i % WIDTH))).collect();
    f32s("table.weight", &[WIDTH, WIDTH], &values)
}

fn graph() -> Graph {
    let mut builder = GraphBuilder::new("quantised");
    let table = Table { name: "table.weight", rows: WIDTH, index: Index::TokenIds };
    let x = builder.embedding("table", &[table], WIDTH).unwrap();
    let x = builder.linear(x, ROWS, "dense.weight", None).unwrap();
    builder.output("x", x);
    builder.finish().unwrap()
}

fn weights(tensors: &[Tensor], config: Option<&str>) -> Weights {
    let config = config.map(|groups| format!(r#"{{"quantization_config":{{"config_groups":{groups}}}}}"#));
    let quantization = config.map(|config| Quantization::from_config("config.json", &config).unwrap().unwrap());
    Weights::from_vec("x.safetensors", tiny::write(tensors)).unwrap().with_quantization(quantization)
}

fn session(tensors: &[Tensor], config: Option<&str>, precision: Precision) -> Result<Session, SessionError> {
    let options = Options { precision, threads: NonZeroUsize::new(1), ..Options::default() };
    Session::new(graph(), weights(tensors, config), &options)
}

/// The weight that the session computes with, `[ROWS, WIDTH]`.
fn weight_of(session: &Session) -> Vec<f32> {
    let ids: Vec<u32> = (0..WIDTH as u32).collect();
    let outputs = session.run(&Batch::from_ids(&[ids]).unwrap()).unwrap();
    let columns = &outputs.get("x").unwrap().data;
    (0..ROWS * WIDTH).map(|i| columns[i % WIDTH * ROWS + i / WIDTH]).collect()
}

/// Codes from `least` to `most`, each row with the largest one in it.
fn codes(least: i32, most: i32) -> Vec<i32> {
    let code = |i: usize| if i.is_multiple_of(WIDTH) { most } else { least + (i * 7919) as i32 % (most - least + 1) };
    (0..ROWS * WIDTH).map(code).collect()
}

fn scales(count: usize) -> Vec<f32> {
    (0..count).map(|i| 0.5f32.powi(i as i32 % 5) * (1.0 + (i % 7) as f32 / 8.0)).collect()
}

fn expected(codes: &[i32], scales: &[f32], group: usize) -> Vec<f32> {
    let groups = WIDTH.div_ceil(group);
    let scale = |i: usize| scales[i / WIDTH * groups + i % WIDTH / group];
    codes.iter().enumerate().map(|(i, &code)| code as f32 * scale(i)).collect()
}

fn bytes(codes: &[i32]) -> Vec<u8> {
    codes.iter().map(|&code| (code as i8).cast_unsigned()).collect()
}

/// As compressed-tensors packs them, written bit by bit.
fn packed(codes: &[i32], bits: usize) -> Tensor {
    let words = (WIDTH * bits).div_ceil(32);
    let mut packed = vec![0u32; ROWS * words];
    for (i, &code) in codes.iter().enumerate() {
        let bit = i % WIDTH * bits;
        packed[i / WIDTH * words + bit / 32] |= ((code + (1 << (bits - 1))) as u32) << (bit % 32);
    }
    let bytes = packed.iter().flat_map(|word| word.to_le_bytes()).collect();
    tensor("dense.weight_packed", Dtype::I32, &[ROWS, words], bytes)
}

fn shape(rows: i64, width: i64) -> Tensor {
    let bytes = [rows.to_le_bytes(), width.to_le_bytes()].concat();
    tensor("dense.weight_shape", Dtype::I64, &[2], bytes)
}

const CHANNEL8: &str = r#"{"a":{"weights":{"num_bits":8,"strategy":"channel"}}}"#;
const CHANNEL8_INT8: &str = r#"{"a":{"weights":{"num_bits":8},"input_activations":{"num_bits":8,"dynamic":true}}}"#;
const GROUP4: &str = r#"{"a":{"weights":{"num_bits":4,"strategy":"group","group_size":32}}}"#;

#[test]
fn every_layout_stands_for_its_values_exactly() {
    let (wide, narrow) = (codes(-128, 127), codes(-8, 7));
    let int8 = tensor("dense.weight", Dtype::I8, &[ROWS, WIDTH], bytes(&wide));
    let (rows, groups) = (scales(ROWS), scales(ROWS * 3));
    // The scales of the tests have few digits, so that they are the same in 16 bits.
    let half = |scales: &[f32]| scales.iter().flat_map(|scale| f16::from_f32(*scale).to_le_bytes()).collect();
    let brain = |scales: &[f32]| scales.iter().flat_map(|scale| bf16::from_f32(*scale).to_le_bytes()).collect();
    let scale = "dense.weight_scale";
    let peaks: Vec<f32> = rows.iter().map(|scale| scale * 127.0).collect();
    let format = tensor("dense.weight_format", Dtype::U8, &[], vec![0]);
    /// What it is, the tensors, the configuration, and what the values are.
    type Case = (&'static str, Vec<Tensor>, Option<&'static str>, Vec<f32>);
    let cases: Vec<Case> = vec![
        (
            "bytes, f32 scales",
            vec![int8.clone(), f32s(scale, &[ROWS, 1], &rows)],
            Some(CHANNEL8),
            expected(&wide, &rows, WIDTH),
        ),
        (
            "bytes, no configuration",
            vec![int8.clone(), f32s(scale, &[ROWS], &rows)],
            None,
            expected(&wide, &rows, WIDTH),
        ),
        (
            "bytes, f16 scales",
            vec![int8.clone(), tensor(scale, Dtype::F16, &[ROWS, 1], half(&rows))],
            Some(CHANNEL8),
            expected(&wide, &rows, WIDTH),
        ),
        (
            "bytes, one scale",
            vec![int8.clone(), f32s(scale, &[1], &[0.75])],
            Some(r#"{"a":{"weights":{"num_bits":8,"strategy":"tensor"}}}"#),
            expected(&wide, &[0.75; ROWS], WIDTH),
        ),
        (
            "bytes in groups",
            vec![int8.clone(), f32s(scale, &[ROWS, 3], &groups)],
            Some(r#"{"a":{"weights":{"num_bits":8,"strategy":"group","group_size":32}}}"#),
            expected(&wide, &groups, 32),
        ),
        (
            "bytes of bitsandbytes",
            vec![int8, f32s("dense.SCB", &[ROWS], &peaks), format],
            None,
            expected(&wide, &rows, WIDTH),
        ),
        (
            "nibbles in groups, f16 scales",
            vec![packed(&narrow, 4), shape(33, 70), tensor(scale, Dtype::F16, &[ROWS, 3], half(&groups))],
            Some(GROUP4),
            expected(&narrow, &groups, 32),
        ),
        (
            "nibbles in rows, bf16 scales, no configuration",
            vec![packed(&narrow, 4), shape(33, 70), tensor(scale, Dtype::BF16, &[ROWS, 1], brain(&rows))],
            None,
            expected(&narrow, &rows, WIDTH),
        ),
        (
            "packed bytes",
            vec![packed(&wide, 8), shape(33, 70), f32s(scale, &[ROWS, 1], &rows)],
            Some(CHANNEL8),
            expected(&wide, &rows, WIDTH),
        ),
    ];
    for (name, mut tensors, config, expected) in cases {
        tensors.push(unit_rows());
        let session = session(&tensors, config, Precision::Auto).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(weight_of(&session), expected, "{name}");
        assert!(session.program().unused_tensors().is_empty(), "{name}: {:?}", session.program().unused_tensors());
    }
}

#[test]
fn bytes_are_multiplied_as_they_are() {
    let codes = codes(-127, 127);
    let scales = scales(ROWS);
    let tensors = [
        tensor("dense.weight", Dtype::I8, &[ROWS, WIDTH], bytes(&codes)),
        f32s("dense.weight_scale", &[ROWS, 1], &scales),
        unit_rows(),
    ];
    let session = session(&tensors, Some(CHANNEL8_INT8), Precision::Auto).unwrap();
    let kernels: Vec<String> = session.program().steps().map(|(_, kernel)| kernel).collect();
    assert!(kernels.iter().any(|kernel| kernel.contains("int8")), "{kernels:?}");
    // A row with a single 1 is coded as 127 of 127, so the result holds the code itself.
    for (i, (found, code)) in weight_of(&session).iter().zip(&codes).enumerate() {
        let found_code = found / scales[i / WIDTH];
        assert!((found_code - *code as f32).abs() < 1e-3, "{i}: {found_code} for {code}");
    }
}

#[test]
fn what_a_quantised_file_holds_as_floats_stays_above_bytes() {
    let mut builder = GraphBuilder::new("two");
    let table = Table { name: "table.weight", rows: WIDTH, index: Index::TokenIds };
    let x = builder.embedding("table", &[table], WIDTH).unwrap();
    let x = builder.linear(x, ROWS, "dense.weight", None).unwrap();
    let x = builder.linear(x, ROWS, "high.weight", None).unwrap();
    builder.output("x", x);
    let graph = builder.finish().unwrap();
    let tensors = [
        tensor("dense.weight", Dtype::I8, &[ROWS, WIDTH], bytes(&codes(-127, 127))),
        f32s("dense.weight_scale", &[ROWS, 1], &scales(ROWS)),
        f32s("high.weight", &[ROWS, ROWS], &scales(ROWS * ROWS)),
        unit_rows(),
    ];
    let kernels = |config: Option<&str>, options: Options| -> Vec<(String, bool)> {
        let session = Session::new(graph.clone(), weights(&tensors, config), &options).unwrap();
        let steps = session.program().steps().filter(|(name, _)| *name != "table");
        steps.map(|(name, kernel)| (name.to_owned(), kernel.contains("int8"))).collect()
    };
    let options = |precision| Options { precision, threads: NonZeroUsize::new(1), ..Options::default() };
    let named = |dense, high| vec![("dense".to_owned(), dense), ("high".to_owned(), high)];
    assert_eq!(kernels(Some(CHANNEL8_INT8), options(Precision::Auto)), named(true, false));
    assert_eq!(kernels(Some(CHANNEL8), options(Precision::Auto)), named(false, false));
    assert_eq!(kernels(Some(CHANNEL8_INT8), options(Precision::F32)), named(false, false));
    assert_eq!(kernels(None, options(Precision::Int8)), named(true, true));
    let keep_high = vec!["dense.weight".to_owned()];
    assert_eq!(kernels(None, Options { keep_high, ..options(Precision::Int8) }), named(false, true));
}

#[test]
fn damaged_quantised_tensors_are_named() {
    let int8 = || tensor("dense.weight", Dtype::I8, &[ROWS, WIDTH], vec![1; ROWS * WIDTH]);
    let nibbles = || packed(&codes(-8, 7), 4);
    let with = |mut bad: Vec<f32>, at: usize, value: f32| {
        bad[at] = value;
        bad
    };
    let row_scales = |at: usize, value: f32| f32s("dense.weight_scale", &[ROWS, 1], &with(scales(ROWS), at, value));
    let group_scales =
        |at: usize, value: f32| f32s("dense.weight_scale", &[ROWS, 3], &with(scales(ROWS * 3), at, value));
    let good_groups = || f32s("dense.weight_scale", &[ROWS, 3], &scales(ROWS * 3));
    let cases: Vec<(&str, Vec<Tensor>, &str, &str)> = vec![
        ("no scales", vec![int8()], CHANNEL8, r#""dense.weight_scale": expected the scales of dense.weight"#),
        (
            "NaN",
            vec![int8(), row_scales(3, f32::NAN)],
            CHANNEL8,
            r#""dense.weight_scale": expected finite scales above 0, found NaN for row 3"#,
        ),
        ("infinite", vec![int8(), row_scales(0, f32::INFINITY)], CHANNEL8, "found inf for row 0"),
        ("negative", vec![int8(), row_scales(32, -1.0)], CHANNEL8, "found -1 for row 32"),
        ("zero", vec![int8(), row_scales(1, 0.0)], CHANNEL8, "found 0 for row 1"),
        (
            "too few",
            vec![int8(), f32s("dense.weight_scale", &[32, 1], &scales(32))],
            CHANNEL8,
            "expected [33, 1], found [32, 1]",
        ),
        ("groups for rows", vec![int8(), good_groups()], CHANNEL8, "expected [33, 1], found [33, 3]"),
        (
            "integer scales",
            vec![int8(), tensor("dense.weight_scale", Dtype::I8, &[ROWS, 1], vec![1; ROWS])],
            CHANNEL8,
            "expected scales of F32, F16 or BF16, found I8",
        ),
        (
            "zero points",
            vec![int8(), row_scales(0, 1.0), f32s("dense.weight_zero_point", &[1], &[0.0])],
            CHANNEL8,
            r#""dense.weight_zero_point": expected symmetric"#,
        ),
        (
            "transposed",
            vec![tensor("dense.weight", Dtype::I8, &[WIDTH, ROWS], vec![1; ROWS * WIDTH]), row_scales(0, 1.0)],
            CHANNEL8,
            r#""dense.weight": expected shape [33, 70], found [70, 33]"#,
        ),
        (
            "bad magnitude",
            vec![int8(), f32s("dense.SCB", &[ROWS], &with(scales(ROWS), 5, -1.0))],
            CHANNEL8,
            r#""dense.SCB": expected finite magnitudes from 0 up, found -1 for row 5"#,
        ),
        (
            "few magnitudes",
            vec![int8(), f32s("dense.SCB", &[2], &[1.0; 2])],
            CHANNEL8,
            r#""dense.SCB": expected [33], found [2]"#,
        ),
        (
            "packed, no scales",
            vec![nibbles(), shape(33, 70)],
            GROUP4,
            r#""dense.weight_scale": expected the scales of dense.weight"#,
        ),
        (
            "packed, NaN",
            vec![nibbles(), shape(33, 70), group_scales(4, f32::NAN)],
            GROUP4,
            "found NaN for row 1, group 1",
        ),
        ("packed, zero", vec![nibbles(), shape(33, 70), group_scales(0, 0.0)], GROUP4, "found 0 for row 0, group 0"),
        (
            "no shape",
            vec![nibbles(), good_groups()],
            GROUP4,
            r#""dense.weight_shape": expected the shape of dense.weight, found none"#,
        ),
        (
            "another shape",
            vec![nibbles(), shape(33, 71), good_groups()],
            GROUP4,
            r#""dense.weight_shape": expected [33, 70], found [33, 71]"#,
        ),
        (
            "shape of bytes",
            vec![nibbles(), tensor("dense.weight_shape", Dtype::U8, &[2], vec![33, 70]), good_groups()],
            GROUP4,
            "expected two numbers of I64, found U8",
        ),
        (
            "odd packed length",
            vec![
                tensor("dense.weight_packed", Dtype::I32, &[ROWS, 8], vec![0; ROWS * 32]),
                shape(33, 70),
                good_groups(),
            ],
            GROUP4,
            r#""dense.weight_packed": expected I32 of shape [33, 9] for 4 bits, found I32 [33, 8]"#,
        ),
        (
            "packed as bytes",
            vec![
                tensor("dense.weight_packed", Dtype::U8, &[ROWS, 36], vec![0; ROWS * 36]),
                shape(33, 70),
                good_groups(),
            ],
            GROUP4,
            "expected I32 of shape [33, 9]",
        ),
        (
            "group size",
            vec![nibbles(), shape(33, 70), f32s("dense.weight_scale", &[ROWS, 2], &scales(ROWS * 2))],
            GROUP4,
            "expected [33, 3] for groups of 32, found [33, 2]",
        ),
        (
            "reordered groups",
            vec![
                nibbles(),
                shape(33, 70),
                good_groups(),
                tensor("dense.weight_g_idx", Dtype::I32, &[WIDTH], vec![0; WIDTH * 4]),
            ],
            GROUP4,
            r#""dense.weight_g_idx": expected groups of neighbouring values"#,
        ),
        ("GPTQ", vec![tensor("dense.qweight", Dtype::I32, &[1], vec![0; 4])], GROUP4, "looks like GPTQ or AWQ"),
        ("quanto", vec![tensor("dense.weight._data", Dtype::I8, &[1], vec![0])], GROUP4, "looks like quanto"),
        (
            "4 bits of bitsandbytes",
            vec![
                tensor("dense.weight", Dtype::U8, &[3], vec![0; 3]),
                tensor("dense.weight.absmax", Dtype::U8, &[1], vec![0]),
            ],
            GROUP4,
            "looks like the 4-bit codes of bitsandbytes",
        ),
        (
            "8-bit floats",
            vec![tensor("dense.weight", Dtype::F8_E4M3, &[1], vec![0]), f32s("dense.weight_scale", &[1], &[1.0])],
            CHANNEL8,
            "expected dtype F32, F16, BF16 or I8, found F8_E4M3; dense.weight_scale is there",
        ),
    ];
    let mut failures = Vec::new();
    for (name, mut tensors, config, expected) in cases {
        tensors.push(unit_rows());
        let message = match session(&tensors, Some(config), Precision::Auto) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        if !message.contains(expected) || !message.starts_with("x.safetensors") {
            failures.push(format!("{name}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn packed_tables_are_refused() {
    let mut builder = GraphBuilder::new("table");
    let table = Table { name: "dense.weight", rows: ROWS, index: Index::TokenIds };
    let x = builder.embedding("table", &[table], WIDTH).unwrap();
    builder.output("x", x);
    let graph = builder.finish().unwrap();
    let scales = f32s("dense.weight_scale", &[ROWS, 3], &scales(ROWS * 3));
    let tensors = [packed(&codes(-8, 7), 4), shape(33, 70), scales];
    let error = Session::new(graph, weights(&tensors, Some(GROUP4)), &Options::default()).unwrap_err().to_string();
    assert!(error.contains(r#""dense.weight": expected a table of F32, F16, BF16, or I8 with a scale"#), "{error}");
}

proptest! {
    /// A packed file cut anywhere, or with any byte changed, is refused or runs.
    #[test]
    fn damage_never_panics(cut in 0usize..20_000, at in 0usize..20_000, in_header: bool, value: u8) {
        let scales = f32s("dense.weight_scale", &[ROWS, 3], &scales(ROWS * 3));
        // A table that takes little room, so that changes reach the rest.
        let table = tensor("table.weight", Dtype::I8, &[WIDTH, WIDTH], vec![1; WIDTH * WIDTH]);
        let table_scales = f32s("table.weight_scale", &[WIDTH], &[1.0; WIDTH]);
        let whole = tiny::write(&[packed(&codes(-8, 7), 4), shape(33, 70), scales, table, table_scales]);
        prop_assert!(Weights::from_vec("cut", whole[..cut % whole.len()].to_vec()).is_err());
        let mut changed = whole.clone();
        let at = if in_header { at % 600 } else { at % whole.len() };
        changed[at] = value;
        if let Ok(weights) = Weights::from_vec("changed", changed) {
            let config = format!(r#"{{"quantization_config":{{"config_groups":{GROUP4}}}}}"#);
            let config = config.replace(r#""a":"#, r#""b":{"weights":{"num_bits":8}},"a":"#);
            let weights = weights.with_quantization(Quantization::from_config("config.json", &config).unwrap());
            let options = Options { threads: NonZeroUsize::new(1), ..Options::default() };
            if let Ok(session) = Session::new(graph(), weights, &options) {
                prop_assert_eq!(weight_of(&session).len(), ROWS * WIDTH);
            }
        }
    }
}
