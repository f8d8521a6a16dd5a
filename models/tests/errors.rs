//! Configurations that ask for what isn't there, or that contradict the weights.

use std::path::PathBuf;

use loquat_models::{Source, load, load_config, parse_config};

fn message(text: &str) -> String {
    let source = Source { file: "config.json".into(), text: text.into() };
    parse_config(&source).expect_err("it should be refused").to_string()
}

#[test]
fn fields_that_change_the_maths_are_refused_by_name() {
    let cases = [
        (r#"{"model_type":"bert","hidden_act":"snake"}"#, r#"hidden_act is "snake", expected one of gelu"#),
        (
            r#"{"model_type":"bert","position_embedding_type":"relative_key"}"#,
            r#"position_embedding_type is "relative_key""#,
        ),
        (r#"{"model_type":"bert","is_decoder":true}"#, "is_decoder is true, expected false"),
        (r#"{"model_type":"bert","add_cross_attention":true}"#, "add_cross_attention is true"),
        (
            r#"{"model_type":"bert","num_attention_heads":7}"#,
            "num_attention_heads is 7, expected a divisor of hidden_size",
        ),
        (r#"{"model_type":"bert","hidden_size":0}"#, "hidden_size is 0"),
        (r#"{"model_type":"bert","num_hidden_layers":99999999999}"#, "num_hidden_layers is 99999999999"),
        (r#"{"model_type":"bert","layer_norm_eps":-1.0}"#, "layer_norm_eps is -1"),
        (r#"{"model_type":"bert","hidden_size":"wide"}"#, "config.json: invalid type"),
        (
            r#"{"model_type":"mamba"}"#,
            r#"no architecture for model_type "mamba": the supported values of model_type are bert"#,
        ),
        (r#"{"architectures":["MambaModel"]}"#, "MambaModel"),
        ("{}", "neither model_type nor architectures"),
        ("[", "config.json"),
    ];
    for (text, expected) in cases {
        let message = message(text);
        assert!(message.contains(expected) && message.contains("config.json"), "{text}: {message}");
    }
}

#[test]
fn absent_fields_have_the_defaults_of_the_reference() {
    let source = Source { file: "config.json".into(), text: r#"{"architectures":["BertForMaskedLM"]}"#.into() };
    let model = parse_config(&source).unwrap();
    assert_eq!((model.hidden_size(), model.max_positions(), model.vocab_size()), (768, 512, 30522));
}

/// A copy of a golden model with one text in its configuration replaced.
fn tampered(name: &str, from: &str, to: &str) -> PathBuf {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/bert/h20-heads2-gelu");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let config = std::fs::read_to_string(golden.join("config.json")).unwrap();
    assert!(config.contains(from), "{from} isn't in {config}");
    std::fs::write(folder.join("config.json"), config.replace(from, to)).unwrap();
    std::fs::copy(golden.join("model.safetensors"), folder.join("model.safetensors")).unwrap();
    folder
}

#[test]
fn a_configuration_that_contradicts_the_weights_is_named_with_them() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/bert/h20-heads2-gelu/config.json");
    let config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    for field in [
        "vocab_size",
        "hidden_size",
        "max_position_embeddings",
        "type_vocab_size",
        "intermediate_size",
        "num_hidden_layers",
    ] {
        let value = config[field].as_u64().unwrap();
        // Twice the size, so that the heads still divide it.
        let folder = tampered(field, &format!("\"{field}\": {value}"), &format!("\"{field}\": {}", 2 * value));
        let error = load(&folder).unwrap_err().to_string();
        for expected in [field, "config.json", "model.safetensors", &(2 * value).to_string()] {
            assert!(error.contains(expected), "{field}: {error}");
        }
    }
}

#[test]
fn a_folder_without_configuration_says_so() {
    let error = load_config(env!("CARGO_TARGET_TMPDIR")).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}
