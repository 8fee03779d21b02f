//! A table: columns with their alignment, and rows of finished strings.

use crate::verdict::Outcome;

/// A table.
pub(in crate::report) struct Table {
    pub(in crate::report) columns: Vec<Column>,
    pub(in crate::report) rows: Vec<Row>,
}

/// A column: its head and the alignment of its fields.
pub(in crate::report) struct Column {
    pub(in crate::report) label: &'static str,
    pub(in crate::report) alignment: Alignment,
}

/// The alignment of a column, by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Alignment {
    Numbers,
    Labels,
    Prose,
    /// Prose that the page puts below the row: a column of it would be cut off at the right.
    Below,
}

/// A row.
pub(in crate::report) struct Row {
    pub(in crate::report) fields: Vec<Field>,
    pub(in crate::report) emphasis: Emphasis,
}

/// A field, with a note in small type: its interval, for example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Field {
    pub(in crate::report) text: String,
    pub(in crate::report) note: Option<String>,
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Field {
        Field { text: text.into(), note: None }
    }
}

impl Field {
    /// Creates a field with a note, unless the note is empty.
    pub(in crate::report) fn noted(text: impl Into<String>, note: impl Into<String>) -> Field {
        Field { text: text.into(), note: Some(note.into()).filter(|note| !note.is_empty()) }
    }
}

/// How the page sets a row apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Emphasis {
    None,
    /// The field with the outcome is coloured.
    Verdict(Outcome),
    /// A cell that repeats another.
    Muted,
    /// A cell that was not run: the fields between its first two and its last are empty.
    NotRun,
    /// The first row of a new length.
    Break,
}

/// Prints a value that may be absent.
pub(in crate::report) fn or_dash<T>(value: Option<T>, print: impl FnOnce(T) -> String) -> String {
    value.map_or("–".to_owned(), print)
}

/// The mark after a label that tells the alignment of its column.
const MARKS: [(char, Alignment); 3] =
    [('>', Alignment::Numbers), ('~', Alignment::Prose), ('_', Alignment::Below)];

/// Parses columns such as `"Tokens> | Verdict | Why~"`: [`MARKS`] after a label, none for labels. A column that goes
/// below the row is the last.
pub(super) fn columns(heads: &'static str) -> impl Iterator<Item = Column> {
    heads.split(" | ").map(|label| {
        let marked =
            |(mark, alignment)| Some(Column { label: label.strip_suffix(mark)?, alignment });
        let plain = Column { label, alignment: Alignment::Labels };
        MARKS.into_iter().find_map(marked).unwrap_or(plain)
    })
}

impl Table {
    /// Creates a table from its [`columns`] and rows; `None` without rows.
    pub(in crate::report) fn new<R: Into<Row>>(
        heads: &'static str,
        rows: impl IntoIterator<Item = R>,
    ) -> Option<Table> {
        let rows: Vec<Row> = rows.into_iter().map(Into::into).collect();
        (!rows.is_empty()).then(|| Table { columns: columns(heads).collect(), rows })
    }
}

impl From<Vec<Field>> for Row {
    fn from(fields: Vec<Field>) -> Row {
        Row { fields, emphasis: Emphasis::None }
    }
}
