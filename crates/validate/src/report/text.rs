//! The results as aligned plain text, for a terminal or a log.

use std::fmt::Write;

use crate::results::Results;

use super::tables::{self, Holds, Table};
use super::words;

/// The cells, where they were repeated over their runs; the verdicts; and the headline.
pub fn render(results: &Results) -> String {
    let mut out = String::new();
    if let Some(over_runs) = tables::published(results) {
        table(&mut out, &over_runs);
        out.push_str("over the runs of each cell; below, its first run\n\n");
    }
    table(&mut out, &tables::cells(results));
    if !results.verdicts.is_empty() {
        out.push('\n');
        table(&mut out, &tables::verdicts(results));
    }
    out.push('\n');
    out.push_str(&words::headline(results));
    if let Some(rest) = words::headline_rest(&results.conclusion) {
        let _ = write!(out, " ({rest})");
    }
    out.push('\n');
    out
}

fn table(out: &mut String, table: &Table) {
    let widths: Vec<usize> = (0..table.columns.len())
        .map(|column| {
            let fields = table.rows.iter().map(|row| row.fields[column].text.chars().count());
            fields.max().unwrap_or(0).max(table.columns[column].label.chars().count())
        })
        .collect();
    let labels: Vec<&str> = table.columns.iter().map(|column| column.label).collect();
    line(out, table, &widths, &labels);
    for row in &table.rows {
        line(
            out,
            table,
            &widths,
            &row.fields.iter().map(|field| field.text.as_str()).collect::<Vec<_>>(),
        );
    }
}

fn line(out: &mut String, table: &Table, widths: &[usize], fields: &[&str]) {
    let mut text = String::new();
    for ((column, width), field) in table.columns.iter().zip(widths).zip(fields) {
        let field: String =
            field.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let _ = match column.holds {
            Holds::Numbers => write!(text, "{field:>width$}  "),
            Holds::Labels | Holds::Prose => write!(text, "{field:<width$}  "),
        };
    }
    out.push_str(text.trim_end());
    out.push('\n');
}
