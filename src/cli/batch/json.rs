//! Rows of JSON: one object or string per line, or the elements of one array. Neither is read whole.

use std::fmt;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::Value;

use super::columns::{Columns, DEFAULT_TEXT};
use super::input::{Bytes, RowLimit, not_utf8};
use super::row::{ErrorKind, Failure, Kept, Row, RowError, RowResult};

/// Elements of an array that wait between the thread that parses them and the engine.
const ELEMENTS_AHEAD: usize = 64;

/// Finds the text and the kept columns of values. The first object decides which column the texts are in, and must have
/// the columns that the options name.
struct Fields {
    source: String,
    columns: Columns,
    text: Option<String>,
}

impl Fields {
    fn new(source: &str, columns: &Columns) -> Fields {
        Fields { source: source.to_owned(), columns: columns.clone(), text: None }
    }

    fn row(&mut self, index: usize, line: Option<u64>, value: Value) -> RowResult {
        let row = |kept| Row { index, line, kept };
        let no_text = |reason| RowError::new(ErrorKind::NoText, reason);
        let mut object = match value {
            Value::String(text) => return Ok((row(self.kept_of_string()?), text)),
            Value::Object(object) => object,
            other => {
                let reason = format!("it is {}, not a string or an object", kind_of(&other));
                return Err(Failure::Row(row(Kept::default()), no_text(reason)));
            }
        };
        let text = match &self.text {
            Some(text) => text,
            None => {
                let names = object.keys().map(String::as_str);
                let text = self.columns.choose_text(names.clone());
                let failed = |reason| Failure::Input(format!("{}: {reason}", self.source));
                let text = text.map_err(failed)?;
                self.columns.check_kept(names, &text).map_err(failed)?;
                &*self.text.insert(text)
            }
        };
        if self.columns.text.is_none() && text != DEFAULT_TEXT && object.contains_key(DEFAULT_TEXT)
        {
            let place = line.map_or_else(|| format!("text {}", index + 1), |n| format!("line {n}"));
            return Err(Failure::Input(format!(
                "{}: {place} has a column '{DEFAULT_TEXT}', but the first object has only '{text}' for the texts; \
                 name the column with the texts by --column",
                self.source
            )));
        }
        let kept = match self.columns.take_kept(&mut object, text) {
            Ok(kept) => kept,
            Err(error) => return Err(Failure::Row(row(Kept::default()), error)),
        };
        let reason = match object.get_mut(text).map(Value::take) {
            Some(Value::String(text)) => return Ok((row(kept), text)),
            Some(other) => format!("the column '{text}' is {}, not a string", kind_of(&other)),
            None => format!("there is no column '{text}'"),
        };
        Err(Failure::Row(row(kept), no_text(reason)))
    }

    /// Returns the kept columns of a row that is a string, which are null. Before any object they are an error:
    /// nothing shows that the names are right.
    fn kept_of_string(&self) -> Result<Kept, Failure> {
        let names = self.columns.kept_names(std::iter::empty(), "");
        match self.columns.first_copying_option() {
            Some(option) if self.text.is_none() && !names.is_empty() => {
                Err(Failure::Input(format!(
                    "{}: {option}: a string comes before the first object, and has no columns; give objects",
                    self.source
                )))
            }
            _ => Ok(Kept(names.into_iter().map(|name| (Arc::from(name), Value::Null)).collect())),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Iterates over lines of JSON. Blank lines are no rows.
pub(super) fn objects(
    lines: impl Iterator<Item = Result<Vec<u8>, Failure>> + 'static,
    name: &str,
    columns: &Columns,
) -> Box<dyn Iterator<Item = RowResult>> {
    let mut fields = Fields::new(name, columns);
    let is_row = |(_, line): &(u64, Result<Vec<u8>, Failure>)| match line {
        Ok(line) => !line.trim_ascii().is_empty(),
        Err(_) => true,
    };
    let numbered = (1..).zip(lines).filter(is_row).enumerate();
    Box::new(numbered.map(move |(index, (number, line))| {
        let line = line?;
        let failed =
            |error| Failure::Row(Row { index, line: Some(number), kept: Kept::default() }, error);
        let text = str::from_utf8(&line).map_err(|_| failed(not_utf8()))?;
        let value = serde_json::from_str(text).map_err(|error| {
            // The parser sees one line at a time.
            let reason = error.to_string().replace(" at line 1 column ", " at column ");
            failed(RowError::new(ErrorKind::NotJson, format!("the line is not JSON: {reason}")))
        })?;
        fields.row(index, Some(number), value)
    }))
}

/// Iterates over the elements of an array, which another thread parses. An array that is not JSON ends the input.
pub(super) fn array(
    reader: Bytes,
    limit: RowLimit,
    name: String,
    columns: &Columns,
) -> Box<dyn Iterator<Item = RowResult>> {
    let mut fields = Fields::new(&name, columns);
    let (sender, receiver) = sync_channel(ELEMENTS_AHEAD);
    thread::spawn(move || {
        let mut json = serde_json::Deserializer::from_reader(BufReader::new(reader));
        let parsed =
            json.deserialize_seq(Elements { sender: &sender, limit }).and_then(|()| json.end());
        if let Err(error) = parsed {
            // Nobody receives it if the job has ended.
            let _ = sender.send(Err(error));
        }
    });
    Box::new(receiver.into_iter().enumerate().map(move |(index, element)| {
        let value = element.map_err(|error| {
            Failure::Input(if error.is_io() {
                format!("cannot read {name}: {error}")
            } else {
                format!("{name} is not a JSON array of strings or objects: {error}")
            })
        })?;
        fields.row(index, None, value)
    }))
}

/// Sends the elements of an array.
struct Elements<'a> {
    sender: &'a SyncSender<serde_json::Result<Value>>,
    limit: RowLimit,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(value) = elements.next_element()? {
            self.limit.begin_row();
            self.sender.send(Ok(value)).map_err(|_| A::Error::custom("the job has ended"))?;
        }
        Ok(())
    }
}
