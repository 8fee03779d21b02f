//! Renders the parts, sections and blocks of the page.

use crate::report::chart::Charts;
use crate::report::markup::Markup;
use crate::report::sections::{Block, Part, Section};
use crate::report::tables::{Alignment, Column, Emphasis, Field, Row, Table};
use crate::verdict::Outcome;

pub(super) fn render_part(out: &mut Markup, part: Part) {
    open_part(out, part.id, part.title, part.lead);
    part.sections.into_iter().for_each(|one| section(out, one));
    out.close("section");
}

pub(super) fn open_part(out: &mut Markup, id: &'static str, title: &'static str, lead: &str) {
    out.open("section", &[("id", &id), ("class", &"chapter")]).element("h2", &[], title);
    out.element("p", &[("class", &"lead")], lead);
}

pub(super) fn section(out: &mut Markup, section: Section) {
    out.open("section", &[("id", &section.id)]).element("h3", &[], section.title);
    if !section.lead.is_empty() {
        out.element("p", &[("class", &"lead")], &section.lead);
    }
    section.blocks.into_iter().for_each(|one| block(out, section.title, one));
    out.close("section");
}

/// Renders a block of the section of this title.
fn block(out: &mut Markup, section: &'static str, block: Block) {
    let heading = |out: &mut Markup, title: &str| {
        if !title.is_empty() {
            out.element("h4", &[], title);
        }
    };
    match block {
        Block::Charts(title, note, found) => {
            heading(out, title);
            if !note.is_empty() {
                out.element("p", &[("class", &"small")], note);
            }
            charts(out, found);
        }
        Block::Note(text) => {
            out.element("p", &[("class", &"small")], text);
        }
        Block::List(items) => list(out, &items),
        Block::Table(title, rows) => {
            heading(out, title);
            table(out, if title.is_empty() { section } else { title }, &rows);
        }
        Block::Details(summary, rows) => {
            out.raw("<details>").element("summary", &[], summary);
            table(out, summary, &rows);
            out.close("details");
        }
    }
}

pub(super) fn list(out: &mut Markup, items: &[String]) {
    out.raw("<ul class=\"small\">\n");
    for item in items {
        out.element("li", &[], item);
    }
    out.close("ul");
}

/// Opens a region that a keyboard can scroll; `name` is read out when it gets the focus.
pub(super) fn open_scrolling(out: &mut Markup, element: &'static str, class: &str, name: &str) {
    let attributes: [(&'static str, &dyn std::fmt::Display); 4] =
        [("class", &class), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &name)];
    out.open(element, &attributes);
}

fn table(out: &mut Markup, name: &str, table: &Table) {
    open_scrolling(out, "div", "scroll", name);
    out.raw("<table>\n<thead><tr>");
    for column in beside(&table.columns) {
        let class = class_of(column.alignment);
        out.element("th", &[("class", &class), ("scope", &"col")], column.label);
    }
    out.raw("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        self::row(out, &table.columns, row);
    }
    out.raw("</tbody>\n</table></div>\n");
}

fn row(out: &mut Markup, columns: &[Column], row: &Row) {
    let class = match row.emphasis {
        Emphasis::Muted | Emphasis::NotRun => "muted",
        Emphasis::Break => "break",
        Emphasis::None | Emphasis::Verdict(_) => "",
    };
    out.open("tr", &[("class", &class)]);
    if row.emphasis == Emphasis::NotRun {
        return not_run(out, columns, row);
    }
    for (column, field) in beside(columns).iter().zip(&row.fields) {
        match row.emphasis {
            Emphasis::Verdict(outcome) if field.text == outcome.label() => {
                let class = format!("verdict {}", colour(outcome));
                let text = format!("{} {}", sign(outcome), outcome.label());
                out.raw("<td>").element("span", &[("class", &class)], text).close("td");
            }
            _ => cell(out, column, field),
        }
    }
    out.close("tr");
    let below = row.fields.get(beside(columns).len()).filter(|field| !field.text.is_empty());
    if let Some(field) = below {
        let class = format!("below {class}");
        out.open("tr", &[("class", &class)]);
        out.element("td", &[("colspan", &beside(columns).len())], &field.text).close("tr");
    }
}

/// Renders the row of a cell that was not run: its load, and the reason across all other columns.
fn not_run(out: &mut Markup, columns: &[Column], row: &Row) {
    let (load, rest) = (2, beside(columns).len() - 2);
    columns.iter().zip(&row.fields).take(load).for_each(|(column, field)| cell(out, column, field));
    let reason = row.fields.last().map_or("", |field| field.text.as_str());
    out.element("td", &[("colspan", &rest)], reason).close("tr");
}

fn cell(out: &mut Markup, column: &Column, field: &Field) {
    out.open("td", &[("class", &class_of(column.alignment))]).text(&field.text);
    if let Some(note) = &field.note {
        out.element("small", &[], note);
    }
    out.close("td");
}

/// Returns the columns that stand beside one another: all but one that goes below the row.
fn beside(columns: &[Column]) -> &[Column] {
    match columns.split_last() {
        Some((last, others)) if last.alignment == Alignment::Below => others,
        _ => columns,
    }
}

/// Returns the class that colours an outcome.
pub(super) fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::NotShown | Outcome::NotRun => "open",
    }
}

/// Returns a sign for an outcome, for readers who see no colours.
pub(super) fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✓",
        Outcome::Fail => "✗",
        Outcome::NotShown => "?",
        Outcome::NotRun => "–",
    }
}

fn class_of(alignment: Alignment) -> &'static str {
    match alignment {
        Alignment::Numbers => "number",
        Alignment::Labels => "label",
        Alignment::Prose | Alignment::Below => "words",
    }
}

/// Renders charts side by side; a wide one takes the whole width and scrolls within itself where the page is narrow.
fn charts(out: &mut Markup, charts: Charts) {
    out.add(charts.legend).raw("<div class=\"charts\">\n");
    for chart in charts.figures {
        if chart.wide {
            open_scrolling(out, "figure", "wide", &chart.title);
        } else {
            out.raw("<figure>\n");
        }
        out.element("figcaption", &[], &chart.title).add(chart.svg).close("figure");
    }
    out.close("div");
}
