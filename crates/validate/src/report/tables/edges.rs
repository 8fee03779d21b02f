//! Tables of the search for the edge: where requests begin to be refused, and what came after.

use crate::analysis::EdgeFindings;
use crate::analysis::edge::{Axis, Edge, EdgeFailure, Recovery};
use crate::format::{bytes, count, time};
use crate::results::Results;

use super::table::{Field, Table, filled, plain};

/// A value of an axis in its unit.
fn value(axis: Axis, value: u64) -> String {
    match axis {
        Axis::Concurrency | Axis::Tokens => count(value as usize),
        Axis::MemoryBudget => bytes(value),
    }
}

fn table<T>(
    results: &Results,
    of: impl Fn(&EdgeFindings) -> &[T],
    row: impl Fn(&T) -> Vec<Field>,
    columns: &'static str,
) -> Option<Table> {
    let found = results.analysis.edge.as_ref()?;
    filled(of(found).iter().map(|item| plain(row(item))).collect(), columns)
}

/// Where each axis ends, beside where it was predicted to.
pub(in super::super) fn edges(results: &Results) -> Option<Table> {
    let row = |edge: &Edge| {
        let print = |end: Option<u64>| end.map_or("–".into(), |end| value(edge.axis, end).into());
        let difference =
            edge.difference_percent.map_or(String::new(), |off| format!("{off:+.1} %"));
        vec![
            edge.axis.label().into(),
            print(edge.works),
            print(edge.refused),
            print(edge.predicted),
            Field::noted(edge.agreement.label(), difference),
            count(edge.probes.len()).into(),
            edge.note.as_deref().unwrap_or_default().into(),
        ]
    };
    let labels = "What was moved | Last that works> | First refused> | Predicted> | Found | \
         Values tried> | Remark~";
    table(results, |found| &found.axes, row, labels)
}

/// Whether latency is back to normal after each search.
pub(in super::super) fn recoveries(results: &Results) -> Option<Table> {
    let row = |recovery: &Recovery| {
        let optional = |ms: Option<f64>| Field::from(ms.map_or("–".into(), time));
        let interval = recovery.ratio_interval;
        let ends = interval.map_or(String::new(), |(low, high)| format!("{low:.2} to {high:.2}"));
        vec![
            recovery.axis.label().into(),
            count(recovery.requests).into(),
            count(recovery.failed).into(),
            time(recovery.before_ms_p50).into(),
            optional(recovery.after_ms_p50),
            optional(recovery.after_ms_max),
            Field::noted(recovery.ratio.map_or("–".into(), |ratio| format!("{ratio:.2}")), ends),
            format!("≤ {:.2}", recovery.ratio_normal_max).into(),
            format!("{}, {:.1} s", count(recovery.rounds), recovery.seconds).into(),
            recovery.verdict.label().into(),
        ]
    };
    let labels = "After searching | Requests a round> | Failed> | p50 before> | p50 after> | \
         Max after> | After / before> | Normal> | Rounds, time> | Verdict";
    table(results, |found| &found.recoveries, row, labels)
}

/// Everything that was refused or failed during the search.
pub(in super::super) fn edge_failures(results: &Results) -> Option<Table> {
    let row = |failure: &EdgeFailure| {
        vec![
            failure.axis.label().into(),
            value(failure.axis, failure.value).into(),
            failure.label().into(),
            count(failure.count).into(),
            count(failure.concurrency).into(),
            count(failure.tokens).into(),
            failure.memory_budget_bytes.map_or("–".into(), |budget| bytes(budget).into()),
            time(failure.first_at_ms).into(),
            failure.message.as_str().into(),
        ]
    };
    let labels = "What was moved | To> | Kind | Count> | At once> | Tokens> | Budget> | \
         Into the search> | Message~";
    table(results, |found| &found.failures, row, labels)
}
