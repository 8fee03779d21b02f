//! A checkpoint's files of settings beside `config.json`: which of them must be known, and the reader of one JSON file.
//! Its keys are taken one by one; [`ConfigFile::finish`] rejects those that were not.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;
use crate::error::LoadError;

/// The files of settings in a checkpoint.
pub(super) struct SettingsFiles<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    /// Whether a file that the Hub's cache does not know is an error: where the program that writes such files would
    /// have asked for it. Else it is absent, as in a cache that `transformers` has filled.
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
        files.read(&file)?.map(|json| ConfigFile::parse(file, &json)).transpose()
    }

    /// Parses the bytes of a file that holds a JSON object.
    pub(super) fn parse(file: String, json: &[u8]) -> Result<ConfigFile, LoadError> {
        match serde_json::from_slice(json) {
            Ok(keys) => Ok(ConfigFile { file, keys }),
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

    /// Takes a size of at least 1 that must be there.
    pub(super) fn needed_size(&mut self, key: &str) -> Result<usize, LoadError> {
        self.size(key)?.ok_or_else(|| self.bad(format!("{key} is missing")))
    }

    /// Takes a list of different sizes, each at least 1 and at most `most`; `None` if it is absent.
    pub(super) fn sizes(
        &mut self,
        key: &str,
        most: usize,
    ) -> Result<Option<Vec<usize>>, LoadError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let size = |value: &Value| {
            let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
            size.filter(|size| (1..=most).contains(size))
        };
        let sizes: Option<Vec<usize>> =
            value.as_array().and_then(|list| list.iter().map(size).collect());
        let differ = |sizes: &Vec<usize>| (1..sizes.len()).all(|n| !sizes[..n].contains(&sizes[n]));
        match sizes.filter(|sizes| !sizes.is_empty() && differ(sizes)) {
            Some(sizes) => Ok(Some(sizes)),
            None => Err(self.bad(format!(
                "{key} is {value}; it must list different whole numbers between 1 and {most}"
            ))),
        }
    }

    /// Takes an object as a file of its own; `None` if it is absent.
    pub(super) fn section(&mut self, key: &str) -> Result<Option<ConfigFile>, LoadError> {
        let file = self.file.clone();
        let keys = self.object(key)?;
        Ok((!keys.is_empty()).then_some(ConfigFile { file, keys }))
    }

    /// Takes a string.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, LoadError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.bad(format!("{key} is {other}; it must be a string"))),
        }
    }

    /// Takes a string that must be there and be one of `known`.
    pub(super) fn needed_text(&mut self, key: &str, known: &[&str]) -> Result<String, LoadError> {
        let text = self.text(key)?.ok_or_else(|| self.bad(format!("{key} is missing")))?;
        match known.contains(&text.as_str()) {
            true => Ok(text),
            false => Err(self.bad(format!("{key} is '{text}'; known: {}", known.join(", ")))),
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
