//! The concurrency benchmark of the Big Batch Test Plan: latency and success rate with C requests in flight at
//! each length.
//!
//! `cargo run --release --example benchmark_concurrent [-- --model SOURCE --plan FILE]`, on a GPU with
//! `--features cuda` (or `cuda,flash-attn`).
//!
//! Prints the table of `bigbatch validate` and writes no report.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bigbatch_engine::{
    DeviceKind, Engine, EngineOptions, HubOptions, Model, RopeOverride, TaskKind,
};
use bigbatch_validate::report::text;
use bigbatch_validate::system::{InProcess, Target};
use bigbatch_validate::{Plan, RunOptions, Terminal, run};
use clap::Parser;

/// Lengths on a GPU: those of the plan.
const TOKENS: [usize; 3] = [1024, 4096, 8192];
/// Lengths and seconds per cell on a CPU, chosen so that the run ends within three minutes.
const TOKENS_CPU: [usize; 3] = [128, 512, 1024];
const CELL_SECONDS_CPU: f64 = 10.0;
const CONCURRENCY: [usize; 4] = [1, 10, 50, 100];

#[derive(Parser)]
struct Args {
    /// Model: a directory, a Hugging Face Hub id, or `embedded[:NAME]`
    #[arg(long, default_value = "embedded")]
    model: String,
    /// Plan to run instead of C = 1, 10, 50, 100
    #[arg(long, value_name = "FILE.toml")]
    plan: Option<PathBuf>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let mut options = EngineOptions::default();
    options.device.kind = DeviceKind::auto();
    let plan = match &args.plan {
        Some(path) => Plan::load(path)?,
        None if options.device.kind != DeviceKind::Cpu => {
            Plan::matrix("benchmark_concurrent", &TOKENS, &CONCURRENCY)
        }
        None => {
            println!(
                "on the CPU: {TOKENS_CPU:?} tokens instead of the plan's {TOKENS:?}, at most \
                 {CELL_SECONDS_CPU} s per cell"
            );
            let mut plan = Plan::matrix("benchmark_concurrent", &TOKENS_CPU, &CONCURRENCY);
            plan.cell.time_limit_seconds = CELL_SECONDS_CPU;
            // Shorter than the cell: a request that takes longer must count as a failure, not extend the warm-up.
            plan.cell.request_timeout_seconds = 0.9 * CELL_SECONDS_CPU;
            plan
        }
    };
    let checkpoint =
        bigbatch_models::resolve(&args.model, TaskKind::Embed, &HubOptions::default())?;
    let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
    let budget = options.device.memory_budget_bytes;
    let engine = Engine::start(model, &options)?;
    let target = Arc::new(InProcess::new(engine, budget, env!("CARGO_PKG_VERSION")));
    let tokens = &target.engine().model().tokenizer;
    let run_options = RunOptions::default();
    let report =
        run(&plan, target.clone() as Arc<dyn Target>, tokens, &run_options, &Terminal::new())?;
    print!("{}", text::render(&report.results));
    Ok(ExitCode::from(report.exit_code(false)))
}
