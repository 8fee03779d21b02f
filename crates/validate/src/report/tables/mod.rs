//! The tables that all reports share, as rows of finished strings: here those of cells and of the run, in
//! `findings` those of the analysis, in `capacity` those of its capacity model, in `edges` those of the search for the
//! target's limits.

mod capacity;
mod edges;
mod findings;
pub(super) mod table;

use crate::figures::published::PublishedFigures;
use crate::figures::{Cell, Figures, Status};
use crate::plan::CellSpec;
use crate::preflight::Finding;
use crate::results::Results;
use crate::stats::interval::wilson;
use crate::stats::{Percentile, PercentileFigure, RunMean, Spread};
use crate::system::{FailureKind, MemorySample};
use crate::verdict::Verdict;

use super::{method, sentences};
use crate::format::{bytes, count, percent, rate, time};

pub(super) use capacity::{capacity, held_out};
pub(super) use edges::{edge_failures, edges, recoveries};
pub(super) use findings::{
    bottlenecks, failures, leaks, returned, scaling, spikes, strategies, tails,
};
pub(super) use table::{Alignment, Column, Emphasis, Field, Row, Table};

use table::{columns, or_dash};

/// Returns every limit beside its figure.
pub(super) fn verdicts(results: &Results) -> Option<Table> {
    let row = |verdict: &Verdict| Row {
        fields: vec![
            verdict.outcome.label().into(),
            verdict.spec.as_ref().map_or("all".into(), sentences::lengths).into(),
            verdict.spec.as_ref().map_or("all".into(), sentences::load).into(),
            sentences::quantity(verdict).into(),
            sentences::limit(verdict).into(),
            sentences::figure(verdict).into(),
            sentences::interval(verdict).into(),
            or_dash(verdict.trials, sentences::trials).into(),
            verdict.reason.clone().into(),
        ],
        emphasis: Emphasis::Verdict(verdict.outcome),
    };
    let heads =
        "Verdict | Tokens> | C> | Quantity | Limit> | Measured> | 95 % interval> | Sample> | Why~";
    Table::new(heads, results.verdicts.iter().map(row))
}

/// Returns every cell's figures, latency over the successes.
pub(super) fn cells(results: &Results) -> Option<Table> {
    let mut length = None;
    let row = |cell: &Cell| {
        let begins = length.as_ref().is_some_and(|length| *length != cell.spec.lengths);
        length = Some(cell.spec.lengths.clone());
        let emphasis = match (&cell.status, cell.repeats) {
            (Status::NotRun { .. }, _) => Emphasis::NotRun,
            (_, Some(_)) => Emphasis::Muted,
            _ if begins => Emphasis::Break,
            _ => Emphasis::None,
        };
        Row { fields: cell_row(results, cell), emphasis }
    };
    let heads = "Tokens> | C> | Success> | Mean> | p50> | p95> | p99> | Max> | Req/s> | Tok/s> | Seq/batch> | \
                 Requests> | Remarks_";
    Table::new(heads, ordered(results).into_iter().map(row))
}

fn cell_row(results: &Results, cell: &Cell) -> Vec<Field> {
    let mut fields = load_fields(cell);
    match cell.figures() {
        None => fields.extend(std::iter::repeat_n("–".into(), 10)),
        Some(figures) => {
            let success = figures.success_rate();
            let interval = success.and_then(|rate| wilson(rate, figures.trials.count));
            let interval = interval.map(|interval| sentences::ends(interval, percent));
            fields.push(Field::noted(or_dash(success, percent), interval.unwrap_or_default()));
            fields.extend(spread(&figures.latency));
            fields.extend([
                rate(figures.requests_per_second).into(),
                rate(figures.tokens_per_second).into(),
                or_dash(figures.batch_mean, |batch| format!("{:.1}", batch.sequences)).into(),
                Field::noted(count(figures.requests), sentences::trials(figures.trials)),
            ]);
        }
    }
    fields.push(sentences::remark(results, cell).into());
    fields
}

/// Returns the fields that the row of a cell begins with.
fn load_fields(cell: &Cell) -> Vec<Field> {
    vec![sentences::lengths(&cell.spec).into(), sentences::load(&cell.spec).into()]
}

fn spread(spread: &Spread) -> [Field; 5] {
    [
        or_dash(spread.mean_ms, time).into(),
        ranked(&spread.p50),
        ranked(&spread.p95),
        ranked(&spread.p99),
        or_dash(spread.max_ms, time).into(),
    ]
}

/// Returns a percentile with its interval, which is omitted where the figure is only a bound.
fn ranked(percentile: &Percentile) -> Field {
    let exact = matches!(percentile.shown, PercentileFigure::Exactly { .. });
    let interval = exact.then(|| sentences::ends(percentile.interval_ms, time));
    Field::noted(percentile.label(), interval.unwrap_or_default())
}

/// Returns the figures over the runs of every cell that was run more than once.
pub(super) fn published(results: &Results) -> Option<Table> {
    let figure = |over: &Option<RunMean>, unit: fn(f64) -> String| match over {
        None => "not shown".into(),
        Some(over) => Field::noted(unit(over.mean), sentences::ends(over.interval, unit)),
    };
    let row = |published: &PublishedFigures| {
        vec![
            sentences::lengths(&published.spec).into(),
            sentences::load(&published.spec).into(),
            count(published.runs).into(),
            percent(published.successes as f64 / published.requests.max(1) as f64).into(),
            figure(&published.latency_ms_p50, time),
            figure(&published.latency_ms_p95, time),
            figure(&published.latency_ms_p99, time),
            figure(&published.requests_per_second, rate),
            figure(&published.tokens_per_second, rate),
            count(published.requests).into(),
        ]
    };
    let heads =
        "Tokens> | C> | Runs> | Success> | p50> | p95> | p99> | Req/s> | Tok/s> | Requests>";
    Table::new(heads, results.published.iter().map(row))
}

/// Returns a table with a row per cell: its load, then the fields of `rest`, which skips a cell with `None`.
fn per_cell(
    heads: &'static str,
    cells: Vec<&Cell>,
    rest: impl Fn(&Cell, &Figures) -> Option<Vec<Field>>,
) -> Option<Table> {
    let row = |cell: &Cell| Some([load_fields(cell), rest(cell, cell.figures()?)?].concat());
    Table::new(heads, cells.into_iter().filter_map(row))
}

/// Returns the classes of the scenarios that have several, each with the terms and the outcome of its requests.
pub(super) fn classes(results: &Results) -> Option<Table> {
    let heads = "Scenario | Class | Tokens> | Load | Priority | Deadline> | Success> | p50> | p95> | p99> | Req/s> | \
                 Tok/s> | Refused> | Deadlines missed> | Requests>";
    let of_several = results.scenarios().into_iter().filter(|cell| cell.spec.class.is_some());
    let rows = of_several.filter_map(|cell| Some(class_row(&cell.spec, cell.figures()?)));
    Table::new(heads, rows)
}

fn class_row(spec: &CellSpec, figures: &Figures) -> Vec<Field> {
    let failed = |kind| count(figures.failures.get(&kind).copied().unwrap_or(0)).into();
    let [_, p50, p95, p99, _] = spread(&figures.latency);
    vec![
        spec.scenario.as_deref().unwrap_or_default().into(),
        spec.class.as_deref().unwrap_or_default().into(),
        sentences::lengths(spec).into(),
        spec.load.label().into(),
        or_dash(spec.priority, |priority| priority.label().into()).into(),
        or_dash(spec.timeout_ms, |ms| time(ms as f64)).into(),
        or_dash(figures.success_rate(), percent).into(),
        p50,
        p95,
        p99,
        rate(figures.requests_per_second).into(),
        rate(figures.tokens_per_second).into(),
        failed(FailureKind::Refused),
        failed(FailureKind::DeadlineMissed),
        count(figures.requests).into(),
    ]
}

/// Returns latency over all requests of the cells in which any failed.
pub(super) fn over_all(results: &Results) -> Option<Table> {
    let heads = "Tokens> | C> | Failed> | p50> | p95> | p99> | Longest answered>";
    per_cell(heads, ordered(results), |_, figures| {
        let failed = figures.requests - figures.successes;
        let [_, p50, p95, p99, max] = spread(&figures.latency_over_all);
        (failed > 0).then(|| vec![count(failed).into(), p50, p95, p99, max])
    })
}

/// Returns both latencies of the scenarios, over all requests.
pub(super) fn from_sending(results: &Results) -> Option<Table> {
    let heads = "Tokens> | Load | Offered> | p50 intended> | p95> | p99> | Max> | p50 from sending> | p95> | \
                 p99> | Max>";
    per_cell(heads, results.scenarios(), |_, figures| {
        let [_, p50, p95, p99, max] = spread(&figures.latency_over_all);
        let mut fields =
            vec![format!("{}/s", rate(figures.offered_per_second)).into(), p50, p95, p99, max];
        fields.extend(spread(&figures.latency_over_all_from_sending).into_iter().skip(1));
        Some(fields)
    })
}

/// Returns the mean time in each stage, for targets that report stages.
pub(super) fn stages(results: &Results) -> Option<Table> {
    let heads = "Tokens> | C> | Tokenise> | Queue> | Compute> | Other>";
    per_cell(heads, ordered(results), |_, figures| {
        let stages = figures.stages_ms_mean?;
        let times = [stages.tokenize, stages.queue, stages.compute, stages.other];
        Some(times.map(|ms| time(ms).into()).to_vec())
    })
}

/// Returns the memory of every cell that was started.
pub(super) fn memory(results: &Results) -> Option<Table> {
    type Reading = fn(&MemorySample) -> Option<u64>;
    let readings: [(&'static str, Reading); 3] = [
        ("Device before> | peak> | after>", |sample| sample.device_used_bytes),
        ("RSS before> | peak> | after>", |sample| sample.rss_bytes),
        ("Arena before> | peak> | after>", |sample| sample.arena.map(|arena| arena.used_bytes)),
    ];
    let mut reported = readings.to_vec();
    reported.retain(|(_, of)| sentences::peak(results, of).is_some());
    let high_water: Reading = |sample| sample.arena.map(|arena| arena.high_water_bytes);
    let arena = sentences::peak(results, high_water).is_some();
    let heads = ["Tokens> | C>"].into_iter().chain(reported.iter().map(|(heads, _)| *heads));
    let heads = heads.chain(arena.then_some("Arena high water>"));
    let print = |read: Option<u64>| Field::from(or_dash(read, bytes));
    let row = |cell: &Cell| {
        let (first, last) = (cell.memory.first()?, cell.memory.last()?);
        let peak_of = |of: Reading| cell.memory.iter().filter_map(|point| of(&point.sample)).max();
        let mut fields = load_fields(cell);
        for (_, of) in &reported {
            fields.extend([print(of(&first.sample)), print(peak_of(*of)), print(of(&last.sample))]);
        }
        fields.extend(arena.then(|| print(peak_of(high_water))));
        Some(Row::from(fields))
    };
    let rows = ordered(results).into_iter().filter_map(row).collect();
    (!reported.is_empty()).then(|| Table { columns: heads.flat_map(columns).collect(), rows })
}

/// Returns the findings about this machine before the run.
pub(super) fn preflight(results: &Results) -> Option<Table> {
    let row = |finding: &Finding| {
        vec![
            finding.subject.label().into(),
            finding.judgement.label().into(),
            finding.found.as_str().into(),
            or_dash(finding.needed_bytes, bytes).into(),
            finding.advice.as_deref().unwrap_or_default().into(),
        ]
    };
    let heads = "Subject | Judgement | Found~ | May need> | Advice~";
    Table::new(heads, results.preflight.iter().map(row))
}

/// Returns the target, its settings, and the machine of the generator.
pub(super) fn particulars(results: &Results) -> Option<Table> {
    let rows = method::particulars(results).into_iter();
    Table::new("Fact | Value~", rows.map(|(fact, value)| vec![fact.into(), value.into()]))
}

/// Returns the matrix by length and concurrency, then the scenarios, then the repeat of the first cell.
fn ordered(results: &Results) -> Vec<&Cell> {
    let repeats = results.cells.iter().filter(|cell| cell.repeats.is_some());
    results.matrix().into_iter().chain(results.scenarios()).chain(repeats).collect()
}
