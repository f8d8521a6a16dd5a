//! `model.npz`: arrays as NumPy saves several of them, one `.npy` file for each in an archive.
//!
//! The format is described in NumPy's documentation of `numpy.lib.format`. Values stay where they are in the file.

use std::{borrow::Cow, ops::Range};

use super::{Dtype, StoredTensor, WeightsError, zip::Archive};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes of a header's text: what NumPy itself takes as the most.
const MAX_HEADER: usize = 10_000;

/// Dimensions of an array: more than any model's have.
const MAX_DIMENSIONS: usize = 8;

/// What the name of an array's entry ends with.
const EXTENSION: &str = ".npy";

/// Whether an entry of an archive is an array.
pub(super) fn is_array(entry: &str) -> bool {
    entry.ends_with(EXTENSION)
}

/// The arrays of an archive.
pub(super) fn parse(file: &str, bytes: &[u8], archive: &Archive) -> Result<Vec<StoredTensor>, WeightsError> {
    let fault = |what: String| WeightsError::Npz { file: file.to_owned(), what };
    let mut tensors = Vec::new();
    for entry in archive.names() {
        let Some(name) = entry.strip_suffix(EXTENSION) else {
            return Err(fault(format!("the entry {entry} is no {EXTENSION} file")));
        };
        let range = archive
            .get(entry)
            .map_err(|error| fault(format!("{error}: save the arrays with np.savez, not np.savez_compressed")))?
            .unwrap_or_default();
        match array(&bytes[range.clone()]) {
            Ok(Array { dtype, shape, values }) => {
                let range = range.start + values.start..range.start + values.end;
                tensors.push(StoredTensor { name: name.to_owned(), dtype, shape, range });
            }
            Err(what) => return Err(WeightsError::Tensor { file: file.to_owned(), tensor: name.to_owned(), what }),
        }
    }
    Ok(tensors)
}

#[derive(Debug, PartialEq)]
struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its values, counted from the start of its `.npy` file.
    values: Range<usize>,
}

/// Reads the header of a whole `.npy` file.
fn array(bytes: &[u8]) -> Result<Array, String> {
    let cut = || format!("its {EXTENSION} file of {} bytes ends inside of the header", bytes.len());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| format!("it doesn't begin as a {EXTENSION} file"))?;
    let (&[major, minor], rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let (len, rest) = match (major, minor) {
        (1, 0) => {
            let (len, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        (2 | 3, 0) => {
            let (len, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            (usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX), rest)
        }
        _ => return Err(format!("its {EXTENSION} file is of version {major}.{minor}, expected 1.0, 2.0 or 3.0")),
    };
    if len > MAX_HEADER {
        return Err(format!("its header claims {len} bytes, expected at most {MAX_HEADER}"));
    }
    let (header, values) = rest.split_at_checked(len).ok_or_else(cut)?;
    let header = Literal { text: header, at: 0 }.header().map_err(|error| format!("its header, {error}"))?;
    let dtype = dtype(&header.descr)?;
    let shape = header.shape;
    if header.fortran_order {
        return Err(format!(
            "its values of shape {shape:?} are in Fortran order: save it as np.ascontiguousarray makes it, in C order"
        ));
    }
    let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
    let expected = count.and_then(|count| count.checked_mul(dtype.size()));
    let expected = expected.ok_or_else(|| format!("its shape {shape:?} overflows"))?;
    if values.len() != expected {
        return Err(format!("expected {expected} bytes for {dtype} of shape {shape:?}, found {}", values.len()));
    }
    Ok(Array { dtype, shape, values: bytes.len() - values.len()..bytes.len() })
}

/// The type that NumPy describes so.
fn dtype(descr: &str) -> Result<Dtype, String> {
    Ok(match descr {
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        "<f8" => Dtype::F64,
        "<i8" => Dtype::I64,
        "<i4" => Dtype::I32,
        "<i2" => Dtype::I16,
        "|i1" => Dtype::I8,
        "<u8" => Dtype::U64,
        "<u4" => Dtype::U32,
        "<u2" => Dtype::U16,
        "|u1" => Dtype::U8,
        "|b1" => Dtype::BOOL,
        _ => {
            let hint = match descr.chars().next() {
                Some('>') => ": big-endian values aren't supported",
                _ if descr.ends_with('O') => ": arrays of Python's objects aren't read, as they may run code",
                _ => "",
            };
            return Err(format!("expected numbers such as '<f4' or '<f2', found '{descr}'{hint}"));
        }
    })
}

#[derive(Debug, PartialEq)]
struct Header<'a> {
    descr: Cow<'a, str>,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// A reader of the one Python literal that a header is.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Literal<'a> {
    /// A dictionary of `descr`, `fortran_order` and `shape`, each once, in any order.
    fn header(mut self) -> Result<Header<'a>, String> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.found(b'}') {
            let start = self.at;
            let key = self.text()?;
            self.expect(b':')?;
            let repeated = match key.as_ref() {
                "descr" => descr.replace(self.text()?).is_some(),
                "fortran_order" => fortran_order.replace(self.truth()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return Err(format!("byte {start}: unknown key '{key}'")),
            };
            if repeated {
                return Err(format!("byte {start}: '{key}' is there twice"));
            }
            if !self.found(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.skip_space();
        if self.at != self.text.len() {
            return Err(format!("byte {}: expected the end", self.at));
        }
        let missing = |key: &str| format!("byte {}: it has no '{key}'", self.at);
        Ok(Header {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    fn skip_space(&mut self) {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\n');
        self.at += self.text[self.at..].iter().take_while(space).count();
    }

    /// Takes a character if it is what comes next.
    fn found(&mut self, character: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&character);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, character: u8) -> Result<(), String> {
        if self.found(character) { Ok(()) } else { Err(self.expected(&format!("'{}'", char::from(character)))) }
    }

    fn expected(&self, what: &str) -> String {
        match self.text.get(self.at) {
            Some(&byte) => format!("byte {}: expected {what}, found '{}'", self.at, byte.escape_ascii()),
            None => format!("byte {}: expected {what}, found the end", self.at),
        }
    }

    /// A text in quotes, without escapes.
    fn text(&mut self) -> Result<Cow<'a, str>, String> {
        self.skip_space();
        let quote = match self.text.get(self.at) {
            Some(&quote @ (b'\'' | b'"')) => quote,
            _ => return Err(self.expected("a text")),
        };
        let rest = &self.text[self.at + 1..];
        let end = rest.iter().position(|&byte| byte == quote || byte == b'\\' || byte == b'\n');
        let Some(end) = end.filter(|&end| rest[end] == quote) else {
            return Err(self.expected("a text that ends, without escapes"));
        };
        self.at += end + 2;
        Ok(String::from_utf8_lossy(&rest[..end]))
    }

    fn truth(&mut self) -> Result<bool, String> {
        self.skip_space();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.expected("True or False"))
    }

    /// Sizes in parentheses; a single one has a comma behind it.
    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect(b'(')?;
        let mut sizes = Vec::new();
        let mut comma = true;
        while !self.found(b')') {
            if !comma {
                return Err(self.expected("',' or ')'"));
            }
            if sizes.len() == MAX_DIMENSIONS {
                return Err(format!("byte {}: expected at most {MAX_DIMENSIONS} dimensions", self.at));
            }
            sizes.push(self.size()?);
            comma = self.found(b',');
        }
        if sizes.len() == 1 && !comma {
            return Err(format!("byte {}: expected a tuple, found a number in parentheses", self.at));
        }
        Ok(sizes)
    }

    fn size(&mut self) -> Result<usize, String> {
        self.skip_space();
        let start = self.at;
        let mut size = 0usize;
        while let Some(digit) = self.text.get(self.at).filter(|byte| byte.is_ascii_digit()) {
            let next = size.checked_mul(10).and_then(|size| size.checked_add(usize::from(digit - b'0')));
            size = next.ok_or_else(|| format!("byte {start}: a size that overflows"))?;
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a size")) } else { Ok(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(version: u8, header: &str, values: usize) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([version, 0]);
        let len = (header.len() as u32).to_le_bytes();
        file.extend(&len[..if version == 1 { 2 } else { 4 }]);
        file.extend(header.as_bytes());
        file.extend(vec![0; values]);
        file
    }

    #[test]
    fn headers_as_numpy_writes_them_are_read() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n";
        for (version, prefix) in [(1, 10), (2, 12), (3, 12)] {
            let start = prefix + header.len();
            let expected = Array { dtype: Dtype::F32, shape: vec![3, 4], values: start..start + 48 };
            assert_eq!(array(&npy(version, header, 48)), Ok(expected), "version {version}");
        }
        let cases: [(&str, Dtype, &[usize], usize); 5] = [
            ("{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }", Dtype::F16, &[3], 6),
            ("{'shape': (), \"descr\": '<f8', 'fortran_order': False}\n", Dtype::F64, &[], 8),
            ("{'descr':'|b1','fortran_order':False,'shape':(0,5)}", Dtype::BOOL, &[0, 5], 0),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }", Dtype::I64, &[1, 2], 16),
            ("{'descr': '|i1', 'fortran_order': False, 'shape': (1,2,), }", Dtype::I8, &[1, 2], 2),
        ];
        for (header, dtype, shape, len) in cases {
            let found = array(&npy(1, header, len)).unwrap_or_else(|error| panic!("{header}: {error}"));
            assert_eq!((found.dtype, found.shape.as_slice(), found.values.len()), (dtype, shape, len), "{header}");
        }
    }

    #[test]
    fn headers_that_mean_anything_else_are_refused() {
        let with = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
        };
        let cases = [
            (with("'<f4'", "True", "(3, 4)"), "Fortran order"),
            (with("'>f4'", "False", "(3, 4)"), "big-endian"),
            (with("'|O'", "False", "(6,)"), "objects"),
            (with("'<c8'", "False", "(6,)"), "found '<c8'"),
            (with("[('a', '<f4')]", "False", "(12,)"), "expected a text, found '['"),
            (with("'<f4'", "False", "(3, 5)"), "expected 60 bytes for F32 of shape [3, 5], found 48"),
            (with("'<f4'", "False", "(3, 3)"), "expected 36 bytes"),
            (with("'<f4'", "False", "(12)"), "expected a tuple"),
            (with("'<f4'", "False", "(,)"), "expected a size, found ','"),
            (with("'<f4'", "False", "(3 4)"), "expected ',' or ')', found '4'"),
            (with("'<f4'", "False", "(-3, 4)"), "expected a size, found '-'"),
            (with("'<f4'", "False", "(4294967296, 4294967296, 4294967296)"), "overflows"),
            (with("'<f4'", "False", "(99999999999999999999,)"), "a size that overflows"),
            (with("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 12)"), "at most 8 dimensions"),
            (with("'<f4'", "0", "(12,)"), "expected True or False, found '0'"),
            (with("'<f\\x34'", "False", "(12,)"), "without escapes"),
            (with("'<f4'", "False", "(12,), 'shape': (12,)"), "'shape' is there twice"),
            (with("'<f4'", "False", "(12,), 'align': True"), "unknown key 'align'"),
            ("{'descr': '<f4', 'shape': (12,)}".into(), "it has no 'fortran_order'"),
            (with("'<f4'", "False", "(12,)") + "; import os", "expected the end"),
            ("{'descr': '<f4'".into(), "expected '}', found the end"),
            ("{'descr".into(), "a text that ends"),
            ("".into(), "expected '{', found the end"),
        ];
        for (header, expected) in cases {
            let error = array(&npy(1, &header, 48)).expect_err(&header);
            assert!(error.contains(expected), "{header}: {error}");
        }
        let header = with("'<f4'", "False", "(12,)");
        for len in 0..10 + header.len() {
            assert!(array(&npy(1, &header, 48)[..len]).is_err(), "cut to {len}");
        }
        let mut newer = npy(1, &header, 48);
        newer[6] = 4;
        assert!(array(&newer).is_err_and(|error| error.contains("version 4.0")));
        assert!(array(&npy(2, &" ".repeat(10_001), 0)).is_err_and(|error| error.contains("at most 10000")));
    }
}
