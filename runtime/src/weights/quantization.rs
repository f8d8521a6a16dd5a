//! What a folder's `config.json` says of its quantised weights.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::Value;

use super::WeightsError;
use crate::Precision;

/// How weights are quantised, as `quantization_config` in `config.json` says.
///
/// Two layouts are read: that of compressed-tensors, symmetric integers of 4 or 8 bits with a scale for each row or group, and the rows of
/// bytes of bitsandbytes. Files of other methods are refused by name.
///
/// ```
/// use loquat_runtime::{Precision, weights::Quantization};
///
/// let config = r#"{"quantization_config": {
///     "quant_method": "compressed-tensors",
///     "format": "int-quantized",
///     "config_groups": {"group_0": {
///         "weights": {"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel"},
///         "input_activations": {"num_bits": 8, "type": "int", "symmetric": true, "strategy": "token", "dynamic": true}
///     }}
/// }}"#;
/// let quantization = Quantization::from_config("config.json", config)?.expect("it has one");
/// assert_eq!(quantization.precision(), Precision::Int8);
/// assert_eq!(Quantization::from_config("config.json", "{}")?, None);
/// # Ok::<(), loquat_runtime::WeightsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantization {
    method: &'static str,
    schemes: Vec<Scheme>,
    int8_activations: bool,
}

/// One kind of quantised tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheme {
    /// Bits of a value: 4 or 8.
    pub(super) bits: usize,
    /// Values along a row that share a scale; `None` for the whole row.
    pub(super) group: Option<usize>,
}

const COMPRESSED_TENSORS: &str = "compressed-tensors";
const BITSANDBYTES: &str = "bitsandbytes";

/// What to do about weights that can't be read.
const ADVICE: &str = "take the original model, and `loquat quantize` it";

impl Quantization {
    /// Reads the field `quantization_config` of a `config.json`, if there is one. `file` is what to call it in messages.
    ///
    /// # Errors
    /// [`WeightsError::Quantization`] if the method or one of its settings isn't supported.
    pub fn from_config(file: &str, config: &str) -> Result<Option<Quantization>, WeightsError> {
        let error = |method: &str, what: String| WeightsError::Quantization {
            file: file.to_owned(),
            method: method.to_owned(),
            what,
        };
        let config: Config =
            serde_json::from_str(config).map_err(|problem| error("an unreadable method", problem.to_string()))?;
        let Some(Value::Object(fields)) = config.quantization_config else { return Ok(None) };
        let method = match fields.get("quant_method") {
            Some(Value::String(method)) => method.clone(),
            // Files from before the field was there.
            None if fields.contains_key("load_in_8bit") => BITSANDBYTES.to_owned(),
            None if fields.contains_key("config_groups") => COMPRESSED_TENSORS.to_owned(),
            _ => return Err(error("a method without a name", format!("expected quant_method to name it; {ADVICE}"))),
        };
        let read = match method.as_str() {
            COMPRESSED_TENSORS => serde_json::from_value(Value::Object(fields))
                .map_err(|problem| problem.to_string())
                .and_then(|fields: CompressedTensors| fields.quantization()),
            BITSANDBYTES if fields.get("load_in_4bit") != Some(&Value::Bool(true)) => Ok(Quantization {
                method: BITSANDBYTES,
                schemes: vec![Scheme { bits: 8, group: None }],
                int8_activations: false,
            }),
            BITSANDBYTES => Err(format!("its 4-bit codes aren't read, only its int8; {ADVICE}")),
            _ => Err(format!(
                "this method isn't read, only {COMPRESSED_TENSORS} and the int8 of {BITSANDBYTES}; {ADVICE}"
            )),
        };
        read.map(Some).map_err(|what| error(&method, what))
    }

    /// What [`Precision::Auto`] stands for with such weights: int8 where activations are to be bytes as well, else `f32`, which takes the
    /// weights as exactly as they are stored.
    pub fn precision(&self) -> Precision {
        if self.int8_activations { Precision::Int8 } else { Precision::F32 }
    }

    pub(super) fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }
}

/// Such as `compressed-tensors: 4 bits in groups of 32`.
impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.method)?;
        for (i, scheme) in self.schemes.iter().enumerate() {
            write!(f, "{}{} bits", if i == 0 { "" } else { " and " }, scheme.bits)?;
            if let Some(group) = scheme.group {
                write!(f, " in groups of {group}")?;
            }
        }
        f.write_str(if self.int8_activations { ", int8 activations" } else { "" })
    }
}

#[derive(Deserialize)]
struct Config {
    quantization_config: Option<Value>,
}

/// The fields of compressed-tensors that say how weights are stored.
#[derive(Deserialize)]
struct CompressedTensors {
    format: Option<String>,
    config_groups: BTreeMap<String, Group>,
}

#[derive(Deserialize)]
struct Group {
    weights: Option<Values>,
    input_activations: Option<Values>,
    format: Option<String>,
}

/// How the values of a kind are quantised.
#[derive(Deserialize)]
struct Values {
    num_bits: usize,
    #[serde(rename = "type", default = "int")]
    kind: String,
    #[serde(default = "yes")]
    symmetric: bool,
    strategy: Option<String>,
    group_size: Option<i64>,
}

fn int() -> String {
    "int".to_owned()
}

fn yes() -> bool {
    true
}

impl CompressedTensors {
    fn quantization(&self) -> Result<Quantization, String> {
        let mut schemes = Vec::new();
        let mut int8_activations = false;
        for (name, group) in &self.config_groups {
            let Some(weights) = &group.weights else { continue };
            let in_group = |what: String| format!("{name}: {what}; {ADVICE}");
            let format = group.format.as_ref().or(self.format.as_ref()).map_or("int-quantized", String::as_str);
            if !["int-quantized", "naive-quantized", "pack-quantized", "mixed-precision"].contains(&format) {
                return Err(in_group(format!("expected format int-quantized or pack-quantized, found {format:?}")));
            }
            if weights.kind != "int" || !weights.symmetric || ![4, 8].contains(&weights.num_bits) {
                return Err(in_group(format!(
                    "expected symmetric integers of 4 or 8 bits, found {} ones of type {:?} with {} bits",
                    if weights.symmetric { "symmetric" } else { "asymmetric" },
                    weights.kind,
                    weights.num_bits
                )));
            }
            let group_size = match weights.strategy.as_deref() {
                Some("channel" | "tensor") => None,
                None if weights.group_size.is_none_or(|size| size <= 0) => None,
                Some("group") | None => match weights.group_size.and_then(|size| usize::try_from(size).ok()) {
                    Some(size) if size > 0 => Some(size),
                    _ => {
                        return Err(in_group(format!(
                            "expected a group_size from 1 up, found {:?}",
                            weights.group_size
                        )));
                    }
                },
                Some(strategy) => {
                    return Err(in_group(format!("expected strategy channel, tensor or group, found {strategy:?}")));
                }
            };
            schemes.push(Scheme { bits: weights.num_bits, group: group_size });
            int8_activations |=
                group.input_activations.as_ref().is_some_and(|values| values.num_bits == 8 && values.kind == "int");
        }
        Ok(Quantization { method: COMPRESSED_TENSORS, schemes, int8_activations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(quantization_config: &str) -> Result<Option<Quantization>, String> {
        Quantization::from_config("x/config.json", &format!(r#"{{"quantization_config": {quantization_config}}}"#))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn schemes_that_are_read_say_what_they_are() {
        let cases = [
            (
                r#"{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"a":{"weights":{"num_bits":4,"strategy":"group","group_size":32}}}}"#,
                "compressed-tensors: 4 bits in groups of 32",
            ),
            (
                r#"{"config_groups":{"a":{"weights":{"num_bits":8},"input_activations":{"num_bits":8}},"b":{"weights":null}}}"#,
                "compressed-tensors: 8 bits, int8 activations",
            ),
            (r#"{"load_in_8bit":true,"load_in_4bit":false}"#, "bitsandbytes: 8 bits"),
        ];
        for (config, expected) in cases {
            assert_eq!(read(config).unwrap().unwrap().to_string(), expected);
        }
        assert_eq!(read("null"), Ok(None));
    }

    #[test]
    fn methods_and_settings_that_are_not_read_are_named() {
        let cases = [
            (r#"{"quant_method":"gptq","bits":4}"#, ["by gptq", "loquat quantize"]),
            (r#"{"quant_method":"awq","bits":4}"#, ["by awq", "original model"]),
            (r#"{"quant_method":"quanto"}"#, ["by quanto", "original model"]),
            (r#"{"quant_method":"bitsandbytes","load_in_4bit":true}"#, ["by bitsandbytes", "4-bit"]),
            (r#"{"bits":4}"#, ["without a name", "quant_method"]),
            (r#"{"quant_method":"compressed-tensors"}"#, ["compressed-tensors", "config_groups"]),
            (
                r#"{"config_groups":{"g":{"weights":{"num_bits":8,"type":"float"}}}}"#,
                ["g: expected symmetric integers", "type \"float\""],
            ),
            (r#"{"config_groups":{"g":{"weights":{"num_bits":4,"symmetric":false}}}}"#, ["g: ", "asymmetric"]),
            (r#"{"config_groups":{"g":{"weights":{"num_bits":3}}}}"#, ["g: ", "3 bits"]),
            (r#"{"config_groups":{"g":{"weights":{"num_bits":4,"strategy":"group"}}}}"#, ["group_size", "None"]),
            (
                r#"{"config_groups":{"g":{"weights":{"num_bits":4,"strategy":"group","group_size":0}}}}"#,
                ["group_size", "Some(0)"],
            ),
            (r#"{"config_groups":{"g":{"weights":{"num_bits":4,"strategy":"block"}}}}"#, ["strategy", "block"]),
            (r#"{"format":"float-quantized","config_groups":{"g":{"weights":{"num_bits":8}}}}"#, ["format", "float"]),
        ];
        for (config, parts) in cases {
            let message = read(config).unwrap_err();
            assert!(message.starts_with("x/config.json"), "{message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{config}: {message}");
        }
    }
}
