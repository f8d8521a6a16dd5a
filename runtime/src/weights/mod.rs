//! Named tensors of a model, read in place.
//!
//! A checkpoint is mapped, not read: tables that are looked up row by row stay in the file, and everything else is converted once while
//! it is packed for the kernels.

mod convert;
mod dtype;
mod error;
mod header;
#[allow(unsafe_code)]
mod map;
mod mapped;
mod resolve;

pub(crate) use convert::Storage;
pub use dtype::Dtype;
pub use error::{TensorProblem, WeightsError};
pub use mapped::MappedFile;
pub(crate) use resolve::{Resolved, Resolver, Source};

use std::{collections::BTreeMap, ops::Range, path::Path};

use map::Data;

/// The tensors of a checkpoint.
///
/// ```
/// use loquat_runtime::weights::Weights;
///
/// // A safetensors file: the header's length, the header, the data.
/// let header = br#"{"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
/// let mut file = (header.len() as u64).to_le_bytes().to_vec();
/// file.extend_from_slice(header);
/// file.extend([1.0f32, 2.0].iter().flat_map(|value| value.to_le_bytes()));
/// let weights = Weights::from_vec("tiny.safetensors", file)?;
/// let bias = weights.get("bias").expect("it is there");
/// assert_eq!(bias.shape, [2]);
/// assert_eq!(bias.bytes.len(), 8);
/// # Ok::<(), loquat_runtime::weights::WeightsError>(())
/// ```
#[derive(Debug, Default)]
pub struct Weights {
    files: Vec<File>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct File {
    name: String,
    data: Data,
}

#[derive(Debug, Clone)]
struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// One tensor, as it lies in its file.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Type of its values.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// Its values, little-endian, row-major, at any alignment.
    pub bytes: &'a [u8],
}

/// Where a tensor lies, so that it is found again without its name.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    file: usize,
    range: Range<usize>,
}

impl Weights {
    /// Opens a safetensors file, or the `model.safetensors` of a model folder, by mapping it into memory.
    ///
    /// The file must not be shortened while the weights are in use: reading a page that is gone ends the process.
    ///
    /// # Errors
    /// If there is no such file, it can't be mapped, its format isn't supported, or its header is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Weights, WeightsError> {
        let path = path.as_ref();
        let path = if path.is_dir() { file_of_folder(path)? } else { path.to_owned() };
        let data = Data::map(&path).map_err(|source| WeightsError::Open { file: path.clone(), source })?;
        Weights::parse(path.display().to_string(), data)
    }

    /// Reads a safetensors file that is part of the program. `name` is used in messages.
    ///
    /// # Errors
    /// If the header is damaged.
    pub fn from_static(name: impl Into<String>, bytes: &'static [u8]) -> Result<Weights, WeightsError> {
        Weights::parse(name.into(), Data::Static(bytes))
    }

    /// Reads a safetensors file that is already in memory. `name` is used in messages.
    ///
    /// # Errors
    /// If the header is damaged.
    pub fn from_vec(name: impl Into<String>, bytes: Vec<u8>) -> Result<Weights, WeightsError> {
        Weights::parse(name.into(), Data::Owned(bytes))
    }

    fn parse(name: String, data: Data) -> Result<Weights, WeightsError> {
        let tensors = header::parse(&name, data.bytes())?;
        let tensors = tensors.into_iter().map(|tensor| {
            let entry = Entry { file: 0, dtype: tensor.dtype, shape: tensor.shape, range: tensor.range };
            (tensor.name, entry)
        });
        Ok(Weights { tensors: tensors.collect(), files: vec![File { name, data }] })
    }

    /// Adds the tensors of `other`, each with `prefix` put before its name: the module of a model that is stored in files of its own.
    ///
    /// # Errors
    /// [`WeightsError::Duplicate`] if a name would stand for two tensors.
    pub fn join(mut self, prefix: &str, other: Weights) -> Result<Weights, WeightsError> {
        let offset = self.files.len();
        self.files.extend(other.files);
        for (name, entry) in other.tensors {
            let name = format!("{prefix}{name}");
            let file = entry.file + offset;
            if let Some(first) = self.tensors.get(&name) {
                return Err(WeightsError::Duplicate {
                    tensor: name,
                    first: self.files[first.file].name.clone(),
                    second: self.files[file].name.clone(),
                });
            }
            self.tensors.insert(name, Entry { file, ..entry });
        }
        Ok(self)
    }

    /// A tensor by its full name.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.tensors.get_key_value(name)?;
        Some(self.view(name, entry))
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|(name, entry)| self.view(name, entry))
    }

    /// Names of all tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.tensors.values().map(|entry| entry.range.len()).sum()
    }

    /// What the files are called, separated by commas.
    pub fn files(&self) -> String {
        self.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn view<'a>(&'a self, name: &'a str, entry: &'a Entry) -> TensorView<'a> {
        let bytes = &self.files[entry.file].data.bytes()[entry.range.clone()];
        TensorView { name, dtype: entry.dtype, shape: &entry.shape, bytes }
    }

    pub(crate) fn file_of(&self, name: &str) -> String {
        self.tensors.get(name).map_or_else(|| self.files(), |entry| self.files[entry.file].name.clone())
    }

    pub(crate) fn locate(&self, name: &str) -> Option<Location> {
        self.tensors.get(name).map(|entry| Location { file: entry.file, range: entry.range.clone() })
    }

    pub(crate) fn at(&self, location: &Location) -> &[u8] {
        &self.files[location.file].data.bytes()[location.range.clone()]
    }
}

/// The weights file of a model folder.
fn file_of_folder(folder: &Path) -> Result<std::path::PathBuf, WeightsError> {
    let file = folder.join("model.safetensors");
    if file.is_file() {
        return Ok(file);
    }
    let others = ["model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "rust_model.ot"];
    match others.into_iter().find(|other| folder.join(other).is_file()) {
        Some(found) => Err(WeightsError::Format { folder: folder.to_owned(), found }),
        None => Err(WeightsError::NoWeights { folder: folder.to_owned() }),
    }
}
