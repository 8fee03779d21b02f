//! Writes and reads `results.json`; its schema is [`crate::results`], the raw records are in [`crate::load::records`].
//!
//! Every value that fits on a line is on one line, so that the file is small enough to commit and a diff is readable.

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::load::records::read_requests;
use crate::results::{Report, Results, SCHEMA_VERSION};

/// Name of the file of results.
pub const RESULTS: &str = "results.json";
/// Name of the file of raw records.
pub const REQUESTS: &str = "requests.jsonl.zst";

/// Longest line that a whole object or array is put on.
const LINE_WIDTH: usize = 110;

/// Writes the results, indented.
///
/// # Errors
///
/// The error of `out`.
pub fn results(results: &Results, out: &mut dyn Write) -> io::Result<()> {
    let mut text = String::new();
    indented(&serde_json::to_value(results)?, 0, &mut text)?;
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Appends `value`, indented by `indent` blanks.
fn indented(value: &Value, indent: usize, out: &mut String) -> io::Result<()> {
    let whole = serde_json::to_string(value)?;
    if indent + whole.len() <= LINE_WIDTH {
        out.push_str(&whole);
        return Ok(());
    }
    let items: Vec<(Option<&String>, &Value)> = match value {
        Value::Array(items) => items.iter().map(|item| (None, item)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, item)| (Some(key), item)).collect(),
        _ => {
            out.push_str(&whole);
            return Ok(());
        }
    };
    let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    out.push(open);
    for (index, (key, item)) in items.into_iter().enumerate() {
        out.push_str(if index > 0 { ",\n" } else { "\n" });
        out.extend(std::iter::repeat_n(' ', indent + 2));
        if let Some(key) = key {
            out.push_str(&serde_json::to_string(key)?);
            out.push_str(": ");
        }
        indented(item, indent + 2, out)?;
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    out.push(close);
    Ok(())
}

/// Reads the results and the raw records of a report's directory.
///
/// # Errors
///
/// [`Error::ReportUnreadable`] if a file is missing, cut short, or of another schema.
pub fn read_report(directory: &Path) -> Result<Report, Error> {
    let results = read_results(&directory.join(RESULTS))?;
    let path = directory.join(REQUESTS);
    let requests = std::fs::File::open(&path).and_then(read_requests);
    let requests =
        requests.map_err(|fault| Error::ReportUnreadable { path, message: fault.to_string() })?;
    Ok(Report { results, requests })
}

/// Reads a `results.json`.
///
/// # Errors
///
/// [`Error::ReportUnreadable`] if it is missing, not JSON, or of another schema.
pub fn read_results(path: &Path) -> Result<Results, Error> {
    let fault = |message: String| Error::ReportUnreadable { path: path.to_owned(), message };
    let text = std::fs::read_to_string(path).map_err(|source| fault(source.to_string()))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
    match value.get("schema_version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => {
            return Err(fault(format!(
                "its schema_version is {version}, this program reads {SCHEMA_VERSION}"
            )));
        }
        None => return Err(fault("it has no schema_version".into())),
    }
    remove_batch_time_advice(&mut value);
    serde_json::from_value(value).map_err(|error| fault(error.to_string()))
}

/// Removes what earlier versions advised about the tokens of a batch: it stood on a model of batch times whose
/// held-out error was too large to publish, and a report must not repeat it.
fn remove_batch_time_advice(results: &mut Value) {
    if let Some(all) = results.get_mut("recommendations").and_then(Value::as_array_mut) {
        all.retain(|one| one["topic"] != "batch_tokens");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_fits_on_a_line_is_on_one() {
        let long: Vec<u32> = (100_000_000..100_000_012).collect();
        let value = json!({"short": [1, 2.5, null], "long": long, "text": "x".repeat(200)});
        let mut text = String::new();
        indented(&value, 0, &mut text).expect("a string takes it");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1]), ("{", "  \"short\": [1,2.5,null],"));
        assert_eq!(lines[2], "  \"long\": [");
        assert_eq!(lines.len(), 2 + 14 + 2, "{text}");
    }
}
