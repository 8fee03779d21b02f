//! `report.md`: the report without charts, for a pull request or a terminal. It renders the same `sections` as the
//! page.

use std::fmt::Write;

use crate::results::Results;
use crate::results::recommendation::Support;

use super::sections::{self, Block, Part};
use super::sentences;
use super::tables::{Alignment, Field, Table};

/// Renders the whole report.
pub fn render(results: &Results) -> String {
    let mut out = format!("# {}\n\n", escaped(&sentences::headline(results)));
    if let Some(rest) = sentences::headline_rest(results) {
        let _ = writeln!(out, "{}.\n", escaped(&rest));
    }
    let (name, description) = (escaped(&results.plan.name), escaped(&results.plan.description));
    let _ = writeln!(out, "Plan **{name}**. {description}\n");
    for (label, figure, note) in sentences::highlights(results) {
        let note = if note.is_empty() { String::new() } else { format!(" ({})", escaped(&note)) };
        let _ = writeln!(out, "- {label}: **{}**{note}", escaped(&figure));
    }
    render_part(&mut out, sections::test_results(results));
    sections::performance(results)
        .into_iter()
        .for_each(|performance| render_part(&mut out, performance));
    recommendations(&mut out, results);
    render_part(&mut out, sections::method(results));
    out
}

/// Appends a part without its charts; a section of charts alone is omitted.
fn render_part(out: &mut String, part: Part) {
    let _ = writeln!(out, "\n## {}", part.title);
    for section in part.sections {
        let mut body = String::new();
        section.blocks.into_iter().for_each(|one| block(&mut body, one));
        if !body.is_empty() {
            let lead = escaped(&section.lead);
            let lead = if lead.is_empty() { lead } else { format!("\n{lead}\n") };
            let _ = write!(out, "\n### {}\n{lead}{body}", section.title);
        }
    }
}

fn block(out: &mut String, block: Block) {
    let _ = match block {
        Block::Charts(..) => Ok(()),
        Block::Note(text) => writeln!(out, "\n{}", escaped(&text)),
        Block::List(items) => {
            let items = items.iter().map(|item| format!("- {}\n", escaped(item)));
            write!(out, "\n{}", items.collect::<String>())
        }
        Block::Table("", table) => write!(out, "\n{}", rows(&table)),
        Block::Table(title, table) | Block::Details(title, table) => {
            write!(out, "\n#### {title}\n\n{}", rows(&table))
        }
    };
}

fn recommendations(out: &mut String, results: &Results) {
    out.push_str("\n## Recommendations\n");
    for recommendation in &results.recommendations {
        let _ = writeln!(out, "\n### {}\n", sentences::advice_title(recommendation));
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

/// Renders a table alone.
pub(super) fn rows(table: &Table) -> String {
    let columns = &table.columns;
    let labels: Vec<&str> = columns.iter().map(|column| column.label).collect();
    let rule = |alignment| if alignment == Alignment::Numbers { "--:" } else { "---" };
    let rules: Vec<&str> = columns.iter().map(|column| rule(column.alignment)).collect();
    let mut out = format!("| {} |\n|{}|\n", labels.join(" | "), rules.join("|"));
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

/// Escapes text so that neither Markdown nor the HTML in it reads it as markup.
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
