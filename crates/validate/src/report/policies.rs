//! The comparison of policies by `bench schedule`, as text for a terminal, as a page with charts, and as JSON.

use std::fmt::Write;
use std::path::Path;

use super::chart;
use super::sections::{Block, Section};
use super::tables::table::or_dash;
use super::tables::{Field, Table};
use super::text;
use crate::error::Error;
use crate::format::{count, percent, rate, time};
use crate::simulation::{
    ClassFigures, LENGTH_CLASSES, PolicyFigures, ScheduleComparison, TraceFigures,
};

/// What the figures mean, and what the policies are.
const NOTES: [&str; 5] = [
    "Simulated: a virtual clock drives the engine's own planner and three rivals, and a batch takes the time that the cost \
     model predicts. Tokenizing, copies and the rivals' own overhead are not in it.",
    "FIFO, padded: up to 32 requests in order of arrival, padded to the longest, as Infinity by default and \
     text-embeddings-inference where a model has no packed kernels. FIFO, token budget: packed up to 16384 tokens, as \
     text-embeddings-inference by default. Shortest first: packed up to 16384 tokens. All share 512 slots by client.",
    "The load is the device time of the requests by themselves; what each batch takes besides comes on top.",
    "Latencies are from arrival to answer, p50 / p99 by nearest rank: of fewer than 100 requests the p99 is the longest. The \
     worst wait is the most that a request took beyond its time alone on an idle device. Tokens per second are over the time \
     in which the device worked.",
    "Fairness is Jain's index of the clients' speeds, the mean of time alone / time taken. Clients that ask for more than an \
     equal share of the device don't count.",
];

/// Returns the names of the classes of lengths.
pub(super) fn class_labels() -> [String; LENGTH_CLASSES.len() + 1] {
    let [short, middle, long] = LENGTH_CLASSES;
    [format!("≤ {short}"), format!("≤ {middle}"), format!("≤ {long}"), "longer".to_owned()]
}

/// Renders the tables for a terminal.
pub fn text(comparison: &ScheduleComparison) -> String {
    let mut out = format!("{}\n", facts(comparison).join(", "));
    for trace in &comparison.traces {
        let _ = writeln!(out, "\n{}: {}", trace.name, lead(trace));
        if let Some(table) = table(trace) {
            text::table(&mut out, &table);
        }
    }
    let _ = write!(out, "\n{}", NOTES.join("\n"));
    out
}

/// Renders the page.
pub fn html(comparison: &ScheduleComparison) -> String {
    super::html::policies(comparison)
}

/// Writes a file of the comparison.
///
/// # Errors
/// [`Error::ReportUnwritable`] if it cannot be written.
pub fn write(path: &Path, content: &str) -> Result<(), Error> {
    let written = std::fs::write(path, content);
    written.map_err(|source| Error::ReportUnwritable { path: path.to_owned(), source })
}

/// Returns what was simulated.
pub(super) fn facts(comparison: &ScheduleComparison) -> [String; 3] {
    let device = &comparison.device;
    let costs = &device.costs;
    [
        format!("simulated {}", device.name),
        format!(
            "a batch takes {:.3} ms + {:.3} us per token + {:.3} ns per squared token of a text + {:.3} us per text",
            costs.batch_seconds * 1e3,
            costs.token_seconds * 1e6,
            costs.square_seconds * 1e9,
            costs.sequence_seconds * 1e6
        ),
        format!("seed {}", comparison.seed),
    ]
}

/// Returns the page's sections.
pub(super) fn sections(comparison: &ScheduleComparison) -> Vec<Section> {
    let note = "A point is the p99 of a policy's requests of that length.";
    let charts = chart::policies(comparison).map(|charts| Block::Charts("", note, charts));
    let tables = comparison.traces.iter().flat_map(|trace| {
        let note = Block::Note(format!("{}: {}", trace.name, lead(trace)));
        [Some(note), table(trace).map(|table| Block::Table("", table))].into_iter().flatten()
    });
    let section = |id, title, blocks| Section { id, title, lead: String::new(), blocks };
    vec![
        section("p99", "The slowest of a hundred requests", charts.into_iter().collect()),
        section("figures", "Figures by trace", tables.collect()),
        section(
            "notes",
            "What the figures mean",
            vec![Block::List(NOTES.map(String::from).into())],
        ),
    ]
}

/// Describes a trace in a sentence.
fn lead(trace: &TraceFigures) -> String {
    let TraceFigures { description, requests, seconds, load, .. } = trace;
    let (requests, seconds) = (count(*requests), time(seconds * 1e3));
    format!("{description}; {requests} requests in {seconds}, {:.0} % load", load * 100.0)
}

fn table(trace: &TraceFigures) -> Option<Table> {
    let heads = "Policy | Tokens/s> | ≤ 512> | ≤ 2048> | ≤ 8192> | Longer> | 1/s clients> | Worst wait> | Fairness> | \
                 Idle> | Refused>";
    Table::new(heads, trace.policies.iter().map(row))
}

fn row(figures: &PolicyFigures) -> Vec<Field> {
    let mut fields = vec![figures.policy.label().into(), rate(figures.tokens_per_second).into()];
    fields.extend(figures.classes.iter().chain([&figures.quiet]).map(latencies));
    fields.extend([
        time(figures.worst_wait_ms).into(),
        format!("{:.2}", figures.fairness).into(),
        percent(figures.idle_share).into(),
        count(figures.refused).into(),
    ]);
    fields
}

fn latencies(class: &ClassFigures) -> Field {
    let both = class.p50_ms.zip(class.p99_ms);
    or_dash(both, |(p50, p99)| format!("{} / {}", time(p50), time(p99))).into()
}
