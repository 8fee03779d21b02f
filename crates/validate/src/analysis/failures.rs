//! Failed requests of each cell, grouped by kind, with their times and their load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::in_flight::InFlight;
use super::records::MeasuredCell;
use crate::load::RequestRecord;
use crate::system::FailureKind;

/// Failures of one kind in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureGroup {
    /// The cell.
    pub cell: usize,
    /// The cell's lengths and load, for people.
    pub load: String,
    /// Kind of the failures.
    pub kind: FailureKind,
    /// Number of failures.
    pub count: usize,
    /// Share of the cell's measured requests, in percent.
    pub percent: f64,
    /// When the first ended, in milliseconds since the start of the run.
    pub first_at_ms: f64,
    /// When the last ended.
    pub last_at_ms: f64,
    /// Fewest and most tokens of their requests.
    pub tokens: (usize, usize),
    /// Requests in flight when one was sent, itself included: median and maximum.
    pub in_flight: (usize, usize),
    /// Number of different messages.
    pub messages: usize,
    /// The most frequent one, as the target or the operating system wrote it: untrusted.
    pub example: String,
}

/// Returns the groups in the order of cells, within a cell the largest first.
pub(crate) fn find(ran: &[MeasuredCell]) -> Vec<FailureGroup> {
    ran.iter().flat_map(group_cell).collect()
}

fn group_cell(ran: &MeasuredCell) -> Vec<FailureGroup> {
    let mut by_kind: BTreeMap<FailureKind, Vec<&RequestRecord>> = BTreeMap::new();
    for record in ran.measured() {
        if let Some(kind) = record.failure {
            by_kind.entry(kind).or_default().push(record);
        }
    }
    if by_kind.is_empty() {
        return Vec::new();
    }
    let measured = ran.measured().count();
    let spans = ran
        .of_group
        .iter()
        .map(|record| (record.sent_us, record.ended_us.max(record.sent_us + 1), 0));
    let in_flight = InFlight::new(spans);
    let mut groups: Vec<FailureGroup> = by_kind
        .into_iter()
        .map(|(kind, failed)| group(ran, kind, &failed, measured, &in_flight))
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

fn group(
    ran: &MeasuredCell,
    kind: FailureKind,
    failed: &[&RequestRecord],
    measured: usize,
    in_flight: &InFlight,
) -> FailureGroup {
    let ends = || failed.iter().map(|record| record.ended_us as f64 / 1e3);
    let tokens = || failed.iter().map(|record| record.tokens);
    let mut under_way: Vec<usize> =
        failed.iter().map(|record| in_flight.at(record.sent_us).0).collect();
    under_way.sort_unstable();
    let mut messages: BTreeMap<&str, usize> = BTreeMap::new();
    for message in failed.iter().filter_map(|record| record.message.as_deref()) {
        *messages.entry(message).or_insert(0) += 1;
    }
    let example = messages.iter().max_by_key(|(_, count)| **count);
    FailureGroup {
        cell: ran.cell.index,
        load: ran.cell.spec.label(),
        kind,
        count: failed.len(),
        percent: 100.0 * failed.len() as f64 / measured as f64,
        first_at_ms: ends().fold(f64::INFINITY, f64::min),
        last_at_ms: ends().fold(0.0, f64::max),
        tokens: (tokens().min().unwrap_or(0), tokens().max().unwrap_or(0)),
        in_flight: (under_way[(under_way.len() - 1) / 2], under_way[under_way.len() - 1]),
        messages: messages.len(),
        example: example.map_or_else(String::new, |(message, _)| (*message).to_owned()),
    }
}
