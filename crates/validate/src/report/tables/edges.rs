//! Tables of the search for the target's limits: where it begins to refuse, and whether it recovers.

use crate::analysis::EdgeFindings;
use crate::analysis::edge::{Edge, EdgeAxis, EdgeFailure, Recovery};
use crate::format::{bytes, count, time};
use crate::results::Results;

use super::table::{Field, Table, or_dash};

/// Prints a value of an axis in its unit.
fn value(axis: EdgeAxis, value: u64) -> String {
    match axis {
        EdgeAxis::Concurrency | EdgeAxis::Tokens => count(value as usize),
        EdgeAxis::MemoryBudget => bytes(value),
    }
}

fn table<T>(
    results: &Results,
    of: impl Fn(&EdgeFindings) -> &[T],
    row: impl Fn(&T) -> Vec<Field>,
    heads: &'static str,
) -> Option<Table> {
    Table::new(heads, of(results.analysis.edge.as_ref()?).iter().map(row))
}

/// Returns the limit along each axis, beside the predicted one.
pub(in crate::report) fn edges(results: &Results) -> Option<Table> {
    let row = |edge: &Edge| {
        let print = |end: Option<u64>| or_dash(end, |end| value(edge.axis, end)).into();
        let difference = edge.difference_percent.map(|off| format!("{off:+.1} %"));
        vec![
            edge.axis.label().into(),
            print(edge.works),
            print(edge.refused),
            print(edge.predicted),
            Field::noted(edge.agreement.label(), difference.unwrap_or_default()),
            count(edge.probes.len()).into(),
            edge.note.as_deref().unwrap_or_default().into(),
        ]
    };
    let heads =
        "Quantity | Last answered> | First refused> | Predicted> | Found | Values tried> | Remark~";
    table(results, |found| &found.axes, row, heads)
}

/// Returns latency before and after each search.
pub(in crate::report) fn recoveries(results: &Results) -> Option<Table> {
    let row = |recovery: &Recovery| {
        let interval = recovery.ratio_interval;
        let ends = interval.map_or(String::new(), |(low, high)| format!("{low:.2} to {high:.2}"));
        vec![
            recovery.verdict.label().into(),
            recovery.axis.label().into(),
            count(recovery.requests).into(),
            count(recovery.failed).into(),
            time(recovery.before_ms_p50).into(),
            or_dash(recovery.after_ms_p50, time).into(),
            or_dash(recovery.after_ms_max, time).into(),
            Field::noted(or_dash(recovery.ratio, |ratio| format!("{ratio:.2}")), ends),
            format!("≤ {:.2}", recovery.ratio_normal_max).into(),
            format!("{}, {:.1} s", count(recovery.rounds), recovery.seconds).into(),
        ]
    };
    let heads = "Verdict | After searching | Requests per round> | Failed> | p50 before> | p50 after> | Max after> | \
                 After / before> | Normal> | Rounds, time>";
    table(results, |found| &found.recoveries, row, heads)
}

/// Returns the refused and failed requests of the search, by kind.
pub(in crate::report) fn edge_failures(results: &Results) -> Option<Table> {
    let row = |failure: &EdgeFailure| {
        vec![
            failure.axis.label().into(),
            value(failure.axis, failure.value).into(),
            failure.label().into(),
            count(failure.count).into(),
            count(failure.concurrency).into(),
            count(failure.tokens).into(),
            or_dash(failure.memory_budget_bytes, bytes).into(),
            time(failure.first_at_ms).into(),
            failure.message.as_str().into(),
        ]
    };
    let heads = "Quantity | Value> | Kind | Count> | Concurrency> | Tokens> | Memory budget> | \
                 Into the search> | Message~";
    table(results, |found| &found.failures, row, heads)
}
