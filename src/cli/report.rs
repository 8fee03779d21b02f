//! `report`: writes the reports of a finished run again, from its `results.json`.

use std::path::PathBuf;
use std::process::ExitCode;

use bigbatch_validate::recommend::{Wanted, recommend};
use bigbatch_validate::report::{OutputDir, json, write_rendered};
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
}

pub(crate) fn report(args: Report) -> Outcome {
    let mut results = json::read_results(&args.dir.join(json::RESULTS))?;
    if let Some(seconds) = args.p95_target {
        let wanted = Wanted { p95_target_ms: Some(seconds * 1e3) };
        results.recommendations = recommend(&results, wanted);
    }
    let written = write_rendered(&results, &OutputDir::create(&args.dir)?)?;
    say!("report: {}", written.html.display());
    Ok(ExitCode::SUCCESS)
}
