//! `validate`: runs a test plan against the engine in this process or a server, then the search of `--edge`, and
//! writes the report. Options of the target are in `target`, the search's engines in `edge`; the run itself is
//! `bigbatch_validate`.

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
use bigbatch_validate::recommend::{Goal, recommend};
use bigbatch_validate::report::{self, OutputDir};
use bigbatch_validate::run::edge::{find, find_async};
use bigbatch_validate::system::{HttpTarget, InProcess, Target};
use bigbatch_validate::workload::Corpus;
use bigbatch_validate::{Plan, Report, RunOptions, Terminal, run_async};
use clap::Args;

use super::edge::{self, InProcessEdge, RunningEdge};
use super::options::{ExplicitModelOptions, ModelOptions, VectorOptions, parse_positive_seconds};
use super::target::{Server, TargetOptions};
use super::{CommandResult, note, say};

/// Arguments of `validate`.
#[derive(Args)]
#[command(
    next_help_heading = "Plan and report",
    after_help = "\
Examples:
  bigbatch validate --out report
  bigbatch validate --plan big-batch --device cuda --model DIR --out report
  bigbatch validate --target http://localhost:8080 --tokenizer OWNER/NAME --out report"
)]
pub(crate) struct Validate {
    /// Test plan: a file, or one inside the program: quick, big-batch, long-context, open-loop, mixed or mixed-cpu
    #[arg(long, value_name = "FILE.toml|NAME", default_value = "quick")]
    plan: PathBuf,
    /// Directory for the report and the results
    #[arg(long, value_name = "DIR", default_value = "bigbatch-report")]
    out: PathBuf,
    /// Cut prompts from the .txt files of this directory instead of the built-in prose
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Resume an interrupted run of the same plan and target in --out; finished cells are kept
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Overwrite the report of another run in --out
    #[arg(long)]
    force: bool,
    /// After the cells, raise concurrency and length and lower the memory budget until requests fail; an
    /// `[edge]` table in the plan sets the bounds, and enables the search by itself
    #[arg(long)]
    edge: bool,
    /// Recommend a concurrency for this p95 latency instead of the plan's bars
    #[arg(long, value_name = "SECONDS", value_parser = parse_positive_seconds)]
    p95_target: Option<f64>,
    /// Exit with 1 also if a verdict is not shown or not run
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    explicit: ExplicitModelOptions,
    #[command(flatten)]
    model: ModelOptions,
}

pub(crate) fn validate(args: Validate) -> CommandResult {
    let server = args.target.server(&args.explicit)?;
    let plan = Plan::load(&args.plan)?;
    let output = OutputDir::create(&args.out)?;
    if !args.resume && !args.force {
        output.refuse_earlier_run()?;
    }
    let corpus = match &args.corpus {
        Some(dir) => Corpus::from_directory(dir)?,
        None => Corpus::embedded(),
    };
    let goal = Goal { p95_target_ms: args.p95_target.map(|seconds| seconds * 1e3) };
    let computes = match server {
        Some(_) => ComputeLocation::Remote,
        None => locate_computation(&args.model)?,
    };
    let rules = plan.edge.clone().or(args.edge.then(EdgeRules::default));
    let preflight = preflight::inspect(&plan, rules.as_ref(), output.path(), computes);
    preflight::refuse(&preflight)?;
    let options = RunOptions {
        corpus,
        journal: Some(output.path().join(report::JOURNAL)),
        resume: args.resume,
        goal,
        preflight,
        ..RunOptions::default()
    };
    let Measurement { mut report, edges } = match server {
        Some(server) => measure_server(server, &plan, &options, rules.as_ref())?,
        None => measure_engine(&args.model, &plan, &options, rules.as_ref())?,
    };
    // Writes the report of the run even if the search after it failed.
    let search_error = match edges {
        Ok(found) => {
            report.results.analysis.edge = found;
            report.results.recommendations = recommend(&report.results, goal);
            None
        }
        Err(error) => Some(error),
    };
    let written = report::write_reports(&report, &output)?;
    say!("{}", report::text::render(&report.results).trim_end());
    if let Some(found) = &report.results.analysis.edge {
        edge::print_findings(found)?;
    }
    say!("report: {}", written.rendered.html.display());
    if let Some(error) = search_error {
        return Err(error.into());
    }
    Ok(ExitCode::from(report.exit_code(args.strict)))
}

/// Returns where the engine in this process will compute, without starting a device.
fn locate_computation(model: &ModelOptions) -> Result<ComputeLocation, LoadError> {
    let budget_bytes = model.memory_budget_bytes();
    Ok(match model.device()?.kind {
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda(ordinal, _) => {
            let card = cuda_device(ordinal).map_err(|error| error.to_string());
            ComputeLocation::Card { budget_bytes, card }
        }
        DeviceKind::Cpu | DeviceKind::Reference => ComputeLocation::Host { budget_bytes },
    })
}

/// The report of a run, and the findings of the edge search after it, if there was one.
struct Measurement {
    report: Report,
    edges: Result<Option<EdgeFindings>, bigbatch_validate::Error>,
}

/// Runs the plan, and the edge search if `rules` ask for it, on the engine in this process.
fn measure_engine(
    model: &ModelOptions,
    plan: &Plan,
    options: &RunOptions,
    rules: Option<&EdgeRules>,
) -> Result<Measurement, Box<dyn Error>> {
    let engine = model.start_engine(TaskKind::Embed, &VectorOptions::default())?;
    let budget = model.memory_budget_bytes();
    let target = Arc::new(InProcess::new(engine, budget, env!("CARGO_PKG_VERSION")));
    stop_on_interrupt(options)?;
    let tokens = &target.engine().model().tokenizer;
    let measured = target.clone() as Arc<dyn Target>;
    let report = bigbatch_validate::run(plan, measured, tokens, options, &Terminal::new())?;
    let Some(rules) = rules.filter(|_| !options.cancel.is_cancelled()) else {
        return Ok(Measurement { report, edges: Ok(None) });
    };
    // Frees the engine's memory for the engines that the search starts.
    drop(target);
    let tokens = model.load(TaskKind::Embed)?.tokenizer;
    let engines = InProcessEdge::new(model, TaskKind::Embed);
    let edges = find(rules, &engines, &tokens, &options.corpus, &options.cancel).map(Some);
    Ok(Measurement { report, edges })
}

/// Runs the plan, and the edge search if `rules` ask for it, on a server. One runtime connects and sends the
/// load, because connections belong to the runtime that opened them.
fn measure_server(
    server: Server,
    plan: &Plan,
    options: &RunOptions,
    rules: Option<&EdgeRules>,
) -> Result<Measurement, Box<dyn Error>> {
    let runtime = bigbatch_validate::runtime()?;
    let target = Arc::new(runtime.block_on(HttpTarget::connect(&server.options))?);
    note!("{}", target.summary());
    if let Some(fault) = target.metrics_fault() {
        note!("--metrics-url: {fault}");
    }
    stop_on_interrupt(options)?;
    let progress = Terminal::new();
    let run = run_async(plan, target.clone(), &server.tokenizer, options, &progress);
    let report = runtime.block_on(run)?;
    let Some(rules) = rules.filter(|_| !options.cancel.is_cancelled()) else {
        return Ok(Measurement { report, edges: Ok(None) });
    };
    let running = RunningEdge::new(target);
    let (tokens, corpus) = (&server.tokenizer, &options.corpus);
    let search = find_async(rules, &running, tokens, corpus, &options.cancel);
    Ok(Measurement { report, edges: runtime.block_on(search).map(Some) })
}

/// Makes Ctrl-C cancel the run, whose finished cells are then reported.
fn stop_on_interrupt(options: &RunOptions) -> Result<(), ctrlc::Error> {
    let cancel = options.cancel.clone();
    ctrlc::set_handler(move || cancel.cancel())
}
