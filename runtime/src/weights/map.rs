//! Where the bytes of a file are kept. The only place of this crate with `unsafe` code.

use std::{fs::File, io, path::Path};

/// The bytes of one file.
pub(super) enum Data {
    /// Mapped.
    Mapped(memmap2::Mmap),
    /// Part of the program.
    Static(&'static [u8]),
    /// In memory.
    Owned(Vec<u8>),
}

impl Data {
    /// Maps a whole file.
    pub(super) fn map(path: &Path) -> io::Result<Data> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        // SAFETY: the mapping is private and only read. That nobody changes the file underneath is a precondition that the system can't
        // enforce and `Weights::open` states: every range was checked against the mapping's length, values may be any bits (they are only
        // ever interpreted as numbers), and a file cut short raises SIGBUS rather than giving other memory.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Data::Mapped(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Data::Mapped(map) => map,
            Data::Static(bytes) => bytes,
            Data::Owned(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Data::Mapped(_) => "mapped",
            Data::Static(_) => "static",
            Data::Owned(_) => "owned",
        };
        write!(f, "{} bytes, {kind}", self.bytes().len())
    }
}
