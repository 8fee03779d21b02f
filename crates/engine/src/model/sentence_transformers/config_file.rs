//! The files of settings: which of them must be known, and the reader of one JSON file. A key that is never read is
//! refused by name.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

/// The files of sentence-transformers in a checkpoint.
pub(super) struct SettingsFiles<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    /// Whether a file that the Hub's cache does not know is an error: where sentence-transformers would have asked for
    /// it. Else it is absent, as in a cache that `transformers` has filled.
    pub(super) must_know: bool,
}

impl SettingsFiles<'_> {
    pub(super) fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        match self.must_know {
            true => self.checkpoint.read(file),
            false => self.checkpoint.read_if_known(file),
        }
    }
}

/// The keys of a file that are still to be read.
pub(super) struct ConfigFile {
    file: String,
    keys: Map<String, Value>,
}

impl ConfigFile {
    /// Reads a file that holds a JSON object; `None` if the checkpoint lacks it.
    pub(super) fn read(
        files: &SettingsFiles<'_>,
        file: String,
    ) -> Result<Option<ConfigFile>, LoadError> {
        let Some(json) = files.read(&file)? else { return Ok(None) };
        match serde_json::from_slice(&json) {
            Ok(keys) => Ok(Some(ConfigFile { file, keys })),
            Err(error) => Err(LoadError::Config { file, reason: error.to_string() }),
        }
    }

    /// Returns an error about this file.
    pub(super) fn bad(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Config { file: self.file.clone(), reason: reason.into() }
    }

    /// Returns whether no key is left.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes the value of a key; `None` if it is absent or null.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.keys.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a boolean.
    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, LoadError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(on)),
            Some(other) => Err(self.bad(format!("{key} is {other}; it must be true or false"))),
        }
    }

    /// Takes a size of at least 1.
    pub(super) fn size(&mut self, key: &str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.as_u64().map(usize::try_from) {
            Some(Ok(size)) if size > 0 => Ok(Some(size)),
            _ => Err(self.bad(format!("{key} is {value}; it must be a whole number above 0"))),
        }
    }

    /// Takes a string.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, LoadError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.bad(format!("{key} is {other}; it must be a string"))),
        }
    }

    /// Takes an object; an absent one is empty.
    pub(super) fn object(&mut self, key: &str) -> Result<Map<String, Value>, LoadError> {
        match self.take(key) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(other) => Err(self.bad(format!("{key} is {other}; it must be an object"))),
        }
    }

    /// Takes a string that must be one of those computed here.
    pub(super) fn one_of(&mut self, key: &str, known: &[&str]) -> Result<(), LoadError> {
        match self.text(key)? {
            Some(text) if !known.contains(&text.as_str()) => {
                Err(self.bad(format!("{key} is '{text}'; computed: {}", known.join(", "))))
            }
            _ => Ok(()),
        }
    }

    /// Rejects the first key that was not taken and is not null.
    pub(super) fn finish(self) -> Result<(), LoadError> {
        match self.keys.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((key, value)) => Err(self.bad(format!(
                "{key} is {value}, which is not computed; remove the key if the model works without it"
            ))),
        }
    }
}
