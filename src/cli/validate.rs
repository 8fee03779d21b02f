//! `validate`: runs a test plan against the engine or a server, and writes the report.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[cfg(feature = "cuda")]
use bigbatch_engine::backend::cuda_device;
use bigbatch_engine::{DeviceKind, LoadError, TaskKind};
use bigbatch_validate::analysis::EdgeFindings;
use bigbatch_validate::plan::EdgeRules;
use bigbatch_validate::preflight::{self, ComputeLocation};
use bigbatch_validate::recommend::{Wanted, recommend};
use bigbatch_validate::report::{self, OutputDir};
use bigbatch_validate::run::edge::{find, find_async};
use bigbatch_validate::system::{HttpTarget, InProcess, Target};
use bigbatch_validate::workload::Corpus;
use bigbatch_validate::{Plan, Report, RunOptions, Terminal, run_async};
use clap::Args;

use super::edge::{self, InProcessEdge, RunningEdge};
use super::options::{GivenModelOptions, ModelOptions, seconds};
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
    /// Afterwards raise concurrency and length, and lower the memory budget, until requests are refused; an
    /// `[edge]` table in the plan says how far, and asks for it too
    #[arg(long)]
    edge: bool,
    /// Recommend a concurrency for this p95 latency instead of the plan's bars
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    p95_target: Option<f64>,
    /// A bar that could not be shown counts as failed
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    given: GivenModelOptions,
    #[command(flatten)]
    model: ModelOptions,
}

pub(crate) fn validate(args: Validate) -> Outcome {
    let server = args.target.server(&args.given)?;
    let plan = Plan::load(&args.plan)?;
    let output = OutputDir::create(&args.out)?;
    let corpus = match &args.corpus {
        Some(dir) => Corpus::from_directory(dir)?,
        None => Corpus::embedded(),
    };
    let wanted = Wanted { p95_target_ms: args.p95_target.map(|seconds| seconds * 1e3) };
    let computes = match server {
        Some(_) => ComputeLocation::Remote,
        None => computes(&args.model)?,
    };
    let preflight = preflight::inspect(&plan, output.path(), computes);
    preflight::refuse(&preflight)?;
    let options = RunOptions {
        corpus,
        journal: Some(output.path().join(report::JOURNAL)),
        resume: args.resume,
        wanted,
        preflight,
        ..RunOptions::default()
    };
    let rules = plan.edge.clone().or(args.edge.then(EdgeRules::default));
    let Measured { mut report, edges } = match server {
        Some(server) => of_server(server, &plan, &options, rules.as_ref())?,
        None => of_engine(&args.model, &plan, &options, rules.as_ref())?,
    };
    // A search that ended in an error must not lose the run before it.
    let fault = match edges {
        Ok(found) => {
            report.results.analysis.edge = found;
            report.results.recommendations = recommend(&report.results, wanted);
            None
        }
        Err(fault) => Some(fault),
    };
    let written = report::write_reports(&report, &output)?;
    say!("{}", report::text::render(&report.results).trim_end());
    if let Some(found) = &report.results.analysis.edge {
        edge::print(found)?;
    }
    say!("report: {}", written.rendered.html.display());
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    Ok(ExitCode::from(report.exit_code(args.strict)))
}

/// Where the engine of this process would compute; no device is started.
fn computes(model: &ModelOptions) -> Result<ComputeLocation, LoadError> {
    let budget_bytes = model.memory_budget_bytes();
    Ok(match model.device()?.kind {
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda(ordinal, _) => {
            let card = cuda_device(ordinal).map_err(|fault| fault.to_string());
            ComputeLocation::Card { budget_bytes, card }
        }
        DeviceKind::Cpu | DeviceKind::Reference => ComputeLocation::Host { budget_bytes },
    })
}

/// A run, and the search after it.
struct Measured {
    report: Report,
    edges: Result<Option<EdgeFindings>, bigbatch_validate::Error>,
}

fn of_engine(
    model: &ModelOptions,
    plan: &Plan,
    options: &RunOptions,
    rules: Option<&EdgeRules>,
) -> Result<Measured, Box<dyn Error>> {
    let engine = model.engine(TaskKind::Embed)?;
    let budget = model.memory_budget_bytes();
    let target = Arc::new(InProcess::new(engine, budget, env!("CARGO_PKG_VERSION")));
    stop_on_interrupt(options)?;
    let tokens = &target.engine().model().tokenizer;
    let measured = target.clone() as Arc<dyn Target>;
    let report = bigbatch_validate::run(plan, measured, tokens, options, &Terminal::new())?;
    let Some(rules) = rules.filter(|_| !options.cancel.is_cancelled()) else {
        return Ok(Measured { report, edges: Ok(None) });
    };
    // Its memory is needed: the search starts engines of its own.
    drop(target);
    let tokens = model.load(TaskKind::Embed)?.tokenizer;
    let engines = InProcessEdge::new(model, TaskKind::Embed);
    let edges = find(rules, &engines, &tokens, &options.corpus, &options.cancel).map(Some);
    Ok(Measured { report, edges })
}

/// Connections belong to the runtime that made them, so one serves both the first look and the load.
fn of_server(
    server: Server,
    plan: &Plan,
    options: &RunOptions,
    rules: Option<&EdgeRules>,
) -> Result<Measured, Box<dyn Error>> {
    let runtime = bigbatch_validate::runtime()?;
    let target = Arc::new(runtime.block_on(HttpTarget::connect(&server.options))?);
    eprintln!("{}", target.summary());
    stop_on_interrupt(options)?;
    let progress = Terminal::new();
    let run = run_async(plan, target.clone(), &server.tokenizer, options, &progress);
    let report = runtime.block_on(run)?;
    let Some(rules) = rules.filter(|_| !options.cancel.is_cancelled()) else {
        return Ok(Measured { report, edges: Ok(None) });
    };
    let running = RunningEdge::new(target);
    let (tokens, corpus) = (&server.tokenizer, &options.corpus);
    let search = find_async(rules, &running, tokens, corpus, &options.cancel);
    Ok(Measured { report, edges: runtime.block_on(search).map(Some) })
}

fn stop_on_interrupt(options: &RunOptions) -> Result<(), ctrlc::Error> {
    let cancel = options.cancel.clone();
    ctrlc::set_handler(move || cancel.cancel())
}
