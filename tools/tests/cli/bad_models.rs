//! Model folders that lie, and the message each gets. Nothing is printed on stdout before the model has been checked.

use std::fs;

use crate::{
    run::{Run, loquat},
    tiny_model::{HIDDEN, TinyModel},
};

fn embed(model: &TinyModel, name: &str) -> Run {
    loquat(["embed", "--json", "--model", model.write(name).to_str().unwrap(), "the cat"])
}

#[track_caller]
fn refused(model: &TinyModel, name: &str, parts: &[&str]) {
    let run = embed(model, name).fails_with(parts);
    assert_eq!(run.stdout, "");
}

#[test]
fn a_sound_model_runs() {
    assert_eq!(embed(&TinyModel::new(), "sound").ok().json().len(), 1);
}

#[test]
fn a_folder_that_is_no_model() {
    loquat(["embed", "--model", "no/such/model", "text"]).fails_with(&[
        "no/such/model",
        "no such folder",
        "config.json",
    ]);
    let folder = TinyModel::new().write("incomplete");
    let model = folder.to_str().unwrap();
    for file in ["vocab.txt", "model.safetensors", "config.json"] {
        fs::remove_file(folder.join(file)).unwrap();
        loquat(["embed", "--model", model, "text"])
            .fails_with(&["incomplete", if file == "vocab.txt" { "tokenizer" } else { file }]);
    }
    let file = TinyModel::new().write("file-as-model").join("vocab.txt");
    loquat(["embed", "--model", file.to_str().unwrap(), "text"]).fails_with(&["vocab.txt", "not a folder"]);
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let mut model = TinyModel::new();
    let name = "encoder.layer.1.output.dense.weight";
    model.tensors.remove(name);
    refused(&model, "missing-tensor", &[name, "model.safetensors", "found none"]);
    model.tensors.insert(name.to_owned(), (vec![20, HIDDEN], vec![0.0; 20 * HIDDEN]));
    refused(&model, "transposed-tensor", &[name, "[12, 20]", "[20, 12]"]);
    model.tensors.insert(name.to_owned(), (vec![HIDDEN * 20], vec![0.0; 20 * HIDDEN]));
    refused(&model, "flat-tensor", &[name, "[12, 20]", "[240]"]);
}

#[test]
fn a_config_that_contradicts_the_weights() {
    let cases = [
        ("hidden_size", serde_json::json!(24), "[62, 12]"),
        ("num_hidden_layers", serde_json::json!(3), "encoder.layer.1"),
        ("vocab_size", serde_json::json!(1000), "embeddings.word_embeddings.weight"),
        ("intermediate_size", serde_json::json!(21), "intermediate.dense"),
        ("max_position_embeddings", serde_json::json!(512), "embeddings.position_embeddings.weight"),
        ("type_vocab_size", serde_json::json!(5), "embeddings.token_type_embeddings.weight"),
    ];
    for (field, value, part) in cases {
        let mut model = TinyModel::new();
        model.config[field] = value;
        let run = embed(&model, &format!("contradiction-{field}"));
        run.fails_with(&["config.json", &format!("{field} is"), "model.safetensors", part]);
    }
}

#[test]
fn a_config_that_makes_no_sense() {
    let cases = [
        ("hidden_act", serde_json::json!("swishglu9"), "swishglu9"),
        ("hidden_act", serde_json::json!(7), "hidden_act"),
        ("num_attention_heads", serde_json::json!(5), "num_attention_heads"),
        ("num_attention_heads", serde_json::json!(0), "num_attention_heads"),
        ("hidden_size", serde_json::json!(-1), "hidden_size"),
        ("hidden_size", serde_json::json!("twelve"), "hidden_size"),
        ("layer_norm_eps", serde_json::json!("tiny"), "layer_norm_eps"),
        ("position_embedding_type", serde_json::json!("relative_key"), "relative_key"),
        ("model_type", serde_json::json!("perceiver"), "perceiver"),
    ];
    for (field, value, part) in cases {
        let mut model = TinyModel::new();
        model.config[field] = value;
        embed(&model, &format!("nonsense-{field}")).fails_with(&["config.json", part]);
    }
    let folder = TinyModel::new().write("config-no-json");
    fs::write(folder.join("config.json"), "{\"model_type\": ").unwrap();
    loquat(["embed", "--model", folder.to_str().unwrap(), "text"]).fails_with(&["config.json"]);
}

#[test]
fn enormous_sizes_are_refused_without_taking_memory() {
    let mut model = TinyModel::new();
    model.config["vocab_size"] = serde_json::json!(u64::MAX);
    model.config["hidden_size"] = serde_json::json!(1u64 << 62);
    model.config["num_attention_heads"] = serde_json::json!(1u64 << 61);
    embed(&model, "enormous").fails_with(&["expected"]);
    let mut model = TinyModel::new();
    model.config["num_hidden_layers"] = serde_json::json!(u64::MAX);
    embed(&model, "endless").fails_with(&["num_hidden_layers"]);
}

#[test]
fn safetensors_files_that_are_cut_or_lie() {
    let folder = TinyModel::new().write("lying-weights");
    let path = folder.join("model.safetensors");
    let sound = fs::read(&path).unwrap();
    let header_len = u64::from_le_bytes(sound[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(sound[8..8 + header_len].to_vec()).unwrap();
    let with_header = |header: &str| {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&sound[8 + header_len..]);
        file
    };
    let with_length = |length: u64| [&length.to_le_bytes()[..], &sound[8..]].concat();
    let cases: [(&str, Vec<u8>); 10] = [
        ("empty", Vec::new()),
        ("seven bytes", sound[..7].to_vec()),
        ("cut in the header", sound[..8 + header_len / 2].to_vec()),
        ("cut in the data", sound[..sound.len() - 4].to_vec()),
        ("longer than it says", [&sound[..], &[0; 4]].concat()),
        ("a header of 2^64 - 1 bytes", with_length(u64::MAX)),
        ("a header longer than the file", with_length(sound.len() as u64 + 1)),
        ("no JSON", with_header(&header.replacen('{', "[", 1))),
        ("a shape that overflows", with_header(&header.replace("[20,12]", "[18446744073709551615,3]"))),
        ("a shape that contradicts the offsets", with_header(&header.replace("[20,12]", "[20,13]"))),
    ];
    for (what, bytes) in cases {
        assert_ne!(bytes, sound, "{what}: the case changes nothing");
        fs::write(&path, bytes).unwrap();
        let run = loquat(["embed", "--model", folder.to_str().unwrap(), "text"]);
        assert_eq!(run.code, Some(1), "{what}: {run:#?}");
        assert!(run.stderr.contains("model.safetensors") && !run.stderr.contains("panicked"), "{what}: {}", run.stderr);
    }
}

#[test]
fn a_vocabulary_larger_than_the_model_is_found_when_its_id_is_used() {
    let mut model = TinyModel::new();
    model.vocabulary.push_str("zebra\n");
    let folder = model.write("large-vocabulary");
    let model = folder.to_str().unwrap();
    loquat(["embed", "--model", model, "the cat"]).ok();
    loquat(["embed", "--model", model, "the cat", "the zebra"])
        .fails_with(&["input 2: token id 62", "the model has 62"]);
}

#[test]
fn sentence_transformers_modules_that_do_not_fit() {
    let modules = |more: &str| {
        format!(
            r#"[{{"path": "", "type": "sentence_transformers.models.Transformer"}},
                {{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}}{more}]"#
        )
    };
    let dense = r#", {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}"#;
    let cases: [(&str, String, &str, &str); 5] = [
        ("unknown-module", modules(r#", {"path": "2", "type": "sentence_transformers.models.CNN"}"#), "{}", "CNN"),
        ("unknown-pooling", modules(""), r#"{"pooling_mode": "attention"}"#, "attention"),
        ("no-dense", modules(dense), "{}", "2_Dense"),
        (
            "escaping-path",
            modules(r#", {"path": "../2", "type": "sentence_transformers.models.Dense"}"#),
            "{}",
            "leaves the model's folder",
        ),
        ("broken-modules", "[{\"path\"".into(), "{}", "modules.json"),
    ];
    for (name, modules, pooling, part) in cases {
        let mut model = TinyModel::new();
        model.files.insert("modules.json".into(), modules);
        model.files.insert("1_Pooling/config.json".into(), pooling.into());
        refused(&model, name, &[part]);
    }
}
