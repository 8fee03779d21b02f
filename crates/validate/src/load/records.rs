//! `requests.jsonl.zst`: the raw records of a run, one per line, compressed.
//!
//! A long run has millions of records that resemble each other. `zstd -dc requests.jsonl.zst` prints them.
//! Several such files put one after the other are one such file.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::RequestRecord;

/// zstd's own default, about a fifteenth of the text.
const LEVEL: i32 = 3;

/// Writes one record a line, compressed.
pub fn write_requests(records: &[RequestRecord], out: &mut dyn Write) -> io::Result<()> {
    let mut out = zstd::Encoder::new(out, LEVEL)?;
    for record in records {
        serde_json::to_writer(&mut out, record)?;
        out.write_all(b"\n")?;
    }
    out.finish()?;
    Ok(())
}

/// Reads what [`write_requests`] wrote, once or several times into one file.
pub fn read_requests(input: impl Read) -> io::Result<Vec<RequestRecord>> {
    let lines = BufReader::new(zstd::Decoder::new(input)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}
