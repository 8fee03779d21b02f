//! A row of the input, and why one has no answer. Reading is in `input`, printing in `render`.

use std::fmt;
use std::sync::Arc;

use bigbatch_engine::{Overlong, RequestError, Task, TextTask, Truncate};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A row without its text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Counts rows from 0.
    pub(super) index: usize,
    /// Line of the input that the row begins in, from 1; `None` for inputs that do not consist of lines.
    pub(super) line: Option<u64>,
    pub(super) kept: Kept,
}

/// The id and the other columns that the output keeps, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Kept(pub(super) Vec<(Arc<str>, Value)>);

impl Kept {
    /// Estimates the bytes that it holds in memory.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, value)| value_bytes(value)).sum()
    }
}

/// Estimates the bytes of a value with everything in it.
fn value_bytes(value: &Value) -> usize {
    // A name, a hash and an index belong to each value of an object.
    const ENTRY: usize = 48;
    let held = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(object) => {
            object.iter().map(|(name, value)| ENTRY + name.len() + value_bytes(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + held
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name.as_ref(), value)))
    }
}

/// Why a row has no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RowError {
    pub(super) kind: ErrorKind,
    pub(super) reason: String,
}

impl RowError {
    pub(super) fn new(kind: ErrorKind, reason: impl Into<String>) -> RowError {
        RowError { kind, reason: reason.into() }
    }

    /// Converts the error of one text. Errors that every further text would have too come back.
    pub(super) fn of_text(
        error: RequestError,
        overlong_remedy: &str,
    ) -> Result<RowError, RequestError> {
        let kind = match error {
            RequestError::Empty => ErrorKind::Empty,
            RequestError::TooLong { tokens, at_least, limit } => {
                let at_least = if at_least { "at least " } else { "" };
                let reason = format!(
                    "the text has {at_least}{tokens} tokens, the limit is {limit}; {overlong_remedy}"
                );
                return Ok(RowError::new(ErrorKind::TooLong, reason));
            }
            RequestError::Invalid(_) => ErrorKind::Invalid,
            RequestError::Device(_) => ErrorKind::Device,
            RequestError::NotFinite => ErrorKind::NotFinite,
            other => return Err(other),
        };
        Ok(RowError::new(kind, error.to_string()))
    }
}

/// The kinds of errors, as the output and the summary name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ErrorKind {
    /// The text is empty.
    Empty,
    /// The text has more tokens than the model reads.
    TooLong,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// A line that is not JSON.
    NotJson,
    /// More or fewer fields than the header.
    Ragged,
    /// No text in the row.
    NoText,
    /// A column has the name of a field of the answer.
    Column,
    /// The task rejects the text, such as one without a mask.
    Invalid,
    /// The device failed while it ran the batch of the text.
    Device,
    /// The model's numbers overflowed.
    NotFinite,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Empty => "empty",
            ErrorKind::TooLong => "too_long",
            ErrorKind::NotUtf8 => "not_utf8",
            ErrorKind::NotJson => "not_json",
            ErrorKind::Ragged => "ragged",
            ErrorKind::NoText => "no_text",
            ErrorKind::Column => "column",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Device => "device",
            ErrorKind::NotFinite => "not_finite",
        })
    }
}

/// Returns what to do about a text that is too long, with the options that the task has and that are not set.
pub(super) fn overlong_remedy(task: &TextTask) -> &'static str {
    let in_windows = !matches!(task.task, Task::FillMask { .. }) && task.context.is_none();
    match task.overlong {
        Overlong::Truncate(Truncate::No) if in_windows => {
            "add --truncate to cut it, or --chunk to read it in windows"
        }
        Overlong::Truncate(Truncate::No) => "add --truncate to cut it",
        _ => "shorten it",
    }
}

/// What a reader returns instead of a row with its text.
#[derive(Debug)]
pub(super) enum Failure {
    /// This row has no text; the next one may.
    Row(Row, RowError),
    /// The input cannot be read any further.
    Input(String),
}

/// A row and its text.
pub(super) type RowResult = Result<(Row, String), Failure>;
