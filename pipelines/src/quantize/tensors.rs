//! What becomes of each tensor.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use half::{bf16, f16};
use loquat_runtime::{
    Weights,
    graph::{Graph, Op},
    weights::{Dtype, NewTensor, TensorView},
};

use super::{
    TableFormat, TensorReport, WeightFormat,
    calibrate::Calibration,
    codes::{Coded, Integers},
};
use crate::{Error, Progress, quantize::report::Difference};

/// Rows below which a tensor stays as it is: heads, whose few numbers are the result itself, and tables of a few rows, which take no room.
const LEAST_ROWS: usize = 32;

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    AsItIs,
    F32,
    F16,
    Bf16,
    Integers(Integers),
}

/// What becomes of each tensor of some weights.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    items: Vec<Item<'a>>,
}

#[derive(Debug)]
struct Item<'a> {
    tensor: TensorView<'a>,
    target: Target,
    /// The graph's name, for weights of linear layers.
    layer: Option<String>,
    kept: bool,
    file: String,
}

type Written<'a> = (Vec<NewTensor<'a>>, TensorReport);

impl<'a> Plan<'a> {
    pub(super) fn new(
        graph: &Graph,
        weights: &'a Weights,
        format: WeightFormat,
        group: usize,
        tables: TableFormat,
    ) -> Plan<'a> {
        let (mut linear, mut embedding) = (BTreeSet::new(), BTreeSet::new());
        for node in graph.nodes() {
            match &node.op {
                Op::Linear(layer) => {
                    let parts = graph.params()[layer.weight.index()].parts.iter();
                    linear.extend(parts.filter(|part| !part.transposed).map(|part| &part.name));
                }
                Op::Embedding { lookups, .. } => embedding
                    .extend(lookups.iter().flat_map(|l| &graph.params()[l.table.index()].parts).map(|p| &p.name)),
                _ => {}
            }
        }
        let parameters = weights.parameters(graph);
        let names: BTreeMap<&str, &str> = parameters.iter().map(|(name, tensor)| (tensor.name, *name)).collect();
        let item = |tensor: TensorView<'a>| {
            let name = names.get(tensor.name).map(|name| (*name).to_owned());
            let is = |set: &BTreeSet<&String>| name.as_ref().is_some_and(|name| set.contains(name));
            let is_float = matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
            let large = tensor.shape.first().is_some_and(|&rows| rows >= LEAST_ROWS);
            let target = match (format, tensor.shape.len()) {
                _ if !is_float => Target::AsItIs,
                (_, 2) if is(&embedding) => match tables {
                    TableFormat::Int8 if large => Target::Integers(Integers::Int8),
                    TableFormat::F32 | TableFormat::Int8 => Target::F32,
                    TableFormat::F16 => Target::F16,
                    TableFormat::Bf16 => Target::Bf16,
                },
                (WeightFormat::Bf16, 2..) => Target::Bf16,
                (WeightFormat::F16, 2..) => Target::F16,
                (WeightFormat::Int8, 2) if large && is(&linear) => Target::Integers(Integers::Int8),
                (WeightFormat::Int4, 2) if large && is(&linear) => Target::Integers(Integers::Int4 { group }),
                (_, 0..2) => Target::F32,
                _ => Target::AsItIs,
            };
            let layer = name.clone().filter(|_| is(&linear));
            Item { tensor, target, layer, kept: false, file: weights.files() }
        };
        Plan { items: weights.iter().map(item).collect() }
    }

    /// Keeps weights of layers, by the graph's names, in half precision.
    pub(super) fn keep(&mut self, layers: &[String]) {
        for item in &mut self.items {
            let named = item.layer.as_ref().is_some_and(|layer| layers.contains(layer));
            if named && matches!(item.target, Target::Integers(_)) {
                item.target = Target::F16;
                item.kept = true;
            }
        }
    }

    /// The layers that were kept.
    pub(super) fn kept(&self) -> Vec<String> {
        self.items.iter().filter(|item| item.kept).map(|item| module(item.tensor.name).to_owned()).collect()
    }

    pub(super) fn has_int8_tables(&self) -> bool {
        self.items.iter().any(|item| item.layer.is_none() && item.target == Target::Integers(Integers::Int8))
    }

    /// Modules with a matrix that isn't quantised, by their names in the file.
    pub(super) fn ignored(&self) -> Vec<&str> {
        let quantised = |item: &Item<'_>| matches!(item.target, Target::Integers(_));
        let matrices = self.items.iter().filter(|item| item.tensor.shape.len() == 2 && !quantised(item));
        matrices.map(|item| module(item.tensor.name)).collect()
    }

    /// The new tensors, and what each lost. `calibration` chooses the roundings of the layers that it knows.
    pub(super) fn run(
        &self,
        threads: usize,
        calibration: Option<&Calibration>,
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<(Vec<NewTensor<'a>>, Vec<TensorReport>), Error> {
        let results: Vec<Mutex<Option<Result<Written<'a>, Error>>>> =
            self.items.iter().map(|_| Mutex::new(None)).collect();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = self.items.get(index) else { break };
                *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(item.run(calibration));
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let total = self.items.len();
            while workers.iter().any(|worker| !worker.is_finished()) {
                std::thread::sleep(std::time::Duration::from_millis(20));
                progress("tensors", Progress { done: done.load(Ordering::Relaxed), total });
            }
        });
        let (mut tensors, mut reports) = (Vec::new(), Vec::new());
        for result in results {
            if let Some(result) = result.into_inner().unwrap_or_else(PoisonError::into_inner) {
                let (new, report) = result?;
                tensors.extend(new);
                reports.push(report);
            }
        }
        Ok((tensors, reports))
    }
}

impl<'a> Item<'a> {
    fn run(&self, calibration: Option<&Calibration>) -> Result<Written<'a>, Error> {
        let TensorView { name, dtype, shape, bytes } = self.tensor;
        let tensor =
            |name: String, dtype, shape: Vec<usize>, bytes: Cow<'a, [u8]>| NewTensor { name, dtype, shape, bytes };
        let as_it_is = || tensor(name.to_owned(), dtype, shape.to_vec(), Cow::Borrowed(bytes));
        let (values, target) = match (self.tensor.to_f32(), self.target) {
            (Some(values), target) if target != Target::AsItIs => (values, target),
            _ => return Ok((vec![as_it_is()], self.report("as it is", bytes.len(), Difference::default()))),
        };
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.error(format!("value {position} is {}, expected a finite number", values[position])));
        }
        let width = shape.last().copied().unwrap_or(1);
        let coded = |integers: Integers| match (calibration, &self.layer) {
            (Some(calibration), Some(layer)) => calibration.coded(layer, &values, width, integers),
            _ => Coded::nearest(&values, width, integers),
        };
        let floats = |dtype, bytes: Vec<u8>| vec![tensor(name.to_owned(), dtype, shape.to_vec(), bytes.into())];
        let (kind, new, found) = match target {
            Target::AsItIs | Target::F32 => {
                ("F32", floats(Dtype::F32, to_bytes(&values, f32::to_le_bytes)), Cow::Borrowed(&values))
            }
            Target::F16 => {
                if let Some(value) = values.iter().find(|value| !f16::from_f32(**value).is_finite()) {
                    return Err(self.error(format!("{value} is beyond the range of f16: take bf16")));
                }
                let found = values.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
                (
                    "F16",
                    floats(Dtype::F16, to_bytes(&values, |value| f16::from_f32(value).to_le_bytes())),
                    Cow::Owned(found),
                )
            }
            Target::Bf16 => {
                if let Some(value) = values.iter().find(|value| !bf16::from_f32(**value).is_finite()) {
                    return Err(self.error(format!("{value} is beyond the range of bf16")));
                }
                let found = values.iter().map(|&value| bf16::from_f32(value).to_f32()).collect();
                let bytes = to_bytes(&values, |value| bf16::from_f32(value).to_le_bytes());
                ("BF16", floats(Dtype::BF16, bytes), Cow::Owned(found))
            }
            Target::Integers(integers) => {
                let coded = coded(integers);
                let rows = shape.first().copied().unwrap_or(0);
                let scale_shape = vec![rows, width.div_ceil(coded.group)];
                let scale = format!("{name}_scale");
                let (kind, new) = match integers {
                    Integers::Int8 => {
                        let codes = coded.codes.iter().map(|code| code.cast_unsigned()).collect::<Vec<u8>>();
                        let scales = to_bytes(&coded.scales, f32::to_le_bytes);
                        let codes = tensor(name.to_owned(), Dtype::I8, shape.to_vec(), codes.into());
                        ("I8", vec![codes, tensor(scale, Dtype::F32, scale_shape, scales.into())])
                    }
                    Integers::Int4 { .. } => {
                        let scales = to_bytes(&coded.scales, |value| f16::from_f32(value).to_le_bytes());
                        let dims =
                            [rows, width].iter().flat_map(|&dim| (dim as u64).to_le_bytes()).collect::<Vec<u8>>();
                        let packed_shape = vec![rows, width.div_ceil(8)];
                        let packed = tensor(format!("{name}_packed"), Dtype::I32, packed_shape, coded.packed4().into());
                        let new = vec![
                            packed,
                            tensor(format!("{name}_shape"), Dtype::I64, vec![2], dims.into()),
                            tensor(scale, Dtype::F16, scale_shape, scales.into()),
                        ];
                        ("I4", new)
                    }
                };
                (kind, new, Cow::Owned(coded.values()))
            }
        };
        let size = new.iter().map(|tensor| tensor.bytes.len()).sum();
        let mut difference = Difference::default();
        difference.add(&values, &found);
        Ok((new, self.report(kind, size, difference)))
    }

    fn report(&self, stored_as: &'static str, bytes: usize, difference: Difference) -> TensorReport {
        TensorReport {
            name: self.tensor.name.to_owned(),
            stored_as,
            bytes_before: self.tensor.bytes.len() as u64,
            bytes_after: bytes as u64,
            cosine: difference.cosine(),
            max_error: difference.max_error(),
        }
    }

    fn error(&self, problem: String) -> Error {
        Error::Tensor { path: self.file.clone(), tensor: self.tensor.name.to_owned(), problem }
    }
}

/// The module that a tensor is of.
fn module(tensor: &str) -> &str {
    tensor.strip_suffix(".weight").unwrap_or(tensor)
}

fn to_bytes<const N: usize>(values: &[f32], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}
