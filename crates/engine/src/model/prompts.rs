//! Prompts: prefixes of texts that a sentence-transformers checkpoint defines, such as `query: `.
//!
//! They are named in `config_sentence_transformers.json`, one of them as the default. An unknown name is an
//! error, never an empty prompt.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{LoadError, RequestError};

const FILE: &str = "config_sentence_transformers.json";

/// The prompts of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Prompts {
    /// null is an empty prompt.
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    #[serde(default)]
    default_prompt_name: Option<String>,
    /// Stands in for the default of the checkpoint.
    #[serde(skip)]
    default_text: Option<String>,
}

/// The prompt before texts whose request names none, in place of the checkpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultPrompt {
    /// The prompt itself.
    Text(String),
    /// The name of one of the checkpoint's prompts.
    Name(String),
}

/// Puts a prompt before a text. An empty text stays empty, and is rejected as such later.
pub fn prompted(prompt: Option<&str>, text: String) -> String {
    match prompt {
        Some(prompt) if !text.is_empty() => format!("{prompt}{text}"),
        _ => text,
    }
}

impl Prompts {
    /// Rejects a default that is none of the prompts.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.default_prompt_name {
            Some(name) if !self.prompts.contains_key(name) => {
                Err(format!("default_prompt_name is '{name}', which is none of its prompts"))
            }
            _ => Ok(()),
        }
    }

    /// Replaces the default prompt.
    ///
    /// # Errors
    /// [`LoadError::Option`] with the known names if there is no prompt of the name.
    pub(super) fn set_default(&mut self, default: &DefaultPrompt) -> Result<(), LoadError> {
        match default {
            DefaultPrompt::Text(text) => self.default_text = Some(text.clone()),
            DefaultPrompt::Name(name) if self.prompts.contains_key(name) => {
                self.default_prompt_name = Some(name.clone());
            }
            DefaultPrompt::Name(name) => {
                let option = "--default-prompt-name";
                let known = self.names().collect::<Vec<_>>().join(", ");
                let reason = match known.as_str() {
                    "" => format!("it is '{name}', but the model has no prompts ({FILE})"),
                    known => format!("it is '{name}'; the model's prompts are {known}"),
                };
                return Err(LoadError::Option { option, reason });
            }
        }
        Ok(())
    }

    /// Iterates over the names of all prompts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.prompts.keys().map(String::as_str)
    }

    /// Returns the prompt of this name, or the default one; `None` if no name is given and there is no default, and
    /// for an empty prompt.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] with the known names if there is no prompt of this name.
    pub fn get(&self, name: Option<&str>) -> Result<Option<&str>, RequestError> {
        if let (None, Some(text)) = (name, &self.default_text) {
            return Ok(Some(text));
        }
        let Some(name) = name.or(self.default_prompt_name.as_deref()) else { return Ok(None) };
        let known = || self.names().collect::<Vec<_>>().join(", ");
        match self.prompts.get(name) {
            Some(prompt) => Ok(prompt.as_deref().filter(|prompt| !prompt.is_empty())),
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

    fn read(json: &str) -> Prompts {
        serde_json::from_str(json).expect("reads")
    }

    #[test]
    fn prompts_are_found_by_name_or_default() {
        let json = r#"{"prompts": {"query": "q: ", "passage": "p: ", "document": null},
            "default_prompt_name": "query"}"#;
        let mut prompts = read(json);
        assert_eq!(prompts.get(None), Ok(Some("q: ")));
        assert_eq!(prompts.get(Some("passage")), Ok(Some("p: ")));
        assert_eq!(prompts.get(Some("document")), Ok(None));
        let error = prompts.get(Some("other")).expect_err("unknown").to_string();
        assert_eq!(
            error,
            "prompt_name is 'other'; the model's prompts are document, passage, query"
        );
        let without = read(r#"{"prompts": {"query": "q: "}, "default_prompt_name": null}"#);
        assert_eq!(without.get(None), Ok(None));

        prompts.set_default(&DefaultPrompt::Name("passage".into())).expect("it is known");
        assert_eq!(prompts.get(None), Ok(Some("p: ")));
        let other = prompts.set_default(&DefaultPrompt::Name("other".into()));
        let error = other.expect_err("unknown").to_string();
        assert!(error.contains("--default-prompt-name") && error.contains("passage"), "{error}");
        prompts.set_default(&DefaultPrompt::Text("t: ".into())).expect("any text will do");
        assert_eq!(prompts.get(None), Ok(Some("t: ")));
        assert_eq!(prompts.get(Some("query")), Ok(Some("q: ")));
    }

    #[test]
    fn a_default_that_is_not_there_and_a_name_without_prompts_are_errors() {
        let error = read(r#"{"prompts": {}, "default_prompt_name": "query"}"#).check();
        assert!(error.expect_err("no such").contains("'query'"));
        let none = Prompts::default();
        assert_eq!(none.get(None), Ok(None));
        assert!(none.get(Some("query")).is_err());
    }
}
