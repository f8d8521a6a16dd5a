//! What several test files need.

#![allow(dead_code, reason = "not every test file needs all of it")]

use std::path::PathBuf;
use std::sync::Arc;

use loquat_tokenizer::Tokenizer;

/// The same tokenizer by way of its compiled form.
pub fn compiled(tokenizer: &Tokenizer) -> Tokenizer {
    let bytes = tokenizer.to_compiled();
    Tokenizer::verify_compiled("compiled", &bytes).expect("what was just written");
    Tokenizer::from_compiled("compiled", Arc::new(bytes)).expect("a tokenizer")
}

/// A folder that is removed again.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new<T: AsRef<[u8]>>(name: &str, files: &[(&str, T)]) -> Folder {
        let folder = std::env::temp_dir().join(format!("loquat-tokenizer-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (file, content) in files {
            std::fs::write(folder.join(file), content).expect("a file");
        }
        Folder(folder)
    }

    pub fn load(&self) -> Tokenizer {
        Tokenizer::from_folder(&self.0).expect("a tokenizer")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
