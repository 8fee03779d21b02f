//! The tables that all reports share, as rows of finished strings.

use crate::Results;
use crate::results::{Cell, Figures, Status};
use crate::stats::Spread;
use crate::target::MemorySample;
use crate::verdict::Outcome;

use super::format::{bytes, count, percent, rate, time};
use super::words;

/// A table.
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

/// A column and what it holds.
pub(super) struct Column {
    pub(super) label: &'static str,
    pub(super) holds: Holds,
}

/// What a column holds, for its alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Numbers,
    Labels,
    Prose,
}
use Holds::{Labels, Numbers, Prose};

/// A row, and what is to be stressed about it.
pub(super) struct Row {
    pub(super) fields: Vec<String>,
    pub(super) stress: Stress,
}

/// What a row is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stress {
    None,
    /// A verdict.
    Verdict(Outcome),
    /// A cell that repeats another.
    Muted,
    /// A cell that was not run: between its first two fields and its last there is nothing.
    NotRun,
    /// A new length begins here.
    Break,
}

fn columns(labels: &[(&'static str, Holds)]) -> Vec<Column> {
    labels.iter().map(|&(label, holds)| Column { label, holds }).collect()
}

/// Every limit beside its figure.
pub(super) fn verdicts(results: &Results) -> Table {
    let row = |verdict: &crate::verdict::Verdict| Row {
        fields: vec![
            words::lengths(&verdict.spec),
            words::load(&verdict.spec),
            words::criterion(verdict.criterion).to_owned(),
            words::limit(verdict),
            words::figure(verdict),
            words::interval(verdict),
            words::sample(verdict),
            verdict.outcome.label().to_owned(),
            verdict.reason.clone(),
        ],
        stress: Stress::Verdict(verdict.outcome),
    };
    Table {
        columns: columns(&[
            ("Tokens", Numbers),
            ("C", Numbers),
            ("What", Labels),
            ("Bar", Numbers),
            ("Measured", Numbers),
            ("95 % interval", Numbers),
            ("Sample", Numbers),
            ("Verdict", Labels),
            ("Why", Prose),
        ]),
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
        columns: columns(&[
            ("Tokens", Numbers),
            ("C", Numbers),
            ("Success", Numbers),
            ("Mean", Numbers),
            ("p50", Numbers),
            ("p95", Numbers),
            ("p99", Numbers),
            ("Max", Numbers),
            ("Req/s", Numbers),
            ("Tok/s", Numbers),
            ("Seq/batch", Numbers),
            ("Requests", Numbers),
            ("Remarks", Prose),
        ]),
        rows,
    }
}

fn cell_row(cell: &Cell) -> Vec<String> {
    let mut fields = words::place(&cell.spec);
    match cell.figures() {
        None => fields.extend(std::iter::repeat_n("–".to_owned(), 10)),
        Some(figures) => {
            fields.push(figures.success_rate().map_or("–".into(), percent));
            fields.extend(spread(&figures.latency));
            fields.extend([
                rate(figures.requests_per_second),
                rate(figures.tokens_per_second),
                figures.batch_mean.map_or("–".into(), |batch| format!("{:.1}", batch.sequences)),
                count(figures.requests),
            ]);
        }
    }
    let again = cell.repeats.is_some().then(|| "first cell again".to_owned());
    let remark = Some(words::remark(cell)).filter(|remark| !remark.is_empty());
    fields.push([again, remark].into_iter().flatten().collect::<Vec<_>>().join("; "));
    fields
}

fn spread(spread: &Spread) -> [String; 5] {
    [
        words::optional_time(spread.mean_ms),
        words::percentile(&spread.p50),
        words::percentile(&spread.p95),
        words::percentile(&spread.p99),
        words::optional_time(spread.max_ms),
    ]
}

/// Latency over all requests, for cells in which any failed; none if none did.
pub(super) fn over_all(results: &Results) -> Option<Table> {
    let row = |cell: &&Cell| {
        let figures = cell.figures().filter(|figures| figures.successes < figures.requests)?;
        let mut fields = words::place(&cell.spec);
        fields.push(count(figures.requests - figures.successes));
        let [_, p50, p95, p99, max] = spread(&figures.latency_over_all);
        fields.extend([p50, p95, p99, max]);
        Some(Row { fields, stress: Stress::None })
    };
    let rows: Vec<Row> = ordered(results).iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| Table {
        columns: columns(&[
            ("Tokens", Numbers),
            ("C", Numbers),
            ("Failed", Numbers),
            ("p50", Numbers),
            ("p95", Numbers),
            ("p99", Numbers),
            ("Longest answered", Numbers),
        ]),
        rows,
    })
}

/// Memory of every cell that was started.
pub(super) fn memory(results: &Results) -> Option<Table> {
    type Reading = fn(&MemorySample) -> Option<u64>;
    let readings: [(&'static str, &'static str, &'static str, Reading); 3] = [
        ("Device before", "peak", "after", |sample| sample.device_used_bytes),
        ("RSS before", "peak", "after", |sample| sample.rss_bytes),
        ("Arena before", "peak", "after", |sample| sample.arena.map(|arena| arena.used_bytes)),
    ];
    let told: Vec<_> =
        readings.into_iter().filter(|(.., of)| words::peak(results, of).is_some()).collect();
    if told.is_empty() {
        return None;
    }
    let mut labels = vec![("Tokens", Numbers), ("C", Numbers)];
    for (before, peak, after, _) in &told {
        labels.extend([(*before, Numbers), (*peak, Numbers), (*after, Numbers)]);
    }
    let high_water: Reading = |sample| sample.arena.map(|arena| arena.high_water_bytes);
    let arena = words::peak(results, high_water).is_some();
    labels.extend(arena.then_some(("Arena high water", Numbers)));
    let print = |bytes_read: Option<u64>| bytes_read.map_or("–".to_owned(), bytes);
    let row = |cell: &&Cell| {
        let (first, last) = (cell.memory.first()?, cell.memory.last()?);
        let mut fields = words::place(&cell.spec);
        let peak_of = |of: Reading| cell.memory.iter().filter_map(|point| of(&point.sample)).max();
        for (.., of) in &told {
            fields.extend([print(of(&first.sample)), print(peak_of(*of)), print(of(&last.sample))]);
        }
        fields.extend(arena.then(|| print(peak_of(high_water))));
        Some(Row { fields, stress: Stress::None })
    };
    Some(Table {
        columns: columns(&labels),
        rows: ordered(results).iter().filter_map(row).collect(),
    })
}

/// Mean time in each stage, for targets that tell.
pub(super) fn stages(results: &Results) -> Option<Table> {
    let row = |cell: &&Cell| {
        let stages = cell.figures().and_then(|figures: &Figures| figures.stages_ms_mean)?;
        let mut fields = words::place(&cell.spec);
        fields.extend([stages.tokenize, stages.queue, stages.compute, stages.other].map(time));
        Some(Row { fields, stress: Stress::None })
    };
    let rows: Vec<Row> = ordered(results).iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| Table {
        columns: columns(&[
            ("Tokens", Numbers),
            ("C", Numbers),
            ("Tokenise", Numbers),
            ("Queue", Numbers),
            ("Compute", Numbers),
            ("Other", Numbers),
        ]),
        rows,
    })
}

/// The matrix by length and concurrency, the scenarios, and the repeat after them.
fn ordered(results: &Results) -> Vec<&Cell> {
    let repeats = results.cells.iter().filter(|cell| cell.repeats.is_some());
    results.matrix().into_iter().chain(results.scenarios()).chain(repeats).collect()
}
