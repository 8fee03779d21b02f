//! `report.html`: the report that an operator reads. One file with its style and its charts in it;
//! no script, nothing fetched, light or dark as the reader's system asks, readable on a phone and on
//! paper. Its three parts are those of the plan: what was tested and found, how it performs, and
//! what to do.

mod recommendations;
pub(super) mod strategies;
mod write;

use crate::results::Results;

use super::markup::Markup;
use super::sections::{self, Part, Section};
use super::{method, tables, words};

const STYLE: &str = include_str!("../style.css");

/// The whole page.
pub fn render(results: &Results) -> String {
    let mut out = begin(&format!("{}: validation report", results.plan.name));
    header(&mut out, results);
    highlights(&mut out, results);
    part(&mut out, sections::test_results(results));
    if let Some(performance) = sections::performance(results) {
        part(&mut out, performance);
    }
    recommendations::render(&mut out, results);
    how(&mut out, results);
    particulars(&mut out, results);
    finish(out)
}

/// A page up to the beginning of what is on it.
fn begin(title: &str) -> Markup {
    let mut out = Markup::new();
    out.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    out.element("title", &[], title);
    out.raw("<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n<main>\n");
    out
}

fn finish(mut out: Markup) -> String {
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
    let outcome = results.conclusion.outcome();
    let class = format!("banner {}", outcome.map_or("plain", write::colour));
    out.open("div", &[("class", &class), ("role", &"status")]);
    let sign = outcome.map_or("●", write::sign);
    out.element("span", &[("class", &"sign"), ("aria-hidden", &"true")], sign).raw("<div>\n");
    out.element("strong", &[], words::headline(results));
    if let Some(rest) = words::headline_rest(&results.conclusion) {
        out.element("p", &[], rest);
    }
    if results.interrupted {
        out.element("p", &[], "The run was interrupted; what it finished is below.");
    }
    out.raw("</div>\n</div>\n");
}

fn highlights(out: &mut Markup, results: &Results) {
    out.raw("<dl class=\"cards\">\n");
    for (label, figure, note) in words::highlights(results) {
        out.raw("<div>\n").element("dt", &[], label).raw("<dd>");
        out.element("b", &[], figure).element("span", &[], note).raw("</dd></div>\n");
    }
    out.raw("</dl>\n");
}

fn part(out: &mut Markup, part: Part) {
    write::part(out, part.id, part.title, part.lead);
    part.sections.into_iter().for_each(|one| section(out, one));
    write::end(out);
}

fn section(out: &mut Markup, section: Section) {
    write::section(out, section.id, section.title, &section.lead);
    section.blocks.into_iter().for_each(|block| write::block(out, block));
    write::end(out);
}

fn how(out: &mut Markup, results: &Results) {
    write::part(out, "method", "Method", "What each figure means, and what it does not.");
    out.raw("<ul>\n");
    for note in method::notes(results) {
        out.element("li", &[], note);
    }
    out.raw("</ul>\n");
    write::end(out);
}

fn particulars(out: &mut Markup, results: &Results) {
    out.raw("<section id=\"machine\"><h3>Target and machine</h3>\n<div class=\"scroll\"><table>\n<tbody>\n");
    for (name, value) in method::particulars(results) {
        out.raw("<tr>").element("th", &[("class", &"words"), ("scope", &"row")], name);
        out.element("td", &[], value).raw("</tr>\n");
    }
    out.raw("</tbody>\n</table></div>\n");
    if let Some(found) = tables::preflight(results) {
        write::titled(out, "Preflight: this machine, before the run", &found);
    }
    write::end(out);
}
