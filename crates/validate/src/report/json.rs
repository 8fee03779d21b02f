//! `results.json` and `requests.jsonl`. The schema of the first is [`crate::results`], of a line of
//! the second [`RequestRecord`].

use std::io::{self, Write};

use crate::Results;
use crate::load::RequestRecord;

/// Writes the results, indented.
pub fn results(results: &Results, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, results)?;
    out.write_all(b"\n")
}

/// Writes one record a line.
pub fn requests(records: &[RequestRecord], out: &mut dyn Write) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut *out, record)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
