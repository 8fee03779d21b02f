//! The raw records of a run: one per request, in `requests.jsonl.zst` one per line, compressed.
//!
//! A long run has millions of records that resemble each other. `zstd -dc requests.jsonl.zst` prints them.
//! Several such files put one after the other are one such file.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};

use crate::system::{BatchRef, FailureKind, StageTimes};

/// zstd's own default, about a fifteenth of the text.
const LEVEL: i32 = 3;

/// Which part of a cell a request belongs to, by its intended start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the measured phase; the same load goes on into it without a gap.
    WarmUp,
    /// Of the measured phase, but before the part of it that was found to be steady.
    Settling,
    /// Counts.
    Measured,
    /// Load that only keeps the target busy until the last measured request has its answer.
    CoolDown,
}

/// Everything known about one request. Times are microseconds since the start of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Index of the cell in the order run.
    pub cell: usize,
    /// Which client sent it; 0 in an open loop, where nobody waits.
    pub client: usize,
    /// Number of the request within its cell, in order of intended start.
    pub ordinal: u64,
    /// The phase it was started in.
    pub phase: Phase,
    /// Tokens of the prompt.
    pub tokens: usize,
    /// When it was meant to be sent.
    pub intended_us: u64,
    /// When it was sent.
    pub sent_us: u64,
    /// When its answer was complete, or it had failed.
    pub ended_us: u64,
    /// How it failed; absent for a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
    /// What the failure said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Time in the target's stages, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<StageTimes>,
    /// The batch that carried it, where the target tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchRef>,
}

impl RequestRecord {
    /// From the intended start to the last byte, in microseconds.
    pub fn latency_us(&self) -> u64 {
        self.ended_us - self.intended_us
    }

    /// How late the generator sent it, in microseconds.
    pub fn lag_us(&self) -> u64 {
        self.sent_us - self.intended_us
    }

    /// Whether it was answered.
    pub fn succeeded(&self) -> bool {
        self.failure.is_none()
    }
}

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
