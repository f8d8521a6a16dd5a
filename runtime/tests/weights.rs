//! Weights that are damaged, incomplete or of another model: an error that names what and where, never a panic.

mod tiny;

use std::{num::NonZeroUsize, path::PathBuf};

use loquat_runtime::{
    Options, Session, Weights, WeightsError,
    graph::{GraphBuilder, Index, Table},
};
use proptest::prelude::*;
use safetensors::Dtype;
use tiny::{AWKWARD, Tensors, safetensors};

fn one_thread() -> Options {
    Options { threads: NonZeroUsize::new(1), ..Options::default() }
}

/// A file with the given header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn message(bytes: Vec<u8>) -> String {
    Weights::from_vec("x.safetensors", bytes).expect_err("it should be refused").to_string()
}

#[test]
fn lying_headers_are_refused_with_a_reason() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "at least 8 bytes"),
        ("half a length", vec![1, 2, 3], "found 3"),
        ("endless header", [&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "18446744073709551615"),
        ("header beyond the end", [&100u64.to_le_bytes()[..], b"{}"].concat(), "claims 100 bytes, found 2"),
        ("no JSON", file("nonsense", &[]), "header"),
        ("no object", file("[1,2]", &[]), "an object of tensors"),
        ("no UTF-8", [&1u64.to_le_bytes()[..], &[0xff]].concat(), "header"),
        ("deep JSON", file(&"[".repeat(100_000), &[]), "header"),
        (
            "unknown dtype",
            file(r#"{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,1]}}"#, &[0]),
            r#""a": unknown dtype "Q4""#,
        ),
        (
            "beyond the data",
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, &[0; 4]),
            "4 bytes of data",
        ),
        ("backwards", file(r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}"#, &[0; 2]), "bytes 2..0"),
        ("wrong size", file(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, &[0; 8]), "takes 12 bytes"),
        (
            "overflowing shape",
            file(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#, &[0; 8]),
            "overflows",
        ),
        (
            "overflowing offset",
            file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}}"#, &[0]),
            "18446744073709551615",
        ),
        ("negative offset", file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}"#, &[0]), "header"),
        (
            "overlap",
            file(
                r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                &[0; 3],
            ),
            r#""b": its data starts at byte 1, expected 2"#,
        ),
        ("gap", file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, &[0; 2]), r#""a""#),
        ("rest", file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, &[0; 2]), "take 1 bytes, but 2"),
        (
            "twice",
            file(
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
                &[0],
            ),
            r#""a" is listed twice"#,
        ),
        ("missing field", file(r#"{"a":{"dtype":"U8","shape":[1]}}"#, &[0]), "data_offsets"),
    ];
    for (name, bytes, expected) in cases {
        let message = message(bytes);
        assert!(message.contains(expected) && message.contains("x.safetensors"), "{name}: {message}");
    }
}

#[test]
fn empty_tensors_and_metadata_are_fine() {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]},"b":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}"#;
    let weights = Weights::from_vec("x", file(header, &[0, 0x3c])).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(weights.get("b").unwrap().bytes, [0, 0x3c]);
}

proptest! {
    /// A file cut anywhere, or with any byte changed, is read or refused.
    #[test]
    fn damage_never_panics(cut in 0usize..2000, at in 0usize..2000, value: u8) {
        let tensors = Tensors::from([
            ("a".to_owned(), (vec![3, 5], vec![1.0; 15])),
            ("b".to_owned(), (vec![7], vec![2.0; 7])),
        ]);
        let whole = safetensors(&tensors);
        let cut_file = whole[..cut.min(whole.len() - 1)].to_vec();
        prop_assert!(Weights::from_vec("cut", cut_file).is_err());
        let mut changed = whole.clone();
        let at = at % changed.len();
        changed[at] = value;
        if let Ok(weights) = Weights::from_vec("changed", changed) {
            for tensor in weights.iter() {
                let values: usize = tensor.shape.iter().product();
                prop_assert_eq!(tensor.bytes.len(), values * tensor.dtype.size());
            }
        }
    }
}

#[test]
fn missing_and_misshapen_tensors_are_all_named() {
    let mut tensors = AWKWARD.tensors();
    tensors.remove("0.up.bias");
    let (shape, _) = tensors.get_mut("1.norm2.weight").unwrap();
    *shape = vec![6, 6];
    let weights = Weights::from_vec("x.safetensors", safetensors(&tensors)).unwrap();
    let error = Session::new(AWKWARD.graph(), weights, &one_thread()).unwrap_err().to_string();
    for expected in ["0.up.bias", "found none", "1.norm2.weight", "expected shape [36], found [6, 6]", "x.safetensors"]
    {
        assert!(error.contains(expected), "{expected} is missing in: {error}");
    }
}

/// A model of one table, stored as `tensors`.
fn table_error(tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> String {
    let mut builder = GraphBuilder::new("table");
    let table = Table { name: "table.weight", rows: 2, index: Index::TokenIds };
    let x = builder.embedding("table", &[table], 3).unwrap();
    builder.output("x", x);
    let weights = Weights::from_vec("x.safetensors", tiny::write(tensors)).unwrap();
    Session::new(builder.finish().unwrap(), weights, &one_thread()).unwrap_err().to_string()
}

#[test]
fn types_and_scales_that_cannot_be_used_are_named() {
    let values = |dtype, bytes| ("table.weight".to_owned(), dtype, vec![2, 3], bytes);
    let scales = |shape: &[usize], scales: &[f32]| {
        let bytes = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        ("table.weight_scale".to_owned(), Dtype::F32, shape.to_vec(), bytes)
    };
    let int8 = || values(Dtype::I8, vec![1; 6]);
    let cases = [
        (vec![values(Dtype::I64, vec![0; 48])], "table.weight\": expected dtype F32, F16, BF16 or I8, found I64"),
        (vec![int8()], "table.weight_scale\": expected the scales of table.weight"),
        (vec![int8(), scales(&[3], &[1.0; 3])], "table.weight_scale\": expected [2, 1] or [2, groups], found [3]"),
        (vec![int8(), scales(&[2, 1], &[1.0, f32::NAN])], "found NaN for row 1"),
        (vec![int8(), scales(&[2], &[f32::INFINITY, 1.0])], "found inf for row 0"),
    ];
    for (tensors, expected) in cases {
        let error = table_error(&tensors);
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn prefixes_and_old_names_are_found() {
    let mut builder = GraphBuilder::new("names");
    let table = Table { name: "table.weight", rows: 2, index: Index::TokenIds };
    let x = builder.embedding("table", &[table], 3).unwrap();
    let x = builder.layer_norm(x, "LayerNorm.weight", "LayerNorm.bias", 1e-5).unwrap();
    let x = builder.linear(x, 2, "classifier.weight", None).unwrap();
    builder.prefixes(&["bert."]).output("x", x);
    let tensors = Tensors::from([
        ("bert.table.weight".to_owned(), (vec![2, 3], vec![1.0, 2.0, 3.0, 3.0, 2.0, 1.0])),
        ("bert.LayerNorm.gamma".to_owned(), (vec![3], vec![1.0; 3])),
        ("bert.LayerNorm.beta".to_owned(), (vec![3], vec![0.5; 3])),
        ("classifier.weight".to_owned(), (vec![2, 3], vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0])),
        ("bert.rest".to_owned(), (vec![1], vec![0.0])),
    ]);
    let weights = Weights::from_vec("x.safetensors", safetensors(&tensors)).unwrap();
    let session = Session::new(builder.finish().unwrap(), weights, &one_thread()).unwrap();
    assert_eq!(session.program().unused_tensors(), ["bert.rest"]);
    let outputs = session.run(&loquat_runtime::Batch::from_ids(&[[0, 1]]).unwrap()).unwrap();
    let x = outputs.get("x").unwrap();
    assert!((x.data[0] + 0.7247).abs() < 1e-3 && (x.data[2] - 1.7247).abs() < 1e-3, "{:?}", x.data);
}

#[test]
fn joined_files_keep_their_names_apart() {
    let part = |value: f32| {
        let tensors = Tensors::from([("linear.weight".to_owned(), (vec![1], vec![value]))]);
        Weights::from_vec(format!("{value}.safetensors"), safetensors(&tensors)).unwrap()
    };
    let joined = part(1.0).join("2_Dense/", part(2.0)).unwrap();
    assert_eq!(joined.get("2_Dense/linear.weight").unwrap().bytes, 2.0f32.to_le_bytes());
    assert_eq!(joined.get("linear.weight").unwrap().bytes, 1.0f32.to_le_bytes());
    let error = joined.join("", part(3.0)).unwrap_err();
    assert!(matches!(&error, WeightsError::Duplicate { tensor, .. } if tensor == "linear.weight"), "{error}");
}

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_mapped_file_equals_the_same_bytes_in_memory() {
    let folder = folder("mapped");
    std::fs::write(folder.join("model.safetensors"), safetensors(&AWKWARD.tensors())).unwrap();
    let batch = AWKWARD.batch(&[4, 9]);
    let mut results = Vec::new();
    for weights in
        [Weights::open(&folder).unwrap(), Weights::open(folder.join("model.safetensors")).unwrap(), AWKWARD.weights()]
    {
        let session = Session::new(AWKWARD.graph(), weights, &one_thread()).unwrap();
        results.push(tiny::bits(&session.run(&batch).unwrap().get("hidden").unwrap().data));
    }
    assert!(results[0] == results[1] && results[1] == results[2]);
}

#[test]
fn a_folder_without_weights_says_what_it_lacks() {
    let folder = folder("without");
    let error = Weights::open(&folder).unwrap_err().to_string();
    assert!(error.contains("expected a model.safetensors"), "{error}");
    for other in ["pytorch_model.bin", "model.safetensors.index.json"] {
        std::fs::write(folder.join(other), b"{}").unwrap();
        let error = Weights::open(&folder).unwrap_err().to_string();
        assert!(error.contains(other), "{error}");
    }
    let error = Weights::open(folder.join("nowhere.safetensors")).unwrap_err().to_string();
    assert!(error.contains("nowhere.safetensors"), "{error}");
    std::fs::write(folder.join("model.safetensors"), b"").unwrap();
    let error = Weights::open(&folder).unwrap_err().to_string();
    assert!(error.contains("at least 8 bytes"), "{error}");
}
