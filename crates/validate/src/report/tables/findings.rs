//! Tables of what the analysis found.

use crate::analysis::latency::Spike;
use crate::analysis::scaling::ScalingPoint;
use crate::figures::Cell;
use crate::format::{bytes, count, percent, rate, signed_bytes, time, tokens};
use crate::report::words;
use crate::results::Results;

use super::table::{Field, Row, Table, filled, plain};

/// Spikes that the report lists over all cells.
const SPIKES_LISTED: usize = 25;

fn cell(results: &Results, index: usize) -> Option<&Cell> {
    results.cells.iter().find(|cell| cell.index == index)
}

fn cell_name(results: &Results, index: usize) -> Field {
    cell(results, index).map_or_else(|| format!("cell {index}"), Cell::name).into()
}

/// Throughput, speedup and efficiency at each concurrency.
pub(in super::super) fn scaling(results: &Results) -> Option<Table> {
    let lengths = results.analysis.scaling.lengths.iter();
    let points =
        lengths.flat_map(|length| length.points.iter().map(|point| (length.tokens, point)));
    let row = |(length, point): (usize, &ScalingPoint)| {
        plain(vec![
            tokens(length).into(),
            point.concurrency.to_string().into(),
            rate(point.requests_per_second).into(),
            rate(point.tokens_per_second).into(),
            point.speedup.map_or("–".into(), |speedup| format!("{speedup:.2}×").into()),
            point.efficiency.map_or("–".into(), |share| ratio_percent(share).into()),
        ])
    };
    filled(points.map(row).collect(), "Tokens> | C> | Req/s> | Tok/s> | Over C = 1> | Efficiency>")
}

/// A share that may exceed 1.
fn ratio_percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// What limits each cell.
pub(in super::super) fn bottlenecks(results: &Results) -> Option<Table> {
    let all = &results.analysis.scaling.bottlenecks;
    let rows: Vec<Row> = words::first_runs(results)
        .into_iter()
        .filter_map(|cell| all.iter().find(|found| found.cell == cell.index))
        .map(|found| {
            plain(vec![
                cell_name(results, found.cell),
                found.stage.label().into(),
                found.device_busy.map_or("–".into(), |share| percent(share).into()),
                found.evidence.as_str().into(),
            ])
        })
        .collect();
    filled(rows, "Cell | Limited by | Device busy> | Why~")
}

/// p99 over p50 and the number of spikes of each cell.
pub(in super::super) fn tails(results: &Results) -> Option<Table> {
    let all = &results.analysis.latency.cells;
    let found_of = |cell: &Cell| all.iter().find(|found| found.cell == cell.index);
    let rows: Vec<Row> = words::first_runs(results)
        .into_iter()
        .filter_map(|cell| {
            let found = found_of(cell)?;
            let tail = found.tail_ratio?;
            let at_least = if tail.at_least { "≥ " } else { "" };
            let ratio = format!("{at_least}{:.2}", tail.ratio);
            let interval = words::ends(tail.interval, |end| format!("{end:.2}"));
            Some(plain(vec![
                cell_name(results, found.cell),
                Field::noted(ratio, if tail.at_least { String::new() } else { interval }),
                count(found.spikes.count).into(),
                time(found.spikes.threshold_ms).into(),
                worst(&found.spikes.longest),
            ]))
        })
        .collect();
    filled(rows, "Cell | p99 / p50, within run> | Spikes> | Spike beyond> | Longest>")
}

fn worst(spikes: &[Spike]) -> Field {
    spikes.first().map_or("–".into(), |spike| time(spike.latency_ms).into())
}

/// The longest spikes of all cells.
pub(in super::super) fn spikes(results: &Results) -> Option<Table> {
    let cells = results.analysis.latency.cells.iter();
    let mut all: Vec<(usize, &Spike)> = cells
        .flat_map(|found| found.spikes.longest.iter().map(|spike| (found.cell, spike)))
        .collect();
    all.sort_by(|(_, one), (_, other)| other.latency_ms.total_cmp(&one.latency_ms));
    let rows: Vec<Row> = all
        .into_iter()
        .take(SPIKES_LISTED)
        .map(|(cell, spike)| spike_row(results, cell, spike))
        .collect();
    filled(rows, "At> | Cell | Latency> | Tokens> | Batch> | Its size> | From")
}

fn spike_row(results: &Results, cell: usize, spike: &Spike) -> Row {
    let stage = match (spike.stage, spike.excess_ms) {
        (Some(stage), Some(excess)) => {
            Field::noted(stage.label(), format!("{} beyond its median", time(excess)))
        }
        (Some(stage), None) => stage.label().into(),
        (None, _) => "not told".into(),
    };
    let (batch, size) = match spike.batch {
        Some(batch) => (
            Field::noted(batch.id.to_string(), in_batch(spike.in_batch)),
            format!(
                "{}, {}",
                words::plural(batch.sequences, "sequence"),
                words::plural(batch.tokens, "token")
            )
            .into(),
        ),
        None => ("–".into(), "–".into()),
    };
    plain(vec![
        time(spike.at_ms).into(),
        cell_name(results, cell),
        time(spike.latency_ms).into(),
        count(spike.tokens).into(),
        batch,
        size,
        stage,
    ])
}

fn in_batch(spikes: usize) -> String {
    if spikes > 1 { format!("{} spikes", count(spikes)) } else { String::new() }
}

/// Every group of failures.
pub(in super::super) fn failures(results: &Results) -> Option<Table> {
    let row = |group: &crate::analysis::FailureGroup| {
        let (low, high) = group.tokens;
        let lengths =
            if low == high { tokens(low) } else { format!("{} to {}", tokens(low), tokens(high)) };
        let messages = match group.messages {
            0 | 1 => String::new(),
            more => format!("the most frequent of {} messages", count(more)),
        };
        plain(vec![
            group.kind.label().into(),
            group.load.as_str().into(),
            Field::noted(count(group.count), percent(group.percent / 100.0)),
            time(group.first_at_ms).into(),
            time(group.last_at_ms).into(),
            lengths.into(),
            Field::noted(count(group.in_flight.0), format!("at most {}", count(group.in_flight.1))),
            Field::noted(group.example.as_str(), messages),
        ])
    };
    let rows: Vec<Row> = results.analysis.failures.iter().map(row).collect();
    filled(rows, "Kind | Load | Requests> | First> | Last> | Tokens> | Under way> | Message~")
}

/// The verdict on a leak of each quantity.
pub(in super::super) fn leaks(results: &Results) -> Option<Table> {
    let row = |leak: &crate::analysis::memory::Leak| {
        let slope = leak.slope_bytes_per_cell.map_or("–".to_owned(), signed_bytes);
        plain(vec![
            leak.quantity.label().into(),
            leak.verdict.label().into(),
            Field::noted(slope, words::ends(leak.interval_bytes_per_cell, signed_bytes)),
            signed_bytes(leak.tolerance_bytes_per_cell).into(),
            count(leak.plateaus.len()).into(),
            leak.trend_p.map_or("–".into(), |p| format!("{p:.3}").into()),
            leak.reason.as_str().into(),
        ])
    };
    let rows: Vec<Row> = results.analysis.memory.leaks.iter().map(row).collect();
    filled(rows, "What | Verdict | Growth a cell> | Tolerated> | Plateaus> | Trend, p> | Why~")
}

/// Whether memory came back after each cell.
pub(in super::super) fn returned(results: &Results) -> Option<Table> {
    let found = results.analysis.memory.returned.iter();
    let rows: Vec<Row> = found
        .map(|found| {
            plain(vec![
                cell_name(results, found.cell),
                found.quantity.label().into(),
                bytes(found.before_bytes).into(),
                found.peak_bytes.map_or("–".into(), |peak| bytes(peak).into()),
                bytes(found.after_bytes).into(),
                bytes(found.tolerance_bytes).into(),
                if found.returned { "yes" } else { "no" }.into(),
            ])
        })
        .collect();
    filled(rows, "Cell | What | Before> | Peak> | After> | Tolerance> | Returned")
}
