//! The parts and sections of a report, as one list: [`html`](super::html) renders all of it,
//! [`markdown`](super::markdown) omits the charts. Tables come from `tables`, sentences from `sentences` and `method`.

use super::chart::{self, Charts, Figure};
use super::tables::{self, Table};
use super::{method, sentences};
use crate::results::Results;
use bigbatch_allocators::MemoryExperiment;

/// A part of the report.
pub(super) struct Part {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) sections: Vec<Section>,
}

/// A section of a part.
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) lead: String,
    pub(super) blocks: Vec<Block>,
}

/// A piece of a section; an empty heading prints nothing.
pub(super) enum Block {
    /// Charts under a heading, and how to read them. Markdown omits all three.
    Charts(&'static str, &'static str, Charts),
    Note(String),
    List(Vec<String>),
    Table(&'static str, Table),
    /// A table that opens on demand.
    Details(&'static str, Table),
}

/// Returns a section of the blocks that exist; `None` without any.
fn section<const N: usize>(
    id: &'static str,
    title: &'static str,
    lead: impl Into<String>,
    blocks: [Option<Block>; N],
) -> Option<Section> {
    let blocks: Vec<Block> = blocks.into_iter().flatten().collect();
    (!blocks.is_empty()).then(|| Section { id, title, lead: lead.into(), blocks })
}

fn charts(heading: &'static str, charts: Option<Charts>) -> Option<Block> {
    charts_with_note(heading, "", charts)
}

fn charts_with_note(
    heading: &'static str,
    note: &'static str,
    charts: Option<Charts>,
) -> Option<Block> {
    charts.map(|charts| Block::Charts(heading, note, charts))
}

fn table(heading: &'static str, table: Option<Table>) -> Option<Block> {
    table.map(|table| Block::Table(heading, table))
}

fn details(heading: &'static str, table: Option<Table>) -> Option<Block> {
    table.map(|table| Block::Details(heading, table))
}

/// Returns part one: what was run, which limits are met, and what failed.
pub(super) fn test_results(results: &Results) -> Part {
    let lead = "The limits of the plan, the cells that were run, and the requests that failed.";
    let sections = [verdicts(results), cells(results), loads(results)];
    Part {
        id: "test-results",
        title: "Test Results",
        lead,
        sections: sections.into_iter().flatten().collect(),
    }
}

fn verdicts(results: &Results) -> Vec<Section> {
    let verdicts = section(
        "verdicts",
        "Verdicts",
        "Each limit of the plan beside its measured figure.",
        [table("", tables::verdicts(results))],
    );
    let over_runs = section(
        "published",
        "Cells, over runs",
        "Each cell was run several times, in random order. Figures are geometric means over the runs, with 95 % \
         t intervals on the logarithm: the range in which another run of the same plan is expected. C is the \
         number of clients, each of which waits for its answer before it sends again.",
        [table("", tables::published(results))],
    );
    [verdicts, over_runs].into_iter().flatten().collect()
}

fn cells(results: &Results) -> Vec<Section> {
    let over_all = tables::over_all(results);
    let none_failed = (over_all.is_none() && !results.measured_nothing()).then(|| {
        Block::Note(
            "No measured request failed: percentiles over all requests are the same.".into(),
        )
    });
    let reservations = sentences::reservations(results);
    let cells = section(
        "cells",
        "Cells",
        sentences::cells_lead(results),
        [
            table("", tables::cells(results)),
            table("Over all requests, a failed one counting as never answered", over_all),
            none_failed,
            (!reservations.is_empty()).then_some(Block::List(reservations)),
        ],
    );
    let latency = section(
        "latency",
        "Distribution of latency",
        "Share of all requests that were answered within a time. A line that levels off below 100 % is a cell with \
         failed requests. A diamond is a p95 limit: the line of its colour should pass on its left.",
        [charts("", chart::latencies(results))],
    );
    [cells, latency].into_iter().flatten().collect()
}

fn loads(results: &Results) -> Vec<Section> {
    let classes = section(
        "classes",
        "Classes",
        "The classes of a scenario ran at the same time, in one measured phase. Load is the rate of arrivals, or the \
         number of clients. A deadline is missed if no answer came within it; a refusal is none.",
        [table("", tables::classes(results))],
    );
    let scenarios = section(
        "scenarios",
        "Scenarios",
        "Loads beyond the matrix. Latency from the intended start includes the time that a request waited to be \
         sent; latency from sending omits it, as a generator without a schedule would.",
        [
            charts("", chart::scenarios(results)),
            table("", tables::from_sending(results)),
            charts("Ramps: the rate that the target does not keep", chart::ramps(results)),
        ],
    );
    let failures = section(
        "failures",
        "Failures",
        "Every measured request that failed, by kind, with its time and its load. A bar runs from the first \
         failure of a cell to its last.",
        [charts("", chart::failures(results)), table("", tables::failures(results))],
    );
    let edge = section(
        "edge",
        "Limits of the target",
        "After the plan, one quantity at a time was moved until the target refused requests.",
        [
            table("", tables::edges(results)),
            table("Latency after each search", tables::recoveries(results)),
            details("Refused and failed requests", tables::edge_failures(results)),
        ],
    );
    [classes, scenarios, failures, edge].into_iter().flatten().collect()
}

/// Returns part two: throughput and its limits, the tail of latency, and memory. `None` if nothing was measured.
pub(super) fn performance(results: &Results) -> Option<Part> {
    let sections = [throughput(results), tail(results), memory(results)];
    (!results.measured_nothing()).then(|| Part {
        id: "performance",
        title: "Performance Analysis",
        lead: "How throughput scales and what limits it, in which stage the slowest requests spend their time, and \
               how memory behaves.",
        sections: sections.into_iter().flatten().collect(),
    })
}

fn throughput(results: &Results) -> Vec<Section> {
    let throughput = section(
        "throughput",
        "Throughput scaling",
        "Answers that arrived within the measured phase of each cell. Efficiency is the throughput over C times \
         that at C = 1; it exceeds 100 % on a server that gains by batching.",
        [
            charts("", chart::throughput(results)),
            details("Throughput as a table", tables::scaling(results)),
        ],
    );
    let stages = section(
        "stages",
        "Where the time goes",
        "The mean time of a successful request in each stage, as the target reports it.",
        [
            charts_with_note(
                "",
                "A bar is a cell. Its parts are shares of the mean latency, which is printed at its right.",
                chart::stages(results),
            ),
            table("What limits each cell", tables::bottlenecks(results)),
            details("Stage times as a table", tables::stages(results)),
        ],
    );
    let capacity = section(
        "capacity",
        "Capacity",
        sentences::capacity_lead(results),
        [
            table("", tables::capacity(results)),
            details("Each cell predicted from the others", tables::held_out(results)),
        ],
    );
    [throughput, stages, capacity].into_iter().flatten().collect()
}

fn tail(results: &Results) -> Vec<Section> {
    let (ratios, heat) = (tables::tails(results), chart::heat_maps(results));
    let spikes = tables::spikes(results);
    let none = (spikes.is_none() && (ratios.is_some() || heat.is_some())).then(|| {
        Block::Note("No request was far enough above its cell's median to count as a spike.".into())
    });
    let lead = "How far the slowest requests are from the median, when they came, and which stage they spent their \
                time in.";
    let blocks = [
        table("", ratios),
        charts_with_note(
            "Percentiles over time",
            "A gap is a window in which no request started.",
            heat,
        ),
        table("Longest spikes", spikes),
        none,
    ];
    section("tail", "Tail latency", lead, blocks).into_iter().collect()
}

fn memory(results: &Results) -> Vec<Section> {
    let memory = section(
        "memory",
        "Memory",
        "Readings before, during and after each cell. A cell is named by its tokens and its clients, as in 1K × 100.",
        [
            charts_with_note(
                "",
                "A ring is an idle plateau, from which leaks are judged.",
                chart::memory(results),
            ),
            charts("", chart::in_flight(results)),
            table("Leaks", tables::leaks(results)),
            sentences::fragmentation(results).map(Block::Note),
            details("Memory returned after each cell", tables::returned(results)),
            details("Readings as a table", tables::memory(results)),
        ],
    );
    let experiment = results.analysis.cleanup.as_ref().and_then(strategies);
    [memory, experiment].into_iter().flatten().collect()
}

/// Returns the comparison of cleanup strategies: the table and the timeline.
pub(super) fn strategies(experiment: &MemoryExperiment) -> Option<Section> {
    let timeline = chart::allocations(experiment);
    let timeline =
        timeline.and_then(|(figure, names): (Figure, _)| Charts::new(vec![figure], "", names));
    section(
        "strategies",
        "The same traffic through each memory strategy",
        sentences::experiment(experiment),
        [
            table("", tables::strategies(experiment)),
            charts("Allocations and frees, operation by operation", timeline),
        ],
    )
}

/// Returns the last part: what each figure means, and where it was measured.
pub(super) fn method(results: &Results) -> Part {
    let notes = Some(Block::List(method::notes(results)));
    let sections = [
        section("notes", "How the figures were measured", "", [notes]),
        section("machine", "Target and machine", "", [table("", tables::particulars(results))]),
        section(
            "preflight",
            "Preflight",
            "This machine before the run.",
            [table("", tables::preflight(results))],
        ),
    ];
    Part {
        id: "method",
        title: "Method",
        lead: "What each figure means, and where it was measured.",
        sections: sections.into_iter().flatten().collect(),
    }
}
