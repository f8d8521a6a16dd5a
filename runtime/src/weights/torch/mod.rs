//! Tensors as PyTorch saves them: `pytorch_model.bin`, in its zip format and in the one before it, and the archive of its C++ library, which is
//! what rust-bert's `rust_model.ot` is.
//!
//! All hold a pickle that describes the tensors, and the storages with their values. The pickle is read by a machine that knows data
//! alone: nothing that it names is ever imported or called. Values stay where they are in the file.

mod legacy;
mod pickle;

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use super::{Dtype, StoredTensor, WeightsError, zip::Archive};
pub(super) use legacy::is_legacy;
use pickle::{Kind, StorageRef, TensorRef};

/// Whether an entry of an archive is the description of tensors that PyTorch saved.
pub(super) fn is_description(entry: &str) -> bool {
    entry == "data.pkl" || entry.ends_with("/data.pkl")
}

/// The tensors of a file in the zip format.
///
/// LibTorch's archive is the same container. What differs: the pickle is an object of the class `__torch__.Module` with the tensors as
/// attributes, and names hold `|` for the dots that attributes can't have. Its `code/`, which is compressed, and `constants.pkl` aren't read.
pub(super) fn parse_archive(file: &str, bytes: &[u8], archive: &Archive) -> Result<Vec<StoredTensor>, WeightsError> {
    let fault = |what: String| WeightsError::Torch { file: file.to_owned(), what };
    let entry = |name: &str| archive.get(name).map_err(|error| fault(format!("{error}, which PyTorch never does")));
    let mut pickles = archive.names().filter(|name| is_description(name));
    let Some(name) = pickles.next() else {
        return Err(fault("the archive holds no data.pkl, which every PyTorch archive does".into()));
    };
    if let Some(second) = pickles.next() {
        return Err(fault(format!("the archive holds both {name} and {second}")));
    }
    let root = &name[..name.len() - "data.pkl".len()];
    if let Some(order) = entry(&format!("{root}byteorder"))?
        && &bytes[order.clone()] != b"little"
    {
        return Err(fault("its values are big-endian, which isn't supported".into()));
    }
    let pickle = &bytes[entry(name)?.unwrap_or_default()];
    let found = pickle::tensors(pickle).map_err(|error| fault(format!("{name}: {error}")))?;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in found.tensors {
        let full = if found.of_module { Cow::from(name.replace('|', ".")) } else { Cow::from(name) };
        // Entries of a dictionary replace earlier ones, as in Python; attributes can't.
        if let (Some((first, _)), true) = (tensors.insert(full, (name, tensor)), found.of_module) {
            return Err(fault(format!("the module's attributes {first:?} and {name:?} are the same tensor's")));
        }
    }
    let found = tensors.into_iter().map(|(name, (_, tensor))| (name, tensor));
    place(file, found, |storage| {
        let entry = format!("{root}data/{}", storage.key);
        archive.get(&entry)?.ok_or_else(|| format!("the archive holds no {entry}"))
    })
}

/// The tensors of a file in the format before PyTorch 1.6.
pub(super) fn parse_legacy(file: &str, bytes: &[u8]) -> Result<Vec<StoredTensor>, WeightsError> {
    let fault = |what: String| WeightsError::Torch { file: file.to_owned(), what };
    let legacy = legacy::parse(bytes).map_err(fault)?;
    let found: BTreeMap<&str, TensorRef<'_>> = legacy.tensors.into_iter().collect();
    let found = found.into_iter().map(|(name, tensor)| (Cow::from(name), tensor));
    place(file, found, |storage| {
        legacy.storages.get(storage.key).cloned().ok_or_else(|| format!("the file holds no storage {:?}", storage.key))
    })
}

/// Where the tensors' values lie, checked against the storages that hold them.
fn place<'p>(
    file: &str,
    found: impl Iterator<Item = (Cow<'p, str>, TensorRef<'p>)>,
    storage_range: impl Fn(&StorageRef<'p>) -> Result<Range<usize>, String>,
) -> Result<Vec<StoredTensor>, WeightsError> {
    let place = |(name, tensor): (Cow<'p, str>, TensorRef<'p>)| {
        let placed = storage_range(&tensor.storage).and_then(|range| values(&tensor, range));
        match placed {
            Ok((dtype, shape, range)) => Ok(StoredTensor { name: name.into_owned(), dtype, shape, range }),
            Err(what) => Err(WeightsError::Tensor { file: file.to_owned(), tensor: name.into_owned(), what }),
        }
    };
    found.map(place).collect()
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
