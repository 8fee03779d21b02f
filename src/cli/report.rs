//! `report`: writes the reports of a finished run again, from its `results.json`, and with the experiment of
//! `bench memory` where its `memory.json` lies beside.

use std::path::PathBuf;
use std::process::ExitCode;

use bigbatch_validate::recommend::{Wanted, recommend};
use bigbatch_validate::report::fill::fill;
use bigbatch_validate::report::{OutputDir, experiment, json, write_rendered};
use clap::Args;

use super::options::seconds;
use super::{Outcome, say};

/// Arguments of `report`.
#[derive(Args)]
pub(crate) struct Report {
    /// The directory that `validate` wrote
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Advise for this p95 latency instead of the plan's bars
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    p95_target: Option<f64>,
    /// Also put this run's tables into a Markdown page, between `<!-- bigbatch NAME -->` and
    /// `<!-- /bigbatch -->`; may be given several times
    #[arg(long, value_name = "FILE.md")]
    into: Vec<PathBuf>,
}

pub(crate) fn report(args: Report) -> Outcome {
    let mut results = json::read_results(&args.dir.join(json::RESULTS))?;
    let memory = args.dir.join(experiment::JSON);
    if memory.exists() {
        results.analysis.cleanup = Some(experiment::read(&memory)?);
    }
    if args.p95_target.is_some() || results.analysis.cleanup.is_some() {
        let wanted = Wanted { p95_target_ms: args.p95_target.map(|seconds| seconds * 1e3) };
        results.recommendations = recommend(&results, wanted);
    }
    // All pages are made before one is written.
    let mut pages = Vec::new();
    for path in &args.into {
        let fault = |fault: &dyn std::fmt::Display| format!("{}: {fault}", path.display());
        let page = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
        pages.push((path, fill(&page, &results).map_err(|error| fault(&error))?));
    }
    let written = write_rendered(&results, &OutputDir::create(&args.dir)?)?;
    for (path, page) in pages {
        std::fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))?;
        say!("tables: {}", path.display());
    }
    say!("report: {}", written.html.display());
    Ok(ExitCode::SUCCESS)
}
