//! The files of a model, in a folder or in the binary.

use std::{
    borrow::Cow,
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::Error;

/// Paths and contents of files that are part of the program.
pub(crate) type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

/// Where a model's files are read from. Paths inside are relative, with `/` between their parts.
#[derive(Clone, Debug)]
pub(crate) enum ModelFiles {
    Folder(PathBuf),
    #[cfg_attr(not(any(feature = "embedded-model", test)), expect(dead_code, reason = "nothing else is embedded"))]
    Embedded {
        name: &'static str,
        files: EmbeddedFiles,
    },
}

impl ModelFiles {
    /// How messages name a file.
    pub(crate) fn label(&self, path: &str) -> String {
        match self {
            ModelFiles::Folder(folder) => folder.join(path).display().to_string(),
            ModelFiles::Embedded { name, .. } => format!("{name}/{path}"),
        }
    }

    /// How messages name the model.
    pub(crate) fn name(&self) -> String {
        match self {
            ModelFiles::Folder(folder) => folder.display().to_string(),
            ModelFiles::Embedded { name, .. } => (*name).to_owned(),
        }
    }

    /// A file's bytes, `None` if there is no such file.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Cow<'static, [u8]>>, Error> {
        match self {
            ModelFiles::Folder(folder) => {
                let path = folder.join(path);
                match fs::read(&path) {
                    Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(Error::Read { path: path.display().to_string(), source }),
                }
            }
            ModelFiles::Embedded { files, .. } => {
                Ok(files.iter().find(|(name, _)| *name == path).map(|(_, bytes)| Cow::Borrowed(*bytes)))
            }
        }
    }

    /// A JSON file, `None` if there is no such file.
    pub(crate) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| Error::Json { path: self.label(path), source: Box::new(source) })
    }
}

/// `folder/file`, or `file` if `folder` is empty.
pub(crate) fn join(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.to_owned() } else { format!("{}/{file}", folder.trim_end_matches('/')) }
}

/// Whether a path that a model names stays inside the model's folder.
pub(crate) fn stays_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && !path.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_folder_are_told_apart() {
        for inside in ["", "1_Pooling", "a/b", "./a"] {
            assert!(stays_inside(inside), "{inside}");
        }
        for outside in ["..", "a/../../b", "/etc", "..\\b"] {
            assert!(!stays_inside(outside), "{outside}");
        }
    }
}
