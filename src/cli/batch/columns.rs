//! Which columns of a row are its text, its id, and those that the output keeps.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::row::{ErrorKind, Kept, RowError};

/// The column with the texts unless an option names another.
pub(super) const DEFAULT_TEXT: &str = "text";

/// Names that fields of the answer have in JSON lines and in CSV.
const RESERVED: [&str; 14] = [
    "index",
    "line",
    "tokens",
    "truncated",
    "chunks",
    "label",
    "score",
    "labels",
    "entities",
    "token_labels",
    "embedding",
    "masks",
    "error",
    "error_kind",
];

/// The columns that the options name.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// `--column`.
    pub(super) text: Option<String>,
    /// `--id-column`.
    pub(super) id: Option<String>,
    pub(super) keep: Keep,
}

/// `--keep-columns`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Keep {
    #[default]
    Nothing,
    /// All but the text and the id.
    Others,
    Named(Vec<String>),
}

impl Columns {
    /// Returns the first option that is set, all of which need an input with columns.
    pub(super) fn first_option(&self) -> Option<&'static str> {
        let set = [
            ("--column", self.text.is_some()),
            ("--id-column", self.id.is_some()),
            ("--keep-columns", self.keep != Keep::Nothing),
        ];
        set.into_iter().find(|(_, set)| *set).map(|(name, _)| name)
    }

    /// Chooses the column with the texts: the one that the option names, `text`, or the only one beside the id.
    /// Returns a message if there is none.
    pub(super) fn choose_text<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<String, String> {
        let wanted = self.text.as_deref().unwrap_or(DEFAULT_TEXT);
        if names.clone().any(|name| name == wanted) {
            return Ok(wanted.into());
        }
        let others = || names.clone().filter(|name| Some(*name) != self.id.as_deref());
        let mut rest = others();
        match (&self.text, rest.next(), rest.next()) {
            (None, Some(only), None) => Ok(only.into()),
            (text, ..) => {
                let listed = list_columns(names);
                Err(match text {
                    Some(text) => format!("there is no column '{text}'; {listed}"),
                    None => format!("name the column with the texts by --column; {listed}"),
                })
            }
        }
    }

    /// Returns the options that copy columns to the output, if set.
    pub(super) fn first_copying_option(&self) -> Option<&'static str> {
        let text = Columns { text: None, ..self.clone() };
        text.first_option()
    }

    /// Rejects a column to copy that `--id-column` or `--keep-columns` names and the input lacks, or whose name a
    /// field of the answer has. `all` are the columns of the input, whose text is in the column `text`.
    pub(super) fn check_kept<'a>(
        &'a self,
        all: impl Iterator<Item = &'a str> + Clone,
        text: &str,
    ) -> Result<(), String> {
        let names = self.kept_names(all.clone(), text);
        check_names(&names)?;
        match names.iter().find(|name| all.clone().all(|known| known != **name)) {
            Some(name) => Err(format!("there is no column '{name}'; {}", list_columns(all))),
            None => Ok(()),
        }
    }

    /// Returns the names of the columns that the output keeps, the id first. `all` are those of the input, whose
    /// text is in the column `text`.
    pub(super) fn kept_names<'a>(
        &'a self,
        all: impl Iterator<Item = &'a str>,
        text: &str,
    ) -> Vec<&'a str> {
        let id = self.id.as_deref();
        let others: Vec<&str> = match &self.keep {
            Keep::Nothing => Vec::new(),
            Keep::Named(names) => names.iter().map(String::as_str).collect(),
            Keep::Others => all.filter(|name| *name != text).collect(),
        };
        let mut names: Vec<&str> = Vec::new();
        for name in id.into_iter().chain(others) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Takes the values that the output keeps out of an object, whose text is in the column `text` and stays. A
    /// column that it lacks is null.
    ///
    /// # Errors
    /// A column with the name of a field of the answer, or with a number that was rounded when it was read.
    pub(super) fn take_kept(
        &self,
        object: &mut Map<String, Value>,
        text: &str,
    ) -> Result<Kept, RowError> {
        let names = self.kept_names(object.keys().map(String::as_str), text);
        if let Some(name) = names.iter().find(|name| RESERVED.contains(name)) {
            return Err(RowError::new(ErrorKind::Column, reserved_message(name)));
        }
        let names: Vec<Arc<str>> = names.into_iter().map(Arc::from).collect();
        let mut value = |name: &str| match object.get_mut(name) {
            Some(value) if name == text => value.clone(),
            Some(value) => value.take(),
            None => Value::Null,
        };
        let kept: Vec<(Arc<str>, Value)> = names
            .into_iter()
            .map(|name| {
                let value = value(&name);
                (name, value)
            })
            .collect();
        match kept.iter().find(|(_, value)| is_beyond_64_bits(value)) {
            Some((name, _)) => Err(RowError::new(
                ErrorKind::Column,
                format!(
                    "the column '{name}' has a number beyond 64 bits, which cannot be copied exactly; make it a string"
                ),
            )),
            None => Ok(Kept(kept)),
        }
    }
}

/// Lists the columns of an input in an error.
fn list_columns<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let listed: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let listed = if listed.is_empty() { "none".into() } else { listed.join(", ") };
    format!("the columns are {listed}")
}

/// Returns whether a value has a number that neither i64 nor u64 can hold, which the parser rounds to f64.
fn is_beyond_64_bits(value: &Value) -> bool {
    // i64 and u64 hold every integer between these, so an f64 there was a fraction or had an exponent.
    const LOWER: f64 = -9_223_372_036_854_775_808.0;
    const UPPER: f64 = 18_446_744_073_709_551_616.0;
    match value {
        Value::Number(number) => {
            let is_between = |number: f64| LOWER < number && number < UPPER;
            number.is_f64() && !number.as_f64().is_some_and(is_between)
        }
        Value::Array(values) => values.iter().any(is_beyond_64_bits),
        Value::Object(object) => object.values().any(is_beyond_64_bits),
        _ => false,
    }
}

/// Rejects columns that would make a field of the output ambiguous.
pub(super) fn check_names(names: &[&str]) -> Result<(), String> {
    match names.iter().find(|name| RESERVED.contains(name)) {
        Some(name) => Err(reserved_message(name)),
        None => Ok(()),
    }
}

fn reserved_message(name: &str) -> String {
    format!(
        "the column '{name}' has the name of a field of the answer; rename it, or keep others by \
         --keep-columns=NAME,..."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: Option<&str>, id: Option<&str>) -> Columns {
        Columns { text: text.map(Into::into), id: id.map(Into::into), keep: Keep::Nothing }
    }

    #[test]
    fn the_text_is_in_the_named_column_or_text_or_the_only_one() {
        for (text, id, names, chosen) in [
            (None, None, &["id", "text"][..], Some("text")),
            (Some("body"), None, &["text", "body"], Some("body")),
            (None, None, &["body"], Some("body")),
            (None, Some("key"), &["key", "body"], Some("body")),
            (None, None, &["key", "body"], None),
            (Some("body"), None, &["text"], None),
            (None, None, &[], None),
            (None, Some("key"), &["key"], None),
        ] {
            let found = columns(text, id).choose_text(names.iter().copied()).ok();
            assert_eq!(found.as_deref(), chosen, "{text:?} {id:?} {names:?}");
        }
    }

    #[test]
    fn the_id_comes_first_and_nothing_twice() {
        let all = ["a", "text", "key", "b"];
        let kept = |keep| {
            let columns = Columns { keep, ..columns(None, Some("key")) };
            columns.kept_names(all.into_iter(), "text").join(" ")
        };
        assert_eq!(kept(Keep::Nothing), "key");
        assert_eq!(kept(Keep::Others), "key a b");
        assert_eq!(kept(Keep::Named(vec!["text".into(), "key".into(), "a".into()])), "key text a");
    }
}
