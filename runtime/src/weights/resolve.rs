//! Finding the tensors that a graph asks for.

use std::collections::BTreeSet;

use super::{
    Dtype, Location, Quantization, TensorProblem, TensorView, Weights, WeightsError,
    convert::{RowScales, Storage, convert_row},
    quantization::Scheme,
    scales::{Integers, Scales},
};
use crate::graph::{Graph, Op, Param, Part};

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
    /// What integers are multiplied with.
    pub(crate) scales: Option<Scales>,
    /// For rows that are stored as columns, how many columns there are.
    pub(crate) transposed: Option<usize>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(weights: &'a Weights, graph: &Graph) -> Resolver<'a> {
        let names = || graph.params().iter().flat_map(|param| &param.parts).map(|part| part.name.as_str());
        let stored = |prefix: &str, name: &str| {
            find(weights, prefix, name).is_some() || find(weights, prefix, &packed_name(name)).is_some()
        };
        let found = |prefix: &str| names().filter(|name| stored(prefix, name)).count();
        let mut best = (found(""), "");
        for prefix in graph.prefixes() {
            let count = found(prefix);
            if count > best.0 {
                best = (count, prefix);
            }
        }
        Resolver { weights, prefix: best.1.to_owned(), problems: Vec::new(), used: BTreeSet::new() }
    }

    /// The tensors that are there by the names that the graph has for them.
    pub(crate) fn tensors<'g>(&self, graph: &'g Graph) -> Vec<(&'g str, TensorView<'a>)> {
        let parts = graph.params().iter().flat_map(|param| &param.parts);
        parts.filter_map(|part| Some((part.name.as_str(), find(self.weights, &self.prefix, &part.name)?))).collect()
    }

    /// A table's tensor, or `None` and a problem noted. Rows of a table are looked up where they lie, so not every form will do.
    pub(crate) fn resolve_table(&mut self, param: &Param) -> Option<Resolved> {
        let resolved = self.resolve(param)?;
        for (source, part) in resolved.sources.iter().zip(&param.parts) {
            let by_row = source.scales.as_ref().is_none_or(Scales::are_per_row);
            if !by_row || !matches!(source.storage, Storage::F32 | Storage::F16 | Storage::Bf16 | Storage::I8) {
                let what = "expected a table of F32, F16, BF16, or I8 with a scale for each row";
                return self.problem(&part.name, format!("{what}, found packed values or groups"));
            }
        }
        Some(resolved)
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
        if let Some(tensor) = find(self.weights, &self.prefix, &part.name) {
            return self.plain(part, width, &tensor);
        }
        if let (Some(width), false, Some(tensor)) =
            (width, part.transposed, find(self.weights, &self.prefix, &packed_name(&part.name)))
        {
            return self.packed(part, width, &tensor);
        }
        let expected = stored_shape(part, width);
        let hint = self.foreign_layout(&part.name);
        self.problem(&part.name, format!("expected one of shape {expected:?}, found none{hint}"))
    }

    /// A tensor of values, or of bytes with scales beside it.
    fn plain(&mut self, part: &Part, width: Option<usize>, tensor: &TensorView<'_>) -> Option<Source> {
        let name = tensor.name.to_owned();
        let expected = stored_shape(part, width);
        let storage = Storage::of(tensor.dtype);
        let folded = match (tensor.shape, &expected[..]) {
            _ if !part.folded => false,
            ([kept, rest @ ..], [first, last]) => kept == first && product(rest) == Some(*last),
            (rest, [last]) => product(rest) == Some(*last),
            _ => false,
        };
        if tensor.shape != expected && !folded && storage.is_some() {
            return self.problem(&name, format!("expected shape {expected:?}, found {:?}", tensor.shape));
        }
        let Some(storage) = storage else {
            let hint = self.foreign_layout(&part.name);
            let what = format!("expected dtype F32, F16, BF16 or I8, found {}{hint}", tensor.dtype);
            return self.problem(&name, what);
        };
        let scales = match (storage, width) {
            (Storage::I8, _) if part.transposed || folded => {
                return self.problem(&name, "expected a matrix of F32, F16 or BF16, found I8".to_owned());
            }
            (Storage::I8, Some(width)) => Some(self.scales_of_bytes(&name, part.of, width)?),
            (Storage::I8, None) => {
                return self.problem(&name, "expected a vector of F32, F16 or BF16, found I8".to_owned());
            }
            _ => None,
        };
        self.used.insert(name.clone());
        self.rows(part, width, storage, &name, scales)
    }

    /// The rows of a part. The builder has checked that they are there, and the tensor's shape is the part's.
    fn rows(
        &self,
        part: &Part,
        width: Option<usize>,
        storage: Storage,
        name: &str,
        scales: Option<Scales>,
    ) -> Option<Source> {
        let values = self.weights.locate(name)?;
        if part.transposed {
            return Some(Source { storage, rows: part.rows, values, scales, transposed: Some(part.of) });
        }
        let row_bytes = storage.row_bytes(width.unwrap_or(1));
        let start = values.range.start + part.first * row_bytes;
        let values = Location { range: start..start + part.rows * row_bytes, ..values };
        let scales = scales.map(|scales| scales.rows(part.first, part.rows));
        Some(Source { storage, rows: part.rows, values, scales, transposed: None })
    }

    /// The scales of `X.weight` of I8: `X.weight_scale` (compressed-tensors), or `X.SCB` (bitsandbytes).
    fn scales_of_bytes(&mut self, name: &str, rows: usize, width: usize) -> Option<Scales> {
        let scale_name = format!("{name}_scale");
        let module = name.strip_suffix("weight").unwrap_or(name);
        let peaks_name = format!("{module}SCB");
        let weights = self.weights;
        if let (None, Some(peaks)) = (weights.get(&scale_name), weights.get(&peaks_name)) {
            self.used.insert(format!("{module}weight_format"));
            let integers = Integers { rows, width, schemes: &[] };
            let read = Scales::read_peaks(&peaks, integers);
            return self.used_scales(peaks_name, read);
        }
        self.scales(name, rows, width, weights.quantization().map_or(&[], Quantization::schemes))
    }

    /// `X.weight_packed` with `X.weight_shape` and `X.weight_scale`, as compressed-tensors packs integers of few bits.
    fn packed(&mut self, part: &Part, width: usize, tensor: &TensorView<'_>) -> Option<Source> {
        let weights = self.weights;
        let packed = tensor.name.to_owned();
        let name = packed.strip_suffix("_packed").unwrap_or(&packed).to_owned();
        let shape_name = format!("{name}_shape");
        let expected = [part.of, width].map(|dim| (dim as u64).to_le_bytes()).concat();
        match weights.get(&shape_name) {
            Some(shape) if shape.dtype == Dtype::I64 && shape.bytes == expected => self.used.insert(shape_name),
            Some(shape) if shape.dtype == Dtype::I64 => {
                let found: Vec<i64> =
                    shape.bytes.as_chunks::<8>().0.iter().take(4).map(|bytes| i64::from_le_bytes(*bytes)).collect();
                return self.problem(&shape_name, format!("expected {:?}, found {found:?}", [part.of, width]));
            }
            Some(shape) => {
                return self.problem(&shape_name, format!("expected two numbers of I64, found {}", shape.dtype));
            }
            None => return self.problem(&shape_name, format!("expected the shape of {name}, found none")),
        };
        let schemes = weights.quantization().map_or(&[][..], Quantization::schemes);
        let allowed = |bits: usize| schemes.is_empty() || schemes.iter().any(|scheme| scheme.bits == bits);
        let words = |bits: usize| (width * bits).div_ceil(32);
        let forms = [(4, Storage::Packed4), (8, Storage::Packed8)];
        let fits = |bits: usize| allowed(bits) && tensor.shape == [part.of, words(bits)];
        let form = forms.into_iter().find(|&(bits, _)| tensor.dtype == Dtype::I32 && fits(bits));
        let Some((bits, storage)) = form else {
            let expected = forms.iter().filter(|(bits, _)| allowed(*bits));
            let expected: Vec<String> =
                expected.map(|&(bits, _)| format!("[{}, {}] for {bits} bits", part.of, words(bits))).collect();
            let (expected, found) = (expected.join(" or "), tensor.shape);
            return self
                .problem(&packed, format!("expected I32 of shape {expected}, found {} {found:?}", tensor.dtype));
        };
        let schemes: Vec<Scheme> = schemes.iter().filter(|scheme| scheme.bits == bits).copied().collect();
        let scales = self.scales(&name, part.of, width, &schemes)?;
        self.used.insert(packed.clone());
        self.rows(part, Some(width), storage, &packed, Some(scales))
    }

    /// `X.weight_scale`, and nothing beside it that would make the values mean something else.
    fn scales(&mut self, name: &str, rows: usize, width: usize, schemes: &[Scheme]) -> Option<Scales> {
        for (suffix, what) in [("zero_point", "symmetric integers"), ("g_idx", "groups of neighbouring values")] {
            let other = format!("{name}_{suffix}");
            if self.weights.get(&other).is_some() {
                return self.problem(&other, format!("expected {what} without it; take the original model"));
            }
        }
        let scale_name = format!("{name}_scale");
        let Some(tensor) = self.weights.get(&scale_name) else {
            return self.problem(&scale_name, format!("expected the scales of {name}, found none"));
        };
        let read = Scales::read(&tensor, Integers { rows, width, schemes });
        self.used_scales(scale_name, read)
    }

    fn used_scales(&mut self, name: String, read: Result<Scales, String>) -> Option<Scales> {
        match read {
            Ok(scales) => {
                self.used.insert(name);
                Some(scales)
            }
            Err(what) => self.problem(&name, what),
        }
    }

    /// Whose layout holds the parameter, if it is one of those that aren't read.
    fn foreign_layout(&self, name: &str) -> String {
        let module = name.strip_suffix("weight").unwrap_or(name);
        let signs = [
            (format!("{module}qweight"), "GPTQ or AWQ"),
            (format!("{name}._data"), "quanto"),
            (format!("{name}.absmax"), "the 4-bit codes of bitsandbytes"),
            (format!("{name}_scale_inv"), "FP8"),
            (format!("{name}_scale"), "compressed-tensors in a type that isn't read"),
        ];
        match signs.iter().find(|(sign, _)| find(self.weights, &self.prefix, sign).is_some()) {
            Some((sign, method)) => format!(
                "; {sign} is there, which looks like {method}: only symmetric int8 and int4 of compressed-tensors and int8 of bitsandbytes are read, so take the original model"
            ),
            None => String::new(),
        }
    }
}

fn product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim))
}

/// The shape of a part's tensor.
fn stored_shape(part: &Part, width: Option<usize>) -> Vec<usize> {
    let mut shape: Vec<usize> = std::iter::once(part.of).chain(width).collect();
    if part.transposed {
        shape.reverse();
    }
    shape
}

/// Where compressed-tensors puts integers of few bits.
fn packed_name(name: &str) -> String {
    format!("{name}_packed")
}

/// The weights of linear layers that quantised weights hold as they were: whoever made the file found them sensitive.
pub(crate) fn unquantized(graph: &Graph, weights: &Weights) -> Vec<String> {
    let is_float = |tensor: &TensorView<'_>| Storage::of(tensor.dtype).is_some_and(|storage| !storage.is_quantized());
    let tensors = Resolver::new(weights, graph).tensors(graph);
    let floats: BTreeSet<&str> = tensors.iter().filter(|(_, tensor)| is_float(tensor)).map(|(name, _)| *name).collect();
    let linears = graph.nodes().iter().filter_map(|node| match &node.op {
        Op::Linear(linear) => Some(graph.param(linear.weight)),
        _ => None,
    });
    let names = linears.flat_map(|param| &param.parts).map(|part| part.name.clone());
    names.filter(|name| floats.contains(name.as_str())).collect()
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
        if let Some(columns) = source.transposed {
            let size = source.storage.row_bytes(1);
            let values = weights.at(&source.values).chunks_exact(size).skip(row).step_by(columns);
            for (out, bytes) in out.chunks_exact_mut(1).zip(values) {
                convert_row(source.storage, bytes, RowScales::NONE, out);
            }
            return;
        }
        let row_bytes = source.storage.row_bytes(self.width);
        let bytes = &weights.at(&source.values)[row * row_bytes..][..row_bytes];
        let scales = source.scales.as_ref().map_or(RowScales::NONE, |scales| scales.row(row));
        convert_row(source.storage, bytes, scales, out);
    }

    /// The values of a vector.
    pub(crate) fn to_vec(&self, weights: &Weights) -> Vec<f32> {
        let mut values = vec![0.0; self.sources.iter().map(|source| source.rows).sum()];
        let mut rest = values.as_mut_slice();
        for source in &self.sources {
            let (part, after) = rest.split_at_mut(source.rows);
            convert_row(source.storage, weights.at(&source.values), RowScales::NONE, part);
            rest = after;
        }
        values
    }
}
