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
        (r#"{"model_type":"modernbert","classifier_pooling":"max"}"#, r#"classifier_pooling is "max""#),
        (r#"{"model_type":"modernbert","num_attention_heads":256}"#, "heads of an even width"),
        (
            r#"{"model_type":"modernbert","layer_types":["full_attention"]}"#,
            "layer_types is 1 entries, expected one for each",
        ),
        (
            r#"{"model_type":"modernbert","rope_parameters":{"full_attention":{"rope_type":"yarn"}}}"#,
            r#"rope_type is "yarn""#,
        ),
        (r#"{"model_type":"deberta-v2","pos_att_type":"p2c|p2p"}"#, "pos_att_type is"),
        (r#"{"model_type":"deberta-v2","pos_att_type":["c2p","c2p"]}"#, "each once at most"),
        (r#"{"model_type":"deberta-v2","relative_attention":true,"position_buckets":7}"#, "position_buckets is 7"),
        (
            r#"{"model_type":"deberta-v2","relative_attention":true,"position_buckets":1024}"#,
            "position_buckets is 1024",
        ),
        (r#"{"model_type":"deberta-v2","conv_kernel_size":2}"#, "conv_kernel_size is 2, expected 0, or an odd number"),
        (r#"{"model_type":"deberta-v2","conv_kernel_size":3,"conv_groups":2}"#, "conv_groups is 2, expected 1"),
        (r#"{"model_type":"deberta-v2","attention_head_size":5}"#, "attention_head_size is 5, expected 64"),
        (r#"{"model_type":"deberta-v2","max_position_embeddings":99999999}"#, "max_position_embeddings is 99999999"),
        (r#"{"model_type":"deberta","talking_head":true}"#, "talking_head is true, expected false"),
        (r#"{"model_type":"nomic_bert","activation_function":"relu"}"#, r#"activation_function is "relu""#),
        (r#"{"model_type":"nomic_bert","n_head":5}"#, "n_head is 5, expected a divisor of hidden_size"),
        (r#"{"model_type":"nomic_bert","num_experts":8}"#, "num_experts is true, expected false"),
        (r#"{"model_type":"nomic_bert","rotary_emb_fraction":0.5}"#, "rotary_emb_fraction is 0.5, expected 1"),
        (r#"{"model_type":"mobilebert","normalization_type":"rms"}"#, r#"normalization_type is "rms""#),
        (
            r#"{"model_type":"mobilebert","num_attention_heads":3}"#,
            "num_attention_heads is 3, expected a divisor of intra_bottleneck_size",
        ),
        (r#"{"model_type":"mobilebert","embedding_size":513}"#, "embedding_size is 513, expected 1 to 512"),
        (r#"{"model_type":"fnet","use_tpu_fourier_optimizations":true}"#, "use_tpu_fourier_optimizations is true"),
        (r#"{"model_type":"longformer","attention_window":[4,8]}"#, "attention_window is 2 entries"),
        (r#"{"model_type":"longformer","attention_window":7}"#, "attention_window is 7, expected an even number"),
        (r#"{"model_type":"xlnet","attn_type":"uni"}"#, r#"attn_type is "uni", expected "bi""#),
        (r#"{"model_type":"xlnet","bi_data":true}"#, "bi_data is true, expected false"),
        (r#"{"model_type":"xlnet","d_head":8}"#, "d_head is 8, expected 64"),
        (r#"{"model_type":"xlnet","summary_type":"attn"}"#, r#"summary_type is "attn""#),
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

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens").join(name)
}

/// A copy of a golden model with one text in its configuration replaced.
fn tampered(model: &str, name: &str, from: &str, to: &str) -> PathBuf {
    let golden = golden(model);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(model.replace('/', "-")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let config = std::fs::read_to_string(golden.join("config.json")).unwrap();
    assert!(config.contains(from), "{from} isn't in {config}");
    std::fs::write(folder.join("config.json"), config.replace(from, to)).unwrap();
    std::fs::copy(golden.join("model.safetensors"), folder.join("model.safetensors")).unwrap();
    folder
}

#[test]
fn a_configuration_that_contradicts_the_weights_is_named_with_them() {
    let bert = [
        "vocab_size",
        "hidden_size",
        "max_position_embeddings",
        "type_vocab_size",
        "intermediate_size",
        "num_hidden_layers",
    ];
    let models: [(&str, &[&str]); 10] = [
        ("bert/h20-heads2-gelu", &bert),
        ("encoders/modernbert/feature-extraction", &["vocab_size", "hidden_size", "intermediate_size"]),
        (
            "encoders/deberta-v2/feature-extraction",
            &["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "position_buckets"],
        ),
        (
            "encoders/deberta-v2-legacy/feature-extraction",
            &["embedding_size", "max_relative_positions", "type_vocab_size"],
        ),
        (
            "encoders/deberta/feature-extraction",
            &["vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"],
        ),
        (
            "encoders/nomic_bert-published/feature-extraction",
            &["n_embd", "n_inner", "n_layer", "vocab_size", "type_vocab_size"],
        ),
        (
            "encoders/mobilebert/feature-extraction",
            &[&bert[..], &["intra_bottleneck_size", "num_feedforward_networks"]].concat(),
        ),
        ("encoders/fnet/feature-extraction", &bert),
        ("encoders/xlnet/feature-extraction", &["vocab_size", "d_inner", "n_layer"]),
        ("encoders/longformer/feature-extraction", &["vocab_size", "hidden_size", "max_position_embeddings"]),
    ];
    for (model, fields) in models {
        let config = std::fs::read_to_string(golden(model).join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        for field in fields {
            let value = config[field].as_u64().unwrap_or_else(|| panic!("{model} has no {field}"));
            // Twice the size, so that the heads still divide it.
            let (from, to) = (format!("\"{field}\": {value}"), format!("\"{field}\": {}", 2 * value));
            let error = load(tampered(model, field, &from, &to)).unwrap_err().to_string();
            for expected in [field, "config.json", "model.safetensors", &*(2 * value).to_string()] {
                assert!(error.contains(expected), "{model} {field}: {error}");
            }
        }
    }
}

#[test]
fn a_folder_without_configuration_says_so() {
    let error = load_config(env!("CARGO_TARGET_TMPDIR")).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}
