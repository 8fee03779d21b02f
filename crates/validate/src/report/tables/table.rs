//! What a table is: columns, and rows of finished strings.

use crate::verdict::Outcome;

/// A table.
pub(in crate::report) struct Table {
    pub(in crate::report) columns: Vec<Column>,
    pub(in crate::report) rows: Vec<Row>,
}

/// A column and what it holds.
pub(in crate::report) struct Column {
    pub(in crate::report) label: &'static str,
    pub(in crate::report) holds: Holds,
}

/// What a column holds, for its alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Holds {
    Numbers,
    Labels,
    Prose,
}

/// A row, and what is to be stressed about it.
pub(in crate::report) struct Row {
    pub(in crate::report) fields: Vec<Field>,
    pub(in crate::report) stress: Stress,
}

/// A field, and below or behind it in small type what belongs to it: its interval, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Field {
    pub(in crate::report) text: String,
    pub(in crate::report) note: Option<String>,
}

impl From<String> for Field {
    fn from(text: String) -> Field {
        Field { text, note: None }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Field {
        text.to_owned().into()
    }
}

impl Field {
    pub(super) fn noted(text: impl Into<String>, note: String) -> Field {
        Field { text: text.into(), note: (!note.is_empty()).then_some(note) }
    }
}

/// What a row is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Stress {
    None,
    /// A verdict.
    Verdict(Outcome),
    /// A cell that repeats another.
    Muted,
    /// A cell that was not run: between its first two fields and its last there is nothing.
    NotRun,
    /// A new length begins here.
    Break,
}

/// A row of which nothing is to be stressed.
pub(super) fn plain(fields: Vec<Field>) -> Row {
    Row { fields, stress: Stress::None }
}

/// Columns from one line, as `"Tokens> | Verdict | Why~"`: `>` after a label is for numbers, `~` for prose, neither
/// for labels.
pub(super) fn columns(line: &'static str) -> impl Iterator<Item = Column> {
    line.split(" | ").map(|label| {
        let (label, holds) = match (label.strip_suffix('>'), label.strip_suffix('~')) {
            (Some(label), _) => (label, Holds::Numbers),
            (None, Some(label)) => (label, Holds::Prose),
            (None, None) => (label, Holds::Labels),
        };
        Column { label, holds }
    })
}

/// A table of these rows; none without any.
pub(super) fn filled(rows: Vec<Row>, heads: &'static str) -> Option<Table> {
    (!rows.is_empty()).then(|| Table { columns: columns(heads).collect(), rows })
}
