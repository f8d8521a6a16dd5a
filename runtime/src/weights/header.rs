//! The header of a safetensors file, and every check that makes the rest of the file safe to index.
//!
//! The format: eight bytes with the header's length, the header as JSON, and the tensors' bytes without gaps. The header is parsed here
//! rather than with the `safetensors` crate so that each error can name its tensor, and because that crate adds the header's and the data's
//! lengths unchecked, which a header that claims 2⁶⁴ bytes of tensors turns into an overflow.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{Dtype, StoredTensor, WeightsError};

/// What the reference implementation takes as the longest header, too.
const MAX_HEADER: u64 = 100_000_000;

/// Bytes before the header.
const PREFIX: usize = 8;

/// An entry as it stands in the header.
#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Reads the header of a whole file.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Vec<StoredTensor>, WeightsError> {
    let header_error = |what: String| WeightsError::Header { file: file.to_owned(), what };
    let Some((length, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(header_error(format!("expected at least {PREFIX} bytes, found {}", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(header_error(format!("its header claims {length} bytes, expected at most {MAX_HEADER}")));
    }
    let Some((header, data)) = rest.split_at_checked(length as usize) else {
        return Err(header_error(format!("its header claims {length} bytes, found {}", rest.len())));
    };
    let entries: Entries =
        serde_json::from_slice(header).map_err(|error| header_error(format!("its header: {error}")))?;
    let data_start = PREFIX + header.len();
    let mut tensors = Vec::with_capacity(entries.0.len());
    for (name, raw) in entries.0 {
        match check(raw, data.len()) {
            Ok((dtype, shape, range)) => {
                let range = data_start + range.start..data_start + range.end;
                tensors.push(StoredTensor { name, dtype, shape, range });
            }
            Err(what) => return Err(WeightsError::Tensor { file: file.to_owned(), tensor: name, what }),
        }
    }
    check_coverage(file, &mut tensors, data_start..bytes.len())?;
    Ok(tensors)
}

type Checked = (Dtype, Vec<usize>, Range<usize>);

fn check(raw: RawTensor, data_len: usize) -> Result<Checked, String> {
    let dtype = Dtype::from_name(&raw.dtype).ok_or_else(|| format!("unknown dtype {:?}", raw.dtype))?;
    let (start, end) = raw.data_offsets;
    let range = match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end && end <= data_len => start..end,
        _ => return Err(format!("its data is bytes {start}..{end}, but the file has {data_len} bytes of data")),
    };
    let too_large = || format!("its shape {:?} overflows", raw.shape);
    let shape =
        raw.shape.iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>().map_err(|_| too_large())?;
    let expected = shape.iter().try_fold(dtype.size(), |size, &dim| size.checked_mul(dim)).ok_or_else(too_large)?;
    if expected != range.len() {
        return Err(format!(
            "its shape {shape:?} of {dtype} takes {expected} bytes, but its data is {} bytes long",
            range.len()
        ));
    }
    Ok((dtype, shape, range))
}

/// Tensors follow one another without gaps or overlaps up to the end of the file: anything else is a file cut short, or one that was put
/// together to mean two things at once.
fn check_coverage(file: &str, tensors: &mut [StoredTensor], data: Range<usize>) -> Result<(), WeightsError> {
    tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut at = data.start;
    for tensor in tensors.iter() {
        if tensor.range.start != at {
            return Err(WeightsError::Tensor {
                file: file.to_owned(),
                tensor: tensor.name.clone(),
                what: format!(
                    "its data starts at byte {}, expected {} where the data before it ends",
                    tensor.range.start - data.start,
                    at - data.start
                ),
            });
        }
        at = tensor.range.end;
    }
    if at != data.end {
        return Err(WeightsError::Header {
            file: file.to_owned(),
            what: format!(
                "its tensors take {} bytes, but {} bytes of data follow the header",
                at - data.start,
                data.end - data.start
            ),
        });
    }
    Ok(())
}

/// The header's entries in order; a map would hide that a name comes twice.
struct Entries(Vec<(String, RawTensor)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if !names.insert(name.clone()) {
                return Err(serde::de::Error::custom(format!("tensor {name:?} is listed twice")));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Entries(entries))
    }
}
