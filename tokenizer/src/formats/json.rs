//! Reading JSON piece by piece, with errors that say where in the file.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::TokenizerError;

/// A JSON file being read.
#[derive(Clone, Copy)]
pub(super) struct JsonFile<'a> {
    name: &'a str,
    text: &'a str,
}

/// The part of a component that says which one it is.
#[derive(Deserialize)]
struct Tagged<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

impl<'a> JsonFile<'a> {
    pub(super) fn new(name: &'a str, bytes: &'a [u8]) -> Result<Self, TokenizerError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line_start = before.iter().rposition(|&byte| byte == b'\n');
            TokenizerError::Json {
                file: name.to_owned(),
                path: "$".to_owned(),
                line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
                column: before.len() - line_start.map_or(0, |at| at + 1) + 1,
                message: "expected UTF-8, found bytes that are not".to_owned(),
            }
        })?;
        Ok(JsonFile { name, text })
    }

    pub(super) fn of_text(name: &'a str, text: &'a str) -> Self {
        JsonFile { name, text }
    }

    /// Reads the whole file.
    pub(super) fn root<T: Deserialize<'a>>(&self) -> Result<T, TokenizerError> {
        serde_json::from_str(self.text).map_err(|error| self.locate(error, 0, "$"))
    }

    /// Reads a part of the file that was set aside raw.
    pub(super) fn part<T: Deserialize<'a>>(&self, raw: &'a RawValue, path: &str) -> Result<T, TokenizerError> {
        serde_json::from_str(raw.get()).map_err(|error| {
            // The raw value is a slice of the file; where it starts, counting starts.
            let offset = (raw.get().as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
            self.locate(error, offset, path)
        })
    }

    /// The `type` of a component.
    pub(super) fn kind(&self, raw: &'a RawValue, path: &str) -> Result<Option<Cow<'a, str>>, TokenizerError> {
        Ok(self.part::<Tagged>(raw, path)?.kind)
    }

    /// The `type` of a component that must have one.
    pub(super) fn required_kind(&self, raw: &'a RawValue, path: &str) -> Result<Cow<'a, str>, TokenizerError> {
        let kind = self.kind(raw, path)?;
        kind.ok_or_else(|| self.invalid(path, "a component with a \"type\"", "one without"))
    }

    pub(super) fn invalid(&self, path: &str, expected: impl Into<String>, found: impl Into<String>) -> TokenizerError {
        TokenizerError::Invalid {
            file: self.name.to_owned(),
            path: path.to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(super) fn unsupported(
        &self,
        path: &str,
        component: &'static str,
        found: &str,
        supported: &'static str,
    ) -> TokenizerError {
        TokenizerError::Unsupported {
            file: self.name.to_owned(),
            path: path.to_owned(),
            component,
            found: found.to_owned(),
            supported,
        }
    }

    fn locate(&self, error: serde_json::Error, offset: usize, path: &str) -> TokenizerError {
        let before = self.text.get(..offset).unwrap_or_default();
        let lines = before.matches('\n').count();
        let first_column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let column = match error.line() {
            0 | 1 => first_column + error.column(),
            _ => error.column(),
        };
        let message = error.to_string();
        // serde_json puts its own idea of the position at the end of the message.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        TokenizerError::Json {
            file: self.name.to_owned(),
            path: path.to_owned(),
            line: lines + error.line().max(1),
            column,
            message: message.to_owned(),
        }
    }
}
