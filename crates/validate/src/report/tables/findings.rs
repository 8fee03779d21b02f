//! Tables of what the analysis found.

use crate::analysis::FailureGroup;
use crate::analysis::latency::{CellLatency, Spike};
use crate::analysis::memory::{Leak, MemoryReturn};
use crate::figures::Cell;
use crate::format::{bytes, count, percent, rate, signed_bytes, time, tokens};
use crate::report::sentences;
use crate::results::Results;
use bigbatch_allocators::{MemoryExperiment, Strategy};

use super::table::{Emphasis, Field, Row, Table, or_dash};

/// Spikes that the report lists over all cells.
const SPIKES_LISTED: usize = 25;

fn cell_name(results: &Results, index: usize) -> Field {
    let cell = results.cells.iter().find(|cell| cell.index == index);
    cell.map_or_else(|| format!("cell {index}"), Cell::name).into()
}

/// Returns throughput, speedup and efficiency at each concurrency.
pub(in crate::report) fn scaling(results: &Results) -> Option<Table> {
    let lengths = results.analysis.scaling.lengths.iter();
    let points = lengths.flat_map(|length| length.points.iter().map(move |point| (length, point)));
    let rows = points.map(|(length, point)| {
        vec![
            tokens(length.tokens).into(),
            point.concurrency.to_string().into(),
            rate(point.requests_per_second).into(),
            rate(point.tokens_per_second).into(),
            or_dash(point.speedup, |speedup| format!("{speedup:.2}×")).into(),
            or_dash(point.efficiency, |share| format!("{:.0} %", share * 100.0)).into(),
        ]
    });
    Table::new("Tokens> | C> | Req/s> | Tok/s> | Over C = 1> | Efficiency>", rows)
}

/// Returns the stage that limits each cell.
pub(in crate::report) fn bottlenecks(results: &Results) -> Option<Table> {
    let all = &results.analysis.scaling.bottlenecks;
    let cells = sentences::first_runs(results).into_iter();
    let found = cells.filter_map(|cell| all.iter().find(|found| found.cell == cell.index));
    let rows = found.map(|found| {
        vec![
            cell_name(results, found.cell),
            found.stage.label().into(),
            or_dash(found.device_busy, percent).into(),
            found.evidence.as_str().into(),
        ]
    });
    Table::new("Cell | Limited by | Device busy> | Why~", rows)
}

/// Returns p99 / p50 and the number of spikes of each cell.
pub(in crate::report) fn tails(results: &Results) -> Option<Table> {
    let all = &results.analysis.latency.cells;
    let row = |found: &CellLatency| {
        let tail = found.tail_ratio?;
        let (at_least, interval) = match tail.at_least {
            true => ("≥ ", String::new()),
            false => ("", sentences::ends(tail.interval, |end| format!("{end:.2}"))),
        };
        let longest = found.spikes.longest.first().map(|spike| spike.latency_ms);
        Some(vec![
            cell_name(results, found.cell),
            Field::noted(format!("{at_least}{:.2}", tail.ratio), interval),
            count(found.spikes.count).into(),
            time(found.spikes.threshold_ms).into(),
            or_dash(longest, time).into(),
        ])
    };
    let cells = sentences::first_runs(results).into_iter();
    let found = cells.filter_map(|cell| all.iter().find(|found| found.cell == cell.index));
    let heads = "Cell | p99 / p50, within run> | Spikes> | Spike beyond> | Longest>";
    Table::new(heads, found.filter_map(row))
}

/// Returns the longest spikes of all cells.
pub(in crate::report) fn spikes(results: &Results) -> Option<Table> {
    let cells = results.analysis.latency.cells.iter();
    let mut all: Vec<(usize, &Spike)> = cells
        .flat_map(|found| found.spikes.longest.iter().map(|spike| (found.cell, spike)))
        .collect();
    all.sort_by(|(_, one), (_, other)| other.latency_ms.total_cmp(&one.latency_ms));
    let rows = all.into_iter().take(SPIKES_LISTED).map(|(cell, spike)| {
        let excess = spike.excess_ms.map(|ms| format!("{} beyond its median", time(ms)));
        let stage = spike.stage.map_or("not reported", |stage| stage.label());
        let shared = if spike.in_batch > 1 { count(spike.in_batch) + " spikes" } else { "".into() };
        let size = spike.batch.map(|batch| {
            let sequences = sentences::plural(batch.sequences, "sequence");
            format!("{sequences}, {}", sentences::plural(batch.tokens, "token"))
        });
        vec![
            time(spike.at_ms).into(),
            cell_name(results, cell),
            time(spike.latency_ms).into(),
            count(spike.tokens).into(),
            Field::noted(or_dash(spike.batch, |batch| batch.id.to_string()), shared),
            or_dash(size, |size| size).into(),
            Field::noted(stage, excess.unwrap_or_default()),
        ]
    });
    Table::new("At> | Cell | Latency> | Tokens> | Batch> | Batch size> | Stage", rows)
}

/// Returns the failed requests of each cell, by kind.
pub(in crate::report) fn failures(results: &Results) -> Option<Table> {
    let row = |group: &FailureGroup| {
        let (low, high) = group.tokens;
        let lengths =
            if low == high { tokens(low) } else { format!("{} to {}", tokens(low), tokens(high)) };
        let messages = match group.messages {
            0 | 1 => String::new(),
            more => format!("the most frequent of {} messages", count(more)),
        };
        vec![
            group.kind.label().into(),
            group.load.as_str().into(),
            Field::noted(count(group.count), percent(group.percent / 100.0)),
            time(group.first_at_ms).into(),
            time(group.last_at_ms).into(),
            lengths.into(),
            Field::noted(count(group.in_flight.0), format!("at most {}", count(group.in_flight.1))),
            Field::noted(group.example.as_str(), messages),
        ]
    };
    let heads = "Kind | Load | Requests> | First> | Last> | Tokens> | In flight> | Message~";
    Table::new(heads, results.analysis.failures.iter().map(row))
}

/// Returns the verdict on a leak of each quantity.
pub(in crate::report) fn leaks(results: &Results) -> Option<Table> {
    let row = |leak: &Leak| {
        let slope = or_dash(leak.slope_bytes_per_cell, signed_bytes);
        vec![
            leak.quantity.label().into(),
            leak.verdict.label().into(),
            Field::noted(slope, sentences::ends(leak.interval_bytes_per_cell, signed_bytes)),
            signed_bytes(leak.tolerance_bytes_per_cell).into(),
            count(leak.plateaus.len()).into(),
            or_dash(leak.trend_p, |p| format!("{p:.3}")).into(),
            leak.reason.as_str().into(),
        ]
    };
    let heads = "Quantity | Verdict | Growth per cell> | Tolerated> | Plateaus> | Trend, p> | Why~";
    Table::new(heads, results.analysis.memory.leaks.iter().map(row))
}

/// Returns whether memory came back after each cell.
pub(in crate::report) fn returned(results: &Results) -> Option<Table> {
    let row = |found: &MemoryReturn| {
        vec![
            cell_name(results, found.cell),
            found.quantity.label().into(),
            bytes(found.before_bytes).into(),
            or_dash(found.peak_bytes, bytes).into(),
            bytes(found.after_bytes).into(),
            bytes(found.tolerance_bytes).into(),
            if found.returned { "yes" } else { "no" }.into(),
        ]
    };
    let heads = "Cell | Quantity | Before> | Peak> | After> | Tolerance> | Returned";
    Table::new(heads, results.analysis.memory.returned.iter().map(row))
}

/// Returns the figures of each memory strategy over the same traffic.
pub(in crate::report) fn strategies(experiment: &MemoryExperiment) -> Option<Table> {
    let heads = "Strategy | In the allocator, per batch> | p95> | Whole batch> | Calls per batch> | \
                 High water> | Held when idle> | Fragmentation> | Failed> | Over budget>";
    Table::new(heads, experiment.strategies.iter().map(strategy))
}

fn strategy(strategy: &Strategy) -> Row {
    if let Some(reason) = &strategy.not_run {
        let mut fields = vec![Field::noted(&*strategy.name, format!("not run: {reason}"))];
        fields.extend(std::iter::repeat_n("–".into(), 9));
        return Row { fields, emphasis: Emphasis::Muted };
    }
    let us = |us: f64| time(us / 1e3);
    let inside = strategy.allocator_us;
    let passes = inside.map(|times| times.median_by_pass);
    let passes = passes.map(|(least, most)| format!("{} to {} per pass", us(least), us(most)));
    let in_use = format!("{} in use", bytes(strategy.used_bytes_max));
    let idle = strategy.fragmentation_idle_mean;
    let idle = idle.filter(|_| strategy.fragmentation_max.is_some());
    let idle = idle.map(|idle| format!("{} when idle", percent(idle)));
    let simulated = if strategy.simulated { "simulated, so not timed" } else { "" };
    vec![
        Field::noted(&*strategy.name, simulated),
        Field::noted(or_dash(inside, |times| us(times.median)), passes.unwrap_or_default()),
        or_dash(inside, |times| us(times.p95)).into(),
        or_dash(strategy.batch_us, |times| us(times.median)).into(),
        or_dash(strategy.system_calls_per_batch, |calls| format!("{calls:.2}")).into(),
        Field::noted(bytes(strategy.reserved_bytes_max), in_use),
        bytes(strategy.reserved_bytes_idle).into(),
        Field::noted(or_dash(strategy.fragmentation_max, percent), idle.unwrap_or_default()),
        count(strategy.batches_failed).into(),
        count(strategy.batches_over_budget).into(),
    ]
    .into()
}
