//! `report.md`: the report without charts, for a pull request or a terminal. The same three parts as
//! the page.

use std::fmt::Write;

use crate::results::Results;
use crate::results::recommendation::Support;

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
    test_results(&mut out, results);
    performance(&mut out, results);
    recommendations(&mut out, results);
    out.push_str("\n## Method\n\n");
    for note in method::notes(results) {
        let _ = writeln!(out, "- {}", escaped(&note));
    }
    out.push_str("\n## Target and machine\n\n| | |\n|---|---|\n");
    for (name, value) in method::particulars(results) {
        let _ = writeln!(out, "| {} | {} |", escaped(&name), escaped(&value));
    }
    section(&mut out, "Preflight", tables::preflight(results));
    out
}

fn test_results(out: &mut String, results: &Results) {
    out.push_str("\n## Test Results\n");
    let verdicts = (!results.verdicts.is_empty()).then(|| tables::verdicts(results));
    section(out, "Verdicts", verdicts);
    if let Some(over_runs) = tables::published(results) {
        section(out, "Cells, over runs", Some(over_runs));
        let _ = writeln!(out, "\n{}", escaped(words::PUBLISHED_LEAD));
    }
    section(out, "Cells", Some(tables::cells(results)));
    let _ = writeln!(out, "\n{}", escaped(words::cells_lead(results)));
    for (index, reservation) in words::reservations(results).iter().enumerate() {
        let first = if index == 0 { "\n" } else { "" };
        let _ = writeln!(out, "{first}- {}", escaped(reservation));
    }
    section(
        out,
        "Latency over all requests, failures counted as never answered",
        tables::over_all(results),
    );
    section(
        out,
        "Scenarios: latency from the intended start and from sending",
        tables::from_sending(results),
    );
    section(out, "Failures", tables::failures(results));
    section(out, "The edge", tables::edges(results));
    section(out, "Back to normal latency after searching the edge?", tables::recoveries(results));
    section(out, "What was refused beyond the edge, and how", tables::edge_failures(results));
}

fn performance(out: &mut String, results: &Results) {
    if results.cells.iter().all(|cell| cell.figures().is_none()) {
        return;
    }
    out.push_str("\n## Performance Analysis\n");
    section(out, "Throughput scaling", tables::scaling(results));
    section(out, "Mean time of a request by stage", tables::stages(results));
    section(out, "What limits each cell", tables::bottlenecks(results));
    section(out, "Tail latency", tables::tails(results));
    section(out, "Longest spikes", tables::spikes(results));
    section(out, "Memory", tables::memory(results));
    section(out, "Does memory leak?", tables::leaks(results));
    if let Some(sentence) = words::fragmentation(results) {
        let _ = writeln!(out, "\n{}", escaped(&sentence));
    }
    if let Some(experiment) = &results.analysis.cleanup {
        section(out, "Cleanup strategies compared", Some(tables::strategies(experiment)));
        let _ = writeln!(out, "\n{}", escaped(&words::experiment(experiment)));
    }
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

fn section(out: &mut String, title: &str, table: Option<Table>) {
    let Some(table) = table else { return };
    let _ = writeln!(out, "\n### {title}\n");
    out.push_str(&rows(&table));
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
