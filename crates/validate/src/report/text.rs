//! The results as aligned plain text, for a terminal or a log.

use std::fmt::Write;

use crate::results::Results;

use super::sentences;
use super::tables::{self, Alignment, Table};

/// Renders the cells, for repeated cells their means over runs first; then the verdicts and the headline.
pub fn render(results: &Results) -> String {
    let mut out = String::new();
    if let Some(over_runs) = tables::published(results) {
        table(&mut out, &over_runs);
        out.push_str("above: means over the runs of each cell; below: its first run\n\n");
    }
    let tables = [tables::cells(results), tables::classes(results), tables::verdicts(results)];
    for found in tables.into_iter().flatten() {
        table(&mut out, &found);
        out.push('\n');
    }
    out.push_str(&sentences::headline(results));
    if let Some(rest) = sentences::headline_rest(results) {
        let _ = write!(out, " ({rest})");
    }
    out.push('\n');
    out
}

/// Appends a table alone.
pub(super) fn table(out: &mut String, table: &Table) {
    let heads = table.columns.iter().map(|column| column.label.to_owned()).collect();
    let clean = |text: &str| text.replace(char::is_control, "\u{fffd}");
    let fields = |row: &tables::Row| row.fields.iter().map(|field| clean(&field.text)).collect();
    let lines: Vec<Vec<String>> =
        std::iter::once(heads).chain(table.rows.iter().map(fields)).collect();
    for line in &lines {
        let mut text = String::new();
        for (index, (column, field)) in table.columns.iter().zip(line).enumerate() {
            let width = lines.iter().map(|line| line[index].chars().count()).max().unwrap_or(0);
            let _ = match column.alignment {
                Alignment::Numbers => write!(text, "{field:>width$}  "),
                Alignment::Labels | Alignment::Prose | Alignment::Below => {
                    write!(text, "{field:<width$}  ")
                }
            };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
}
