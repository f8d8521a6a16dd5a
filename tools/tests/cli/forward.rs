//! `forward`: ragged ids in, safetensors out, whole or not at all.

use std::fs;

use safetensors::{Dtype, SafeTensors};

use crate::{
    run::loquat,
    tiny_model::{HIDDEN, POSITIONS, TinyModel},
};

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn outputs_are_ragged_and_a_sequence_is_the_same_alone() {
    let folder = TinyModel::new().write("forward");
    let model = folder.to_str().unwrap();
    let run = |ids: &str, name: &str| {
        let out = folder.join(name);
        loquat(["forward", "--model", model, "--input-ids", ids, "--out", out.to_str().unwrap()]).ok();
        fs::read(out).unwrap()
    };
    let both = run("[[2,5,6,3],[2,7,8,9,11,3]]", "both.safetensors");
    let both = SafeTensors::deserialize(&both).unwrap();
    let mut names = both.names();
    names.sort();
    assert_eq!(names, ["cu_seqlens", "last_hidden_state", "pooler_output"]);
    let hidden = both.tensor("last_hidden_state").unwrap();
    assert_eq!((hidden.dtype(), hidden.shape()), (Dtype::F32, &[10, HIDDEN][..]));
    let pooled = both.tensor("pooler_output").unwrap();
    assert_eq!((pooled.dtype(), pooled.shape()), (Dtype::F32, &[2, HIDDEN][..]));
    let cu_seqlens = both.tensor("cu_seqlens").unwrap();
    assert_eq!((cu_seqlens.dtype(), cu_seqlens.shape()), (Dtype::I64, &[3][..]));
    let ends: Vec<i64> =
        cu_seqlens.data().chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(ends, [0, 4, 10]);
    assert!(floats(hidden.data()).iter().all(|value| value.is_finite()));

    let alone = run("[[2,7,8,9,11,3]]", "alone.safetensors");
    let alone = SafeTensors::deserialize(&alone).unwrap();
    assert_eq!(alone.tensor("last_hidden_state").unwrap().data(), &hidden.data()[4 * HIDDEN * 4..]);
    assert_eq!(alone.tensor("pooler_output").unwrap().data(), &pooled.data()[HIDDEN * 4..]);
}

#[test]
fn ids_may_lie_in_files_and_types_count() {
    let folder = TinyModel::new().write("forward-files");
    let model = folder.to_str().unwrap();
    fs::write(folder.join("ids.json"), "[[2,5,6,3]]").unwrap();
    let ids = format!("@{}", folder.join("ids.json").display());
    let out = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let base = ["forward", "--model", model, "--input-ids"];
    loquat(base.into_iter().chain([ids.as_str(), "--out", &out("a")])).ok();
    loquat(base.into_iter().chain(["[[2,5,6,3]]", "--token-type-ids", "[[0,0,0,0]]", "--out", &out("b")])).ok();
    loquat(base.into_iter().chain(["[[2,5,6,3]]", "--token-type-ids", "[[0,0,1,1]]", "--out", &out("c")])).ok();
    assert_eq!(fs::read(out("a")).unwrap(), fs::read(out("b")).unwrap());
    assert_ne!(fs::read(out("a")).unwrap(), fs::read(out("c")).unwrap());
}

#[test]
fn a_run_that_fails_leaves_no_file() {
    let folder = TinyModel::new().write("forward-bad");
    let model = folder.to_str().unwrap();
    let out = folder.join("out.safetensors");
    let too_long = format!("[{:?}]", vec![5; POSITIONS + 1]);
    let cases: [(&str, Option<&str>, &[&str]); 8] = [
        ("[[2,5,3],[2,62,3]]", None, &["sequence 1", "62"]),
        (&too_long, None, &["sequence 0", "24", "25"]),
        ("[[2,5,3]]", Some("[[0,2,0]]"), &["sequence 0", "2"]),
        ("[[2,5,3]]", Some("[[0,0]]"), &["sequence 0", "3", "2"]),
        ("[[2,5,3]]", Some("[[0,0,0],[0]]"), &["1", "2"]),
        ("[[2,5,3],[]]", None, &["sequence 1"]),
        ("[[2,5,-3]]", None, &["sequence 0", "position 2", "-3"]),
        ("[2,5,3]", None, &["sequence 0", "list"]),
    ];
    let before = fs::read_dir(&folder).unwrap().count();
    for (ids, types, parts) in cases {
        let mut arguments = vec!["forward", "--model", model, "--input-ids", ids, "--out", out.to_str().unwrap()];
        arguments.extend(types.iter().flat_map(|types| ["--token-type-ids", types]));
        let run = loquat(arguments).fails_with(parts);
        assert_eq!(run.stdout, "", "{ids}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), before, "nothing was written");
    loquat(["forward", "--model", model, "--input-ids", "[[2,3]]", "--out", "no/such/folder/out"])
        .fails_with(&["no/such/folder/out"]);
    loquat(["forward", "--model", model, "--input-ids", "[[2,3]", "--out", out.to_str().unwrap()])
        .fails_with(&["--input-ids", "JSON"]);
}
