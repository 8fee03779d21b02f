//! `report.md`: the report without charts, for a pull request or a terminal. The same three parts as
//! the page.

use std::fmt::Write;

use crate::results::Results;
use crate::results::recommendation::Support;

use super::sections::{self, Block, Part};
use super::tables::{self, Field, Holds, Table};
use super::{method, words};
use crate::format;

/// The whole report.
pub fn render(results: &Results) -> String {
    let mut out = format!("# {}\n\n", escaped(&words::headline(results)));
    if let Some(rest) = words::headline_rest(&results.conclusion) {
        let _ = writeln!(out, "{}.\n", escaped(&rest));
    }
    let _ = writeln!(
        out,
        "Plan **{}**. {}\n",
        escaped(&results.plan.name),
        escaped(&results.plan.description)
    );
    for (label, figure, note) in words::highlights(results) {
        let note = if note.is_empty() { String::new() } else { format!(" ({})", escaped(&note)) };
        let _ = writeln!(out, "- {label}: **{}**{note}", escaped(&figure));
    }
    part(&mut out, sections::test_results(results));
    if let Some(performance) = sections::performance(results) {
        part(&mut out, performance);
    }
    recommendations(&mut out, results);
    out.push_str("\n## Method\n\n");
    for note in method::notes(results) {
        let _ = writeln!(out, "- {}", escaped(&note));
    }
    out.push_str("\n## Target and machine\n\n| | |\n|---|---|\n");
    for (name, value) in method::particulars(results) {
        let _ = writeln!(out, "| {} | {} |", escaped(&name), escaped(&value));
    }
    if let Some(found) = tables::preflight(results) {
        let _ = write!(out, "\n### Preflight\n\n{}", rows(&found));
    }
    out
}

/// A part without its charts; a section of charts alone is left out.
fn part(out: &mut String, part: Part) {
    let _ = writeln!(out, "\n## {}", part.title);
    for section in part.sections {
        let mut body = String::new();
        section.blocks.into_iter().for_each(|one| block(&mut body, one));
        if !body.is_empty() {
            let _ = write!(out, "\n### {}\n\n{}\n{body}", section.title, escaped(&section.lead));
        }
    }
}

fn block(out: &mut String, block: Block) {
    let _ = match block {
        Block::Heading(_) | Block::Legend(_) | Block::Charts(_) | Block::Wide(_) => Ok(()),
        Block::Note(text) => writeln!(out, "\n{}", escaped(&text)),
        Block::List(items) => {
            let items = items.iter().map(|item| format!("- {}\n", escaped(item)));
            write!(out, "\n{}", items.collect::<String>())
        }
        Block::Table(table) => write!(out, "\n{}", rows(&table)),
        Block::Titled(title, table) | Block::Details(title, table) => {
            write!(out, "\n#### {title}\n\n{}", rows(&table))
        }
    };
}

fn recommendations(out: &mut String, results: &Results) {
    out.push_str("\n## Recommendations\n");
    for recommendation in &results.recommendations {
        let length =
            recommendation.tokens.map(|length| format!(", {} tokens", format::tokens(length)));
        let _ =
            writeln!(out, "\n### {}{}\n", recommendation.topic.label(), length.unwrap_or_default());
        if recommendation.support != Support::Missing {
            let _ = writeln!(out, "{}\n", escaped(&recommendation.advice));
        }
        for sentence in &recommendation.evidence {
            let _ = writeln!(out, "- {}", escaped(sentence));
        }
        if let Some(missing) = &recommendation.missing {
            let _ = writeln!(out, "- Missing: {}", escaped(missing));
        }
    }
}

/// A table alone.
pub(super) fn rows(table: &Table) -> String {
    let mut out = String::new();
    let labels: Vec<&str> = table.columns.iter().map(|column| column.label).collect();
    let rules: Vec<&str> = table
        .columns
        .iter()
        .map(|column| if column.holds == Holds::Numbers { "--:" } else { "---" })
        .collect();
    let _ = writeln!(out, "| {} |\n|{}|", labels.join(" | "), rules.join("|"));
    for row in &table.rows {
        let fields: Vec<String> = row.fields.iter().map(field).collect();
        let _ = writeln!(out, "| {} |", fields.join(" | "));
    }
    out
}

fn field(field: &Field) -> String {
    match &field.note {
        Some(note) => format!("{} ({})", escaped(&field.text), escaped(note)),
        None => escaped(&field.text),
    }
}

/// Text that Markdown, and the HTML that it may hold, cannot read as anything else.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => out.push(' '),
            character if character.is_control() => out.push('\u{fffd}'),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.extend(['\\', character])
            }
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("a|b\n<i>`x`</i> [y](z)"), "a\\|b &lt;i>\\`x\\`&lt;/i> \\[y\\](z)");
    }
}
