//! The tables that all reports share, as rows of finished strings: here those of single cells, in
//! `findings` those of the analysis.

mod edges;
mod findings;
mod strategies;
pub(super) mod table;

use crate::figures::published::Published;
use crate::figures::{Cell, Figures, Status};
use crate::preflight::Finding;
use crate::results::Results;
use crate::stats::interval::wilson;
use crate::stats::{Percentile, PercentileFigure, RunMean, Spread};
use crate::system::MemorySample;

use super::words;
use crate::format::{bytes, count, percent, rate, time};

pub(super) use edges::{edge_failures, edges, recoveries};
pub(super) use findings::{bottlenecks, failures, leaks, returned, scaling, spikes, tails};
pub(super) use strategies::strategies;
pub(super) use table::{Column, Field, Holds, Row, Stress, Table};

use table::{columns, filled, plain};

/// Every limit beside its figure.
pub(super) fn verdicts(results: &Results) -> Table {
    let row = |verdict: &crate::verdict::Verdict| Row {
        fields: vec![
            verdict.spec.as_ref().map_or("all".into(), words::lengths).into(),
            verdict.spec.as_ref().map_or("all".into(), words::load).into(),
            words::criterion(verdict.criterion).into(),
            words::limit(verdict).into(),
            words::figure(verdict).into(),
            words::interval(verdict).into(),
            words::sample(verdict).into(),
            verdict.outcome.label().into(),
            verdict.reason.clone().into(),
        ],
        stress: Stress::Verdict(verdict.outcome),
    };
    Table {
        columns: columns(
            "Tokens> | C> | What | Bar> | Measured> | 95 % interval> | Sample> | Verdict | Why~",
        )
        .collect(),
        rows: results.verdicts.iter().map(row).collect(),
    }
}

/// Every cell's figures, latency over the successes.
pub(super) fn cells(results: &Results) -> Table {
    let mut rows = Vec::new();
    let mut length = None;
    for cell in ordered(results) {
        let begins = length.as_ref().is_some_and(|length| *length != cell.spec.lengths);
        length = Some(cell.spec.lengths.clone());
        let stress = match (&cell.status, cell.repeats) {
            (Status::NotRun { .. }, _) => Stress::NotRun,
            (_, Some(_)) => Stress::Muted,
            _ if begins => Stress::Break,
            _ => Stress::None,
        };
        rows.push(Row { fields: cell_row(cell), stress });
    }
    Table {
        columns: columns(
            "Tokens> | C> | Success> | Mean> | p50> | p95> | p99> | Max> | Req/s> | Tok/s> | \
         Seq/batch> | Requests> | Remarks~",
        )
        .collect(),
        rows,
    }
}

fn cell_row(cell: &Cell) -> Vec<Field> {
    let mut fields = words::place(&cell.spec);
    match cell.figures() {
        None => fields.extend(std::iter::repeat_n("–".into(), 10)),
        Some(figures) => {
            fields.push(success(figures));
            fields.extend(spread(&figures.latency));
            fields.extend([
                rate(figures.requests_per_second).into(),
                rate(figures.tokens_per_second).into(),
                figures
                    .batch_mean
                    .map_or("–".into(), |batch| format!("{:.1}", batch.sequences).into()),
                Field::noted(count(figures.requests), words::trials(figures.trials)),
            ]);
        }
    }
    let again = cell.repeats.is_some().then(|| "first cell again".to_owned());
    let remark = Some(words::remark(cell)).filter(|remark| !remark.is_empty());
    let remarks: Vec<String> = [again, remark].into_iter().flatten().collect();
    fields.push(remarks.join("; ").into());
    fields
}

fn success(figures: &Figures) -> Field {
    let Some(rate) = figures.success_rate() else { return "–".into() };
    let interval = wilson(rate, figures.trials.count);
    Field::noted(percent(rate), interval.map_or(String::new(), |i| words::ends(i, percent)))
}

fn spread(spread: &Spread) -> [Field; 5] {
    [
        words::optional_time(spread.mean_ms).into(),
        ranked(&spread.p50),
        ranked(&spread.p95),
        ranked(&spread.p99),
        words::optional_time(spread.max_ms).into(),
    ]
}

/// A percentile with its interval. Where only a bound may be printed, so is it with the interval.
fn ranked(percentile: &Percentile) -> Field {
    let interval = match percentile.shown {
        PercentileFigure::Exactly { .. } => words::ends(percentile.interval_ms, time),
        PercentileFigure::AtLeast { .. }
        | PercentileFigure::NotReached
        | PercentileFigure::NoData => String::new(),
    };
    Field::noted(percentile.label(), interval)
}

/// The figures of every cell that was run more than once, over its runs.
pub(super) fn published(results: &Results) -> Option<Table> {
    let figure = |over: &Option<RunMean>, unit: fn(f64) -> String| match over {
        None => "not shown".into(),
        Some(over) => Field::noted(unit(over.mean), words::ends(over.interval, unit)),
    };
    let row = |published: &Published| {
        let mut fields = words::place(&published.spec);
        fields.extend([
            count(published.runs).into(),
            percent(published.successes as f64 / published.requests.max(1) as f64).into(),
            figure(&published.latency_ms_p50, time),
            figure(&published.latency_ms_p95, time),
            figure(&published.latency_ms_p99, time),
            figure(&published.requests_per_second, rate),
            figure(&published.tokens_per_second, rate),
            count(published.requests).into(),
        ]);
        plain(fields)
    };
    let rows: Vec<Row> = results.published.iter().map(row).collect();
    filled(
        rows,
        "Tokens> | C> | Runs> | Success> | p50> | p95> | p99> | Req/s> | Tok/s> | Requests>",
    )
}

/// Latency over all requests, for cells in which any failed; none if none did.
pub(super) fn over_all(results: &Results) -> Option<Table> {
    let row = |cell: &&Cell| {
        let figures = cell.figures().filter(|figures| figures.successes < figures.requests)?;
        let mut fields = words::place(&cell.spec);
        fields.push(count(figures.requests - figures.successes).into());
        let [_, p50, p95, p99, max] = spread(&figures.latency_over_all);
        fields.extend([p50, p95, p99, max]);
        Some(plain(fields))
    };
    let rows: Vec<Row> = ordered(results).iter().filter_map(row).collect();
    filled(rows, "Tokens> | C> | Failed> | p50> | p95> | p99> | Longest answered>")
}

/// Both latencies of the scenarios, over all requests.
pub(super) fn from_sending(results: &Results) -> Option<Table> {
    let row = |cell: &&Cell| {
        let figures = cell.figures()?;
        let mut fields = words::place(&cell.spec);
        fields.push(format!("{}/s", rate(figures.offered_per_second)).into());
        let [_, p50, p95, p99, max] = spread(&figures.latency_over_all);
        let [_, p50_sent, p95_sent, p99_sent, max_sent] =
            spread(&figures.latency_over_all_from_sending);
        fields.extend([p50, p95, p99, max, p50_sent, p95_sent, p99_sent, max_sent]);
        Some(plain(fields))
    };
    let rows: Vec<Row> = results.scenarios().iter().filter_map(row).collect();
    filled(
        rows,
        "Tokens> | Load | Offered> | p50 intended> | p95> | p99> | Max> | \
         p50 from sending> | p95> | p99> | Max>",
    )
}

/// Memory of every cell that was started.
pub(super) fn memory(results: &Results) -> Option<Table> {
    type Reading = fn(&MemorySample) -> Option<u64>;
    let readings: [(&'static str, Reading); 3] = [
        ("Device before> | peak> | after>", |sample| sample.device_used_bytes),
        ("RSS before> | peak> | after>", |sample| sample.rss_bytes),
        ("Arena before> | peak> | after>", |sample| sample.arena.map(|arena| arena.used_bytes)),
    ];
    let told: Vec<_> =
        readings.into_iter().filter(|(_, of)| words::peak(results, of).is_some()).collect();
    if told.is_empty() {
        return None;
    }
    let high_water: Reading = |sample| sample.arena.map(|arena| arena.high_water_bytes);
    let arena = words::peak(results, high_water).is_some();
    let heads = ["Tokens> | C>"].into_iter().chain(told.iter().map(|(heads, _)| *heads));
    let heads = heads.chain(arena.then_some("Arena high water>"));
    let print = |bytes_read: Option<u64>| Field::from(bytes_read.map_or("–".into(), bytes));
    let row = |cell: &&Cell| {
        let (first, last) = (cell.memory.first()?, cell.memory.last()?);
        let mut fields = words::place(&cell.spec);
        let peak_of = |of: Reading| cell.memory.iter().filter_map(|point| of(&point.sample)).max();
        for (_, of) in &told {
            fields.extend([print(of(&first.sample)), print(peak_of(*of)), print(of(&last.sample))]);
        }
        fields.extend(arena.then(|| print(peak_of(high_water))));
        Some(plain(fields))
    };
    Some(Table {
        columns: heads.flat_map(columns).collect(),
        rows: ordered(results).iter().filter_map(row).collect(),
    })
}

/// What was found of the machine before the run.
pub(super) fn preflight(results: &Results) -> Option<Table> {
    let row = |finding: &Finding| {
        let needed = finding.needed_bytes.map_or("–".into(), bytes);
        let advice = finding.advice.as_deref().unwrap_or_default();
        plain(vec![
            finding.subject.label().into(),
            finding.judgement.label().into(),
            finding.found.as_str().into(),
            needed.into(),
            advice.into(),
        ])
    };
    filled(
        results.preflight.iter().map(row).collect(),
        "What | Judged | Found~ | May need> | Advice~",
    )
}

/// Mean time in each stage, for targets that tell.
pub(super) fn stages(results: &Results) -> Option<Table> {
    let row = |cell: &&Cell| {
        let stages = cell.figures().and_then(|figures: &Figures| figures.stages_ms_mean)?;
        let mut fields = words::place(&cell.spec);
        fields.extend(
            [stages.tokenize, stages.queue, stages.compute, stages.other].map(|ms| time(ms).into()),
        );
        Some(plain(fields))
    };
    let rows: Vec<Row> = ordered(results).iter().filter_map(row).collect();
    filled(rows, "Tokens> | C> | Tokenise> | Queue> | Compute> | Other>")
}

/// The matrix by length and concurrency, the scenarios, and the repeat after them.
fn ordered(results: &Results) -> Vec<&Cell> {
    let repeats = results.cells.iter().filter(|cell| cell.repeats.is_some());
    results.matrix().into_iter().chain(results.scenarios()).chain(repeats).collect()
}
