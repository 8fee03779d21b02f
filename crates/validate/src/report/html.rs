//! `report.html`: the report that an operator reads. One file with its style and its charts in it;
//! no script, nothing fetched, light or dark as the reader's system asks.

use crate::Results;
use crate::verdict::Outcome;

use super::chart::{self, Figure, Rate};
use super::format::tokens;
use super::markup::Markup;
use super::tables::{self, Column, Holds, Row, Stress, Table};
use super::words;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn render(results: &Results) -> String {
    let mut out = Markup::new();
    out.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    out.element("title", &[], format!("{}: validation report", results.plan.name));
    out.raw("<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n<main>\n");
    header(&mut out, results);
    highlights(&mut out, results);
    if !results.verdicts.is_empty() {
        section(
            &mut out,
            "verdicts",
            "Verdicts",
            "Each limit of the plan beside what was measured.",
        );
        table(&mut out, &tables::verdicts(results)).raw("</section>\n");
    }
    cells(&mut out, results);
    latency(&mut out, results);
    throughput(&mut out, results);
    stages(&mut out, results);
    memory(&mut out, results);
    method(&mut out, results);
    particulars(&mut out, results);
    out.raw("</main>\n</body>\n</html>\n");
    out.into_string()
}

fn header(out: &mut Markup, results: &Results) {
    out.raw("<header>\n").element(
        "p",
        &[("class", &"eyebrow")],
        "Big Batch Test Plan: validation report",
    );
    out.element("h1", &[], &results.plan.name);
    out.element("p", &[("class", &"lead")], &results.plan.description);
    let target = &results.target;
    let facts = [&target.model, &target.device, &target.dtype, &target.name, &results.started_at];
    let facts: Vec<&str> =
        facts.into_iter().map(String::as_str).filter(|fact| !fact.trim().is_empty()).collect();
    out.element("p", &[("class", &"facts")], facts.join(" · ")).raw("</header>\n");
    let (class, sign) = match results.conclusion.outcome() {
        None => ("banner plain", "●"),
        Some(outcome) => (banner(outcome), sign(outcome)),
    };
    out.open("div", &[("class", &class), ("role", &"status")]);
    out.element("span", &[("class", &"sign"), ("aria-hidden", &"true")], sign).raw("<div>\n");
    out.element("strong", &[], words::headline(&results.conclusion));
    if let Some(rest) = words::headline_rest(&results.conclusion) {
        out.element("p", &[], rest);
    }
    if results.interrupted {
        out.element("p", &[], "The run was interrupted; what it finished is below.");
    }
    out.raw("</div>\n</div>\n");
}

fn banner(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "banner pass",
        Outcome::Fail => "banner fail",
        Outcome::NotShown | Outcome::NotRun => "banner open",
    }
}

fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✓",
        Outcome::Fail => "✗",
        Outcome::NotShown => "?",
        Outcome::NotRun => "–",
    }
}

fn highlights(out: &mut Markup, results: &Results) {
    out.raw("<dl class=\"cards\">\n");
    for (label, figure, note) in words::highlights(results) {
        out.raw("<div>\n").element("dt", &[], label).raw("<dd>");
        out.element("b", &[], figure).element("span", &[], note).raw("</dd></div>\n");
    }
    out.raw("</dl>\n");
}

fn section(out: &mut Markup, id: &'static str, title: &'static str, lead: &str) {
    out.open("section", &[("id", &id)]).element("h2", &[], title).element(
        "p",
        &[("class", &"lead")],
        lead,
    );
}

fn table<'a>(out: &'a mut Markup, table: &Table) -> &'a mut Markup {
    out.raw("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in &table.columns {
        out.element("th", &[("class", &alignment(column.holds)), ("scope", &"col")], column.label);
    }
    out.raw("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        self::row(out, &table.columns, row);
    }
    out.raw("</tbody>\n</table></div>\n")
}

fn row(out: &mut Markup, columns: &[Column], row: &Row) {
    let class = match row.stress {
        Stress::Muted | Stress::NotRun => "muted",
        Stress::Break => "break",
        Stress::None | Stress::Verdict(_) => "",
    };
    out.open("tr", &[("class", &class)]);
    let last = columns.len() - 1;
    for (index, (column, field)) in columns.iter().zip(&row.fields).enumerate() {
        match row.stress {
            Stress::Verdict(outcome) if field == outcome.label() => verdict(out, outcome),
            Stress::NotRun if index == last => {
                out.element("td", &[("colspan", &(last - 1))], field);
            }
            Stress::NotRun if index >= 2 => {}
            _ => {
                out.element("td", &[("class", &alignment(column.holds))], field);
            }
        }
    }
    out.close("tr");
}

fn verdict(out: &mut Markup, outcome: Outcome) {
    let class = match outcome {
        Outcome::Pass => "verdict pass",
        Outcome::Fail => "verdict fail",
        Outcome::NotShown | Outcome::NotRun => "verdict open",
    };
    out.raw("<td>").element(
        "span",
        &[("class", &class)],
        format!("{} {}", sign(outcome), outcome.label()),
    );
    out.raw("</td>\n");
}

fn alignment(holds: Holds) -> &'static str {
    match holds {
        Holds::Numbers => "number",
        Holds::Labels => "label",
        Holds::Prose => "words",
    }
}

fn cells(out: &mut Markup, results: &Results) {
    let lead = "Latency over the successful requests, from the intended start to the last byte. \
                C is the number of clients that each wait for their answer.";
    section(out, "cells", "Cells", lead);
    table(out, &tables::cells(results));
    match tables::over_all(results) {
        Some(all) => {
            out.element("h3", &[], "Over all requests, failures counted as never answered");
            table(out, &all);
        }
        None if results.cells.iter().any(|cell| cell.figures().is_some()) => {
            let same = "No measured request failed, so percentiles over all requests are the same.";
            out.element("p", &[("class", &"small")], same);
        }
        None => {}
    }
    out.raw("</section>\n");
}

fn figures(out: &mut Markup, charts: Vec<Figure>) {
    out.raw("<div class=\"charts\">\n");
    for chart in charts {
        out.raw("<figure>\n").element("figcaption", &[], chart.title);
        out.add(chart.svg).raw("</figure>\n");
    }
    out.raw("</div>\n");
}

fn latency(out: &mut Markup, results: &Results) {
    let charts = chart::latencies(results);
    if charts.is_empty() {
        return;
    }
    let lead = "Share of all requests that were answered within a time. A line that levels off below \
                100 % is a cell with failures. A diamond is a p95 bar: its line should pass to the left.";
    section(out, "latency", "Latency", lead);
    let mut levels = results.plan.concurrency.clone();
    levels.sort_unstable();
    let names: Vec<String> = levels.iter().map(|level| format!("C = {level}")).collect();
    out.add(chart::legend("Clients:", &names));
    figures(out, charts);
    out.raw("</section>\n");
}

fn throughput(out: &mut Markup, results: &Results) {
    let charts: Vec<Figure> = [Rate::Tokens, Rate::Requests]
        .into_iter()
        .filter_map(|rate| chart::throughput(results, rate))
        .collect();
    if charts.is_empty() {
        return;
    }
    section(
        out,
        "throughput",
        "Throughput",
        "Answers that arrived within the measured phase of each cell.",
    );
    let mut lengths = results.plan.tokens.clone();
    lengths.sort_unstable();
    let names: Vec<String> =
        lengths.iter().map(|&length| format!("{} tokens", tokens(length))).collect();
    out.add(chart::legend("Length:", &names));
    figures(out, charts);
    out.raw("</section>\n");
}

fn stages(out: &mut Markup, results: &Results) {
    let (Some((chart, names)), Some(stages)) = (chart::stages(results), tables::stages(results))
    else {
        return;
    };
    let lead = "Stages of the mean successful request as the target reports them; “other” is what its \
                latency has beyond them: hand-over, transport, the generator.";
    section(out, "stages", "Where the time goes", lead);
    out.add(chart::legend("Stage:", &names)).raw("<figure class=\"wide\">\n");
    out.add(chart.svg).raw("</figure>\n");
    details(out, &stages);
    out.raw("</section>\n");
}

fn memory(out: &mut Markup, results: &Results) {
    let (Some((chart, names)), Some(readings)) = (chart::memory(results), tables::memory(results))
    else {
        return;
    };
    section(out, "memory", "Memory", "Read before, during and after each cell (tokens × clients).");
    out.add(chart::legend("", &names))
        .raw("<figure class=\"wide\">\n")
        .add(chart.svg)
        .raw("</figure>\n");
    details(out, &readings);
    out.raw("</section>\n");
}

fn details(out: &mut Markup, figures: &Table) {
    out.raw("<details><summary>As a table</summary>\n");
    table(out, figures).raw("</details>\n");
}

fn method(out: &mut Markup, results: &Results) {
    section(out, "method", "Method", "What each figure means, and what it does not.");
    out.raw("<ul>\n");
    for note in words::method(results) {
        out.element("li", &[], note);
    }
    out.raw("</ul>\n</section>\n");
}

fn particulars(out: &mut Markup, results: &Results) {
    out.raw("<section id=\"machine\"><h2>Target and machine</h2>\n<div class=\"scroll\"><table>\n<tbody>\n");
    for (name, value) in words::particulars(results) {
        out.raw("<tr>").element("th", &[("class", &"words"), ("scope", &"row")], name);
        out.element("td", &[], value).raw("</tr>\n");
    }
    out.raw("</tbody>\n</table></div>\n</section>\n");
}
