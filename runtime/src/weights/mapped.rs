//! A file of any kind, mapped.

use std::{io, path::Path};

use super::map::Data;

/// The bytes of a whole file, which come into memory when they are looked at.
///
/// ```
/// use loquat_runtime::weights::MappedFile;
///
/// let path = std::env::temp_dir().join(format!("loquat-mapped-file-{}", std::process::id()));
/// std::fs::write(&path, b"all of it")?;
/// let file = MappedFile::open(&path)?;
/// assert_eq!(file.as_ref(), b"all of it");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct MappedFile(Data);

impl MappedFile {
    /// Maps a file. It must not be changed or shortened while it is in use: reading a page that is gone ends the process.
    ///
    /// # Errors
    /// If there is no such file, it is empty, or it can't be mapped.
    pub fn open(path: impl AsRef<Path>) -> io::Result<MappedFile> {
        Ok(MappedFile(Data::map(path.as_ref())?))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
