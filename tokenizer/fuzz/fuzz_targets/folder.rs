//! A folder whose files are other ones in each run.

use std::path::{Path, PathBuf};

use loquat_tokenizer::{Tokenizer, TokenizerError};

/// What parts an input into files: no file that is text has it.
const SEPARATOR: u8 = 0x1E;

/// Files that change, in a folder with others that stay.
pub struct Folder {
    path: PathBuf,
    changing: &'static [&'static str],
}

impl Folder {
    /// In memory where the system has such a place: the disk is too slow.
    pub fn new(name: &str, staying: &[(&str, &[u8])], changing: &'static [&'static str]) -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = place.join(format!("loquat-tokenizer-fuzz-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        for (file, content) in staying {
            std::fs::write(path.join(file), content).expect("a file");
        }
        Folder { path, changing }
    }

    /// Loads the folder with the changing files that `input` holds, one behind the other; those that it has no bytes for are not there.
    pub fn load(&self, input: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let mut contents = input.split(|&byte| byte == SEPARATOR);
        for file in self.changing {
            let path = self.path.join(file);
            match contents.next().filter(|content| !content.is_empty()) {
                Some(content) => std::fs::write(path, content).expect("a file"),
                None => drop(std::fs::remove_file(path)),
            }
        }
        Tokenizer::from_folder(&self.path)
    }
}
