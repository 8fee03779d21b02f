//! The sections of a report, in one list: [`html`](super::html) renders all of it, [`markdown`](super::markdown)
//! leaves the charts out.

use super::chart::{self, Figure, Rate};
use super::markup::Markup;
use super::tables::{self, Table};
use super::words;
use crate::format::tokens;
use crate::results::Results;
use bigbatch_allocators::MemoryExperiment;

/// One of the parts that the plan asks for.
pub(super) struct Part {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) sections: Vec<Section>,
}

/// A section under a heading of its own.
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) lead: String,
    pub(super) blocks: Vec<Block>,
}

/// What a section is made of.
pub(super) enum Block {
    /// A heading over charts.
    Heading(&'static str),
    Legend(Markup),
    /// Small charts side by side.
    Charts(Vec<Figure>),
    /// A chart over the whole width.
    Wide(Figure),
    Note(String),
    List(Vec<String>),
    Table(Table),
    /// A table under a heading.
    Titled(&'static str, Table),
    /// A table that opens on demand.
    Details(&'static str, Table),
}

/// A section of those of `blocks` that there are; none without any.
fn section(
    id: &'static str,
    title: &'static str,
    lead: impl Into<String>,
    blocks: impl IntoIterator<Item = Option<Block>>,
) -> Option<Section> {
    let blocks: Vec<Block> = blocks.into_iter().flatten().collect();
    (!blocks.is_empty()).then(|| Section { id, title, lead: lead.into(), blocks })
}

fn charts(figures: Vec<Figure>) -> Option<Block> {
    (!figures.is_empty()).then_some(Block::Charts(figures))
}

fn legend(title: &str, names: &[String]) -> Option<Block> {
    Some(Block::Legend(chart::legend(title, names)))
}

fn titled(title: &'static str, table: Option<Table>) -> Option<Block> {
    table.map(|table| Block::Titled(title, table))
}

fn details(title: &'static str, table: Option<Table>) -> Option<Block> {
    table.map(|table| Block::Details(title, table))
}

/// Part one: what was run, which bars were met, and what failed.
pub(super) fn test_results(results: &Results) -> Part {
    let sections = [
        verdicts(results),
        section(
            "published",
            "Cells, over runs",
            words::PUBLISHED_LEAD,
            [tables::published(results).map(Block::Table)],
        ),
        cells(results),
        latency(results),
        scenarios(results),
        failures(results),
        edge(results),
    ];
    Part {
        id: "test-results",
        title: "Test Results",
        lead: "What was run, which of the plan's limits were met, and what failed.",
        sections: sections.into_iter().flatten().collect(),
    }
}

fn verdicts(results: &Results) -> Option<Section> {
    let table = (!results.verdicts.is_empty()).then(|| tables::verdicts(results));
    let lead = "Each limit of the plan beside what was measured.";
    section("verdicts", "Verdicts", lead, [table.map(Block::Table)])
}

fn cells(results: &Results) -> Option<Section> {
    let over_all = match tables::over_all(results) {
        Some(all) => titled("Over all requests, failures counted as never answered", Some(all)),
        None if results.measured_nothing() => None,
        None => Some(Block::Note(
            "No measured request failed, so percentiles over all requests are the same.".into(),
        )),
    };
    let reservations = words::reservations(results);
    let reservations = (!reservations.is_empty()).then_some(Block::List(reservations));
    let table = Some(Block::Table(tables::cells(results)));
    section("cells", "Cells", words::cells_lead(results), [table, over_all, reservations])
}

fn latency(results: &Results) -> Option<Section> {
    let of_lengths = charts(chart::latencies(results))?;
    let lead = "Share of all requests that were answered within a time. A line that levels off below \
                100 % is a cell with failures. A diamond is a p95 bar: its line should pass to the left.";
    let mut levels = results.plan.concurrency.clone();
    levels.sort_unstable();
    let names: Vec<String> = levels.iter().map(|level| format!("C = {level}")).collect();
    let blocks = [legend("Clients:", &names), Some(of_lengths)];
    section("latency", "Distribution of latency", lead, blocks)
}

fn scenarios(results: &Results) -> Option<Section> {
    let (distributions, names) = chart::scenarios(results)?;
    let lead = "Loads beyond the matrix. From the intended start, a request's wait to be sent is part of its \
                latency; from sending it is what a generator would have seen that forgets that wait.";
    let ramps = charts(chart::ramps(results));
    let heading = ramps.is_some().then_some(Block::Heading("Ramps: where the target breaks"));
    let blocks = [
        legend("Latency:", &names),
        charts(distributions),
        tables::from_sending(results).map(Block::Table),
        heading,
        ramps,
    ];
    section("scenarios", "Scenarios", lead, blocks)
}

fn failures(results: &Results) -> Option<Section> {
    let groups = tables::failures(results)?;
    let (timeline, names) = chart::failures(results)?;
    let lead = "Every measured request that failed, by kind: when, and under what load. A bar runs from \
                the first failure of a cell to its last.";
    let blocks = [legend("Kind:", &names), Some(Block::Wide(timeline)), Some(Block::Table(groups))];
    section("failures", "Failures", lead, blocks)
}

fn edge(results: &Results) -> Option<Section> {
    let found = tables::edges(results)?;
    let lead = "After the plan, one thing at a time was moved until requests were refused.";
    let blocks = [
        Some(Block::Table(found)),
        titled("Back to normal latency?", tables::recoveries(results)),
        details("What was refused, and how", tables::edge_failures(results)),
    ];
    section("edge", "The edge", lead, blocks)
}

/// Part two: how throughput scales and what limits it, where the tail of latency comes from, and what
/// memory does. None if nothing was measured.
pub(super) fn performance(results: &Results) -> Option<Part> {
    if results.measured_nothing() {
        return None;
    }
    let sections = [
        throughput(results),
        bottlenecks(results),
        tail(results),
        memory(results),
        results.analysis.cleanup.as_ref().and_then(strategies),
    ];
    Some(Part {
        id: "performance",
        title: "Performance Analysis",
        lead: "How throughput scales and what limits it, where the slowest requests lose their time, and \
               what memory does.",
        sections: sections.into_iter().flatten().collect(),
    })
}

fn throughput(results: &Results) -> Option<Section> {
    let drawn = [Rate::Tokens, Rate::Efficiency].map(|rate| chart::throughput(results, rate));
    let drawn = charts(drawn.into_iter().flatten().collect())?;
    let lead = "Answers that arrived within the measured phase of each cell. Efficiency is the throughput \
                over C times that at C = 1; a server that gains by batching exceeds 100 %.";
    let lengths = results.lengths_run();
    let names: Vec<String> =
        lengths.iter().map(|&length| format!("{} tokens", tokens(length))).collect();
    let rows = details("As a table", tables::scaling(results));
    section(
        "throughput",
        "Throughput scaling",
        lead,
        [legend("Length:", &names), Some(drawn), rows],
    )
}

fn bottlenecks(results: &Results) -> Option<Section> {
    let (stages, names) = chart::stages(results)?;
    let rows = tables::stages(results)?;
    let lead = "Stages of the mean successful request as the target reports them, as shares of its latency, \
                which stands at the right.";
    let blocks = [
        legend("Stage:", &names),
        Some(Block::Wide(stages)),
        titled("What limits each cell", tables::bottlenecks(results)),
        details("Times of the stages as a table", Some(rows)),
    ];
    section("stages", "Where the time goes", lead, blocks)
}

fn tail(results: &Results) -> Option<Section> {
    let ratios = tables::tails(results).map(Block::Table);
    let heat = chart::heat_maps(results);
    if ratios.is_none() && heat.is_none() {
        return None;
    }
    let lead = "How far the slowest requests are from the usual one, when they came, and from where. In the \
                charts a gap is a window in which no request was started.";
    let (heading, key, maps) = match heat {
        Some((maps, key)) => {
            (Some(Block::Heading("Percentiles over time")), Some(Block::Legend(key)), charts(maps))
        }
        None => (None, None, None),
    };
    let spikes = titled("Longest spikes", tables::spikes(results)).unwrap_or_else(|| {
        let none = "No request was far enough above its cell's median to count as a spike.";
        Block::Note(none.into())
    });
    section("tail", "Tail latency", lead, [ratios, heading, key, maps, Some(spikes)])
}

fn memory(results: &Results) -> Option<Section> {
    let (over_time, names) = chart::memory(results)?;
    let readings = tables::memory(results)?;
    let lead = "Read before, during and after each cell (tokens × clients). A ring is an idle plateau, from \
                which leaks are judged.";
    let blocks = [
        legend("", &names),
        Some(Block::Wide(over_time)),
        chart::in_flight(results).map(Block::Wide),
        titled("Does it leak?", tables::leaks(results)),
        words::fragmentation(results).map(Block::Note),
        details("Did it come back after each cell?", tables::returned(results)),
        details("Readings as a table", Some(readings)),
    ];
    section("memory", "Memory", lead, blocks)
}

/// Cleanup strategies compared: the table and the timeline.
pub(super) fn strategies(experiment: &MemoryExperiment) -> Option<Section> {
    let (heading, key, timeline) = match chart::allocations(experiment) {
        Some((timeline, names)) => (
            Some(Block::Heading("Allocate and free, operation by operation")),
            legend("", &names),
            Some(Block::Wide(timeline)),
        ),
        None => (None, None, None),
    };
    let table = Some(Block::Table(tables::strategies(experiment)));
    let title = "The same traffic through each strategy";
    section("strategies", title, words::experiment(experiment), [table, heading, key, timeline])
}
