//! How the figures were measured and where, in the sentences that all reports share.

use crate::figures::{Cell, Figures};
use crate::format::{bytes, change, count, time};
use crate::plan::Load;
use crate::results::Results;

/// Returns how the figures were measured, one paragraph each.
pub(super) fn notes(results: &Results) -> Vec<String> {
    let mut notes = loads(results);
    notes.extend(statistics(results));
    let order: Vec<String> = results.cells.iter().map(Cell::name).collect();
    notes.push(format!(
        "Cells (tokens × clients) ran in random order, seed {}: {}.",
        results.plan.seed,
        order.join(", ")
    ));
    notes.extend(results.drift.as_ref().map(|drift| {
        format!(
            "The first cell was run again at the end: median latency {}, tokens per second {}.",
            drift.latency_p50_ratio.map_or("–".into(), change),
            drift.tokens_per_second_ratio.map_or("–".into(), change)
        )
    }));
    let windows = results.prompts.distinct_by_tokens.iter();
    let windows: Vec<String> =
        windows.map(|(&length, &n)| format!("{} of {} tokens", count(n), count(length))).collect();
    notes.push(format!(
        "Prompts are different windows of real prose (corpus: {}), each with exactly its number of tokens, special \
         tokens included. Prepared: {}. A cell that sends more requests reuses them from the first.",
        results.prompts.corpus,
        if windows.is_empty() { "none".to_owned() } else { windows.join(", ") }
    ));
    notes.extend(generator(results));
    notes
}

fn loads(results: &Results) -> Vec<String> {
    let rules = &results.plan.cell;
    let warm_up = match rules.warmup_requests_per_client {
        0 => "has no warm-up".to_owned(),
        1 => "warms up until as many requests as clients have ended".to_owned(),
        times => format!("warms up until {times} times as many requests as clients have ended"),
    };
    let mut notes = vec![
        format!(
            "Closed loop: each of C clients sends a request, waits for the whole answer, and sends the next. Latency \
             runs from the moment a client was free to send to the last byte of the answer. A client gives up after \
             {} s, which counts as a failure, and after a failure without Retry-After waits {} s. A client that is told \
             to wait past the cell's time limit sends nothing more.",
            rules.request_timeout_seconds, rules.failure_pause_seconds
        ),
        format!(
            "Each cell {warm_up}; the measured phase follows without a pause, and at its end the clients keep sending \
             until the last measured request has its answer. Throughput counts the answers that arrived within the \
             measured phase."
        ),
    ];
    let closed = |load: &Load| matches!(load, Load::Closed { .. });
    if !results.plan.cells().iter().all(|cell| closed(&cell.load)) {
        notes.push(format!(
            "Open loops: requests start at the times of a schedule, whether or not earlier ones were answered. Latency \
             runs from the scheduled start and includes the wait for one of the {} requests that may be in flight. \
             Their warm-up lasts {} s at the first rate of the load.",
            count(rules.in_flight_max),
            rules.warmup_seconds
        ));
    }
    notes
}

fn statistics(results: &Results) -> Vec<String> {
    let mut notes = vec![
        "Percentiles are nearest ranks over the raw records in requests.jsonl.zst. The requests of a batch share its \
         fate, so the size of a sample is its number of batches (for targets that report none, of rounds: requests \
         divided by clients): a p95 needs 100, a p99 needs 400. From a smaller sample “≥” gives the highest percentile \
         that it supports, a lower bound of the true one."
            .to_owned(),
        "Intervals of a cell are at 95 %, within one run: for success Wilson's, with batches as trials; for percentiles \
         order statistics of as many independent values as the requests are worth, because batches share their fate \
         and depend on their neighbours. They do not include the difference between runs. A limit is met if the whole \
         interval is within it, missed if the whole interval is beyond it, and otherwise not shown."
            .to_owned(),
        "The steady part of a measured phase is detected: block medians of latency, and in a closed loop the answers of \
         each block, are truncated by MSER; the requests before it are excluded from every figure and counted in the \
         remarks. A cell that does not settle is “not steady” and keeps all its requests."
            .to_owned(),
    ];
    if !results.published.is_empty() {
        let over_runs = "Where a cell was run several times, the run is the unit: figures over runs are geometric means \
                         with Student's t interval on the logarithm of each run's figure, p95 is judged by that \
                         interval, and charts and lists of single cells show the first run.";
        notes.push(over_runs.into());
    }
    notes
}

fn generator(results: &Results) -> Option<String> {
    let worst = |of: fn(&Figures) -> f64| {
        results.cells.iter().filter_map(Cell::figures).map(of).max_by(f64::total_cmp).map(time)
    };
    Some(format!(
        "Delay of the load generator in its worst cell: it sent requests {} after their intended start at the 99th \
         percentile and {} at most; its timer woke {} late at the 99th percentile and {} at most. Latencies include this \
         delay.",
        worst(|figures| figures.generator.lag_ms_p99)?,
        worst(|figures| figures.generator.lag_ms_max)?,
        worst(|figures| figures.generator.timer_late_ms_p99)?,
        worst(|figures| figures.generator.timer_late_ms_max)?,
    ))
}

/// Returns the facts about the target and the machine: (name, value), without empty values.
pub(super) fn particulars(results: &Results) -> Vec<(String, String)> {
    let target = &results.target;
    let machine = &results.machine;
    let optional = |value: Option<usize>| value.map(count).unwrap_or_default();
    let size = |value: Option<u64>| value.map(bytes).unwrap_or_default();
    let target_facts = [
        ("Target", format!("{} {}", target.name, target.version)),
        ("Model", target.model.clone()),
        ("Arithmetic", target.dtype.clone()),
        ("Device", target.device.clone()),
        ("Memory budget", size(target.memory_budget_bytes)),
        ("Tokens per batch, at most", optional(target.max_batch_tokens)),
        ("Tokens per sequence, at most", optional(target.max_sequence_tokens)),
    ];
    let machine_facts = [
        ("Generator's processor", machine.cpu.clone()),
        ("Generator's threads", machine.cpu_threads.to_string()),
        ("Generator's memory", size(machine.memory_bytes)),
        ("Generator's system", format!("{}, kernel {}", machine.platform, machine.kernel)),
        ("Started", results.started_at.clone()),
        ("Harness", format!("bigbatch-validate {}", results.harness_version)),
    ];
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    let details = target.details.iter().map(|(name, value)| (name.clone(), value.clone()));
    let facts = target_facts.into_iter().map(named).chain(details);
    let facts = facts.chain(machine_facts.into_iter().map(named));
    facts.filter(|(_, value)| !value.trim().is_empty()).collect()
}
