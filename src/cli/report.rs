//! `report`: regenerates the reports of a finished run, fills its tables into Markdown pages, and writes compact
//! results. Includes the experiment of `bench memory` if its `memory.json` is in the run's directory.

use std::path::PathBuf;
use std::process::ExitCode;

use bigbatch_validate::Results;
use bigbatch_validate::recommend::{Goal, recommend};
use bigbatch_validate::report::compact::compact;
use bigbatch_validate::report::fill::fill;
use bigbatch_validate::report::{OutputDir, experiment, json, write_rendered};
use clap::Args;

use super::options::parse_positive_seconds;
use super::{CommandResult, say};

/// Arguments of `report`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  bigbatch report report
  bigbatch report report --into page.md --compact compact.json")]
pub(crate) struct Report {
    /// Directory that `validate` wrote, to regenerate its reports; or a results.json, for --into and --compact
    /// only
    #[arg(value_name = "DIR|FILE.json")]
    run: PathBuf,
    /// Base the recommendations on this p95 latency instead of the plan's bars
    #[arg(long, value_name = "SECONDS", value_parser = parse_positive_seconds)]
    p95_target: Option<f64>,
    /// Also replace the tables of a Markdown page between `<!-- bigbatch NAME -->` and `<!-- /bigbatch -->` by
    /// those of this run; repeatable
    #[arg(long, value_name = "FILE.md")]
    into: Vec<PathBuf>,
    /// Also write compact results, without the series that only charts need, to a new file; `report` and `compare`
    /// accept them
    #[arg(long, value_name = "OUT.json")]
    compact: Option<PathBuf>,
    /// Overwrite the file of --compact
    #[arg(long, requires = "compact")]
    force: bool,
}

pub(crate) fn report(args: Report) -> CommandResult {
    let is_directory = args.run.is_dir();
    if !is_directory && args.run.is_file() && args.into.is_empty() && args.compact.is_none() {
        return Err(
            "a results file needs --into or --compact; pass the run's directory to regenerate its reports"
                .into(),
        );
    }
    let results = read_results(&args, is_directory)?;
    // Renders everything first, so that an error leaves every file as it was.
    let mut files: Vec<(&str, &PathBuf, String)> = Vec::new();
    for path in &args.into {
        let name = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let page = std::fs::read_to_string(path).map_err(|error| name(&error))?;
        files.push(("tables", path, fill(&page, &results).map_err(|error| name(&error))?));
    }
    if let Some(path) = &args.compact {
        if path.exists() && !args.force {
            return Err(format!(
                "--compact: {} exists; add --force to overwrite it",
                path.display()
            )
            .into());
        }
        let mut text = Vec::new();
        json::results(&compact(results.clone()), &mut text)?;
        files.push(("compact", path, String::from_utf8(text)?));
    }
    let written = if is_directory {
        Some(write_rendered(&results, &OutputDir::create(&args.run)?)?)
    } else {
        None
    };
    for (kind, path, content) in files {
        std::fs::write(path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        say!("{kind}: {}", path.display());
    }
    if let Some(written) = written {
        say!("report: {}", written.html.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the results and the memory experiment beside them; recomputes the recommendations if the experiment or
/// `--p95-target` bears on them.
fn read_results(args: &Report, is_directory: bool) -> Result<Results, Box<dyn std::error::Error>> {
    let file = if is_directory || !args.run.is_file() {
        args.run.join(json::RESULTS)
    } else {
        args.run.clone()
    };
    let mut results = json::read_results(&file)?;
    let memory = args.run.join(experiment::JSON);
    let has_experiment = is_directory && memory.exists();
    if has_experiment {
        results.analysis.cleanup = Some(experiment::read(&memory)?);
    }
    if args.p95_target.is_some() || has_experiment {
        let goal = Goal { p95_target_ms: args.p95_target.map(|seconds| seconds * 1e3) };
        results.recommendations = recommend(&results, goal);
    }
    Ok(results)
}
