//! The bytes of a file.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use crate::both::both;
use crate::large_table::LargeTable;

/// So many bytes are read into memory of their own: first use of ordinary memory takes about as long as reading does.
const LARGE: usize = 4 << 20;

/// No file of a tokenizer has so many. Whether there is memory for them shows as they are read.
const HUGE: usize = 256 << 20;

/// Reads so many bytes from the beginning of a file, in two halves.
#[cfg(unix)]
fn fill(file: &File, bytes: &mut [u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let middle = bytes.len() / 2;
    let (first, second) = bytes.split_at_mut(middle);
    let read = both(|| file.read_exact_at(first, 0), || file.read_exact_at(second, middle as u64));
    read.0.and(read.1)
}

#[cfg(not(unix))]
fn fill(mut file: &File, bytes: &mut [u8]) -> io::Result<()> {
    file.read_exact(bytes)
}

/// All bytes of a file.
pub(crate) enum FileBytes {
    Small(Vec<u8>),
    Large(LargeTable<u8>),
}

impl FileBytes {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if !(LARGE..HUGE).contains(&length) {
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(length.saturating_add(1))?;
            file.read_to_end(&mut bytes)?;
            return Ok(FileBytes::Small(bytes));
        }
        let mut bytes = LargeTable::new(length);
        match fill(&file, &mut bytes).and_then(|()| file.metadata()) {
            Ok(metadata) if metadata.len() == length as u64 => Ok(FileBytes::Large(bytes)),
            // Its length isn't what it was.
            _ => std::fs::read(path).map(FileBytes::Small),
        }
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            FileBytes::Small(bytes) => bytes,
            FileBytes::Large(bytes) => bytes,
        }
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_size_are_read_whole() {
        let path = std::env::temp_dir().join(format!("loquat-file-bytes-{}", std::process::id()));
        for length in [0, 1, LARGE - 1, LARGE, LARGE + 12345] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &bytes).expect("a file");
            let read = FileBytes::read(&path).expect("its bytes");
            assert!(*read == *bytes, "{length}");
            assert_eq!(matches!(read, FileBytes::Large(_)), length >= LARGE);
        }
        std::fs::remove_file(&path).expect("the file");
        assert_eq!(FileBytes::read(&path).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }
}
