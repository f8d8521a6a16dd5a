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
mod npz;
mod quantization;
mod resolve;
mod scales;
mod sharded;
mod torch;
mod write;
mod zip;

pub(crate) use convert::Storage;
use convert::{RowScales, convert_row};
pub use dtype::Dtype;
pub use error::{TensorProblem, WeightsError};
pub use mapped::MappedFile;
pub use quantization::Quantization;
pub(crate) use resolve::{Resolved, Resolver, Source, unquantized};
pub(crate) use scales::Scales;
pub use write::{NewTensor, write_safetensors};

use std::{collections::BTreeMap, ops::Range, path::Path};

use crate::graph::Graph;
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
    quantization: Option<Quantization>,
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

/// A tensor that was found in a file, and lies inside it.
struct StoredTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its bytes, counted from the start of the file.
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

impl TensorView<'_> {
    /// Its values as they are, `None` if they aren't of `F32`, `F16` or `BF16`.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let storage = Storage::of(self.dtype).filter(|storage| !storage.is_quantized())?;
        let mut values = vec![0.0; self.shape.iter().product()];
        convert_row(storage, self.bytes, RowScales::NONE, &mut values);
        Some(values)
    }
}

/// Where a tensor lies, so that it is found again without its name.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    file: usize,
    range: Range<usize>,
}

impl Weights {
    /// Opens a safetensors file, one that PyTorch or its C++ library saved, or an archive of NumPy arrays, or the weights of a model folder, by
    /// mapping files into memory. A folder's weights are its `model.safetensors`, else its `pytorch_model.bin` (either may be in several
    /// files, with an index beside them), else its `rust_model.ot`, else its `model.npz`.
    ///
    /// The file must not be shortened while the weights are in use: reading a page that is gone ends the process.
    ///
    /// # Errors
    /// If there is no such file, it can't be mapped, its format isn't supported, or its header is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Weights, WeightsError> {
        let path = path.as_ref();
        let path = if path.is_dir() { file_of_folder(path)? } else { path.to_owned() };
        if path.extension().is_some_and(|extension| extension == "json") {
            return sharded::open(&path);
        }
        Weights::open_file(&path)
    }

    /// Opens one file of weights.
    fn open_file(path: &Path) -> Result<Weights, WeightsError> {
        let data = Data::map(path).map_err(|source| WeightsError::Open { file: path.to_owned(), source })?;
        Weights::parse(path.display().to_string(), data)
    }

    /// Reads a file of any of these formats that is part of the program. `name` is used in messages.
    ///
    /// # Errors
    /// If the header is damaged.
    pub fn from_static(name: impl Into<String>, bytes: &'static [u8]) -> Result<Weights, WeightsError> {
        Weights::parse(name.into(), Data::Static(bytes))
    }

    /// Reads a file of any of these formats that is already in memory. `name` is used in messages.
    ///
    /// # Errors
    /// If the header is damaged.
    pub fn from_vec(name: impl Into<String>, bytes: Vec<u8>) -> Result<Weights, WeightsError> {
        Weights::parse(name.into(), Data::Owned(bytes))
    }

    fn parse(name: String, data: Data) -> Result<Weights, WeightsError> {
        let found = tensors_of(&name, data.bytes())?.into_iter();
        let entry = |tensor: StoredTensor| {
            (tensor.name, Entry { file: 0, dtype: tensor.dtype, shape: tensor.shape, range: tensor.range })
        };
        Ok(Weights { tensors: found.map(entry).collect(), files: vec![File { name, data }], quantization: None })
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

    /// The same weights, together with what their configuration says of how they are quantised.
    pub fn with_quantization(self, quantization: Option<Quantization>) -> Weights {
        Weights { quantization, ..self }
    }

    /// How they are quantised, if a configuration said so.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_ref()
    }

    /// A tensor by its full name.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.tensors.get_key_value(name)?;
        Some(self.view(name, entry))
    }

    /// The tensors that a graph's parameters are read from, each with the graph's name for it; those that aren't there are left out.
    pub fn parameters<'a>(&'a self, graph: &'a Graph) -> Vec<(&'a str, TensorView<'a>)> {
        Resolver::new(self, graph).tensors(graph)
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

/// The tensors of a whole file. What a file is, its bytes say; of one that is nothing known, its name says what it should have been.
fn tensors_of(file: &str, bytes: &[u8]) -> Result<Vec<StoredTensor>, WeightsError> {
    let named = |extensions: &[&str]| extensions.iter().any(|extension| file.ends_with(extension));
    let torch = |what: String| WeightsError::Torch { file: file.to_owned(), what };
    let npz = |what: String| WeightsError::Npz { file: file.to_owned(), what };
    if zip::is_zip(bytes) {
        let archive =
            zip::Archive::read(bytes).map_err(|what| if named(&[".npz"]) { npz(what) } else { torch(what) })?;
        let is_torch = archive.names().any(torch::is_description);
        return match archive.names().any(npz::is_array) {
            true if is_torch => Err(torch("the archive holds both a data.pkl and .npy files".to_owned())),
            true => npz::parse(file, bytes, &archive),
            false if !is_torch && named(&[".npz"]) => Err(npz("the archive holds no .npy file".to_owned())),
            false => torch::parse_archive(file, bytes, &archive),
        };
    }
    if torch::is_legacy(bytes) {
        return torch::parse_legacy(file, bytes);
    }
    if named(&[".bin", ".pt", ".pth", ".ot"]) {
        return Err(torch("it is neither an archive nor of the format before PyTorch 1.6".to_owned()));
    }
    if named(&[".npz"]) {
        return Err(npz("it is no archive".to_owned()));
    }
    header::parse(file, bytes)
}

/// The weights of a model folder, the first that is there.
const FILES_OF_FOLDERS: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "rust_model.ot",
    "model.npz",
];

/// The weights file of a model folder, or the index of its files.
fn file_of_folder(folder: &Path) -> Result<std::path::PathBuf, WeightsError> {
    for file in FILES_OF_FOLDERS {
        let file = folder.join(file);
        if file.is_file() {
            return Ok(file);
        }
    }
    let others = ["tf_model.h5", "flax_model.msgpack"];
    match others.into_iter().find(|other| folder.join(other).is_file()) {
        Some(found) => Err(WeightsError::Format { folder: folder.to_owned(), found }),
        None => Err(WeightsError::NoWeights { folder: folder.to_owned() }),
    }
}
