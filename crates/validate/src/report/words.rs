//! The sentences that all reports share.

use crate::plan::{CellSpec, Load};
use crate::recommend::{Advised, Unit};
use crate::results::{Cell, Figures, Status};
use crate::stats::{Interval, Percentile, Shown, Trials};
use crate::target::FailureKind;
use crate::verdict::{Conclusion, Criterion, Outcome, Verdict};
use crate::{Broken, Ramp, Results, Steady};

use super::format::{bytes, change, count, percent, percent_limit, rate, time, time_limit, tokens};
use super::tables::Field;

/// The verdict in one line.
pub(super) fn headline(conclusion: &Conclusion) -> String {
    let total = conclusion.total();
    let of = |number: usize| format!("{number} of {total} limits");
    match conclusion.outcome() {
        None => "Measured; this plan sets no bars".into(),
        Some(Outcome::Pass) => format!("All {total} limits are met"),
        Some(Outcome::Fail) => {
            format!("{} {} missed", of(conclusion.failed), is(conclusion.failed))
        }
        Some(Outcome::NotRun | Outcome::NotShown) => {
            format!("No limit is missed; {} {} met", of(conclusion.passed), is(conclusion.passed))
        }
    }
}

/// What the headline leaves open.
pub(super) fn headline_rest(conclusion: &Conclusion) -> Option<String> {
    let parts = [
        (conclusion.passed, "met", conclusion.failed > 0),
        (conclusion.not_shown, "not shown: the sample does not tell", true),
        (conclusion.not_run, "not run", true),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|&(number, _, wanted)| number > 0 && wanted)
        .map(|(number, word, _)| format!("{number} {word}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn is(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// What the tables of cells hold, and what their intervals mean.
pub(super) fn cells_lead(results: &Results) -> &'static str {
    if results.published.is_empty() {
        "Latency over the successful requests, from the intended start to the last byte. C is the number of \
         clients that each wait for their answer. Intervals are at 95 %, within this one run."
    } else {
        "The first run of each cell; over all runs in the table above. Latency over the successful requests, \
         from the intended start to the last byte. Intervals are at 95 %, within the run."
    }
}

/// What the figures over repeated runs are.
pub(super) const PUBLISHED_LEAD: &str = "Each cell was run several times, in random order. Figures are geometric means over the runs, with \
     95 % t intervals on the logarithm: what another run of the same plan would show. C is the number of \
     clients that each wait for their answer.";

/// A percentile as it may be printed.
pub(super) fn percentile(percentile: &Percentile) -> String {
    match percentile.shown {
        Shown::Exactly { ms } => time(ms),
        Shown::AtLeast { ms, .. } => format!("≥ {}", time(ms)),
        Shown::NotReached => "not reached".into(),
        Shown::NoData => "–".into(),
    }
}

/// A time or a dash.
pub(super) fn optional_time(ms: Option<f64>) -> String {
    ms.map_or("–".into(), time)
}

/// A cell's name in charts and lists.
pub(crate) fn cell_name(cell: &Cell) -> String {
    let again = if cell.repeats.is_some() { " again" } else { "" };
    match cell.spec.place() {
        Some((length, clients)) => format!("{} × {clients}{again}", tokens(length)),
        None => format!("{}{again}", cell.spec.label()),
    }
}

/// How long a cell's texts are, as its row begins.
pub(super) fn lengths(spec: &CellSpec) -> String {
    spec.tokens().map_or_else(|| spec.lengths.label(), tokens)
}

/// What a cell's load is, as its row goes on: the number of clients, or the scenario.
pub(super) fn load(spec: &CellSpec) -> String {
    match &spec.scenario {
        None => spec.load.label(),
        Some(name) => format!("{name}: {}", spec.load.label()),
    }
}

/// The fields that every cell's row begins with.
pub(super) fn place(spec: &CellSpec) -> Vec<Field> {
    vec![lengths(spec).into(), load(spec).into()]
}

/// An interval's ends in a unit; `?` for one that the sample does not give, nothing without both.
pub(super) fn ends(interval: Interval, unit: impl Fn(f64) -> String) -> String {
    let end = |end: Option<f64>| end.map_or("?".into(), &unit);
    match (interval.low, interval.high) {
        (None, None) => String::new(),
        (low, high) => format!("{} to {}", end(low), end(high)),
    }
}

/// The size of a sample in independent units.
pub(super) fn trials(trials: Trials) -> String {
    format!("{} {}", count(trials.count), trials.unit.label())
}

/// What charts of single cells show: the first run of each cell of the matrix, then of the others,
/// those not run left out.
pub(super) fn first_runs(results: &Results) -> Vec<&Cell> {
    let all = results.matrix().into_iter().chain(results.scenarios());
    all.filter(|cell| cell.figures().is_some()).collect()
}

/// Failures by kind.
pub(super) fn failures(figures: &Figures) -> String {
    let kind =
        |(kind, number): (&FailureKind, &usize)| format!("{} {}", count(*number), kind.label());
    figures.failures.iter().map(kind).collect::<Vec<_>>().join(", ")
}

/// What a verdict is about.
pub(super) fn criterion(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::SuccessRate => "success",
        Criterion::LatencyP95 => "p95 latency",
    }
}

/// The limit of a verdict.
pub(super) fn limit(verdict: &Verdict) -> String {
    match verdict.criterion {
        Criterion::SuccessRate => format!("≥ {}", percent_limit(verdict.limit)),
        Criterion::LatencyP95 => format!("≤ {}", time_limit(verdict.limit)),
    }
}

/// The figure of a verdict.
pub(super) fn figure(verdict: &Verdict) -> String {
    verdict.figure.map_or("–".into(), |figure| in_unit(verdict.criterion, figure))
}

/// The interval of a verdict.
pub(super) fn interval(verdict: &Verdict) -> String {
    let ends = ends(verdict.interval, |end| in_unit(verdict.criterion, end));
    if ends.is_empty() { "–".into() } else { ends }
}

fn in_unit(criterion: Criterion, figure: f64) -> String {
    match criterion {
        Criterion::SuccessRate => percent(figure),
        Criterion::LatencyP95 => time(figure),
    }
}

/// The sample behind a verdict.
pub(super) fn sample(verdict: &Verdict) -> String {
    verdict.trials.map_or("–".into(), trials)
}

/// A few figures that sum the run up: (label, figure, note).
pub(super) fn highlights(results: &Results) -> Vec<(&'static str, String, String)> {
    let mut highlights = Vec::new();
    let run: Vec<(&Cell, &Figures)> =
        results.cells.iter().filter_map(|cell| Some((cell, cell.figures()?))).collect();
    let best = run
        .iter()
        .filter(|(cell, _)| cell.repeats.is_none())
        .max_by(|(_, one), (_, other)| one.tokens_per_second.total_cmp(&other.tokens_per_second));
    if let Some((cell, figures)) = best {
        let figure = format!("{} tok/s", rate(figures.tokens_per_second));
        highlights.push(("highest throughput", figure, format!("at {}", cell_name(cell))));
    }
    let requests: usize = run.iter().map(|(_, figures)| figures.requests).sum();
    let successes: usize = run.iter().map(|(_, figures)| figures.successes).sum();
    if requests > 0 {
        let note = format!("{} of {} requests", count(successes), count(requests));
        highlights.push(("success", percent(successes as f64 / requests as f64), note));
    }
    if let Some(peak) = peak(results, |sample| sample.device_used_bytes) {
        highlights.push(("peak device memory", bytes(peak), budget(results)));
    } else if let Some(peak) = peak(results, |sample| sample.rss_bytes) {
        highlights.push(("peak resident memory", bytes(peak), budget(results)));
    }
    let not_run = results.cells.len() - run.len();
    let note = match not_run {
        0 => "none left out".to_owned(),
        _ => format!("{not_run} not run"),
    };
    let of = format!("{} in {}", run.len(), time(results.duration_seconds * 1e3));
    highlights.push(("cells run", of, note));
    highlights
}

fn budget(results: &Results) -> String {
    results
        .target
        .memory_budget_bytes
        .map_or(String::new(), |budget| format!("budget {}", bytes(budget)))
}

/// Greatest reading of one kind in the whole run.
pub(super) fn peak(
    results: &Results,
    of: impl Fn(&crate::target::MemorySample) -> Option<u64>,
) -> Option<u64> {
    let points = results.cells.iter().flat_map(|cell| &cell.memory);
    points.filter_map(|point| of(&point.sample)).max()
}

/// Why a cell has no figures, or what its figures lack.
pub(super) fn remark(cell: &Cell) -> String {
    match &cell.status {
        Status::NotRun { reason } => format!("not run: {reason}"),
        Status::Run { figures } => {
            let cut = figures.cut_by_time_limit.then(|| "cut by time limit".to_owned());
            let failed = Some(failures(figures)).filter(|failures| !failures.is_empty());
            let steady = match &figures.steady {
                Steady::Found { excluded_requests: 0, .. } | Steady::NotSought { .. } => None,
                Steady::Found { excluded_requests, .. } => {
                    Some(format!("first {} left out: not yet steady", count(*excluded_requests)))
                }
                Steady::NotSteady { reason } => Some(format!("not steady: {reason}")),
            };
            let broke = figures.ramp.as_ref().map(broke);
            let late = &figures.generator.bottleneck;
            let late =
                late.as_ref().map(|reason| format!("the generator was the bottleneck: {reason}"));
            let remarks = [failed, cut, steady, broke, late];
            remarks.into_iter().flatten().collect::<Vec<_>>().join("; ")
        }
    }
}

/// Where a ramp broke its target.
fn broke(ramp: &Ramp) -> String {
    match &ramp.broke {
        None => "kept up to the end of the ramp".into(),
        Some(broke) => {
            let what = match broke.what {
                Broken::Failures => "failures",
                Broken::Latency => "latency",
            };
            format!("broke at {}/s: {what}", rate(broke.rate_per_second))
        }
    }
}

/// How the figures were made, one paragraph each.
pub(super) fn method(results: &Results) -> Vec<String> {
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
        "Intervals are at 95 %, within this one run: Wilson's for success, with batches as trials; \
         order statistics for percentiles, for as many independent values as the requests are worth \
         given that batches share their fate and depend on their neighbours. They do not tell how much another run on \
         another day would differ. A limit is met when the whole interval is on its good side, missed \
         when the whole interval is on its bad side, and otherwise not shown."
            .to_owned(),
    ];
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
    let order: Vec<String> = results.cells.iter().map(cell_name).collect();
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

/// The model of batch times and what it is worth.
pub(super) fn batch_model(results: &Results) -> Vec<String> {
    let scaling = &results.analysis.scaling;
    let Some(model) = scaling.batch_time else { return Vec::new() };
    let mut sentences = vec![format!(
        "Time of a batch = {} + {:.3} µs × tokens + {:.4} ns × sum of squared lengths + {:.1} µs × sequences, \
         fitted to {} batches by non-negative least squares: R² {:.3}, median error {:.1} %.",
        time(model.base_ms),
        model.per_token_us,
        model.per_token_pair_ns,
        model.per_sequence_us,
        count(model.batches),
        model.r2,
        model.error_percent_median
    )];
    sentences.push(match &scaling.held_out {
        Some(held_out) => format!(
            "Each of {} cells predicted from the others: throughput off by {:.1} % (median) and {:.1} % \
             (at most), median latency by {:.1} % and {:.1} %.",
            count(held_out.cells.len()),
            held_out.error_percent_median,
            held_out.error_percent_max,
            held_out.latency_error_percent_median,
            held_out.latency_error_percent_max
        ),
        None => "It was not checked on held-out cells: the plan has too few.".into(),
    });
    sentences
}

/// How fragmented the arena was, if the target has one.
pub(super) fn fragmentation(results: &Results) -> Option<String> {
    let found = results.analysis.memory.fragmentation?;
    Some(format!(
        "Fragmentation of the arena (1 - largest free / free): {} on average and {} at most, over {} \
         readings.",
        percent(found.mean),
        percent(found.max),
        count(found.readings)
    ))
}

/// The figure of an advice, and its interval with what it means.
pub(super) fn advised(figure: &Advised) -> (String, String) {
    let unit = |value: f64| match figure.unit {
        Unit::Requests => format!("{} requests at once", count(value as usize)),
        Unit::Tokens => format!("{} tokens", count(value as usize)),
        Unit::Bytes if value < 0.0 => format!("-{}", bytes(-value as u64)),
        Unit::Bytes => bytes(value as u64),
        Unit::RequestsPerSecond => format!("{} requests/s", rate(value)),
        Unit::Milliseconds => time(value),
        Unit::Ratio => format!("{value:.2}"),
    };
    let short = |value: f64| match figure.unit {
        Unit::Requests | Unit::Tokens => count(value as usize),
        Unit::RequestsPerSecond => rate(value),
        Unit::Bytes | Unit::Milliseconds | Unit::Ratio => unit(value),
    };
    let interval = ends(figure.interval, short);
    let basis = &figure.basis;
    let label = if interval.is_empty() { basis.clone() } else { format!("{interval}, {basis}") };
    (unit(figure.value), label)
}
