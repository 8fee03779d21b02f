//! `validate`: runs a test plan against the engine or a server, and writes the report.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bigbatch_engine::task::TaskKind;
use bigbatch_validate::report::{self, OutputDir};
use bigbatch_validate::target::{HttpTarget, InProcess, Target};
use bigbatch_validate::workload::Corpus;
use bigbatch_validate::{Plan, Report, RunOptions, Terminal, run_async};
use clap::Args;

use super::options::ModelOptions;
use super::target::{Server, TargetOptions};
use super::{Outcome, say};

/// Arguments of `validate`.
#[derive(Args)]
pub(crate) struct Validate {
    /// The plan
    #[arg(long, value_name = "FILE.toml", default_value = "plans/quick.toml")]
    plan: PathBuf,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "bigbatch-report")]
    out: PathBuf,
    /// Cut requests from the .txt files of this directory instead of the built-in prose
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Go on with the cells that an interrupted run of the same plan and target left in --out
    #[arg(long)]
    resume: bool,
    /// A bar that could not be shown counts as failed
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    model: ModelOptions,
}

pub(crate) fn validate(args: Validate) -> Outcome {
    let server = args.target.server()?;
    let plan = Plan::load(&args.plan)?;
    let output = OutputDir::create(&args.out)?;
    let corpus = match &args.corpus {
        Some(dir) => Corpus::from_directory(dir)?,
        None => Corpus::embedded(),
    };
    let journal = Some(output.path().join(report::JOURNAL));
    let options = RunOptions { corpus, journal, resume: args.resume, ..RunOptions::default() };
    let report = match server {
        Some(server) => of_server(server, &plan, &options)?,
        None => of_engine(&args.model, &plan, &options)?,
    };
    let written = report::write_reports(&report, &output)?;
    say!("{}", report::text::render(&report.results).trim_end());
    say!("report: {}", written.html.display());
    Ok(ExitCode::from(report.exit_code(args.strict)))
}

fn of_engine(
    model: &ModelOptions,
    plan: &Plan,
    options: &RunOptions,
) -> Result<Report, Box<dyn Error>> {
    let engine = model.engine(TaskKind::Embed)?;
    let budget = model.memory_budget_bytes();
    let target = Arc::new(InProcess::new(engine, budget, env!("CARGO_PKG_VERSION")));
    stop_on_interrupt(options)?;
    let tokens = &target.engine().model().tokenizer;
    let measured = target.clone() as Arc<dyn Target>;
    Ok(bigbatch_validate::run(plan, measured, tokens, options, &Terminal::new())?)
}

/// Connections belong to the runtime that made them, so one serves both the first look and the load.
fn of_server(server: Server, plan: &Plan, options: &RunOptions) -> Result<Report, Box<dyn Error>> {
    let runtime = bigbatch_validate::runtime()?;
    let target = Arc::new(runtime.block_on(HttpTarget::connect(&server.options))?);
    eprintln!("{}", target.found());
    stop_on_interrupt(options)?;
    let progress = Terminal::new();
    let run = run_async(plan, target, &server.tokenizer, options, &progress);
    Ok(runtime.block_on(run)?)
}

fn stop_on_interrupt(options: &RunOptions) -> Result<(), ctrlc::Error> {
    let cancel = options.cancel.clone();
    ctrlc::set_handler(move || cancel.cancel())
}
