//! How the figures were made and where, in the sentences that all reports share.

use crate::figures::{Cell, Figures};
use crate::plan::Load;
use crate::results::Results;

use crate::format::{bytes, change, count, time};

/// How the figures were made, one paragraph each.
pub(super) fn notes(results: &Results) -> Vec<String> {
    let rules = &results.plan.cell;
    let mut notes = vec![
        format!(
            "Closed loop: each of C clients sends, waits for the whole answer, and sends again. Latency \
             runs from the moment a client was free to send to the last byte of the answer. A client gives \
             up after {} s, which counts as a failure, and waits {} s after a failure that does not say \
             when to come back.",
            rules.request_timeout_seconds, rules.failure_pause_seconds
        ),
        format!(
            "Each cell {} and goes on into the measured phase without a \
             pause; at its end the clients keep sending until the last measured request has its answer. \
             Throughput counts the answers that arrived within the measured phase.",
            match rules.warmup_requests_per_client {
                0 => "has no warm-up".to_owned(),
                1 => "warms up until as many requests as there are clients have ended".to_owned(),
                times => format!("warms up until {times} times as many requests as there are clients have ended"),
            }
        ),
        "Percentiles are nearest ranks over the raw records in requests.jsonl.zst. The maximum is always \
         shown. Requests of one batch share their fate, so a sample is as large as its number of batches \
         (where the target does not tell them, of rounds: requests divided by clients): a p95 needs 100, \
         a p99 needs 400. With fewer, “≥” gives the highest percentile that the sample supports, which \
         the true one cannot be below."
            .to_owned(),
        "Intervals of a cell are at 95 %, within one run: Wilson's for success, with batches as trials; \
         order statistics for percentiles, for as many independent values as the requests are worth \
         given that batches share their fate and depend on their neighbours. They do not tell how much another run on \
         another day would differ. A limit is met when the whole interval is on its good side, missed \
         when the whole interval is on its bad side, and otherwise not shown."
            .to_owned(),
    ];
    if !results.published.is_empty() {
        notes.push(
            "Where a cell was run several times, the run is the unit: its figures over runs are geometric \
             means with Student's t interval on the logarithm of each run's figure, its p95 is judged by \
             that interval, and charts and lists of single cells show its first run."
                .into(),
        );
    }
    notes.push(
        "The steady part of a measured phase is found, not assumed: block medians of latency, and in a \
         closed loop the answers of each block, are truncated by MSER; what lies before is left out of \
         every figure and counted in the remarks. A cell in which nothing settled is “not steady” and \
         keeps all its requests."
            .to_owned(),
    );
    if results.plan.scenarios.iter().any(|scenario| !matches!(scenario.load, Load::Closed { .. })) {
        notes.push(format!(
            "Open loops: requests start when a schedule made beforehand says, answered or not. Latency \
             runs from that start, so waiting for one of the {} places in flight is part of it. Their \
             warm-up lasts {} s at the load's first rate.",
            count(rules.in_flight_max),
            rules.warmup_seconds
        ));
    }
    let order: Vec<String> = results.cells.iter().map(Cell::name).collect();
    notes.push(format!(
        "Cells (tokens × clients) ran in random order, seed {}: {}.",
        results.plan.seed,
        order.join(", ")
    ));
    notes.extend(drift(results));
    let windows: Vec<String> = results
        .prompts
        .distinct_by_tokens
        .iter()
        .map(|(&length, &windows)| format!("{} of {} tokens", count(windows), count(length)))
        .collect();
    notes.push(format!(
        "Prompts are different windows of real prose (corpus: {}), each checked to have exactly its number \
         of tokens, special ones included. Prepared: {}. A cell that sends more starts over.",
        results.prompts.corpus,
        if windows.is_empty() { "none".to_owned() } else { windows.join(", ") }
    ));
    notes.extend(generator(results));
    notes
}

fn drift(results: &Results) -> Option<String> {
    let drift = results.drift.as_ref()?;
    Some(format!(
        "The first cell was run again at the end: median latency {}, tokens per second {}.",
        drift.latency_p50_ratio.map_or("–".into(), change),
        drift.tokens_per_second_ratio.map_or("–".into(), change)
    ))
}

fn generator(results: &Results) -> Option<String> {
    let figures = || results.cells.iter().filter_map(Cell::figures);
    let worst = |of: fn(&Figures) -> f64| figures().map(of).max_by(f64::total_cmp);
    Some(format!(
        "The generator's own delay, worst cell: sending {} after the intended start at the 99th percentile \
         and {} at most; its timer woke {} late at the 99th percentile and {} at most. It is part of the \
         latencies.",
        time(worst(|figures| figures.generator.lag_ms_p99)?),
        time(worst(|figures| figures.generator.lag_ms_max)?),
        time(worst(|figures| figures.generator.timer_late_ms_p99)?),
        time(worst(|figures| figures.generator.timer_late_ms_max)?),
    ))
}

/// What was measured and where: (what, value), empty values left out.
pub(super) fn particulars(results: &Results) -> Vec<(String, String)> {
    let target = &results.target;
    let machine = &results.machine;
    let optional = |value: Option<usize>| value.map(count).unwrap_or_default();
    let mut rows = vec![
        ("Target".to_owned(), format!("{} {}", target.name, target.version)),
        ("Model".to_owned(), target.model.clone()),
        ("Arithmetic".to_owned(), target.dtype.clone()),
        ("Device".to_owned(), target.device.clone()),
        ("Memory budget".to_owned(), target.memory_budget_bytes.map(bytes).unwrap_or_default()),
        ("Tokens in a batch, at most".to_owned(), optional(target.max_batch_tokens)),
        ("Tokens in a sequence, at most".to_owned(), optional(target.max_sequence_tokens)),
    ];
    rows.extend(target.details.iter().map(|(name, value)| (name.clone(), value.clone())));
    rows.extend([
        ("Generator's processor".to_owned(), machine.cpu.clone()),
        ("Its threads".to_owned(), machine.cpu_threads.to_string()),
        ("Its memory".to_owned(), machine.memory_bytes.map(bytes).unwrap_or_default()),
        ("Its system".to_owned(), format!("{}, kernel {}", machine.platform, machine.kernel)),
        ("Started".to_owned(), results.started_at.clone()),
        ("Harness".to_owned(), format!("bigbatch-validate {}", results.harness_version)),
    ]);
    rows.retain(|(_, value)| !value.trim().is_empty());
    rows
}
