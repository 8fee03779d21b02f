//! The pieces that all parts of the page are made of.

use crate::report::chart::Figure;
use crate::report::markup::Markup;
use crate::report::sections::Block;
use crate::report::tables::{Column, Field, Holds, Row, Stress, Table};
use crate::verdict::Outcome;

/// Opens one of the three parts.
pub(super) fn part(out: &mut Markup, id: &'static str, title: &'static str, lead: &str) {
    out.open("section", &[("id", &id), ("class", &"chapter")]).element("h2", &[], title).element(
        "p",
        &[("class", &"lead")],
        lead,
    );
}

/// Opens a section of a part.
pub(super) fn section(out: &mut Markup, id: &'static str, title: &'static str, lead: &str) {
    out.open("section", &[("id", &id)]).element("h3", &[], title);
    if !lead.is_empty() {
        out.element("p", &[("class", &"lead")], lead);
    }
}

/// Closes either.
pub(super) fn end(out: &mut Markup) {
    out.raw("</section>\n");
}

/// Renders one block of a section.
pub(super) fn block(out: &mut Markup, block: Block) {
    match block {
        Block::Heading(title) => {
            out.element("h4", &[], title);
        }
        Block::Legend(legend) => {
            out.add(legend);
        }
        Block::Charts(figures) => charts(out, figures),
        Block::Wide(figure) => wide(out, figure),
        Block::Note(text) => {
            out.element("p", &[("class", &"small")], text);
        }
        Block::List(items) => {
            out.raw("<ul class=\"small\">\n");
            for item in items {
                out.element("li", &[], item);
            }
            out.raw("</ul>\n");
        }
        Block::Table(rows) => table(out, &rows),
        Block::Titled(title, rows) => titled(out, title, &rows),
        Block::Details(summary, rows) => details(out, summary, &rows),
    }
}

/// A table under a heading of its own.
pub(super) fn titled(out: &mut Markup, title: &str, rows: &Table) {
    out.element("h4", &[], title);
    table(out, rows);
}

fn table(out: &mut Markup, table: &Table) {
    out.raw("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in &table.columns {
        out.element("th", &[("class", &alignment(column.holds)), ("scope", &"col")], column.label);
    }
    out.raw("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        self::row(out, &table.columns, row);
    }
    out.raw("</tbody>\n</table></div>\n");
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
            Stress::Verdict(outcome) if field.text == outcome.label() => verdict(out, outcome),
            Stress::NotRun if index == last => {
                out.element("td", &[("colspan", &(last - 1))], &field.text);
            }
            Stress::NotRun if index >= 2 => {}
            _ => self::field(out, column, field),
        }
    }
    out.close("tr");
}

fn field(out: &mut Markup, column: &Column, field: &Field) {
    out.open("td", &[("class", &alignment(column.holds))]).text(&field.text);
    if let Some(note) = &field.note {
        out.element("small", &[], note);
    }
    out.close("td");
}

fn verdict(out: &mut Markup, outcome: Outcome) {
    let class = format!("verdict {}", colour(outcome));
    let text = format!("{} {}", sign(outcome), outcome.label());
    out.raw("<td>").element("span", &[("class", &class)], text).raw("</td>\n");
}

/// The class that colours an outcome.
pub(super) fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::NotShown | Outcome::NotRun => "open",
    }
}

/// A sign for an outcome, for those who see no colours.
pub(super) fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✓",
        Outcome::Fail => "✗",
        Outcome::NotShown => "?",
        Outcome::NotRun => "–",
    }
}

fn alignment(holds: Holds) -> &'static str {
    match holds {
        Holds::Numbers => "number",
        Holds::Labels => "label",
        Holds::Prose => "words",
    }
}

/// Small charts side by side.
fn charts(out: &mut Markup, charts: Vec<Figure>) {
    out.raw("<div class=\"charts\">\n");
    for chart in charts {
        out.raw("<figure>\n").element("figcaption", &[], chart.title);
        out.add(chart.svg).raw("</figure>\n");
    }
    out.raw("</div>\n");
}

/// A chart over the whole width, which scrolls within itself where the page is narrow.
fn wide(out: &mut Markup, chart: Figure) {
    out.raw("<figure class=\"wide\">\n");
    if !chart.title.is_empty() {
        out.element("figcaption", &[], chart.title);
    }
    out.add(chart.svg).raw("</figure>\n");
}

/// A table that opens on demand.
fn details(out: &mut Markup, summary: &'static str, rows: &Table) {
    out.raw("<details>").element("summary", &[], summary);
    table(out, rows);
    out.raw("</details>\n");
}
