//! Reading `config.json`, and the checks that all architectures share.

use std::path::Path;

use loquat_runtime::{Activation, Weights};
use serde::{Deserialize, de::DeserializeOwned};

use crate::ModelError;

/// What sizes may be: ids have 32 bits.
const MAX_SIZE: usize = u32::MAX as usize;

/// What the number of layers may be: far more than anybody trains, far less than memory holds nodes.
const MAX_LAYERS: usize = 4096;

/// What positions may be where no tensor bounds them: room is made for each.
const MAX_POSITIONS: usize = 1 << 17;

/// The text of a configuration and what to call it in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path, or another name.
    pub file: String,
    /// JSON.
    pub text: String,
}

impl Source {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Source, ModelError> {
        let error = |source| ModelError::Read { file: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(error)?;
        let text = String::from_utf8(bytes).map_err(|error| ModelError::Json {
            file: path.display().to_string(),
            what: format!("not UTF-8: {}", error.utf8_error()),
        })?;
        Ok(Source { file: path.display().to_string(), text })
    }

    /// Parses the configuration; fields that `T` doesn't name are ignored.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ModelError> {
        serde_json::from_str(&self.text)
            .map_err(|error| ModelError::Json { file: self.file.clone(), what: error.to_string() })
    }
}

/// What configurations of all architectures say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// What to call the configuration in messages.
    pub(crate) file: String,
    /// `architectures`: the classes that the checkpoint was saved from, such as `BertForMaskedLM`.
    pub(crate) classes: Vec<String>,
    /// Whether a masked language model's decoder shares the table of words.
    pub(crate) tied: bool,
}

#[derive(Deserialize)]
struct CommonFields {
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    tie_word_embeddings: Option<bool>,
}

impl Common {
    pub(crate) fn parse(source: &Source) -> Result<Common, ModelError> {
        let fields: CommonFields = source.parse()?;
        Ok(Common {
            file: source.file.clone(),
            classes: fields.architectures.unwrap_or_default(),
            tied: fields.tie_word_embeddings.unwrap_or(true),
        })
    }
}

/// Checks of the values of one configuration file.
pub(crate) struct Fields<'a> {
    pub(crate) file: &'a str,
}

impl Fields<'_> {
    pub(crate) fn error(&self, field: &'static str, found: impl ToString, expected: impl ToString) -> ModelError {
        ModelError::Field {
            file: self.file.to_owned(),
            field,
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    /// A size is 1 at least. `most` keeps a damaged file from asking for a graph without end.
    pub(crate) fn sizes(&self, sizes: &[(&'static str, usize)]) -> Result<(), ModelError> {
        sizes.iter().try_for_each(|&(field, value)| self.size(field, value, MAX_SIZE))
    }

    pub(crate) fn layers(&self, field: &'static str, value: usize) -> Result<(), ModelError> {
        self.size(field, value, MAX_LAYERS)
    }

    /// The longest sequence, which tensors needn't bound.
    pub(crate) fn positions(&self, field: &'static str, value: usize) -> Result<(), ModelError> {
        self.size(field, value, MAX_POSITIONS)
    }

    /// The heads of an attention divide the width that they share.
    pub(crate) fn heads(&self, field: &'static str, heads: usize, of: &str, width: usize) -> Result<(), ModelError> {
        if width.is_multiple_of(heads) {
            return Ok(());
        }
        Err(self.error(field, heads, format!("a divisor of {of}, which is {width}")))
    }

    /// What is added to a variance.
    pub(crate) fn eps(&self, field: &'static str, eps: f64) -> Result<f32, ModelError> {
        if eps >= 0.0 && eps.is_finite() {
            return Ok(eps as f32);
        }
        Err(self.error(field, eps, "a finite number from 0 up"))
    }

    /// A value that is one of few supported ones.
    pub(crate) fn is(&self, field: &'static str, value: &str, supported: &str) -> Result<(), ModelError> {
        if value == supported { Ok(()) } else { Err(self.error(field, format!("{value:?}"), format!("{supported:?}"))) }
    }

    /// The positions that a table has for tokens, where they are counted on top of the padding token's id.
    pub(crate) fn positions_past(&self, padding: u32, rows: usize) -> Result<usize, ModelError> {
        match rows.checked_sub(padding as usize + 1) {
            Some(positions @ 1..) => Ok(positions),
            _ => Err(self.error(
                "max_position_embeddings",
                rows,
                format!("more than pad_token_id + 1, which is {}", u64::from(padding) + 1),
            )),
        }
    }

    pub(crate) fn size(&self, field: &'static str, value: usize, most: usize) -> Result<(), ModelError> {
        if (1..=most).contains(&value) { Ok(()) } else { Err(self.error(field, value, format!("1 to {most}"))) }
    }

    /// A switch that turns on maths this library doesn't have.
    pub(crate) fn off(&self, field: &'static str, value: bool) -> Result<(), ModelError> {
        if value { Err(self.error(field, value, false)) } else { Ok(()) }
    }

    /// An activation function by the name that transformers gives it.
    pub(crate) fn activation(&self, field: &'static str, name: &str) -> Result<Activation, ModelError> {
        match ACTIVATIONS.iter().find(|(known, _)| *known == name) {
            Some((_, activation)) => Ok(*activation),
            None => {
                let known: Vec<&str> = ACTIVATIONS.iter().map(|(known, _)| *known).collect();
                Err(self.error(field, format!("{name:?}"), format!("one of {}", known.join(", "))))
            }
        }
    }
}

/// Names of transformers' `ACT2FN`. Several are the same function written differently.
const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu", Activation::GeluErf),
    ("gelu_python", Activation::GeluErf),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
];

/// A dimension of a tensor that a field of the configuration gives.
pub(crate) struct Expectation {
    pub(crate) field: &'static str,
    pub(crate) value: usize,
    pub(crate) tensor: &'static str,
    pub(crate) dim: usize,
}

/// Checks the configuration against tensors that tell its fields apart, so that the message can name the field. Tensors that are missing are
/// left to the loading of the weights, which reports all of them.
pub(crate) fn check_dims(
    file: &str,
    weights: &Weights,
    prefixes: &[&str],
    expectations: &[Expectation],
) -> Result<(), ModelError> {
    for expectation in expectations {
        let Some(tensor) = find(weights, prefixes, expectation.tensor) else { continue };
        if tensor.shape.get(expectation.dim) != Some(&expectation.value) {
            return Err(ModelError::Contradiction {
                file: file.to_owned(),
                field: expectation.field,
                value: expectation.value,
                weights: weights.files(),
                found: format!("{} of shape {:?}", tensor.name, tensor.shape),
            });
        }
    }
    Ok(())
}

/// Checks the number of layers, which are tensors named `{stem}{index}.…`.
pub(crate) fn check_layers(
    file: &str,
    weights: &Weights,
    prefixes: &[&str],
    field: &'static str,
    value: usize,
    stem: &str,
) -> Result<(), ModelError> {
    let layer_of = |name: &str| -> Option<usize> {
        let rest = std::iter::once("")
            .chain(prefixes.iter().copied())
            .find_map(|prefix| name.strip_prefix(prefix).and_then(|name| name.strip_prefix(stem)))?;
        rest.split('.').next()?.parse().ok()
    };
    match weights.names().filter_map(layer_of).max() {
        Some(last) if last != value.wrapping_sub(1) => Err(ModelError::Contradiction {
            file: file.to_owned(),
            field,
            value,
            weights: weights.files(),
            found: format!("{stem}{last} as its last layer"),
        }),
        _ => Ok(()),
    }
}

pub(crate) fn find<'a>(
    weights: &'a Weights,
    prefixes: &[&str],
    name: &str,
) -> Option<loquat_runtime::weights::TensorView<'a>> {
    weights.get(name).or_else(|| prefixes.iter().find_map(|prefix| weights.get(&format!("{prefix}{name}"))))
}
