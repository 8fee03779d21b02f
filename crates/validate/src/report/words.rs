//! The sentences that all reports share.

use crate::figures::ramp::{Broken, Ramp};
use crate::figures::steady::Steady;
use crate::figures::{Cell, Figures, Status};
use crate::plan::CellSpec;
use crate::results::Results;
use crate::results::recommendation::{Advised, Recommendation, Support, Unit};
use crate::stats::{Interval, Trials};
use crate::system::FailureKind;
use crate::verdict::{Conclusion, Criterion, Outcome, Verdict};
use bigbatch_allocators::MemoryExperiment;

use super::tables::table::Field;
use crate::format::{
    bytes, count, percent, percent_limit, rate, signed_bytes, time, time_limit, tokens,
};

/// The verdict in one line.
pub(super) fn headline(results: &Results) -> String {
    let conclusion = &results.conclusion;
    if results.measured_nothing() {
        let cells = results.cells.iter().filter(|cell| cell.repeats.is_none()).count();
        return format!("Nothing was measured: none of {} was run", plural(cells, "cell"));
    }
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

/// A time or a dash.
pub(super) fn optional_time(ms: Option<f64>) -> String {
    ms.map_or("–".into(), time)
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
        Criterion::TailRatio => "p99 / p50",
        Criterion::Fragmentation => "fragmentation",
        Criterion::DeviceMemory => "device memory",
        Criterion::Leak => "growth a cell",
    }
}

/// The limit of a verdict.
pub(super) fn limit(verdict: &Verdict) -> String {
    match verdict.criterion {
        Criterion::SuccessRate => format!("≥ {}", percent_limit(verdict.limit)),
        Criterion::LatencyP95 => format!("≤ {}", time_limit(verdict.limit)),
        Criterion::TailRatio => format!("≤ {}", verdict.limit),
        Criterion::Fragmentation => format!("≤ {}", percent_limit(verdict.limit)),
        Criterion::DeviceMemory => format!("≤ {}", bytes(verdict.limit as u64)),
        Criterion::Leak if verdict.limit > 0.0 => format!("≤ {}", signed_bytes(verdict.limit)),
        Criterion::Leak => "none".into(),
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
        Criterion::SuccessRate | Criterion::Fragmentation => percent(figure),
        Criterion::LatencyP95 => time(figure),
        Criterion::TailRatio => format!("{figure:.2}"),
        Criterion::DeviceMemory => bytes(figure as u64),
        Criterion::Leak => signed_bytes(figure),
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
    let over_runs = results
        .published
        .iter()
        .filter_map(|published| Some((published, published.tokens_per_second.as_ref()?)));
    let best_over_runs = over_runs.max_by(|(_, one), (_, other)| one.mean.total_cmp(&other.mean));
    if let Some((published, over)) = best_over_runs {
        let figure = format!("{} tok/s", rate(over.mean));
        let interval = ends(over.interval, rate);
        let note = format!("{interval} over {} runs, at {}", over.runs, published.spec.name());
        highlights.push(("highest throughput", figure, note));
    } else if let Some((cell, figures)) = best {
        let figure = format!("{} tok/s", rate(figures.tokens_per_second));
        highlights.push(("highest throughput", figure, format!("at {}", cell.name())));
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
    of: impl Fn(&crate::system::MemorySample) -> Option<u64>,
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
                Steady::NotSteady { .. } => Some("not steady".to_owned()),
            };
            let broke = figures.ramp.as_ref().map(|ramp| broke(ramp, figures.cut_by_time_limit));
            let late = figures.generator.bottleneck.as_ref();
            let late = late.map(|_| "the generator was the bottleneck".to_owned());
            let remarks = [failed, cut, steady, broke, late];
            remarks.into_iter().flatten().collect::<Vec<_>>().join("; ")
        }
    }
}

/// What takes more words than a remark: why a cell was not steady, or the generator its bottleneck.
pub(super) fn reservations(results: &Results) -> Vec<String> {
    let mut all = Vec::new();
    for cell in &results.cells {
        let Some(figures) = cell.figures() else { continue };
        if let Steady::NotSteady { reason } = &figures.steady {
            all.push(format!("{}: not steady: {reason}.", cell.name()));
        }
        if let Some(reason) = &figures.generator.bottleneck {
            all.push(format!("{}: the generator was the bottleneck: {reason}.", cell.name()));
        }
    }
    all
}

/// A count and what it counts.
pub(super) fn plural(number: usize, one: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {one}{end}", count(number))
}

fn batches(number: usize) -> String {
    if number == 1 { "1 batch".into() } else { format!("{} batches", count(number)) }
}

/// Where a ramp broke its target. One that was cut short says nothing of the rates it did not come to.
fn broke(ramp: &Ramp, cut: bool) -> String {
    let reached = ramp.blocks.iter().rev().find(|block| block.requests > 0);
    match (&ramp.broke, reached) {
        (None, None) => "no request of the ramp was sent".into(),
        (None, Some(last)) if cut => {
            format!("kept up as far as it came, about {}/s", rate(last.rate_per_second))
        }
        (None, Some(_)) => "kept up to the end of the ramp".into(),
        (Some(broke), _) => {
            let what = match broke.what {
                Broken::Failures => "failures",
                Broken::Latency => "latency",
            };
            format!("broke at {}/s: {what}", rate(broke.rate_per_second))
        }
    }
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

/// What an experiment with cleanup strategies was.
pub(super) fn experiment(experiment: &MemoryExperiment) -> String {
    let traffic = &experiment.traffic;
    format!(
        "{}: {} of {} to {} tokens, {:.0} buffers each, up to {} of them live at once, replayed {} times \
         through each way of finding memory for them, in turns. {} may be reserved. Buffers are written \
         to, but nothing is computed.",
        traffic.origin,
        batches(traffic.batches),
        count(traffic.batch_tokens.0),
        count(traffic.batch_tokens.1),
        experiment.buffers_per_batch,
        bytes(experiment.demand_bytes_max),
        experiment.repeats,
        bytes(experiment.budget_bytes)
    )
}

/// An advice in one sentence with the length that it is for; none where there is none.
pub(super) fn advice(advice: &Recommendation) -> Option<String> {
    let length = advice.tokens.map(|length| format!(", {} tokens", tokens(length)));
    (advice.support != Support::Missing).then(|| {
        format!("{}{}: {}", advice.topic.label(), length.unwrap_or_default(), advice.advice)
    })
}

/// The figure of an advice, and its interval with what it means.
pub(super) fn advised(figure: &Advised) -> (String, String) {
    let unit = |value: f64| match figure.unit {
        Unit::Requests => format!("{} at once", plural(value as usize, "request")),
        Unit::Tokens => format!("{} tokens", count(value as usize)),
        Unit::Bytes if value < 0.0 => format!("-{}", bytes(-value as u64)),
        Unit::Bytes => bytes(value as u64),
        Unit::RequestsPerSecond => format!("{} requests/s", rate(value)),
        Unit::Milliseconds => time(value),
        Unit::Ratio => format!("{value:.2}"),
        Unit::Share => percent(value),
    };
    let short = |value: f64| match figure.unit {
        Unit::Requests | Unit::Tokens => count(value as usize),
        Unit::RequestsPerSecond => rate(value),
        Unit::Bytes | Unit::Milliseconds | Unit::Ratio | Unit::Share => unit(value),
    };
    let interval = ends(figure.interval, short);
    let basis = &figure.basis;
    let label = if interval.is_empty() { basis.clone() } else { format!("{interval}, {basis}") };
    (unit(figure.value), label)
}
