//! The `config.json` of a quantised folder.

use loquat_models::Source;
use serde_json::{Value, json};

use super::{WeightFormat, tensors::Plan};
use crate::Error;

/// The original's configuration with what has become of the weights: `quantization_config` as compressed-tensors writes it, or the type
/// that they have.
pub(super) fn quantized(
    source: &Source,
    format: WeightFormat,
    group: usize,
    plan: &Plan<'_>,
) -> Result<Vec<u8>, Error> {
    let unreadable = |error| Error::Json { path: source.file.clone(), source: Box::new(error) };
    let mut config: serde_json::Map<String, Value> = serde_json::from_str(&source.text).map_err(unreadable)?;
    let dtype = match format {
        WeightFormat::Bf16 => Some("bfloat16"),
        WeightFormat::F16 => Some("float16"),
        WeightFormat::Int8 | WeightFormat::Int4 => None,
    };
    match dtype {
        Some(dtype) => {
            let field = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
            config.insert(field.to_owned(), dtype.into());
        }
        None => {
            config.insert("quantization_config".to_owned(), quantization(format, group, plan));
        }
    }
    let mut text = serde_json::to_vec_pretty(&config).map_err(unreadable)?;
    text.push(b'\n');
    Ok(text)
}

fn quantization(format: WeightFormat, group: usize, plan: &Plan<'_>) -> Value {
    let values = |bits: usize, strategy: &str, group: Option<usize>| {
        json!({
            "num_bits": bits,
            "type": "int",
            "symmetric": true,
            "strategy": strategy,
            "group_size": group,
            "dynamic": strategy == "token",
        })
    };
    let kind = |target: &str, format: &str, weights: Value, activations: Value| {
        json!({
            "targets": [target],
            "format": format,
            "weights": weights,
            "input_activations": activations,
            "output_activations": null,
        })
    };
    let mut groups = serde_json::Map::new();
    let linear = match format {
        WeightFormat::Int4 => kind("Linear", "pack-quantized", values(4, "group", Some(group)), Value::Null),
        _ => kind("Linear", "int-quantized", values(8, "channel", None), values(8, "token", None)),
    };
    groups.insert("group_0".to_owned(), linear);
    let tables = plan.has_int8_tables();
    if tables {
        groups
            .insert("group_1".to_owned(), kind("Embedding", "int-quantized", values(8, "channel", None), Value::Null));
    }
    let format = match format {
        WeightFormat::Int4 if tables => "mixed-precision",
        WeightFormat::Int4 => "pack-quantized",
        _ => "int-quantized",
    };
    json!({
        "quant_method": "compressed-tensors",
        "format": format,
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": plan.ignored(),
        "kv_cache_scheme": null,
    })
}
