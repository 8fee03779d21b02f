//! Fills tables of a run into a page whose prose is written by hand.
//!
//! Text between `<!-- bigbatch NAME -->` and `<!-- /bigbatch -->` is replaced by the table of that name, so that
//! all figures of a page come from one `results.json`.

use crate::results::Results;

use super::markdown::{self, escaped};
use super::sentences;
use super::tables::{self, Table};

const BEGIN: &str = "<!-- bigbatch ";
const BEGIN_END: &str = " -->";
const END: &str = "<!-- /bigbatch -->";

type Make = fn(&Results) -> Option<Table>;

/// The tables of a page, by name.
const TABLES: [(&str, Make); 22] = [
    ("verdicts", tables::verdicts),
    ("cells", tables::cells),
    ("runs", tables::published),
    ("over-all", tables::over_all),
    ("classes", tables::classes),
    ("scenarios", tables::from_sending),
    ("failures", tables::failures),
    ("edges", tables::edges),
    ("recoveries", tables::recoveries),
    ("scaling", tables::scaling),
    ("capacity", tables::capacity),
    ("held-out", tables::held_out),
    ("stages", tables::stages),
    ("bottlenecks", tables::bottlenecks),
    ("tails", tables::tails),
    ("spikes", tables::spikes),
    ("memory", tables::memory),
    ("returned", tables::returned),
    ("leaks", tables::leaks),
    ("strategies", |results| tables::strategies(results.analysis.cleanup.as_ref()?)),
    ("preflight", tables::preflight),
    ("machine", tables::particulars),
];

/// Returns the page with its tables from `results`.
///
/// # Errors
///
/// If the page has no table, a name is unknown or a table has no end marker; the message gives the line's number.
pub fn fill(page: &str, results: &Results) -> Result<String, String> {
    let mut out = String::with_capacity(page.len());
    let mut filled = 0;
    let mut lines = page.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let name = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(BEGIN_END));
        let Some(name) = name else { continue };
        let number = index + 1;
        let content = content(name, results).ok_or_else(|| {
            let known: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
            format!(
                "line {number}: there is no table {name:?}; there are {} and advice",
                known.join(", ")
            )
        })?;
        out.push_str(&format!("\n{}\n\n{END}\n", content.trim_end()));
        if !lines.any(|(_, line)| line == END) {
            return Err(format!("line {number}: {name} has no end; put {END} on a line after it"));
        }
        filled += 1;
    }
    if filled == 0 {
        return Err(format!(
            "the page has no table; put {BEGIN}verdicts{BEGIN_END} and {END} on lines of their own"
        ));
    }
    Ok(out)
}

/// Returns the replacement for the name `name`; `None` if there is no such table.
fn content(name: &str, results: &Results) -> Option<String> {
    if name == "advice" {
        let advice = results.recommendations.iter().filter_map(sentences::advice);
        return Some(advice.map(|advice| format!("- {}\n", escaped(&advice))).collect());
    }
    let (_, make) = TABLES.iter().find(|(table, _)| *table == name)?;
    Some(make(results).map_or("None in this run.".into(), |table| markdown::rows(&table)))
}
