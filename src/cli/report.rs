//! `report`: makes something of a finished run again: its reports, and with the experiment of `bench memory`
//! where its `memory.json` lies beside; tables in pages; results without series.

use std::path::PathBuf;
use std::process::ExitCode;

use bigbatch_validate::Results;
use bigbatch_validate::recommend::{Wanted, recommend};
use bigbatch_validate::report::compact::compact;
use bigbatch_validate::report::fill::fill;
use bigbatch_validate::report::{OutputDir, experiment, json, write_rendered};
use clap::Args;

use super::options::seconds;
use super::{Outcome, say};

/// Arguments of `report`.
#[derive(Args)]
pub(crate) struct Report {
    /// The directory that `validate` wrote, whose reports are written again; or a results.json, of which only what
    /// --into and --compact say is made
    #[arg(value_name = "DIR|FILE.json")]
    run: PathBuf,
    /// Advise for this p95 latency instead of the plan's bars
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    p95_target: Option<f64>,
    /// Also put this run's tables into a Markdown page, between `<!-- bigbatch NAME -->` and
    /// `<!-- /bigbatch -->`; may be given several times
    #[arg(long, value_name = "FILE.md")]
    into: Vec<PathBuf>,
    /// Also write the results without the series that only charts draw, small enough to commit; `report` and
    /// `compare` read them as any others
    #[arg(long, value_name = "OUT.json")]
    compact: Option<PathBuf>,
}

pub(crate) fn report(args: Report) -> Outcome {
    let whole = args.run.is_dir();
    if !whole && args.run.is_file() && args.into.is_empty() && args.compact.is_none() {
        return Err(
            "of a file nothing is made by itself; give --into or --compact, or the run's directory"
                .into(),
        );
    }
    let results = results(&args, whole)?;
    // Everything is made before any of it is written.
    let mut files: Vec<(&str, &PathBuf, String)> = Vec::new();
    for path in &args.into {
        let fault = |fault: &dyn std::fmt::Display| format!("{}: {fault}", path.display());
        let page = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
        files.push(("tables", path, fill(&page, &results).map_err(|error| fault(&error))?));
    }
    if let Some(path) = &args.compact {
        let mut text = Vec::new();
        json::results(&compact(results.clone()), &mut text)?;
        files.push(("compact", path, String::from_utf8(text)?));
    }
    let written =
        if whole { Some(write_rendered(&results, &OutputDir::create(&args.run)?)?) } else { None };
    for (what, path, content) in files {
        std::fs::write(path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        say!("{what}: {}", path.display());
    }
    if let Some(written) = written {
        say!("report: {}", written.html.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The run's results, with the experiment beside them, and advised again where something new bears on it.
fn results(args: &Report, whole: bool) -> Result<Results, Box<dyn std::error::Error>> {
    let file =
        if whole || !args.run.is_file() { args.run.join(json::RESULTS) } else { args.run.clone() };
    let mut results = json::read_results(&file)?;
    let memory = args.run.join(experiment::JSON);
    let compared = whole && memory.exists();
    if compared {
        results.analysis.cleanup = Some(experiment::read(&memory)?);
    }
    if args.p95_target.is_some() || compared {
        let wanted = Wanted { p95_target_ms: args.p95_target.map(|seconds| seconds * 1e3) };
        results.recommendations = recommend(&results, wanted);
    }
    Ok(results)
}
