//! Part one: what was run, which bars were met, and what failed.

use crate::report::markup::Markup;
use crate::report::{chart, tables, words};
use crate::results::Results;

use super::write::{charts, details, end, note, part, section, table, titled, wide};

pub(super) fn render(out: &mut Markup, results: &Results) {
    let lead = "What was run, which of the plan's limits were met, and what failed.";
    part(out, "test-results", "Test Results", lead);
    if !results.verdicts.is_empty() {
        section(out, "verdicts", "Verdicts", "Each limit of the plan beside what was measured.");
        table(out, &tables::verdicts(results));
        end(out);
    }
    cells(out, results);
    latency(out, results);
    scenarios(out, results);
    failures(out, results);
    edge(out, results);
    end(out);
}

fn cells(out: &mut Markup, results: &Results) {
    if let Some(over_runs) = tables::published(results) {
        section(out, "published", "Cells, over runs", words::PUBLISHED_LEAD);
        table(out, &over_runs);
        end(out);
    }
    section(out, "cells", "Cells", words::cells_lead(results));
    table(out, &tables::cells(results));
    match tables::over_all(results) {
        Some(all) => titled(out, "Over all requests, failures counted as never answered", &all),
        None if results.cells.iter().any(|cell| cell.figures().is_some()) => {
            note(out, "No measured request failed, so percentiles over all requests are the same.")
        }
        None => {}
    }
    let reservations = words::reservations(results);
    if !reservations.is_empty() {
        out.raw("<ul class=\"small\">\n");
        for reservation in reservations {
            out.element("li", &[], reservation);
        }
        out.raw("</ul>\n");
    }
    end(out);
}

fn latency(out: &mut Markup, results: &Results) {
    let of_lengths = chart::latencies(results);
    if of_lengths.is_empty() {
        return;
    }
    let lead = "Share of all requests that were answered within a time. A line that levels off below \
                100 % is a cell with failures. A diamond is a p95 bar: its line should pass to the left.";
    section(out, "latency", "Distribution of latency", lead);
    let mut levels = results.plan.concurrency.clone();
    levels.sort_unstable();
    let names: Vec<String> = levels.iter().map(|level| format!("C = {level}")).collect();
    out.add(chart::legend("Clients:", &names));
    charts(out, of_lengths);
    end(out);
}

fn scenarios(out: &mut Markup, results: &Results) {
    let Some((distributions, names)) = chart::scenarios(results) else { return };
    let lead = "Loads beyond the matrix. From the intended start, a request's wait to be sent is part of its \
                latency; from sending it is what a generator would have seen that forgets that wait.";
    section(out, "scenarios", "Scenarios", lead);
    out.add(chart::legend("Latency:", &names));
    charts(out, distributions);
    if let Some(both) = tables::from_sending(results) {
        table(out, &both);
    }
    let ramps = chart::ramps(results);
    if !ramps.is_empty() {
        out.element("h4", &[], "Ramps: where the target breaks");
        charts(out, ramps);
    }
    end(out);
}

fn failures(out: &mut Markup, results: &Results) {
    let (Some((timeline, names)), Some(groups)) =
        (chart::failures(results), tables::failures(results))
    else {
        return;
    };
    let lead = "Every measured request that failed, by kind: when, and under what load. A bar runs from \
                the first failure of a cell to its last.";
    section(out, "failures", "Failures", lead);
    out.add(chart::legend("Kind:", &names));
    wide(out, timeline);
    table(out, &groups);
    end(out);
}

fn edge(out: &mut Markup, results: &Results) {
    let Some(found) = tables::edges(results) else { return };
    let lead = "After the plan, one thing at a time was moved until requests were refused.";
    section(out, "edge", "The edge", lead);
    table(out, &found);
    if let Some(recovered) = tables::recoveries(results) {
        titled(out, "Back to normal latency?", &recovered);
    }
    if let Some(refused) = tables::edge_failures(results) {
        details(out, "What was refused, and how", &refused);
    }
    end(out);
}
