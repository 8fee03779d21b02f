//! `compare`: reads the results of repeated runs of two systems and reports whether the second is slower. Exit
//! code 1 means a regression, 2 that the two cannot be compared; the statistics are in
//! `bigbatch_validate`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bigbatch_validate::report::{comparison, json};
use bigbatch_validate::results::compare::{ComparisonOutcome, compare as compared};
use bigbatch_validate::{Error, Results};
use clap::Args;

use super::{CommandResult, say};

/// Arguments of `compare`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  bigbatch compare before/results.json after/results.json
  bigbatch compare before1,before2,before3 after1,after2,after3")]
pub(crate) struct Compare {
    /// Results of the first system: results.json files or their directories, separated by commas
    #[arg(value_name = "BEFORE", value_delimiter = ',', num_args = 1, required = true)]
    before: Vec<PathBuf>,
    /// Results of the second system, likewise
    #[arg(value_name = "AFTER", value_delimiter = ',', num_args = 1, required = true)]
    after: Vec<PathBuf>,
    /// Tolerated slowdown
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_margin)]
    margin: f64,
    /// Exit with 1 also if the comparison is inconclusive
    #[arg(long)]
    strict: bool,
    /// Compare even if the device, the processor or the plan differ
    #[arg(long)]
    anyway: bool,
}

/// Parses a percentage into a fraction of 1.
fn parse_margin(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim_end().parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("use a percentage from 0 to below 100, such as 2%".into()),
    }
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(json::RESULTS) } else { path.to_owned() }
}

fn read_results(paths: &[PathBuf]) -> Result<Vec<Results>, Error> {
    paths.iter().map(|path| json::read_results(&file_of(path))).collect()
}

/// Rejects a file that is given twice on one side: it would count as two independent runs.
fn require_distinct(paths: &[PathBuf]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let twice = |path: &&PathBuf| {
        let file = file_of(path);
        !seen.insert(file.canonicalize().unwrap_or(file))
    };
    match paths.iter().find(twice) {
        Some(path) => Err(format!("{} is given twice; each run counts once", path.display())),
        None => Ok(()),
    }
}

pub(crate) fn compare(args: Compare) -> CommandResult {
    require_distinct(&args.before)?;
    require_distinct(&args.after)?;
    let (before, after) = (read_results(&args.before)?, read_results(&args.after)?);
    let (before, after): (Vec<&Results>, Vec<&Results>) =
        (before.iter().collect(), after.iter().collect());
    let found = compared(&before, &after, args.margin);
    if !args.anyway && !found.differences.is_empty() {
        let differences = found.differences.join("; ");
        return Err(format!("{differences}; use --anyway to compare nevertheless").into());
    }
    if found.changes.is_empty() {
        return Err("no cell was run on both sides; compare runs of the same plan".into());
    }
    say!("{}", comparison::render(&found).trim_end());
    let failed = match found.outcome {
        ComparisonOutcome::Regression => true,
        ComparisonOutcome::Inconclusive => args.strict,
        ComparisonOutcome::NonInferior => false,
    };
    Ok(ExitCode::from(u8::from(failed)))
}
