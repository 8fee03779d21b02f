//! `validate`: runs a test plan against the engine and writes the report.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bigbatch_engine::task::TaskKind;
use bigbatch_validate::report::{self, OutputDir};
use bigbatch_validate::target::{InProcess, Target};
use bigbatch_validate::workload::Corpus;
use bigbatch_validate::{Plan, RunOptions, Terminal};
use clap::Args;

use super::options::ModelOptions;
use super::{Outcome, say};

/// Arguments of `validate`.
#[derive(Args)]
pub(crate) struct Validate {
    /// The plan
    #[arg(long, value_name = "FILE.toml", default_value = "plans/quick.toml")]
    plan: PathBuf,
    /// What to measure
    #[arg(long, value_name = "in-process", default_value = "in-process", value_parser = target)]
    target: TargetChoice,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "bigbatch-report")]
    out: PathBuf,
    /// Cut requests from the .txt files of this directory instead of the built-in prose
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// A bar that could not be shown counts as failed
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    model: ModelOptions,
}

/// The engine of this process, so far.
#[derive(Clone, Copy)]
struct TargetChoice;

fn target(text: &str) -> Result<TargetChoice, String> {
    match text {
        "in-process" => Ok(TargetChoice),
        other => Err(format!("'{other}' cannot be measured yet; the target is in-process")),
    }
}

pub(crate) fn validate(args: Validate) -> Outcome {
    let TargetChoice = args.target;
    let plan = Plan::load(&args.plan)?;
    let output = OutputDir::create(&args.out)?;
    let corpus = match &args.corpus {
        Some(dir) => Corpus::from_directory(dir)?,
        None => Corpus::embedded(),
    };
    let engine = args.model.engine(TaskKind::Embed)?;
    let budget = args.model.memory_budget_bytes();
    let target = Arc::new(InProcess::new(engine, budget, env!("CARGO_PKG_VERSION")));
    let options = RunOptions { corpus, ..RunOptions::default() };
    let cancel = options.cancel.clone();
    ctrlc::set_handler(move || cancel.cancel())?;
    let tokens = &target.engine().model().tokenizer;
    let report = bigbatch_validate::run(
        &plan,
        target.clone() as Arc<dyn Target>,
        tokens,
        &options,
        &Terminal::new(),
    )?;
    let written = report::write_reports(&report, &output)?;
    say!("{}", report::text::render(&report.results).trim_end());
    say!("report: {}", written.html.display());
    Ok(ExitCode::from(report.exit_code(args.strict)))
}
