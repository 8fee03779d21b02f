//! The raw records of a run: one per request, in `requests.jsonl.zst` one per line, compressed.
//!
//! A long run has millions of similar records. `zstd -dc requests.jsonl.zst` prints them; concatenated
//! files are a valid file.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};

use crate::system::{BatchRef, FailureKind, StageTimes};

/// zstd's default level; a file is about a fifteenth of its text.
const LEVEL: i32 = 3;

/// The phase of a cell to which a request belongs, by its intended start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the measured phase. The load continues into it without a gap.
    WarmUp,
    /// In the measured phase, but before its steady part; excluded from the figures.
    Settling,
    /// In the steady part of the measured phase; the figures come from these.
    Measured,
    /// After the measured phase, to keep the load up until the last measured request is answered.
    CoolDown,
}

/// The raw record of one request. Times are microseconds since the start of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Index of the cell in the order run.
    pub cell: usize,
    /// Client of a closed loop, from 0; 0 in an open loop.
    pub client: usize,
    /// Number within the cell, from 0, in order of intended start.
    pub ordinal: u64,
    /// The phase of its intended start.
    pub phase: Phase,
    /// Tokens of the prompt.
    pub tokens: usize,
    /// Intended start.
    pub intended_us: u64,
    /// Time of sending.
    pub sent_us: u64,
    /// Time of the complete answer, or of the failure.
    pub ended_us: u64,
    /// Kind of the failure; absent for a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
    /// Message of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time per stage of the target, if reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<StageTimes>,
    /// The batch that carried the request, if reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchRef>,
}

impl RequestRecord {
    /// Returns the time from the intended start to the last byte, in microseconds.
    pub fn latency_us(&self) -> u64 {
        self.ended_us - self.intended_us
    }

    /// Returns the time from the intended start to sending, in microseconds.
    pub fn lag_us(&self) -> u64 {
        self.sent_us - self.intended_us
    }

    /// Returns true if the request was answered.
    pub fn succeeded(&self) -> bool {
        self.failure.is_none()
    }
}

/// Writes one record per line, compressed.
///
/// # Errors
/// Those of writing to `out`.
pub fn write_requests(records: &[RequestRecord], out: &mut dyn Write) -> io::Result<()> {
    let mut out = zstd::Encoder::new(out, LEVEL)?;
    for record in records {
        serde_json::to_writer(&mut out, record)?;
        out.write_all(b"\n")?;
    }
    out.finish()?;
    Ok(())
}

/// The records of finished cells, compressed until the run has ended: a target in this process shares its memory with
/// them, and would seem to grow from cell to cell.
#[derive(Debug, Default)]
pub(crate) struct PackedRecords(Vec<u8>);

impl PackedRecords {
    /// Adds the records of a cell.
    ///
    /// # Errors
    /// Those of the compression.
    pub(crate) fn push(&mut self, records: &[RequestRecord]) -> io::Result<()> {
        write_requests(records, &mut self.0)
    }

    /// Returns all records, in the order in which they were added.
    ///
    /// # Errors
    /// Those of the compression.
    pub(crate) fn unpack(self) -> io::Result<Vec<RequestRecord>> {
        read_requests(self.0.as_slice())
    }
}

/// Reads the records of a file, or of several files concatenated.
///
/// # Errors
/// Those of reading `input`; invalid zstd or a malformed line.
pub fn read_requests(input: impl Read) -> io::Result<Vec<RequestRecord>> {
    let lines = BufReader::new(zstd::Decoder::new(input)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}
