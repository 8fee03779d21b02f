//! The sentences and figures that all reports share: the headline, the highlights, the remarks on a cell, a
//! verdict's figures with their units. The method notes are in `method`, the tables in `tables`.

use crate::analysis::capacity::{Prediction, TOLERANCE};
use crate::analysis::scaling::GeneratorEffect;
use crate::figures::{BreakCause, Breakpoint, Cell, Figures, Ramp, Status, Steady};
use crate::plan::CellSpec;
use crate::results::Results;
use crate::results::recommendation::{AdviceFigure, Recommendation, Support, Topic, Unit};
use crate::stats::{Interval, Trials};
use crate::system::{FailureKind, MemorySample};
use crate::verdict::{Criterion, Outcome, Verdict};
use bigbatch_allocators::MemoryExperiment;

use super::tables::table::or_dash;
use crate::format::{
    bytes, change, count, percent, percent_limit, percent_up, rate, signed_bytes, time, time_limit,
    tokens,
};

/// Returns the conclusion of the run in one line.
pub(super) fn headline(results: &Results) -> String {
    let conclusion = &results.conclusion;
    let total = conclusion.total();
    let is = |number: usize| {
        format!("{number} of {total} limits {}", if number == 1 { "is" } else { "are" })
    };
    if let Some(nothing) = nothing(results) {
        return match conclusion.failed {
            0 => nothing,
            failed => format!("{nothing}; {} missed", is(failed)),
        };
    }
    match conclusion.outcome() {
        None => "Measured; this plan sets no limits".into(),
        Some(Outcome::Pass) => format!("All {total} limits are met"),
        Some(Outcome::Fail) => format!("{} missed", is(conclusion.failed)),
        Some(Outcome::NotRun | Outcome::NotShown) => {
            format!("No limit is missed; {} met", is(conclusion.passed))
        }
    }
}

/// Returns in one clause that no request was answered; `None` if one was.
fn nothing(results: &Results) -> Option<String> {
    let first = results.cells.iter().filter(|cell| cell.repeats.is_none());
    let requests: usize =
        results.cells.iter().filter_map(Cell::figures).map(|figures| figures.requests).sum();
    let cells = plural(first.clone().count(), "cell");
    if results.cells.iter().all(|cell| cell.figures().is_none()) {
        Some(format!("Nothing was measured: none of {cells} ran"))
    } else if results.measured_nothing() {
        Some(format!("Nothing was measured: not one request in {cells}"))
    } else {
        let failed = format!("No request was answered: all {} failed", count(requests));
        results.answered_nothing().then_some(failed)
    }
}

/// Returns the outcomes that the headline does not count, and whether the run was interrupted; `None` without any.
pub(super) fn headline_rest(results: &Results) -> Option<String> {
    let conclusion = &results.conclusion;
    let met = if conclusion.failed > 0 { conclusion.passed } else { 0 };
    let interrupted = "the run was interrupted: this report covers the cells that it finished, and validate --resume runs the others";
    let parts: Vec<String> = [
        (met, "met"),
        (conclusion.not_shown, "not shown: the samples are too small"),
        (conclusion.not_run, "not run"),
    ]
    .into_iter()
    .filter(|&(number, _)| number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .chain(results.interrupted.then(|| interrupted.to_owned()))
    .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns what the table of cells holds, and what its intervals mean.
pub(super) fn cells_lead(results: &Results) -> String {
    let (first, second) = if results.published.is_empty() {
        (
            "",
            " C is the number of clients, each of which waits for its answer before it sends again.",
        )
    } else {
        ("The first run of each cell; the table above is over all runs. ", "")
    };
    format!(
        "{first}Latency over the successful requests, from the intended start to the last byte.{second} Intervals \
         are at 95 %, within one run."
    )
}

/// Returns the length of a cell's texts.
pub(super) fn lengths(spec: &CellSpec) -> String {
    spec.tokens().map_or_else(|| spec.lengths.label(), tokens)
}

/// Returns a cell's load: the number of clients, or the scenario.
pub(super) fn load(spec: &CellSpec) -> String {
    match &spec.scenario {
        None => spec.load.label(),
        Some(_) => format!("{}: {}", spec.label(), spec.load.label()),
    }
}

/// Returns the ends of an interval, `?` for one that the sample does not bound; empty without both.
pub(super) fn ends(interval: Interval, unit: impl Fn(f64) -> String) -> String {
    let end = |end: Option<f64>| end.map_or("?".into(), &unit);
    match (interval.low, interval.high) {
        (None, None) => String::new(),
        (low, high) => format!("{} to {}", end(low), end(high)),
    }
}

/// Returns the size of a sample in independent units.
pub(super) fn trials(trials: Trials) -> String {
    format!("{} {}", count(trials.count), trials.unit.label())
}

/// Returns the cells that charts of single cells show: the first run of each cell of the matrix, then of each
/// scenario, without those that were not run.
pub(super) fn first_runs(results: &Results) -> Vec<&Cell> {
    let all = results.matrix().into_iter().chain(results.scenarios());
    all.filter(|cell| cell.figures().is_some()).collect()
}

/// Returns the quantity of a verdict; of a ratio with the name of its baseline: `p99 / that of 1K alone`.
pub(super) fn quantity(verdict: &Verdict) -> String {
    let label = verdict.criterion.label();
    match &verdict.baseline {
        Some(baseline) => label.replace("baseline", &format!("that of {baseline}")),
        None => label.to_owned(),
    }
}

/// Returns the limit of a verdict.
pub(super) fn limit(verdict: &Verdict) -> String {
    match verdict.criterion {
        Criterion::SuccessRate => format!("≥ {}", percent_limit(verdict.limit)),
        Criterion::LatencyP95 => format!("≤ {}", time_limit(verdict.limit)),
        Criterion::TailRatio | Criterion::LatencyP50Ratio | Criterion::LatencyP99Ratio => {
            format!("≤ {}", verdict.limit)
        }
        Criterion::Fragmentation => format!("≤ {}", percent_limit(verdict.limit)),
        Criterion::DeviceMemory => format!("≤ {}", bytes(verdict.limit as u64)),
        Criterion::Leak if verdict.limit > 0.0 => format!("≤ {}", signed_bytes(verdict.limit)),
        Criterion::Leak => "none".into(),
    }
}

/// Returns the figure of a verdict.
pub(super) fn figure(verdict: &Verdict) -> String {
    let bound = if verdict.at_least { "≥ " } else { "" };
    or_dash(verdict.figure, |figure| format!("{bound}{}", in_unit(verdict.criterion, figure)))
}

/// Returns the interval of a verdict.
pub(super) fn interval(verdict: &Verdict) -> String {
    let ends = ends(verdict.interval, |end| in_unit(verdict.criterion, end));
    if ends.is_empty() { "–".into() } else { ends }
}

fn in_unit(criterion: Criterion, figure: f64) -> String {
    match criterion {
        Criterion::SuccessRate | Criterion::Fragmentation => percent(figure),
        Criterion::LatencyP95 => time(figure),
        Criterion::TailRatio | Criterion::LatencyP50Ratio | Criterion::LatencyP99Ratio => {
            format!("{figure:.2}")
        }
        Criterion::DeviceMemory => bytes(figure as u64),
        Criterion::Leak => signed_bytes(figure),
    }
}

/// Returns the figures that summarise the run: (label, figure, note).
pub(super) fn highlights(results: &Results) -> Vec<(&'static str, String, String)> {
    let mut highlights = Vec::new();
    let run: Vec<(&Cell, &Figures)> =
        results.cells.iter().filter_map(|cell| Some((cell, cell.figures()?))).collect();
    let over_runs = results.published.iter();
    let over_runs = over_runs.filter_map(|cell| Some((cell, cell.tokens_per_second.as_ref()?)));
    let best_over_runs = over_runs.max_by(|(_, one), (_, other)| one.mean.total_cmp(&other.mean));
    let first = run.iter().filter(|(cell, _)| cell.repeats.is_none());
    let best = first
        .max_by(|(_, one), (_, other)| one.tokens_per_second.total_cmp(&other.tokens_per_second));
    let best = match (best_over_runs, best) {
        (Some((cell, over)), _) => {
            let interval = ends(over.interval, rate);
            let note = format!("{interval} over {} runs, at {}", over.runs, cell.spec.name());
            Some((over.mean, note))
        }
        (None, best) => {
            best.map(|(cell, figures)| (figures.tokens_per_second, format!("at {}", cell.name())))
        }
    };
    highlights.extend(best.map(|(most, note)| {
        ("highest throughput of a cell", format!("{} tokens/s", rate(most)), note)
    }));
    let requests: usize = run.iter().map(|(_, figures)| figures.requests).sum();
    let successes: usize = run.iter().map(|(_, figures)| figures.successes).sum();
    if requests > 0 {
        let note = format!("{} of {} requests", count(successes), count(requests));
        highlights.push(("requests answered", percent(successes as f64 / requests as f64), note));
    }
    let device = peak(results, |sample| sample.device_used_bytes);
    let device = device.map(|peak| ("highest device memory of the process", peak));
    let resident =
        || peak(results, |sample| sample.rss_bytes).map(|peak| ("highest resident memory", peak));
    let budget = results.target.memory_budget_bytes;
    let budget = budget.map_or_else(
        || "no budget reported".to_owned(),
        |budget| format!("of a budget of {}", bytes(budget)),
    );
    highlights.extend(device.or_else(resident).map(|(label, peak)| (label, bytes(peak), budget)));
    let note = match results.cells.len() - run.len() {
        0 => "every cell of the plan".to_owned(),
        not_run => format!("{not_run} not run"),
    };
    let figure = format!("{} in {}", run.len(), time(results.duration_seconds * 1e3));
    highlights.push(("cells run", figure, note));
    highlights
}

/// Returns the greatest reading of one kind in the whole run.
pub(super) fn peak(results: &Results, of: impl Fn(&MemorySample) -> Option<u64>) -> Option<u64> {
    let points = results.cells.iter().flat_map(|cell| &cell.memory);
    points.filter_map(|point| of(&point.sample)).max()
}

/// Returns why a cell has no figures, or how its figures are limited.
pub(super) fn remark(results: &Results, cell: &Cell) -> String {
    let again = cell.repeats.is_some().then(|| "repeats the first cell".to_owned());
    let mut remarks: Vec<String> = again.into_iter().collect();
    match &cell.status {
        Status::NotRun { reason } => remarks.push(format!("not run: {reason}")),
        Status::Run { figures } => {
            let failure = |(kind, number): (&FailureKind, &usize)| {
                format!("{} {}", count(*number), kind.label())
            };
            let failures: Vec<String> = figures.failures.iter().map(failure).collect();
            let failed = Some(failures.join(", ")).filter(|failures| !failures.is_empty());
            let note = figures.note.clone();
            let cut = figures.cut_by_time_limit.then(|| "cut by time limit".to_owned());
            let steady = match &figures.steady {
                Steady::Found { excluded_requests: 0, .. } | Steady::NotSought { .. } => None,
                Steady::Found { excluded_requests, .. } => {
                    Some(format!("first {} excluded: not yet steady", count(*excluded_requests)))
                }
                Steady::NotSteady { .. } => Some("not steady".to_owned()),
            };
            let ramp = figures.ramp.as_ref().map(|found| ramp(found, figures.cut_by_time_limit));
            let late = results.analysis.scaling.generator_effect(cell);
            let late = late.map(|effect| generator_remark(effect).to_owned());
            remarks.extend([failed, note, cut, steady, ramp, late].into_iter().flatten());
        }
    }
    remarks.join("; ")
}

/// Returns the remark on a cell in which the generator was late.
fn generator_remark(effect: GeneratorEffect) -> &'static str {
    match effect {
        GeneratorEffect::Limited => "limited by the generator",
        GeneratorEffect::Delayed(_) => "latency includes the generator's delay",
        GeneratorEffect::Unknown => "perhaps limited by the generator",
    }
}

/// Returns the remarks that need a sentence: why a cell was not steady, or how a late generator affected it.
pub(super) fn reservations(results: &Results) -> Vec<String> {
    let mut all = Vec::new();
    for cell in &results.cells {
        let Some(figures) = cell.figures() else { continue };
        if let Steady::NotSteady { reason } = &figures.steady {
            all.push(format!("{}: not steady: {reason}.", cell.name()));
        }
        let effect = results.analysis.scaling.generator_effect(cell);
        if let (Some(effect), Some(reason)) = (effect, &figures.generator.bottleneck) {
            let name = cell.name();
            all.push(match effect {
                GeneratorEffect::Limited => {
                    format!("{name}: the load generator limited this cell: {reason}.")
                }
                GeneratorEffect::Delayed(stage) => format!(
                    "{name}: latency includes a delay of the load generator, which did not limit the cell \
                     ({} did): {reason}.",
                    stage.label()
                ),
                GeneratorEffect::Unknown => format!(
                    "{name}: the load generator may have limited this cell; the target reports no stages that would \
                     show it: {reason}."
                ),
            });
        }
    }
    all
}

/// Returns a count with its noun in singular or plural.
pub(super) fn plural(number: usize, one: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {one}{end}", count(number))
}

/// Returns the rate that a ramp's target did not keep. A ramp that was cut short shows nothing about the rates
/// beyond.
fn ramp(ramp: &Ramp, cut: bool) -> String {
    let reached = ramp.blocks.iter().rev().find(|block| block.requests > 0);
    match (&ramp.broke, reached) {
        (Some(broke), _) => breaking_point(broke),
        (None, None) => "no request of the ramp was sent".into(),
        (None, Some(last)) if cut => {
            format!("kept up to {}/s, where the ramp was cut", rate(last.rate_per_second))
        }
        (None, Some(_)) => "kept up to the end of the ramp".into(),
    }
}

/// Returns the rate that a target did not keep, and the reason.
pub(super) fn breaking_point(broke: &Breakpoint) -> String {
    let cause = match broke.cause {
        BreakCause::Failures => "too many failures",
        BreakCause::Latency => "p95 beyond its limit",
    };
    format!("broke at {}/s: {cause}", rate(broke.rate_per_second))
}

/// Returns the fragmentation of the arena, if the target has one.
pub(super) fn fragmentation(results: &Results) -> Option<String> {
    let found = results.analysis.memory.fragmentation?;
    Some(format!(
        "Fragmentation of the arena (1 - largest free / free): {} on average and {} at most, over {} \
         readings.",
        percent(found.mean),
        percent_up(found.max),
        count(found.readings)
    ))
}

/// Returns what the capacity model predicts, or that it is not published, with the cell that it predicts worst. Empty
/// without a check.
pub(super) fn capacity_lead(results: &Results) -> String {
    let Some(capacity) = &results.analysis.capacity else { return String::new() };
    let tolerance = percent_limit(TOLERANCE);
    if capacity.model.is_some() {
        return format!(
            "Predicted for C clients that each wait for the answer, by a model of the tokenizer threads, the device and \
             the rest of a request. It predicted the throughput and the median latency of each cell from the other \
             cells within {tolerance}. It holds for this machine, these lengths, and no concurrency beyond those that \
             were run."
        );
    }
    let Some(worst) = capacity.worst() else { return String::new() };
    let figure = |figure: &Prediction, print: fn(f64) -> String| {
        let measured = print(figure.measured);
        match (figure.predicted, figure.error()) {
            (Some(predicted), Some(error)) => {
                format!(
                    "{} predicted, {measured} measured ({})",
                    print(predicted),
                    change(1.0 + error)
                )
            }
            _ => format!(
                "none predicted, as no other cell of this length shows its stages, {measured} measured"
            ),
        }
    };
    format!(
        "No capacity model is published, and no recommendation rests on one: from the other cells it did not predict the \
         throughput and the median latency of every cell within {tolerance}. Worst is {} × {}: requests per second, {}; \
         median latency, {}.",
        tokens(worst.tokens),
        worst.concurrency,
        figure(&worst.requests_per_second, rate),
        figure(&worst.latency_ms_p50, time)
    )
}

/// Describes the traffic of a memory experiment.
pub(super) fn experiment(experiment: &MemoryExperiment) -> String {
    let traffic = &experiment.traffic;
    let batches = if traffic.batches == 1 { "batch" } else { "batches" };
    format!(
        "{}: {} {batches} of {} to {} tokens, {:.0} buffers each, up to {} of them live at once, replayed {} times \
         through each memory strategy, in turns. A strategy may reserve {}. Buffers are written to, but nothing is \
         computed.",
        traffic.origin,
        count(traffic.batches),
        count(traffic.batch_tokens.0),
        count(traffic.batch_tokens.1),
        experiment.buffers_per_batch,
        bytes(experiment.demand_bytes_max),
        experiment.repeats,
        bytes(experiment.budget_bytes)
    )
}

/// Returns the topic of a recommendation, with the length that it is for.
pub(super) fn advice_title(advice: &Recommendation) -> String {
    match advice_length(advice).as_str() {
        "" => advice.topic.label().into(),
        length => format!("{}, {length}", advice.topic.label()),
    }
}

/// Returns the length that a recommendation is for; empty for one that holds for all.
pub(super) fn advice_length(advice: &Recommendation) -> String {
    advice.tokens.map_or_else(String::new, |length| format!("{} tokens", tokens(length)))
}

/// Returns a recommendation in one line; `None` if the run does not support it.
pub(super) fn advice(advice: &Recommendation) -> Option<String> {
    let supported = advice.support != Support::Missing;
    supported.then(|| format!("{}: {}", advice_title(advice), advice.advice))
}

/// Returns what the figure of a recommendation is of.
fn subject_of_figure(advice: &Recommendation, figure: &AdviceFigure) -> &'static str {
    match (advice.topic, figure.unit) {
        // Their unit says it.
        (Topic::Concurrency, _) | (_, Unit::Tokens) => "",
        (Topic::MemoryBudget, _) => "of memory budget",
        (Topic::Replicas, _) => "per replica",
        (Topic::Cleanup, Unit::Bytes) => "of growth per cell",
        (Topic::Cleanup, Unit::Milliseconds) => "per batch in the allocator",
        (Topic::Cleanup, _) => "of free memory outside its largest block",
        (Topic::TailLatency, _) => "times the median at p99",
        (Topic::ErrorHandling, Unit::Milliseconds) => "of timeout",
        (Topic::ErrorHandling, _) => "",
    }
}

/// Returns the figure of a recommendation with what it is of, and its interval with its basis.
pub(super) fn advice_figure(advice: &Recommendation, figure: &AdviceFigure) -> (String, String) {
    let unit = |value: f64| match figure.unit {
        Unit::Requests => format!("{} in flight", plural(value as usize, "request")),
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
    let subject = subject_of_figure(advice, figure);
    (format!("{} {subject}", unit(figure.value)).trim_end().to_owned(), label)
}
