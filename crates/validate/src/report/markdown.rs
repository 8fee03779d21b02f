//! `report.md`: the report without charts, for a pull request or a terminal.

use std::fmt::Write;

use crate::Results;

use super::tables::{self, Holds, Table};
use super::words;

/// The whole report.
pub fn render(results: &Results) -> String {
    let mut out = format!("# {}\n\n", escaped(&words::headline(&results.conclusion)));
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
    section(
        &mut out,
        "Verdicts",
        (!results.verdicts.is_empty()).then(|| tables::verdicts(results)),
    );
    section(&mut out, "Cells", Some(tables::cells(results)));
    section(
        &mut out,
        "Latency over all requests, failures counted as never answered",
        tables::over_all(results),
    );
    section(&mut out, "Mean time of a request by stage", tables::stages(results));
    section(&mut out, "Memory", tables::memory(results));
    out.push_str("\n## Method\n\n");
    for note in words::method(results) {
        let _ = writeln!(out, "- {}", escaped(&note));
    }
    out.push_str("\n## Target and machine\n\n| | |\n|---|---|\n");
    for (name, value) in words::particulars(results) {
        let _ = writeln!(out, "| {} | {} |", escaped(&name), escaped(&value));
    }
    out
}

fn section(out: &mut String, title: &str, table: Option<Table>) {
    let Some(table) = table else { return };
    let _ = writeln!(out, "\n## {title}\n");
    let labels: Vec<&str> = table.columns.iter().map(|column| column.label).collect();
    let rules: Vec<&str> = table
        .columns
        .iter()
        .map(|column| if column.holds == Holds::Numbers { "--:" } else { "---" })
        .collect();
    let _ = writeln!(out, "| {} |\n|{}|", labels.join(" | "), rules.join("|"));
    for row in &table.rows {
        let fields: Vec<String> = row.fields.iter().map(|field| escaped(field)).collect();
        let _ = writeln!(out, "| {} |", fields.join(" | "));
    }
}

/// Text that Markdown, and the HTML that it may hold, cannot read as anything else.
fn escaped(text: &str) -> String {
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
