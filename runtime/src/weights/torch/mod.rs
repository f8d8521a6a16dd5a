//! `pytorch_model.bin`: tensors as PyTorch saves them, in its zip format and in the one before it.
//!
//! Both hold a pickle that describes the tensors, and the storages with their values. The pickle is read by a machine that knows data
//! alone: nothing that it names is ever imported or called. Values stay where they are in the file.

mod legacy;
mod pickle;
mod zip;

use std::{collections::BTreeMap, ops::Range};

use super::{Dtype, WeightsError};
pub(super) use legacy::is_legacy;
use pickle::{Kind, StorageRef, TensorRef};
pub(super) use zip::is_zip;

/// A tensor that lies inside its file.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Its bytes, counted from the start of the file.
    pub(super) range: Range<usize>,
}

/// The tensors of a file in the zip format.
pub(super) fn parse_zip(file: &str, bytes: &[u8]) -> Result<Vec<Tensor>, WeightsError> {
    let fault = |what: String| WeightsError::Torch { file: file.to_owned(), what };
    let entries = zip::entries(bytes).map_err(fault)?;
    let mut pickles = entries.keys().filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(name) = pickles.next() else {
        return Err(fault("the archive holds no data.pkl, which every PyTorch archive does".into()));
    };
    if let Some(second) = pickles.next() {
        return Err(fault(format!("the archive holds both {name} and {second}")));
    }
    let root = &name[..name.len() - "data.pkl".len()];
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && &bytes[order.clone()] != b"little"
    {
        return Err(fault("its values are big-endian, which isn't supported".into()));
    }
    let found = pickle::tensors(&bytes[entries[name].clone()]).map_err(|error| fault(format!("{name}: {error}")))?;
    place(file, found, |storage| {
        let entry = format!("{root}data/{}", storage.key);
        entries.get(&entry).cloned().ok_or_else(|| format!("the archive holds no {entry}"))
    })
}

/// The tensors of a file in the format before PyTorch 1.6.
pub(super) fn parse_legacy(file: &str, bytes: &[u8]) -> Result<Vec<Tensor>, WeightsError> {
    let fault = |what: String| WeightsError::Torch { file: file.to_owned(), what };
    let legacy = legacy::parse(bytes).map_err(fault)?;
    place(file, legacy.tensors, |storage| {
        legacy.storages.get(storage.key).cloned().ok_or_else(|| format!("the file holds no storage {:?}", storage.key))
    })
}

/// Where the tensors' values lie, checked against the storages that hold them.
fn place<'p>(
    file: &str,
    found: Vec<(&'p str, TensorRef<'p>)>,
    storage_range: impl Fn(&StorageRef<'p>) -> Result<Range<usize>, String>,
) -> Result<Vec<Tensor>, WeightsError> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in found {
        let fault = |what: String| WeightsError::Tensor { file: file.to_owned(), tensor: name.to_owned(), what };
        let range = storage_range(&tensor.storage).map_err(fault)?;
        let placed = values(&tensor, range).map_err(fault)?;
        // As in Python, the last one counts.
        tensors.insert(name, placed);
    }
    let tensor = |(name, (dtype, shape, range)): (&str, _)| Tensor { name: name.to_owned(), dtype, shape, range };
    Ok(tensors.into_iter().map(tensor).collect())
}

type Placed = (Dtype, Vec<usize>, Range<usize>);

fn values(tensor: &TensorRef<'_>, storage: Range<usize>) -> Result<Placed, String> {
    let dtype = match tensor.storage.kind {
        Kind::Float => Dtype::F32,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Double => Dtype::F64,
        Kind::Long => Dtype::I64,
        Kind::Int => Dtype::I32,
        Kind::Short => Dtype::I16,
        Kind::Char => Dtype::I8,
        Kind::Byte => Dtype::U8,
        Kind::Bool => Dtype::BOOL,
    };
    let too_large = || format!("its shape {:?} overflows", tensor.shape);
    if tensor.storage.len.checked_mul(dtype.size()) != Some(storage.len()) {
        let len = tensor.storage.len;
        return Err(format!("its storage of {len} {dtype} has {} bytes in the file", storage.len()));
    }
    let count = tensor.shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim)).ok_or_else(too_large)?;
    if tensor.strides.len() != tensor.shape.len() {
        return Err(format!("its shape is {:?}, but its strides are {:?}", tensor.shape, tensor.strides));
    }
    let mut expected = 1usize;
    for (&dim, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        if dim != 1 && count > 0 && stride != expected {
            return Err(format!(
                "its strides {:?} aren't those of a contiguous tensor of shape {:?}, which alone are supported",
                tensor.strides, tensor.shape
            ));
        }
        expected = expected.checked_mul(dim.max(1)).ok_or_else(too_large)?;
    }
    let end = tensor.offset.checked_add(count).filter(|&end| end <= tensor.storage.len);
    let Some(end) = end else {
        return Err(format!(
            "its values are {}..+{count} of a storage of {}, which is beyond its end",
            tensor.offset, tensor.storage.len
        ));
    };
    // Both fit, since the whole storage's bytes do.
    let range = storage.start + tensor.offset * dtype.size()..storage.start + end * dtype.size();
    Ok((dtype, tensor.shape.clone(), range))
}
