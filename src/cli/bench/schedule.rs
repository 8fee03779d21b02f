//! `bench schedule`: the planner against simpler policies on a virtual clock. No model is loaded and no device is used; the
//! simulation is in `bigbatch_validate`.

use std::path::PathBuf;
use std::process::ExitCode;

use bigbatch_validate::report::policies;
use bigbatch_validate::simulation::{Arrivals, Pattern, SimulatedDevice, compare, parse_costs};
use bigbatch_validate::workload::Trace;
use clap::{Args, ValueEnum};

use crate::cli::options::parse_positive_seconds;
use crate::cli::{CommandResult, say};

#[derive(Args)]
pub(super) struct ScheduleBench {
    /// Device whose limits and times are simulated
    #[arg(long, value_enum, default_value_t = Kind::Gpu)]
    device: Kind,
    /// Times of a batch in seconds: BATCH,TOKEN,SQUARE,SEQUENCE, or a JSON file with `batch_seconds`, `token_seconds`,
    /// `square_seconds` and `sequence_seconds` [default: those of an H200, or of two cores]
    #[arg(long, value_name = "A,B,C,D|FILE")]
    costs: Option<String>,
    /// Requests of this file of seconds,tokens lines instead of the built-in traces
    #[arg(long, value_name = "FILE", conflicts_with_all = ["load", "seconds", "seed"])]
    trace: Option<PathBuf>,
    /// Device time of the requests by themselves, in percent of the simulated time
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..=1000))]
    load: u16,
    /// Simulated time of each trace
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_positive_seconds)]
    seconds: f64,
    /// Seed of lengths, clients and times
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// 65536 tokens per batch; the next batch is chosen while one runs
    Gpu,
    /// 16384 tokens per batch
    Cpu,
}

pub(super) fn schedule(options: &ScheduleBench) -> CommandResult {
    let mut device = match options.device {
        Kind::Gpu => SimulatedDevice::gpu(),
        Kind::Cpu => SimulatedDevice::cpu(),
    };
    if let Some(costs) = &options.costs {
        device.costs = parse_costs(costs)?;
    }
    let traces = match &options.trace {
        Some(path) => {
            let trace = Trace::load(path)?;
            vec![Arrivals::from_trace(&trace, &path.display().to_string(), &device)?]
        }
        None => {
            let (load, seconds) = (f64::from(options.load) / 100.0, options.seconds);
            let draw = |pattern| Arrivals::draw(pattern, &device, load, seconds, options.seed);
            Pattern::ALL.into_iter().map(draw).collect::<Result<_, _>>()?
        }
    };
    let comparison = compare(device, options.seed, &traces);
    say!("{}", policies::text(&comparison));
    if let Some(path) = &options.json {
        policies::write(path, &(serde_json::to_string_pretty(&comparison)? + "\n"))?;
        say!("figures: {}", path.display());
    }
    if let Some(path) = &options.html {
        policies::write(path, &policies::html(&comparison))?;
        say!("page: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
