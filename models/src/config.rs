//! Reading `config.json`, and the checks that all architectures share.

use std::path::Path;

use loquat_runtime::{Activation, Weights};
use serde::de::DeserializeOwned;

use crate::ModelError;

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
