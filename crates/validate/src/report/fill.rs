//! Tables of a run in a page whose prose is written by hand.
//!
//! Whatever stands between `<!-- bigbatch NAME -->` and `<!-- /bigbatch -->` is replaced by the table of that
//! name, so that the figures of a page are those of one `results.json` and the words around them stay.

use crate::results::Results;

use super::markdown::{self, escaped};
use super::tables::{self, Table};
use super::{method, words};

const BEGIN: &str = "<!-- bigbatch ";
const BEGIN_END: &str = " -->";
const END: &str = "<!-- /bigbatch -->";

type Make = fn(&Results) -> Option<Table>;

/// What a page may ask for.
const TABLES: [(&str, Make); 18] = [
    ("verdicts", |results| (!results.verdicts.is_empty()).then(|| tables::verdicts(results))),
    ("cells", |results| Some(tables::cells(results))),
    ("runs", tables::published),
    ("over-all", tables::over_all),
    ("scenarios", tables::from_sending),
    ("failures", tables::failures),
    ("edges", tables::edges),
    ("recoveries", tables::recoveries),
    ("scaling", tables::scaling),
    ("stages", tables::stages),
    ("bottlenecks", tables::bottlenecks),
    ("tails", tables::tails),
    ("spikes", tables::spikes),
    ("memory", tables::memory),
    ("returned", tables::returned),
    ("leaks", tables::leaks),
    ("strategies", |results| results.analysis.cleanup.as_ref().map(tables::strategies)),
    ("preflight", tables::preflight),
];

/// The page with its tables from `results`.
///
/// # Errors
/// One line with the number of the page's line: a name that is none, or a table without its end.
pub fn fill(page: &str, results: &Results) -> Result<String, String> {
    let mut out = String::with_capacity(page.len());
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
                "line {number}: there is no table {name:?}; there are {}, machine and advice",
                known.join(", ")
            )
        })?;
        out.push_str(&format!("\n{}\n\n{END}\n", content.trim_end()));
        if !lines.any(|(_, line)| line == END) {
            return Err(format!("line {number}: {name} has no end; put {END} on a line after it"));
        }
    }
    Ok(out)
}

/// What goes in by the name `name`; none if it is no name.
fn content(name: &str, results: &Results) -> Option<String> {
    match name {
        "machine" => {
            let row = |(what, value): (String, String)| {
                format!("| {} | {} |\n", escaped(&what), escaped(&value))
            };
            let rows: String = method::particulars(results).into_iter().map(row).collect();
            Some(format!("| | |\n|---|---|\n{rows}"))
        }
        "advice" => {
            let told = results.recommendations.iter().filter_map(words::advice);
            Some(told.map(|advice| format!("- {}\n", escaped(&advice))).collect())
        }
        _ => {
            let (_, make) = TABLES.iter().find(|(table, _)| *table == name)?;
            Some(make(results).map_or("None in this run.".into(), |table| markdown::rows(&table)))
        }
    }
}
