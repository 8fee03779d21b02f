//! `report.html`: the report that an operator reads. One file with its style and its charts in it; no script,
//! nothing fetched, light or dark as the reader's system prefers, readable on a phone and on paper. Its parts come
//! from `sections`; `blocks` renders them, below a list of their contents.

mod blocks;
mod recommendations;

use bigbatch_allocators::MemoryExperiment;

use crate::results::Results;
use crate::simulation::ScheduleComparison;

use super::markup::Markup;
use super::sections::Part;
use super::{sections, sentences};

const STYLE: &str = include_str!("../style.css");

/// Renders the whole page.
pub fn render(results: &Results) -> String {
    let mut out = begin(&format!("{}: validation report", results.plan.name));
    let target = &results.target;
    let facts = [&target.model, &target.device, &target.dtype, &target.name, &results.started_at];
    let plan = &results.plan;
    header(
        &mut out,
        "Big Batch Test Plan: validation report",
        &plan.name,
        &plan.description,
        &facts,
    );
    banner(&mut out, results);
    out.raw("<dl class=\"cards\">\n");
    for (label, figure, note) in sentences::highlights(results) {
        out.raw("<div>\n").element("dt", &[], label).raw("<dd>");
        out.element("b", &[], figure).element("span", &[], note).raw("</dd></div>\n");
    }
    out.close("dl");
    let (tests, method) = (sections::test_results(results), sections::method(results));
    let performance = sections::performance(results);
    let entry = |part: &Part| (part.id, part.title, section_links(part));
    let mut entries = vec![entry(&tests)];
    entries.extend(performance.as_ref().map(entry));
    let (id, title) = recommendations::PART;
    entries.push((id, title, vec![recommendations::SETTINGS]));
    entries.push(entry(&method));
    contents(&mut out, &entries);
    blocks::render_part(&mut out, tests);
    performance.into_iter().for_each(|part| blocks::render_part(&mut out, part));
    recommendations::render(&mut out, results);
    blocks::render_part(&mut out, method);
    finish(out)
}

/// The id and title of a section.
type Link = (&'static str, &'static str);

fn section_links(part: &Part) -> Vec<Link> {
    part.sections.iter().map(|section| (section.id, section.title)).collect()
}

/// Renders links to the parts, each with those to its sections.
fn contents(out: &mut Markup, parts: &[(&'static str, &'static str, Vec<Link>)]) {
    out.raw("<nav class=\"contents\" aria-label=\"Contents\">\n<ul>\n");
    for (id, title, sections) in parts {
        out.raw("<li>");
        link(out, id, title);
        if !sections.is_empty() {
            out.raw("<ul>\n");
            for (id, title) in sections {
                out.raw("<li>");
                link(out, id, title);
                out.close("li");
            }
            out.raw("</ul>\n");
        }
        out.close("li");
    }
    out.raw("</ul>\n</nav>\n");
}

fn link(out: &mut Markup, id: &str, title: &str) {
    let target = format!("#{id}");
    out.element("a", &[("href", &target)], title);
}

/// Renders `memory.html`: the cleanup strategies on a page of their own.
pub(super) fn strategies(experiment: &MemoryExperiment) -> String {
    let title = "Cleanup strategies";
    let mut out = begin(title);
    let facts = [&experiment.model, &experiment.device, &experiment.dtype];
    header(&mut out, "bigbatch bench memory", title, "", &facts);
    sections::strategies(experiment).into_iter().for_each(|one| blocks::section(&mut out, one));
    finish(out)
}

/// Renders the policies of `bench schedule` on a page of their own.
pub(super) fn policies(comparison: &ScheduleComparison) -> String {
    let title = "Scheduling policies";
    let mut out = begin(title);
    let facts = super::policies::facts(comparison);
    header(&mut out, "bigbatch bench schedule", title, "", &facts.each_ref());
    let sections = super::policies::sections(comparison);
    sections.into_iter().for_each(|one| blocks::section(&mut out, one));
    finish(out)
}

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

fn header(out: &mut Markup, eyebrow: &str, title: &str, lead: &str, facts: &[&String]) {
    out.raw("<header>\n").element("p", &[("class", &"eyebrow")], eyebrow);
    out.element("h1", &[], title).element("p", &[("class", &"lead")], lead);
    let facts: Vec<&str> =
        facts.iter().map(|fact| fact.as_str()).filter(|fact| !fact.trim().is_empty()).collect();
    out.element("p", &[("class", &"facts")], facts.join(" · ")).close("header");
}

fn banner(out: &mut Markup, results: &Results) {
    let outcome = results.conclusion.outcome();
    let class = format!("banner {}", outcome.map_or("plain", blocks::colour));
    out.open("div", &[("class", &class), ("role", &"status")]);
    let sign = outcome.map_or("●", blocks::sign);
    out.element("span", &[("class", &"sign"), ("aria-hidden", &"true")], sign).raw("<div>\n");
    out.element("strong", &[], sentences::headline(results));
    if let Some(rest) = sentences::headline_rest(results) {
        out.element("p", &[], rest);
    }
    out.raw("</div>\n</div>\n");
}
