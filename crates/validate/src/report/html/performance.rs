//! Part two: how throughput scales and what limits it, where the tail of latency comes from, and what
//! memory does.

use crate::format::tokens;
use crate::report::chart::{self, Figure, Rate};
use crate::report::markup::Markup;
use crate::report::{tables, words};
use crate::results::Results;

use super::write::{charts, details, end, note, part, section, table, titled, wide};

pub(super) fn render(out: &mut Markup, results: &Results) {
    if results.cells.iter().all(|cell| cell.figures().is_none()) {
        return;
    }
    let lead = "How throughput scales and what limits it, where the slowest requests lose their time, and \
                what memory does.";
    part(out, "performance", "Performance Analysis", lead);
    throughput(out, results);
    bottlenecks(out, results);
    tail(out, results);
    memory(out, results);
    if let Some(experiment) = &results.analysis.cleanup {
        super::strategies::render(out, experiment);
    }
    end(out);
}

fn throughput(out: &mut Markup, results: &Results) {
    let drawn: Vec<Figure> = [Rate::Tokens, Rate::Efficiency]
        .into_iter()
        .filter_map(|rate| chart::throughput(results, rate))
        .collect();
    if drawn.is_empty() {
        return;
    }
    let lead = "Answers that arrived within the measured phase of each cell. Efficiency is the throughput \
                over C times that at C = 1; a server that gains by batching exceeds 100 %.";
    section(out, "throughput", "Throughput scaling", lead);
    let lengths = results.lengths_run();
    let names: Vec<String> =
        lengths.iter().map(|&length| format!("{} tokens", tokens(length))).collect();
    out.add(chart::legend("Length:", &names));
    charts(out, drawn);
    if let Some(rows) = tables::scaling(results) {
        details(out, "As a table", &rows);
    }
    end(out);
}

fn bottlenecks(out: &mut Markup, results: &Results) {
    let (Some((stages, names)), Some(rows)) = (chart::stages(results), tables::stages(results))
    else {
        return;
    };
    let lead = "Stages of the mean successful request as the target reports them, as shares of its latency, \
                which stands at the right.";
    section(out, "stages", "Where the time goes", lead);
    out.add(chart::legend("Stage:", &names));
    wide(out, stages);
    if let Some(found) = tables::bottlenecks(results) {
        titled(out, "What limits each cell", &found);
    }
    details(out, "Times of the stages as a table", &rows);
    end(out);
}

fn tail(out: &mut Markup, results: &Results) {
    let ratios = tables::tails(results);
    let heat = chart::heat_maps(results);
    if ratios.is_none() && heat.is_none() {
        return;
    }
    section(
        out,
        "tail",
        "Tail latency",
        "How far the slowest requests are from the usual one, when they came, and from where. In the \
         charts a gap is a window in which no request was started.",
    );
    if let Some(ratios) = ratios {
        table(out, &ratios);
    }
    if let Some((maps, legend)) = heat {
        out.element("h4", &[], "Percentiles over time");
        out.add(legend);
        charts(out, maps);
    }
    match tables::spikes(results) {
        Some(spikes) => titled(out, "Longest spikes", &spikes),
        None => note(out, "No request was far enough above its cell's median to count as a spike."),
    }
    end(out);
}

fn memory(out: &mut Markup, results: &Results) {
    let (Some((over_time, names)), Some(readings)) =
        (chart::memory(results), tables::memory(results))
    else {
        return;
    };
    let lead = "Read before, during and after each cell (tokens × clients). A ring is an idle plateau, from \
                which leaks are judged.";
    section(out, "memory", "Memory", lead);
    out.add(chart::legend("", &names));
    wide(out, over_time);
    if let Some(load) = chart::in_flight(results) {
        wide(out, load);
    }
    if let Some(leaks) = tables::leaks(results) {
        titled(out, "Does it leak?", &leaks);
    }
    if let Some(sentence) = words::fragmentation(results) {
        note(out, &sentence);
    }
    if let Some(returned) = tables::returned(results) {
        details(out, "Did it come back after each cell?", &returned);
    }
    details(out, "Readings as a table", &readings);
    end(out);
}
