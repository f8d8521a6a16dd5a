//! Finding the tensors that a graph asks for.

use std::collections::BTreeSet;

use super::{
    Location, TensorProblem, TensorView, Weights, WeightsError,
    convert::{Storage, convert_row},
};
use crate::graph::{Graph, Param, Part};

/// The parameters of a graph, found in the weights, with shapes and types checked.
///
/// The prefix of the names (`bert.` and the like) is settled once, by how many parameters each candidate finds.
pub(crate) struct Resolver<'a> {
    weights: &'a Weights,
    prefix: String,
    problems: Vec<TensorProblem>,
    used: BTreeSet<String>,
}

/// A parameter whose parts were found.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// The parts in order.
    pub(crate) sources: Vec<Source>,
    /// Values in one row: 1 for a vector.
    pub(crate) width: usize,
}

/// One stored tensor of a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) storage: Storage,
    pub(crate) rows: usize,
    pub(crate) values: Location,
    /// One `f32` for each row, for int8.
    pub(crate) scales: Option<Location>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(weights: &'a Weights, graph: &Graph) -> Resolver<'a> {
        let names = || graph.params().iter().flat_map(|param| &param.parts).map(|part| part.name.as_str());
        let found = |prefix: &str| names().filter(|name| find(weights, prefix, name).is_some()).count();
        let mut best = (found(""), "");
        for prefix in graph.prefixes() {
            let count = found(prefix);
            if count > best.0 {
                best = (count, prefix);
            }
        }
        Resolver { weights, prefix: best.1.to_owned(), problems: Vec::new(), used: BTreeSet::new() }
    }

    /// A parameter's tensors, or `None` and a problem noted.
    pub(crate) fn resolve(&mut self, param: &Param) -> Option<Resolved> {
        let sources: Vec<Option<Source>> = param.parts.iter().map(|part| self.source(part, param.width)).collect();
        let sources = sources.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Resolved { sources, width: param.width.unwrap_or(1) })
    }

    /// The tensors that nothing asked for, or everything that was asked for in vain.
    pub(crate) fn finish(self) -> Result<Vec<String>, WeightsError> {
        if !self.problems.is_empty() {
            let file = self.problems.first().map(|problem| self.weights.file_of(&problem.tensor));
            return Err(WeightsError::Mismatch { file: file.unwrap_or_default(), problems: self.problems });
        }
        Ok(self.weights.names().filter(|name| !self.used.contains(*name)).map(str::to_owned).collect())
    }

    fn problem<T>(&mut self, tensor: &str, what: String) -> Option<T> {
        self.problems.push(TensorProblem { tensor: tensor.to_owned(), what });
        None
    }

    fn source(&mut self, part: &Part, width: Option<usize>) -> Option<Source> {
        let expected: Vec<usize> = std::iter::once(part.of).chain(width).collect();
        let Some(tensor) = find(self.weights, &self.prefix, &part.name) else {
            return self.problem(&part.name, format!("expected one of shape {expected:?}, found none"));
        };
        let name = tensor.name.to_owned();
        if tensor.shape != expected {
            return self.problem(&name, format!("expected shape {expected:?}, found {:?}", tensor.shape));
        }
        let Some(storage) = Storage::of(tensor.dtype) else {
            let what = format!("expected dtype F32, F16, BF16 or I8, found {}", tensor.dtype);
            return self.problem(&name, what);
        };
        if width.is_none() && storage == Storage::I8 {
            return self.problem(&name, "expected a vector of F32, F16 or BF16, found I8".to_owned());
        }
        let scales = match storage {
            Storage::I8 => Some(self.scales(&name, part.of)?.rows(part, size_of::<f32>())),
            _ => None,
        };
        let values = self.weights.locate(&name)?.rows(part, width.unwrap_or(1) * storage.size());
        self.used.insert(name);
        Some(Source { storage, rows: part.rows, values, scales })
    }

    /// The scales of an int8 tensor: `X.weight_scale` beside `X.weight`, one a row.
    fn scales(&mut self, name: &str, rows: usize) -> Option<Location> {
        let scale_name = format!("{name}_scale");
        let Some(tensor) = self.weights.get(&scale_name) else {
            return self.problem(&scale_name, format!("expected the scales of {name}, which is I8, found none"));
        };
        let shape_fits = matches!(tensor.shape, [len] | [len, 1] if *len == rows);
        if !shape_fits || Storage::of(tensor.dtype) != Some(Storage::F32) {
            let what = format!("expected [{rows}, 1] of F32, found {:?} of {}", tensor.shape, tensor.dtype);
            return self.problem(&scale_name, what);
        }
        let scales = tensor.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        if let Some((row, scale)) = scales.enumerate().find(|(_, scale)| !scale.is_finite()) {
            return self.problem(&scale_name, format!("expected finite scales, found {scale} for row {row}"));
        }
        let location = self.weights.locate(&scale_name)?;
        self.used.insert(scale_name);
        Some(location)
    }
}

impl Location {
    /// The rows of a part, of `row_bytes` each. The builder has checked that they are there, and the tensor's shape is the part's.
    fn rows(self, part: &Part, row_bytes: usize) -> Location {
        let start = self.range.start + part.first * row_bytes;
        Location { range: start..start + part.rows * row_bytes, ..self }
    }
}

/// A tensor by its name with or without the prefix, or by the name that it had in files converted from TensorFlow.
fn find<'a>(weights: &'a Weights, prefix: &str, name: &str) -> Option<TensorView<'a>> {
    let old_name = name
        .strip_suffix("LayerNorm.weight")
        .map(|module| format!("{module}LayerNorm.gamma"))
        .or_else(|| name.strip_suffix("LayerNorm.bias").map(|module| format!("{module}LayerNorm.beta")));
    let names = std::iter::once(name).chain(old_name.as_deref());
    let mut candidates = names.flat_map(|name| [format!("{prefix}{name}"), name.to_owned()]);
    candidates.find_map(|name| weights.get(&name))
}

impl Resolved {
    /// Which part holds row `row`, and which of its rows that is.
    fn part(&self, mut row: usize) -> Option<(&Source, usize)> {
        for source in &self.sources {
            if row < source.rows {
                return Some((source, row));
            }
            row -= source.rows;
        }
        None
    }

    /// Converts row `row` of the parts put together.
    pub(crate) fn read_row(&self, weights: &Weights, row: usize, out: &mut [f32]) {
        let Some((source, row)) = self.part(row) else { return };
        let row_bytes = self.width * source.storage.size();
        let bytes = &weights.at(&source.values)[row * row_bytes..][..row_bytes];
        let scale = match &source.scales {
            Some(scales) => match weights.at(scales).as_chunks::<4>().0.get(row) {
                Some(bytes) => f32::from_le_bytes(*bytes),
                None => 1.0,
            },
            None => 1.0,
        };
        convert_row(source.storage, bytes, scale, out);
    }

    /// The values of a vector.
    pub(crate) fn to_vec(&self, weights: &Weights) -> Vec<f32> {
        let mut values = vec![0.0; self.sources.iter().map(|source| source.rows).sum()];
        let mut rest = values.as_mut_slice();
        for source in &self.sources {
            let (part, after) = rest.split_at_mut(source.rows);
            convert_row(source.storage, weights.at(&source.values), 1.0, part);
            rest = after;
        }
        values
    }
}
