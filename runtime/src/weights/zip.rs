//! The directory of a zip archive, whose entries are read where they are stored.
//!
//! Only what says where entries lie is read, from the directory at the archive's end, and checked against each entry's own header: an
//! archive that could be read in two ways is refused. A compressed entry may be there, but not be read: nothing is ever inflated.

use std::{collections::BTreeMap, ops::Range};

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";

/// The method of an entry that isn't compressed.
const STORED: usize = 0;

// Bits of an entry's flags.
const ENCRYPTED: usize = 1;
const SIZES_FOLLOW: usize = 1 << 3;

/// The extra field that holds numbers of 64 bits.
const LARGE_FIELD: usize = 1;

/// Bytes of the record at the end, without its comment.
const END_LEN: usize = 22;

/// Whether a file begins as an archive does.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(&LOCAL) || bytes.starts_with(&END)
}

/// The entries of an archive, by name.
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
}

/// Where an entry's bytes lie in the archive.
struct Entry {
    range: Range<usize>,
    compressed: bool,
}

impl Archive {
    /// Names of all entries, in alphabetical order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Where the bytes of an entry lie in the archive; `None` if there is no such entry.
    ///
    /// # Errors
    /// If it is compressed.
    pub(super) fn get(&self, name: &str) -> Result<Option<Range<usize>>, String> {
        match self.entries.get(name) {
            Some(entry) if entry.compressed => Err(format!("the entry {name} is compressed")),
            entry => Ok(entry.map(|entry| entry.range.clone())),
        }
    }

    /// Reads the directory of an archive.
    pub(super) fn read(bytes: &[u8]) -> Result<Archive, String> {
        let directory = directory(bytes)?;
        let mut reader = Reader { bytes: &bytes[..directory.range.end], at: directory.range.start };
        let mut entries = BTreeMap::new();
        // From the start of an entry's own header to the end of its values.
        let mut extents = Vec::new();
        for _ in 0..directory.count {
            let central = central_entry(&mut reader)?;
            let range = local_entry(bytes, &central, directory.range.start)?;
            extents.push((central.header..range.end, central.name.clone()));
            let entry = Entry { range, compressed: central.method != STORED };
            if let Some(first) = entries.insert(central.name.clone(), entry) {
                return Err(format!("two entries are called {}, one at byte {}", central.name, first.range.start));
            }
        }
        if reader.at != directory.range.end {
            return Err(format!("its directory holds more than the {} entries that it counts", directory.count));
        }
        extents.sort_by_key(|(extent, _)| (extent.start, extent.end));
        if let Some(pair) = extents.windows(2).find(|pair| pair[1].0.start < pair[0].0.end) {
            return Err(format!("the entries {} and {} overlap", pair[0].1, pair[1].1));
        }
        Ok(Archive { entries })
    }
}

/// Reads numbers one after another.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!("the archive ends at byte {}, inside of a record", self.bytes.len()));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<usize, String> {
        Ok(self.take(2)?.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    }

    fn u32(&mut self) -> Result<u64, String> {
        Ok(self.take(4)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(self.take(8)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn signature(&mut self, expected: [u8; 4], what: &str) -> Result<(), String> {
        let at = self.at;
        if self.take(4)? == expected { Ok(()) } else { Err(format!("byte {at}: expected {what}")) }
    }
}

/// Where the directory lies.
struct Directory {
    range: Range<usize>,
    count: u64,
}

fn directory(bytes: &[u8]) -> Result<Directory, String> {
    let end = find_end(bytes)?;
    let mut reader = Reader { bytes, at: end + 4 };
    let (disk, first_disk) = (reader.u16()?, reader.u16()?);
    let (on_disk, count) = (reader.u16()? as u64, reader.u16()? as u64);
    let (size, start) = (reader.u32()?, reader.u32()?);
    if disk != first_disk || on_disk != count {
        return Err("it is one of several volumes, which isn't supported".into());
    }
    // PyTorch writes the record of large archives for all; what the small one has room for must be the same.
    let large = large_directory(bytes, end)?;
    let (large_count, large_size, large_start, behind) = large.unwrap_or((count, size, start, end));
    let agree = |small: u64, large: u64, most: u64| small == large || (small == most && large > most);
    let same = agree(count, large_count, 0xffff)
        && agree(size, large_size, 0xffff_ffff)
        && agree(start, large_start, 0xffff_ffff);
    if !same {
        return Err("its two records of the directory disagree".into());
    }
    let range = usize::try_from(large_start).ok().zip(usize::try_from(large_size).ok());
    let range =
        range.and_then(|(start, size)| Some(start..start.checked_add(size)?)).filter(|range| range.end == behind);
    match range {
        Some(range) => Ok(Directory { range, count: large_count }),
        None => Err(format!(
            "its directory of {large_size} bytes from byte {large_start} on doesn't end where its last records begin, {behind}"
        )),
    }
}

/// Entries, size and start of the directory by the record of large archives, and where that record begins; `None` if there is none before
/// the last record.
fn large_directory(bytes: &[u8], end: usize) -> Result<Option<(u64, u64, u64, usize)>, String> {
    let Some(locator) = end.checked_sub(20).filter(|&at| bytes[at..].starts_with(&LOCATOR_64)) else { return Ok(None) };
    let mut reader = Reader { bytes, at: locator + 4 + 4 };
    let at = usize::try_from(reader.u64()?).unwrap_or(usize::MAX).min(locator);
    let mut reader = Reader { bytes: &bytes[..locator], at };
    reader.signature(END_64, "the record of large archives")?;
    reader.take(8 + 2 + 2 + 4 + 4 + 8)?;
    Ok(Some((reader.u64()?, reader.u64()?, reader.u64()?, at)))
}

/// The last record, which only a comment may follow.
fn find_end(bytes: &[u8]) -> Result<usize, String> {
    let last = bytes.len().checked_sub(END_LEN).ok_or("it is too short for an archive")?;
    let first = last.saturating_sub(0xffff);
    let is_end = |at: &usize| {
        let comment = usize::from(bytes[at + 20]) | usize::from(bytes[at + 21]) << 8;
        bytes[*at..].starts_with(&END) && at + END_LEN + comment == bytes.len()
    };
    (first..=last).rev().find(is_end).ok_or_else(|| "it has no directory: the file is cut short, or no archive".into())
}

/// What the directory says of an entry.
struct Central {
    name: String,
    method: usize,
    /// Whether the sizes in the entry's own header are left out, for a record behind its bytes.
    sizes_follow: bool,
    /// Bytes in the archive, and once inflated: the same if the entry is stored.
    packed: usize,
    size: usize,
    /// Where the entry's own header lies.
    header: usize,
}

/// The numbers of a header that are in the field for large ones, read in the order in which they were left out.
fn read_large(extra: &[u8], values: &mut [&mut u64]) -> Result<(), String> {
    let mut extra = Reader { bytes: extra, at: 0 };
    while extra.bytes.len() - extra.at >= 4 {
        let (id, len) = (extra.u16()?, extra.u16()?);
        let mut field = Reader { bytes: extra.take(len)?, at: 0 };
        if id != LARGE_FIELD {
            continue;
        }
        for value in values.iter_mut().filter(|value| ***value == 0xffff_ffff) {
            **value = field.u64()?;
        }
    }
    Ok(())
}

/// The next entry of the directory.
fn central_entry(reader: &mut Reader<'_>) -> Result<Central, String> {
    reader.signature(CENTRAL, "an entry of the directory")?;
    reader.take(4)?;
    let (flags, method) = (reader.u16()?, reader.u16()?);
    reader.take(4 + 4)?;
    let (mut packed, mut size) = (reader.u32()?, reader.u32()?);
    let (name_len, extra_len, comment_len) = (reader.u16()?, reader.u16()?, reader.u16()?);
    reader.take(2 + 2 + 4)?;
    let mut header = reader.u32()?;
    let name = match std::str::from_utf8(reader.take(name_len)?) {
        Ok(name) => name.to_owned(),
        Err(_) => return Err("the name of an entry isn't UTF-8".into()),
    };
    read_large(reader.take(extra_len)?, &mut [&mut size, &mut packed, &mut header])?;
    reader.take(comment_len)?;
    if flags & ENCRYPTED != 0 {
        return Err(format!("the entry {name} is encrypted"));
    }
    if method == STORED && packed != size {
        return Err(format!("the entry {name} of {size} bytes takes {packed}, though it isn't compressed"));
    }
    match (usize::try_from(header), usize::try_from(packed), usize::try_from(size)) {
        (Ok(header), Ok(packed), Ok(size)) => {
            Ok(Central { name, method, sizes_follow: flags & SIZES_FOLLOW != 0, packed, size, header })
        }
        _ => Err(format!("the entry {name} lies beyond the archive's end")),
    }
}

/// Where an entry's bytes lie, behind its own header and before the directory.
fn local_entry(bytes: &[u8], central: &Central, directory: usize) -> Result<Range<usize>, String> {
    let name = &central.name;
    let mut reader = Reader { bytes: &bytes[..directory], at: central.header.min(directory) };
    reader.signature(LOCAL, &format!("the header of the entry {name}"))?;
    reader.take(4)?;
    let method = reader.u16()?;
    reader.take(4 + 4)?;
    let (mut packed, mut size) = (reader.u32()?, reader.u32()?);
    let (name_len, extra_len) = (reader.u16()?, reader.u16()?);
    if reader.take(name_len)? != name.as_bytes() || method != central.method {
        return Err(format!("the entry {name} has another name or method in its own header"));
    }
    read_large(reader.take(extra_len)?, &mut [&mut size, &mut packed])?;
    if !central.sizes_follow && (packed, size) != (central.packed as u64, central.size as u64) {
        return Err(format!("the entry {name} of {} bytes has {size} by its own header", central.size));
    }
    let start = reader.at;
    let end = start.checked_add(central.packed).filter(|&end| end <= directory);
    let end = end.ok_or_else(|| format!("the entry {name} of {} bytes reaches into the directory", central.packed))?;
    Ok(start..end)
}
