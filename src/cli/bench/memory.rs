//! `bench memory`: the cost of several ways to find memory for a batch's buffers.
//!
//! It collects the batches, simulated or from a validation's records, picks the strategies that the device
//! has, and prints their figures. How they are measured is in `bigbatch_allocators`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bigbatch_allocators::{
    AllocatorFactory, BufferPlan, CachingAllocator, ExperimentSetup, HostArena, HostPerOperation,
    MemoryExperiment, RecordedSequence, Strategy, Traffic, compare,
};
use bigbatch_engine::{Device, DeviceError, DeviceKind, Limits, LoadError, TaskKind, units};
use bigbatch_validate::Error;
use bigbatch_validate::load::records::read_requests;
use bigbatch_validate::report::{OutputDir, experiment};
use clap::Args;

use crate::cli::options::ModelOptions;
use crate::cli::{CommandResult, say};

#[derive(Args)]
pub(super) struct MemoryBench {
    #[command(flatten)]
    model: ModelOptions,
    /// Batches to replay
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batches: u32,
    /// Clients at a time; every few batches another of these
    #[arg(long, value_name = "C,...", value_delimiter = ',', default_value = "1,10,50,100",
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: Vec<u16>,
    /// Longest text in tokens [default: as long as the model and the budget take]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    longest: Option<u32>,
    /// Seed of lengths and clients
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Replay the batches that a validation wrote down instead
    #[arg(long, value_name = "requests.jsonl.zst", conflicts_with_all = ["seed", "concurrency", "batches", "longest"])]
    requests: Option<PathBuf>,
    /// Timed passes over the traffic
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also write memory.json, memory.html and memory.svg here; `bigbatch report` of the same directory shows
    /// them in its report
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn memory(options: &MemoryBench) -> CommandResult {
    let output = options.out.as_deref().map(OutputDir::create).transpose()?;
    let model = options.model.load(TaskKind::Embed)?;
    let device_options = options.model.device()?;
    let device = Device::start(&model, &device_options)?;
    let plan = BufferPlan::new(&model, device.workspace());
    let limits = Limits {
        max_batch_tokens: device.max_batch_tokens(),
        max_batch_sequences: device.max_batch_sequences(),
        max_masks: 0,
    };
    let fixed_bytes = device.memory_plan().fixed_bytes;
    let setup = ExperimentSetup {
        model: model.name.clone(),
        device: device.info().name.clone(),
        dtype: device.info().dtype.to_string(),
        budget_bytes: device_options.memory_budget_bytes.saturating_sub(fixed_bytes),
    };
    // Its arena would take memory away from the strategies'.
    drop(device);

    let longest = options.longest.map_or(model.config.max_tokens, |longest| longest as usize);
    let concurrency: Vec<usize> = options.concurrency.iter().copied().map(usize::from).collect();
    let batches = options.batches as usize;
    let traffic = match &options.requests {
        Some(path) => recorded(path, limits)?,
        None => Traffic::simulate(options.seed, limits, longest, &concurrency, batches),
    };
    if traffic.batches.is_empty() {
        let reason =
            "the records name no batch; record a validation of a target that reports its batches";
        return Err(LoadError::Option { option: "--requests", reason: reason.into() }.into());
    }
    let strategies = strategies(device_options.kind, plan.capacity_bytes(), setup.budget_bytes)?;
    let found = compare(setup, &plan, &traffic, &strategies, options.repeats.into())?;
    if options.json {
        say!("{}", serde_json::to_string(&found)?);
    } else {
        print(&found)?;
    }
    for path in output.iter().map(|output| experiment::write(&found, output)) {
        for path in path?.iter().filter(|_| !options.json) {
            say!("{}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a validation's batches, as far as its records name the batch that each request ran in.
fn recorded(path: &Path, limits: Limits) -> Result<Traffic, Error> {
    let unreadable = |fault: std::io::Error| Error::ReportUnreadable {
        path: path.to_owned(),
        message: fault.to_string(),
    };
    let records = File::open(path).and_then(read_requests).map_err(unreadable)?;
    let sequences = records.iter().filter_map(|record| {
        let batch = record.batch.as_ref()?.id;
        Some(RecordedSequence { cell: record.cell, batch, tokens: record.tokens })
    });
    Ok(Traffic::from_records(&path.display().to_string(), sequences, limits))
}

type Strategies = Vec<(&'static str, AllocatorFactory<'static>)>;

fn strategies(
    kind: DeviceKind,
    arena_bytes: usize,
    budget_bytes: u64,
) -> Result<Strategies, DeviceError> {
    let mut all: Strategies = match kind {
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda(ordinal, _) => device_strategies(ordinal, arena_bytes)?,
        _ => vec![
            ("arena", Box::new(move || Ok(Box::new(HostArena::new(arena_bytes))))),
            ("allocate per operation", Box::new(|| Ok(Box::new(HostPerOperation::default())))),
        ],
    };
    let cache: AllocatorFactory<'static> =
        Box::new(move || Ok(Box::new(CachingAllocator::new(budget_bytes))));
    all.push(("best-fit caching (simulated)", cache));
    Ok(all)
}

#[cfg(feature = "cuda")]
fn device_strategies(ordinal: usize, arena_bytes: usize) -> Result<Strategies, DeviceError> {
    use bigbatch_allocators::cuda::{DeviceArena, DevicePerOperation, StreamOrderedPool};
    use bigbatch_engine::backend::cuda::driver::device::DeviceContext;

    let device = DeviceContext::open(ordinal)?;
    let (arena, keep, give, each) = (device.clone(), device.clone(), device.clone(), device);
    Ok(vec![
        ("arena", Box::new(move || Ok(Box::new(DeviceArena::new(&arena, arena_bytes)?)))),
        (
            "stream-ordered pool, keeps all",
            Box::new(move || Ok(Box::new(StreamOrderedPool::new(&keep, u64::MAX)?))),
        ),
        (
            "stream-ordered pool, threshold 0",
            Box::new(move || Ok(Box::new(StreamOrderedPool::new(&give, 0)?))),
        ),
        ("allocate per operation", Box::new(move || Ok(Box::new(DevicePerOperation::new(&each)?)))),
    ])
}

fn print(found: &MemoryExperiment) -> std::io::Result<()> {
    let traffic = &found.traffic;
    say!("{} on {}, {}", found.model, found.device, found.dtype);
    say!("{}", traffic.origin);
    say!(
        "{} batches of {} to {} tokens, {:.0} buffers each, up to {} live at once; {} may be reserved",
        traffic.batches,
        traffic.batch_tokens.0,
        traffic.batch_tokens.1,
        found.buffers_per_batch,
        units::bytes(found.demand_bytes_max),
        units::bytes(found.budget_bytes)
    );
    say!(
        "{:<34} {:>29} {:>17} {:>8} {:>10} {:>10} {:>10} {:>13} {:>7} {:>7}",
        "strategy",
        "allocator, us per batch",
        "batch, us",
        "calls",
        "reserved",
        "used",
        "idle",
        "fragmentation",
        "failed",
        "over"
    );
    say!(
        "{:<34} {:>10} {:>18} {:>17} {:>8} {:>10} {:>10} {:>10} {:>13} {:>7} {:>7}",
        "",
        "median",
        "(passes) p95",
        "median / p95",
        "a batch",
        "most",
        "most",
        "reserved",
        "most / idle",
        "batches",
        "budget"
    );
    for strategy in &found.strategies {
        row(strategy)?;
    }
    Ok(())
}

fn row(strategy: &Strategy) -> std::io::Result<()> {
    if let Some(reason) = &strategy.not_run {
        say!("{:<34} not run: {reason}", strategy.name);
        return Ok(());
    }
    let none = || "-".to_owned();
    let [median, spread, batch] = match (strategy.allocator_us, strategy.batch_us) {
        (Some(inside), Some(batch)) => {
            let (least, most) = inside.median_by_pass;
            [
                format!("{:.1}", inside.median),
                format!("({least:.1}-{most:.1}) {:.1}", inside.p95),
                format!("{:.0} / {:.0}", batch.median, batch.p95),
            ]
        }
        _ => [none(), none(), none()],
    };
    let percent =
        |share: Option<f64>| share.map_or_else(none, |share| format!("{:.1}%", share * 100.0));
    let fragmentation = match strategy.fragmentation_max {
        Some(_) => format!(
            "{} / {}",
            percent(strategy.fragmentation_max),
            percent(strategy.fragmentation_idle_mean)
        ),
        None => none(),
    };
    say!(
        "{:<34} {median:>10} {spread:>18} {batch:>17} {:>8} {:>10} {:>10} {:>10} {fragmentation:>13} {:>7} {:>7}",
        strategy.name,
        strategy.system_calls_per_batch.map_or_else(none, |calls| format!("{calls:.2}")),
        units::bytes(strategy.reserved_bytes_max),
        units::bytes(strategy.used_bytes_max),
        units::bytes(strategy.reserved_bytes_idle),
        strategy.batches_failed,
        strategy.batches_over_budget
    );
    Ok(())
}
