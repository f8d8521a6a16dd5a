//! A folder that appears whole or not at all.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use crate::{Error, model::modules::Modules};

/// What model files with weights end in; of the model's own folder these aren't copied.
const WEIGHTS: [&str; 12] =
    ["safetensors", "bin", "pt", "pth", "ckpt", "ot", "h5", "msgpack", "onnx", "gguf", "npz", "tflite"];

/// A folder in the making, beside where it shall be. Dropped before [`publish`](NewFolder::publish), it leaves nothing.
#[derive(Debug)]
pub(super) struct NewFolder {
    source: PathBuf,
    path: PathBuf,
    out: PathBuf,
    published: bool,
}

impl NewFolder {
    /// Begins the folder `out` for a copy of `source`; an error if `out` is there, unless it is empty or `force` allows to replace a
    /// model folder.
    pub(super) fn beside(out: &Path, source: &Path, force: bool) -> Result<NewFolder, Error> {
        let refuse =
            |problem: &str| Error::Setting { setting: "out", problem: format!("{}: {problem}", out.display()) };
        let Some(name) = out.file_name() else { return Err(refuse("not the name of a folder")) };
        if out.exists() {
            let own = |path: &Path| path.canonicalize().map_err(|source| cant_write(path, source));
            if !out.is_dir() {
                return Err(refuse("a file, not a folder"));
            }
            if own(source)?.starts_with(own(out)?) {
                return Err(refuse("the original model lies in it"));
            }
            if !is_empty(out) && !force {
                return Err(refuse("the folder isn't empty: choose another, or force its replacement"));
            }
            if !is_empty(out) && !out.join("config.json").is_file() {
                return Err(refuse("not a model folder (it has no config.json), so it isn't replaced"));
            }
        }
        let mut partial = name.to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let path = out.with_file_name(partial);
        fs::create_dir_all(&path).map_err(|source| cant_write(&path, source))?;
        Ok(NewFolder { source: source.to_owned(), path, out: out.to_owned(), published: false })
    }

    /// Where its files go for now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies what isn't weights from the model's folder and the transformer's, and all of the other modules' folders.
    pub(super) fn copy_files(&self, modules: &Modules) -> Result<(), Error> {
        self.copy_folder("", false)?;
        if !modules.transformer.is_empty() {
            self.copy_folder(&modules.transformer, false)?;
        }
        // A module without settings, such as Normalize, often has no folder.
        let mut folders = modules.folders.iter().filter(|folder| self.source.join(folder).is_dir());
        folders.try_for_each(|folder| self.copy_folder(folder, true))
    }

    fn copy_folder(&self, folder: &str, weights_too: bool) -> Result<(), Error> {
        let (from, to) = (self.source.join(folder), self.path.join(folder));
        let unreadable = |source| Error::Read { path: from.display().to_string(), source };
        fs::create_dir_all(&to).map_err(|source| cant_write(&to, source))?;
        for entry in fs::read_dir(&from).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (name, path) = (entry.file_name(), entry.path());
            if path.is_file() && !is_hidden(&name) && (weights_too || !holds_weights(&path)) {
                fs::copy(&path, to.join(&name)).map_err(|source| cant_write(&path, source))?;
            }
        }
        Ok(())
    }

    /// Writes a file, over one that is there.
    pub(super) fn write(
        &self,
        file: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), Error> {
        let path = self.path.join(file);
        // A copy of a file that nobody may write can't be opened for it, so it goes first.
        let _ = fs::remove_file(&path);
        let write = || {
            let mut file = BufWriter::new(File::create(&path)?);
            content(&mut file)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
        };
        write().map_err(|source| cant_write(&path, source))
    }

    /// Gives the folder its name; what had it before is removed then.
    pub(super) fn publish(mut self) -> Result<(), Error> {
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        let old = PathBuf::from(old);
        let replaces = self.out.exists();
        let swap = || {
            if replaces {
                fs::rename(&self.out, &old)?;
            }
            fs::rename(&self.path, &self.out).inspect_err(|_| {
                if replaces {
                    // Best effort: the error that matters is the one that brought us here.
                    let _ = fs::rename(&old, &self.out);
                }
            })
        };
        swap().map_err(|source| cant_write(&self.out, source))?;
        self.published = true;
        if replaces {
            fs::remove_dir_all(&old).map_err(|source| cant_write(&old, source))?;
        }
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn cant_write(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.display().to_string(), source }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether a file holds weights, or says in which files they are.
fn holds_weights(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let extension = name.rsplit('.').next().unwrap_or_default();
    WEIGHTS.contains(&extension) || name.ends_with(".index.json")
}
