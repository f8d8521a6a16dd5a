//! Writing safetensors files.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::Dtype;

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTensor<'a> {
    /// Its name.
    pub name: String,
    /// Type of its values.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values, little-endian, row-major: as many bytes as type and shape say.
    pub bytes: Cow<'a, [u8]>,
}

/// Writes a safetensors file. Tensors of wide types come first, each type by name, so that all are aligned.
///
/// ```
/// use loquat_runtime::weights::{Dtype, NewTensor, Weights, write_safetensors};
///
/// let bias = NewTensor { name: "bias".into(), dtype: Dtype::F16, shape: vec![2], bytes: vec![0, 0x3c, 0, 0x40].into() };
/// let mut file = Vec::new();
/// write_safetensors(&mut file, vec![bias])?;
/// let weights = Weights::from_vec("tiny.safetensors", file)?;
/// assert_eq!(weights.get("bias").and_then(|bias| bias.to_f32()), Some(vec![1.0, 2.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the bytes of a tensor aren't as many as its type and shape say, two have one name, or `file` can't be written.
pub fn write_safetensors(mut file: impl Write, mut tensors: Vec<NewTensor<'_>>) -> io::Result<()> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    tensors.sort_by(|a, b| (b.dtype.size(), &a.name).cmp(&(a.dtype.size(), &b.name)));
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    let mut offset = 0usize;
    for tensor in &tensors {
        let bytes = tensor.shape.iter().try_fold(tensor.dtype.size(), |bytes, &dim| bytes.checked_mul(dim));
        if bytes != Some(tensor.bytes.len()) {
            let (name, shape, found) = (&tensor.name, &tensor.shape, tensor.bytes.len());
            return Err(invalid(format!("tensor {name:?}: {shape:?} of {} in {found} bytes", tensor.dtype)));
        }
        let entry = serde_json::json!({
            "dtype": tensor.dtype.name(),
            "shape": tensor.shape,
            "data_offsets": [offset, offset + tensor.bytes.len()],
        });
        if header.insert(tensor.name.clone(), entry).is_some() {
            return Err(invalid(format!("tensor {:?} comes twice", tensor.name)));
        }
        offset += tensor.bytes.len();
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    tensors.iter().try_for_each(|tensor| file.write_all(&tensor.bytes))?;
    file.flush()
}
