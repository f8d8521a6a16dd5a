//! The file around the tables: a header, a directory of sections, and the sections, each at a multiple of 64 bytes.
//!
//! | bytes | |
//! | --- | --- |
//! | 0..8 | [`MAGIC`] |
//! | 8..12 | [`VERSION`] |
//! | 12..16 | how many sections there are |
//! | 16..24 | bytes of the whole file |
//! | 24..32 | [`checksum`] of all that follows |
//! | 32.. | for each section its name in 48 bytes, filled up with zeros, its first byte and its number of bytes, 8 bytes each |
//!
//! All numbers have their lowest byte first.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TokenizerError;
use crate::numbers::{Bytes, Element, Numbers, Text, to_file};

/// What a compiled tokenizer begins with: no text does.
pub(crate) const MAGIC: [u8; 8] = *b"\x93loqtok\n";

/// Of the sections and what is in them, hash functions included.
pub(crate) const VERSION: u32 = 3;

const HEADER: usize = 32;
const NAME: usize = 48;
const ENTRY: usize = NAME + 16;

/// Where sections begin: at a cache line.
const ALIGNMENT: usize = 64;

/// No tokenizer has more.
const MOST_SECTIONS: usize = 256;

/// Collects sections.
#[derive(Default)]
pub(crate) struct Writer {
    sections: Vec<(String, Vec<u8>)>,
    scope: String,
}

impl Writer {
    /// What `write` adds gets this name before its own.
    pub(crate) fn within(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        let before = self.scope.len();
        self.scope.push_str(name);
        self.scope.push('.');
        write(self);
        self.scope.truncate(before);
    }

    pub(crate) fn numbers<T: Element>(&mut self, name: &str, numbers: &[T]) {
        self.bytes(name, to_file(numbers));
    }

    pub(crate) fn number(&mut self, name: &str, number: u64) {
        self.numbers(name, &[number]);
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes().to_vec());
    }

    pub(crate) fn json(&mut self, name: &str, value: &impl Serialize) {
        // Nothing that is written here has a key that is no string, or can fail in another way.
        self.bytes(name, serde_json::to_vec(value).unwrap_or_default());
    }

    fn bytes(&mut self, name: &str, bytes: Vec<u8>) {
        let name = format!("{}{name}", self.scope);
        debug_assert!(name.len() <= NAME, "{name} is too long");
        self.sections.push((name, bytes));
    }

    /// The file.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut file = vec![0; HEADER + ENTRY * self.sections.len()];
        for (place, (name, bytes)) in self.sections.iter().enumerate() {
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
            let start = file.len();
            file.extend_from_slice(bytes);
            let entry = &mut file[HEADER + ENTRY * place..][..ENTRY];
            entry[..NAME].iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
            entry[NAME..NAME + 8].copy_from_slice(&(start as u64).to_le_bytes());
            entry[NAME + 8..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        }
        let length = file.len() as u64;
        file[..8].copy_from_slice(&MAGIC);
        file[8..12].copy_from_slice(&VERSION.to_le_bytes());
        file[12..16].copy_from_slice(&(self.sections.len() as u32).to_le_bytes());
        file[16..24].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(&file[HEADER..]);
        file[24..32].copy_from_slice(&sum.to_le_bytes());
        file
    }
}

/// A compiled file, its header and directory read.
pub(crate) struct File<'a> {
    name: &'a str,
    bytes: Bytes,
    sections: Vec<(String, Range<usize>)>,
}

impl<'a> File<'a> {
    pub(crate) fn open(name: &'a str, bytes: Bytes) -> Result<Self, TokenizerError> {
        let sections = directory(name, (*bytes).as_ref())?;
        Ok(File { name, bytes, sections })
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { file: self, scope: String::new() }
    }
}

fn invalid(name: &str, section: &str, expected: impl Into<String>, found: impl Into<String>) -> TokenizerError {
    TokenizerError::Invalid {
        file: name.to_owned(),
        path: section.to_owned(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// Checks everything but the sum, and gives the sections.
fn directory(name: &str, bytes: &[u8]) -> Result<Vec<(String, Range<usize>)>, TokenizerError> {
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..).and_then(|rest| rest.get(..length)).unwrap_or_default();
        bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    };
    let header = |expected: String, found: String| invalid(name, "header", expected, found);
    if !bytes.starts_with(&MAGIC) {
        let begins = String::from_utf8_lossy(bytes.get(..MAGIC.len()).unwrap_or(bytes)).into_owned();
        return Err(header("a compiled tokenizer".to_owned(), format!("a file that begins with {begins:?}")));
    }
    if bytes.len() < HEADER {
        return Err(header(format!("{HEADER} bytes"), bytes.len().to_string()));
    }
    let version = number(8, 4);
    if version != u64::from(VERSION) {
        let expected = format!("version {VERSION} of the compiled form (compile the tokenizer's files again)");
        return Err(header(expected, format!("version {version}")));
    }
    let length = number(16, 8);
    if length != bytes.len() as u64 {
        return Err(header(format!("a file of {length} bytes"), format!("{} bytes", bytes.len())));
    }
    let count = number(12, 4) as usize;
    let room = (bytes.len() - HEADER) / ENTRY;
    if count > room.min(MOST_SECTIONS) {
        return Err(header(format!("at most {} sections", room.min(MOST_SECTIONS)), count.to_string()));
    }
    let section = |place: usize| {
        let at = HEADER + ENTRY * place;
        let written = bytes.get(at..at + NAME).unwrap_or_default();
        let written = written.split(|&byte| byte == 0).next().unwrap_or_default();
        let written = String::from_utf8_lossy(written).into_owned();
        let (start, length) = (number(at + NAME, 8), number(at + NAME + 8, 8));
        let range = || Some(usize::try_from(start).ok()?..usize::try_from(start.checked_add(length)?).ok()?);
        match range().filter(|range| range.end <= bytes.len()) {
            Some(range) => Ok((written, range)),
            None => Err(invalid(
                name,
                &format!("section {written}"),
                format!("to be within the {} bytes of the file", bytes.len()),
                format!("{length} bytes from byte {start} on"),
            )),
        }
    };
    (0..count).map(section).collect()
}

/// Checks that the bytes of a file are those that were written.
pub(crate) fn verify(name: &str, bytes: &[u8]) -> Result<(), TokenizerError> {
    directory(name, bytes)?;
    let (header, rest) = bytes.split_at_checked(HEADER).unwrap_or((bytes, &[]));
    let expected = header.last_chunk().map_or(0, |sum| u64::from_le_bytes(*sum));
    match checksum(rest) {
        found if found == expected => Ok(()),
        found => Err(invalid(
            name,
            "all sections",
            format!("bytes with the checksum {expected:016x}"),
            format!("{found:016x}: the file is damaged"),
        )),
    }
}

/// Four chains of multiplications over every fourth eight bytes, so that they don't wait for each other; any change of one byte changes it.
fn checksum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let mut sums = [1, 2, 3, 4];
    let (words, rest) = bytes.as_chunks::<32>();
    for words in words {
        for (sum, word) in sums.iter_mut().zip(words.as_chunks().0) {
            *sum = step(*sum, u64::from_le_bytes(*word));
        }
    }
    let sum = sums.into_iter().fold(bytes.len() as u64, step);
    rest.iter().fold(sum, |sum, &byte| step(sum, u64::from(byte)))
}

/// Reads sections.
pub(crate) struct Reader<'a> {
    file: &'a File<'a>,
    scope: String,
}

impl Reader<'_> {
    /// The sections with this name before their own.
    pub(crate) fn within(&self, name: &str) -> Reader<'_> {
        Reader { file: self.file, scope: format!("{}{name}.", self.scope) }
    }

    /// That a section isn't what it should be.
    pub(crate) fn invalid(&self, name: &str, expected: impl Into<String>, found: impl Into<String>) -> TokenizerError {
        invalid(self.file.name, &format!("section {}{name}", self.scope), expected, found)
    }

    fn range(&self, name: &str) -> Option<Range<usize>> {
        let is_it = |section: &str| section.strip_prefix(self.scope.as_str()) == Some(name);
        self.file.sections.iter().find(|(section, _)| is_it(section)).map(|(_, range)| range.clone())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.range(name).is_some()
    }

    fn required(&self, name: &str) -> Result<Range<usize>, TokenizerError> {
        self.range(name).ok_or_else(|| self.invalid(name, "to be there", "none"))
    }

    pub(crate) fn numbers<T: Element + Send + Sync>(&self, name: &str) -> Result<Numbers<T>, TokenizerError> {
        let range = self.required(name)?;
        let length = range.len();
        Numbers::in_file(&self.file.bytes, range).ok_or_else(|| {
            self.invalid(name, format!("a multiple of {} bytes", size_of::<T>()), format!("{length} bytes"))
        })
    }

    /// So many numbers.
    pub(crate) fn exactly<T: Element + Send + Sync>(
        &self,
        name: &str,
        count: usize,
    ) -> Result<Numbers<T>, TokenizerError> {
        let numbers = self.numbers(name)?;
        match numbers.len() {
            found if found == count => Ok(numbers),
            found => Err(self.invalid(name, format!("{count} numbers"), found.to_string())),
        }
    }

    /// The slots of a hash table: a power of two of them, at least two.
    pub(crate) fn slots<T: Element + Send + Sync>(&self, name: &str) -> Result<Numbers<T>, TokenizerError> {
        let slots = self.numbers(name)?;
        match slots.len() {
            2.. if slots.len().is_power_of_two() => Ok(slots),
            found => Err(self.invalid(name, "a power of two of slots, at least 2", found.to_string())),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, TokenizerError> {
        Ok(self.exactly(name, 1)?.first().copied().unwrap_or_default())
    }

    pub(crate) fn size(&self, name: &str) -> Result<usize, TokenizerError> {
        let number = self.number(name)?;
        usize::try_from(number).map_err(|_| self.invalid(name, "a size that memory can have", number.to_string()))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Text, TokenizerError> {
        let range = self.required(name)?;
        Text::in_file(&self.file.bytes, range).ok_or_else(|| self.invalid(name, "UTF-8", "bytes that are not"))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, TokenizerError> {
        let range = self.required(name)?;
        let bytes = (*self.file.bytes).as_ref().get(range).unwrap_or_default();
        serde_json::from_slice(bytes).map_err(|error| self.invalid(name, "what this version writes", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_bit_changes_the_checksum() {
        let bytes: Vec<u8> = (0..=99).collect();
        let sum = checksum(&bytes);
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&changed), sum, "{bit}");
        }
        assert_ne!(checksum(&bytes[..99]), sum);
        assert_ne!(checksum(&[0; 32]), checksum(&[0; 64]));
    }
}
