//! Renders the parts, sections and blocks of the page.

use crate::report::chart::Charts;
use crate::report::markup::Markup;
use crate::report::sections::{Block, Part, Section};
use crate::report::tables::{Alignment, Column, Emphasis, Row, Table};
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
    section.blocks.into_iter().for_each(|one| block(out, one));
    out.close("section");
}

fn block(out: &mut Markup, block: Block) {
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
            table(out, &rows);
        }
        Block::Details(summary, rows) => {
            out.raw("<details>").element("summary", &[], summary);
            table(out, &rows);
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

fn table(out: &mut Markup, table: &Table) {
    out.raw("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in &table.columns {
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
    let last = columns.len() - 1;
    for (index, (column, field)) in columns.iter().zip(&row.fields).enumerate() {
        match row.emphasis {
            Emphasis::Verdict(outcome) if field.text == outcome.label() => {
                let class = format!("verdict {}", colour(outcome));
                let text = format!("{} {}", sign(outcome), outcome.label());
                out.raw("<td>").element("span", &[("class", &class)], text).close("td");
            }
            Emphasis::NotRun if index == last => {
                out.element("td", &[("colspan", &(last - 1))], &field.text);
            }
            Emphasis::NotRun if index >= 2 => {}
            _ => {
                out.open("td", &[("class", &class_of(column.alignment))]).text(&field.text);
                if let Some(note) = &field.note {
                    out.element("small", &[], note);
                }
                out.close("td");
            }
        }
    }
    out.close("tr");
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
        Alignment::Prose => "words",
    }
}

/// Renders charts side by side; a single one without a caption takes the whole width and scrolls within itself
/// where the page is narrow.
fn charts(out: &mut Markup, charts: Charts) {
    let wide = matches!(&charts.figures[..], [only] if only.title.is_empty());
    out.add(charts.legend).raw(if wide { "<div>\n" } else { "<div class=\"charts\">\n" });
    for chart in charts.figures {
        out.raw(if wide { "<figure class=\"wide\">\n" } else { "<figure>\n" });
        if !chart.title.is_empty() {
            out.element("figcaption", &[], chart.title);
        }
        out.add(chart.svg).close("figure");
    }
    out.close("div");
}
