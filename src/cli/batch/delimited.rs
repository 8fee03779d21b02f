//! Rows of CSV and TSV: fields in the columns that the first row names. Quoting is the `csv` crate's: a field in quotes
//! may hold delimiters, line ends and doubled quotes.

use std::sync::Arc;

use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::Value;

use super::columns::{Columns, check_names};
use super::input::{Bytes, RowLimit, Rows, not_utf8};
use super::quotes::QuoteCheck;
use super::row::{ErrorKind, Failure, Kept, Row, RowError, RowResult};

/// The byte between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delimiter {
    pub(super) byte: u8,
    /// Whether `--delimiter` gave it.
    pub(super) is_given: bool,
}

impl Delimiter {
    /// Parses the value of `--delimiter`.
    pub(super) fn parse(text: &str) -> Result<Delimiter, String> {
        match text.as_bytes() {
            b"\\t" => Ok(Delimiter { byte: b'\t', is_given: true }),
            &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => {
                Ok(Delimiter { byte, is_given: true })
            }
            _ => Err("give one ASCII character other than a quote or a line end, such as ';'; \\t is a tab".into()),
        }
    }

    /// Rejects a header that another delimiter would split.
    fn check_header(self, names: &[&str]) -> Result<(), String> {
        let &[name] = names else { return Ok(()) };
        match name.chars().find(|c| matches!(c, ';' | '\t' | '|')) {
            Some(other) if !self.is_given => {
                let other = if other == '\t' { "\\t".into() } else { other.to_string() };
                Err(format!(
                    "the only column is named {name:?}; if '{other}' separates columns, add --delimiter '{other}', else \
                     --delimiter '{}'",
                    if self.byte == b'\t' { "\\t" } else { "," }
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Reads the header and finds the columns.
///
/// # Errors
/// A header that cannot be read, lacks a column or names it twice.
pub(super) fn read(
    reader: Bytes,
    limit: RowLimit,
    delimiter: Delimiter,
    name: &str,
    columns: &Columns,
) -> Result<Rows, String> {
    let failed = |reason: String| format!("{name}: {reason}");
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter.byte)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(1 << 16)
        .from_reader(QuoteCheck::new(reader, delimiter.byte));
    let mut header = ByteRecord::new();
    if !reader.read_byte_record(&mut header).map_err(|error| failed(error.to_string()))? {
        return Err(failed("the file is empty; its first row must name the columns".into()));
    }
    let names: Result<Vec<&str>, _> = header.iter().map(str::from_utf8).collect();
    let names =
        names.map_err(|_| failed("the header is not valid UTF-8; convert it first".into()))?;
    delimiter.check_header(&names).map_err(failed)?;
    let text = columns.choose_text(names.iter().copied()).map_err(failed)?;
    let kept = columns.kept_names(names.iter().copied(), &text);
    check_names(&kept).map_err(failed)?;
    let position = |wanted: &str| {
        let mut found = (0..).zip(&names).filter(|(_, name)| **name == wanted);
        match (found.next(), found.next()) {
            (Some((position, _)), None) => Ok(position),
            (Some(_), Some(_)) => {
                Err(failed(format!("two columns are named '{wanted}'; rename one")))
            }
            (None, _) => {
                let listed = names.join("', '");
                Err(failed(format!("there is no column '{wanted}'; the columns are '{listed}'")))
            }
        }
    };
    let text = position(&text)?;
    let id = columns.id.as_deref().map(position).transpose()?;
    let with_position = |name: &&str| position(name).map(|at| (Arc::from(*name), at));
    let kept: Result<Vec<(Arc<str>, usize)>, String> = kept.iter().map(with_position).collect();
    let kept = kept?;
    // A record that ends in CRLF leaves the LF to the next one.
    let line_offset = u64::from(reader.position().line() == 1 + line_feeds(&header));
    let kept_names = Some(kept.iter().map(|(name, _)| name.to_string()).collect());
    let (width, source) = (header.len(), name.to_owned());
    let record = ByteRecord::new();
    let rows =
        Records { reader, limit, record, source, width, text, id, kept, line_offset, index: 0 };
    Ok(Rows { rows: Box::new(rows), kept_names })
}

/// Line ends inside of fields.
fn line_feeds(record: &ByteRecord) -> u64 {
    record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64
}

struct Records {
    reader: Reader<QuoteCheck>,
    limit: RowLimit,
    record: ByteRecord,
    source: String,
    /// Fields of the header.
    width: usize,
    /// Position of the text.
    text: usize,
    /// Position of the id.
    id: Option<usize>,
    kept: Vec<(Arc<str>, usize)>,
    /// Lines that the reader counts late.
    line_offset: u64,
    index: usize,
}

impl Records {
    /// Returns the line that the record begins in. The reader counts blank lines before it as a part of it.
    fn line(&self) -> u64 {
        let begun = self.record.position().map_or(0, |position| position.line()) + self.line_offset;
        let ended = (self.reader.position().line() + self.line_offset).saturating_sub(1);
        begun.max(ended.saturating_sub(line_feeds(&self.record)))
    }

    /// Returns the kept columns. Of a row with too few or too many fields only the id is certain enough to be useful.
    fn kept(&self) -> Result<Kept, RowError> {
        let ragged = self.record.len() != self.width;
        let mut invalid = None;
        let mut value = |(name, position): &(Arc<str>, usize)| {
            let known = !ragged || Some(*position) == self.id;
            let field = self.record.get(*position).filter(|_| known).map(str::from_utf8);
            let value = match field {
                None => Value::Null,
                Some(Ok(text)) => text.into(),
                Some(Err(_)) => {
                    invalid =
                        Some(format!("the column '{name}' is not valid UTF-8; convert it first"));
                    Value::Null
                }
            };
            (name.clone(), value)
        };
        let kept = Kept(self.kept.iter().map(&mut value).collect());
        match invalid {
            None => Ok(kept),
            Some(reason) => Err(RowError::new(ErrorKind::NotUtf8, reason)),
        }
    }

    fn text(&self) -> Result<String, RowError> {
        if self.record.len() != self.width {
            let reason =
                format!("the row has {} fields, the header has {}", self.record.len(), self.width);
            return Err(RowError::new(ErrorKind::Ragged, reason));
        }
        match str::from_utf8(&self.record[self.text]) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(not_utf8()),
        }
    }
}

impl Iterator for Records {
    type Item = RowResult;

    fn next(&mut self) -> Option<RowResult> {
        self.limit.begin_row();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                return Some(Err(Failure::Input(format!("cannot read {}: {error}", self.source))));
            }
        }
        let (index, line) = (self.index, Some(self.line()));
        self.index += 1;
        let row = |kept| Row { index, line, kept };
        Some(match (self.kept(), self.text()) {
            (Ok(kept), Ok(text)) => Ok((row(kept), text)),
            (Ok(kept), Err(error)) => Err(Failure::Row(row(kept), error)),
            (Err(error), _) => Err(Failure::Row(row(Kept::default()), error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads rows and renders each as its line, its text or error, and what is kept.
    fn rows(csv: &str, id: Option<&str>) -> Vec<String> {
        let columns = Columns { id: id.map(Into::into), ..Columns::default() };
        let comma = Delimiter { byte: b',', is_given: false };
        let reader = Box::new(std::io::Cursor::new(csv.to_owned()));
        let Rows { rows, .. } =
            read(reader, RowLimit::default(), comma, "a.csv", &columns).expect("it has a header");
        let describe = |row| match row {
            Ok((Row { line, kept, .. }, text)) => format!("{line:?} {text:?} {:?}", kept.0),
            Err(Failure::Row(Row { line, kept, .. }, RowError { kind, .. })) => {
                format!("{line:?} {kind} {:?}", kept.0)
            }
            Err(Failure::Input(reason)) => reason,
        };
        rows.map(describe).map(|row| row.replace(['(', ')'], "")).collect()
    }

    #[test]
    fn lines_are_those_that_rows_begin_in() {
        for end in ["\n", "\r\n"] {
            let csv = ["text", "one", "\"two\nand a half\"", "", "", "three", "four"].join(end);
            let expected = [
                "Some2 \"one\" []",
                "Some3 \"two\\nand a half\" []",
                "Some7 \"three\" []",
                "Some8 \"four\" []",
            ];
            assert_eq!(rows(&csv, None), expected, "{end:?}");
            assert_eq!(rows(&(csv + end), None), expected, "{end:?}");
        }
    }

    #[test]
    fn a_ragged_row_keeps_its_id() {
        let csv = "key,text\n1,a\n2\n3,b,c\n4,\"d\"\"e\"\n";
        let expected = [
            "Some2 \"a\" [\"key\", String\"1\"]",
            "Some3 ragged [\"key\", String\"2\"]",
            "Some4 ragged [\"key\", String\"3\"]",
            "Some5 \"d\\\"e\" [\"key\", String\"4\"]",
        ];
        assert_eq!(rows(csv, Some("key")), expected);
    }
}
