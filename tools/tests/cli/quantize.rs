//! `quantize`: folders that the other commands take, reports, and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    run::{loquat, numbers, scratch},
    tiny_model::TinyModel,
};

/// A model of the goldens, wide enough for its layers to be quantised.
fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens").join(path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test's paths are UTF-8")
}

#[test]
fn a_quantised_folder_serves_every_command_and_the_report_says_what_it_cost() {
    let model = golden("bert/h64-heads1-gelu");
    let scratch = scratch("quantize");
    let texts = scratch.join("texts.txt");
    fs::write(&texts, "the cat\na b c\nsat on the mat\n").unwrap();
    for (to, stored_as, least) in
        [("int8", "I8", 0.99), ("int4", "I4", 0.8), ("bf16", "BF16", 0.999), ("f16", "F16", 0.999)]
    {
        let out = scratch.join(to);
        let arguments = ["quantize", text(&model), "--to", to, "--out", text(&out), "--texts", text(&texts), "--json"];
        let report = &loquat(arguments).ok().json()[0];
        assert_eq!(report["embeddings"]["texts"], 3, "{report}");
        let cosine = report["embeddings"]["least_cosine"].as_f64().unwrap();
        assert!(cosine > least && cosine <= 1.0 + 1e-6, "{to}: {cosine}");
        let tensors = report["tensors"].as_array().unwrap();
        let query = tensors
            .iter()
            .find(|tensor| tensor["name"].as_str().unwrap().ends_with("attention.self.query.weight"))
            .unwrap_or_else(|| panic!("{report}"));
        assert_eq!(query["stored_as"], stored_as);
        assert!(query["bytes_after"].as_u64().unwrap() < query["bytes_before"].as_u64().unwrap());
        assert!(query["max_error"].as_f64().unwrap() > 0.0 && query["cosine"].as_f64().unwrap() > least);
        assert!(report["layers"].as_array().unwrap().iter().all(|layer| layer["cosine"].as_f64().unwrap() > least));
        assert!(report["bytes_after"].as_u64() < report["bytes_before"].as_u64());

        let found = loquat(["embed", "--json", "--model", text(&out), "the cat"]).ok().json();
        let original = loquat(["embed", "--json", "--model", text(&model), "the cat"]).ok().json();
        let (found, original) = (numbers(&found[0]["embedding"]), numbers(&original[0]["embedding"]));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = dot(&found, &original) / (dot(&found, &found) * dot(&original, &original)).sqrt();
        assert!(cosine > least && found != original, "{to}: {cosine}");
        let file = out.join("outputs.safetensors");
        loquat(["forward", "--model", text(&out), "--input-ids", "[[1,2,3]]", "--out", text(&file)]).ok();
        loquat(["search", "--model", text(&out), "--corpus", text(&texts), "a b"]).ok();
        let shown = loquat(["inspect", text(&out), "--json"]).ok().json();
        let int8 =
            shown[0]["steps"].as_array().unwrap().iter().any(|step| step["kernel"].as_str().unwrap().contains("int8"));
        assert_eq!(int8, to == "int8", "{shown:?}");
        assert_eq!(shown[0]["unused_tensors"].as_array().map(Vec::len), Some(0), "{shown:?}");
    }
    // Nothing is left beside the folders.
    let mut names: Vec<_> =
        fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["bf16", "f16", "int4", "int8", "texts.txt"]);
}

#[test]
fn modules_and_licences_are_copied_and_other_weights_are_not() {
    let source = scratch("quantize-modules").join("model");
    let from = golden("sentence-transformers/dense-normalize");
    for folder in ["", "1_Pooling", "2_Dense"] {
        fs::create_dir_all(source.join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file())
        {
            fs::copy(entry.path(), source.join(folder).join(entry.file_name())).unwrap();
        }
    }
    for file in ["LICENSE", "NOTICE", "README.md", "pytorch_model.bin", "model.onnx", ".hidden"] {
        fs::write(source.join(file), "text").unwrap();
    }
    let out = source.with_file_name("out");
    let run = loquat(["quantize", text(&source), "--to", "int8", "--out", text(&out)]).ok();
    assert!(run.stdout.contains("cosine") && run.stdout.contains("word_embeddings"), "{}", run.stdout);
    for file in
        ["LICENSE", "NOTICE", "README.md", "vocab.txt", "modules.json", "1_Pooling/config.json", "2_Dense/config.json"]
    {
        assert_eq!(fs::read(out.join(file)).unwrap(), fs::read(source.join(file)).unwrap(), "{file}");
    }
    assert!(out.join("2_Dense/model.safetensors").is_file());
    for file in ["pytorch_model.bin", "model.onnx", ".hidden"] {
        assert!(!out.join(file).exists(), "{file}");
    }
    loquat(["embed", "--model", text(&out), "the cat"]).ok();
    loquat(["quantize", text(&out), "--to", "int4", "--out", text(&source.with_file_name("again"))]).fails_with(&[
        "config.json",
        "quantised already",
        "8 bits",
    ]);
}

#[test]
fn a_folder_that_is_there_is_kept_unless_it_may_be_replaced() {
    let model = golden("bert/h48-heads2-gelu-new");
    let scratch = scratch("quantize-out");
    let quantize = |out: &Path, more: &[&str]| {
        loquat([&["quantize", text(&model), "--to", "int8", "--json", "--out", text(out)], more].concat())
    };
    let out = scratch.join("out");
    fs::create_dir(&out).unwrap();
    quantize(&out, &[]).ok();
    let before = fs::read(out.join("model.safetensors")).unwrap();
    quantize(&out, &["--embeddings", "f16"]).fails_with(&["out", "isn't empty"]);
    assert_eq!(fs::read(out.join("model.safetensors")).unwrap(), before);
    quantize(&out, &["--embeddings", "f16", "--force"]).ok();
    assert_ne!(fs::read(out.join("model.safetensors")).unwrap(), before);

    let other = scratch.join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    quantize(&other, &["--force"]).fails_with(&["other", "not a model folder"]);
    quantize(&other.join("letter.txt"), &["--force"]).fails_with(&["letter.txt", "a file"]);
    assert_eq!(fs::read(other.join("letter.txt")).unwrap(), b"dear");

    let own = TinyModel::new().write("quantize-own");
    loquat(["quantize", text(&own), "--to", "int8", "--force", "--out", text(&own)])
        .fails_with(&["quantize-own", "original model lies in it"]);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 2);
}

#[test]
fn models_and_settings_that_cannot_be_quantised_are_named_and_leave_nothing() {
    let scratch = scratch("quantize-bad");
    let out = scratch.join("out");
    let mut model = TinyModel::new();
    model.tensors.get_mut("encoder.layer.1.output.dense.bias").unwrap().1[3] = f32::NAN;
    let folder = model.write("quantize-nan");
    let quantize = |model: &str, more: &[&str]| {
        let run = loquat([&["quantize", model, "--out", text(&out)], more].concat());
        assert!(fs::read_dir(&scratch).unwrap().all(|entry| entry.unwrap().file_name() == "texts"), "{run:?}");
        run
    };
    quantize(text(&folder), &["--to", "int8"]).fails_with(&[
        "model.safetensors",
        "encoder.layer.1.output.dense.bias",
        "value 3 is NaN",
    ]);
    model.tensors.get_mut("encoder.layer.1.output.dense.bias").unwrap().1[3] = 0.0;
    model.tensors.get_mut("encoder.layer.0.output.dense.weight").unwrap().1[0] = 1e6;
    let folder = model.write("quantize-large");
    quantize(text(&folder), &["--to", "f16"]).fails_with(&[
        "encoder.layer.0.output.dense.weight",
        "beyond the range of f16",
        "bf16",
    ]);
    quantize("no/such/model", &["--to", "int8"]).fails_with(&["no/such/model"]);
    quantize(text(&folder), &["--to", "bf16", "--calibrate", "no-texts"]).fails_with(&["no-texts"]);
    let texts = scratch.join("texts");
    fs::write(&texts, "").unwrap();
    quantize(text(&folder), &["--to", "int8", "--calibrate", text(&texts)]).fails_with(&["calibrate", "no texts"]);
    quantize(text(&folder), &["--to", "int8", "--texts", text(&texts)]).fails_with(&["texts", "no texts"]);
    fs::write(&texts, "the cat\n").unwrap();
    quantize(text(&folder), &["--to", "bf16", "--calibrate", text(&texts)]).fails_with(&["calibrate", "bf16"]);
    quantize(text(&folder), &["--to", "int8", "--calibrate", text(&texts), "--least-cosine", "2"])
        .fails_with(&["least_cosine", "2"]);
    quantize(text(&folder), &["--to", "int3"]).misused(&["int3"]);
    quantize(text(&folder), &["--to", "int4", "--group", "48"]).misused(&["48"]);
}

#[test]
fn foreign_methods_are_refused_by_name() {
    let mut model = TinyModel::new();
    model.config["quantization_config"] = serde_json::json!({"quant_method": "gptq", "bits": 4, "group_size": 128});
    let folder = model.write("gptq");
    for arguments in [["embed", "--model", text(&folder), "text"].as_slice(), &["inspect", text(&folder)]] {
        loquat(arguments).fails_with(&["config.json", "by gptq", "loquat quantize"]);
    }
}
