//! Prompts: prefixes of texts that a sentence-transformers checkpoint defines, such as `query: `.
//!
//! They are named in `config_sentence_transformers.json`, one of them as the default. An unknown name is an
//! error, never an empty prompt.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::error::{LoadError, RequestError};

const FILE: &str = "config_sentence_transformers.json";

/// The prompts of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Prompts {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    #[serde(default)]
    default_prompt_name: Option<String>,
}

/// Puts a prompt before a text. An empty text stays empty, and is rejected as such later.
pub fn prompted(prompt: Option<&str>, text: String) -> String {
    match prompt {
        Some(prompt) if !text.is_empty() => format!("{prompt}{text}"),
        _ => text,
    }
}

impl Prompts {
    /// Reads the checkpoint's prompts; none if it has no such file.
    ///
    /// # Errors
    /// [`LoadError::Io`] if the file cannot be read, [`LoadError::Config`] if it is damaged or its default is none
    /// of its prompts.
    pub fn read(checkpoint: &Checkpoint) -> Result<Prompts, LoadError> {
        let Some(json) = checkpoint.read(FILE)? else { return Ok(Prompts::default()) };
        let bad = |reason: String| LoadError::Config { file: FILE.into(), reason };
        let prompts: Prompts = serde_json::from_slice(&json).map_err(|e| bad(e.to_string()))?;
        match &prompts.default_prompt_name {
            Some(name) if !prompts.prompts.contains_key(name) => {
                Err(bad(format!("default_prompt_name is '{name}', which is none of its prompts")))
            }
            _ => Ok(prompts),
        }
    }

    /// Iterates over the names of all prompts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.prompts.keys().map(String::as_str)
    }

    /// Returns the prompt of this name, or the default one; `None` if no name is given and there is no default.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] with the known names if there is no prompt of this name.
    pub fn get(&self, name: Option<&str>) -> Result<Option<&str>, RequestError> {
        let Some(name) = name.or(self.default_prompt_name.as_deref()) else { return Ok(None) };
        let known = || self.names().collect::<Vec<_>>().join(", ");
        match self.prompts.get(name) {
            Some(prompt) => Ok(Some(prompt)),
            None if self.prompts.is_empty() => Err(RequestError::Invalid(format!(
                "prompt_name is '{name}', but the model has no prompts ({FILE})"
            ))),
            None => Err(RequestError::Invalid(format!(
                "prompt_name is '{name}'; the model's prompts are {}",
                known()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &'static str) -> Result<Prompts, LoadError> {
        let files = vec![(FILE.to_owned(), json.as_bytes().into())];
        Prompts::read(&Checkpoint::memory("test", files))
    }

    #[test]
    fn prompts_are_found_by_name_or_default() {
        let json =
            r#"{"prompts": {"query": "q: ", "passage": "p: "}, "default_prompt_name": "query"}"#;
        let prompts = read(json).expect("reads");
        assert_eq!(prompts.get(None), Ok(Some("q: ")));
        assert_eq!(prompts.get(Some("passage")), Ok(Some("p: ")));
        let error = prompts.get(Some("other")).expect_err("unknown").to_string();
        assert_eq!(error, "prompt_name is 'other'; the model's prompts are passage, query");
        let without =
            read(r#"{"prompts": {"query": "q: "}, "default_prompt_name": null}"#).expect("reads");
        assert_eq!(without.get(None), Ok(None));
    }

    #[test]
    fn a_default_that_is_not_there_and_a_name_without_prompts_are_errors() {
        let error =
            read(r#"{"prompts": {}, "default_prompt_name": "query"}"#).expect_err("no such");
        assert!(error.to_string().contains("'query'"), "{error}");
        let none = Prompts::read(&Checkpoint::memory("test", Vec::new())).expect("no file");
        assert_eq!(none.get(None), Ok(None));
        assert!(none.get(Some("query")).is_err());
    }
}
