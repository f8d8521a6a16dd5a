//! The format before PyTorch 1.6: five pickles one after another, then the storages.

use std::{collections::HashMap, ops::Range};

use super::pickle::{self, TensorRef};

/// The first pickle: protocol 2, the number 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Whether a file begins as one of this format.
pub(in super::super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(super) struct Legacy<'p> {
    pub(super) tensors: Vec<(&'p str, TensorRef<'p>)>,
    /// Where each storage's values lie in the file, by its key.
    pub(super) storages: HashMap<&'p str, Range<usize>>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Legacy<'_>, String> {
    let mut at = MAGIC.len();
    let rest = |at: usize| &bytes[at.min(bytes.len())..];
    let within = |at: usize, what: &str, error: String| format!("{what} from byte {at} on: {error}");
    for what in ["the version", "the system"] {
        at += pickle::skip(rest(at)).map_err(|error| within(at, what, error))?;
    }
    let (tensors, len) = pickle::leading_tensors(rest(at)).map_err(|error| within(at, "the tensors", error))?;
    at += len;
    let (keys, len) = pickle::leading_list(rest(at)).map_err(|error| within(at, "the storages", error))?;
    at += len;
    // How many bytes a value of each storage takes is for its tensors to say.
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for (_, tensor) in &tensors {
        let size = tensor.storage.kind.size();
        if *sizes.entry(tensor.storage.key).or_insert(size) != size {
            return Err(format!("storage {:?} is of two types", tensor.storage.key));
        }
    }
    let mut storages = HashMap::new();
    for key in keys {
        let Some(size) = sizes.get(key) else {
            return Err(format!("storage {key:?} is of no tensor, so that its type isn't known"));
        };
        let Some((count, _)) = rest(at).split_first_chunk::<8>() else {
            return Err(format!("the file ends at byte {}, before storage {key:?}", bytes.len()));
        };
        at += 8;
        let count = u64::from_le_bytes(*count);
        let end = usize::try_from(count).ok().and_then(|count| count.checked_mul(*size)?.checked_add(at));
        let Some(end) = end.filter(|&end| end <= bytes.len()) else {
            return Err(format!("storage {key:?} claims {count} values, but {} bytes follow", rest(at).len()));
        };
        if storages.insert(key, at..end).is_some() {
            return Err(format!("storage {key:?} is listed twice"));
        }
        at = end;
    }
    if at != bytes.len() {
        return Err(format!("{} bytes follow the last storage", bytes.len() - at));
    }
    Ok(Legacy { tensors, storages })
}
