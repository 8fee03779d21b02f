//! `doctor`: prints the processor, memory and GPUs of this machine, and the limits that the options would set.
//! Starts the device and loads the model, as the other commands do, but runs no batch.

use std::process::ExitCode;

use bigbatch_engine::{Device, TaskKind, host, units};
use bigbatch_validate::Machine;
use clap::Args;

use super::options::ModelOptions;
use super::terminal::escape;
use super::{CommandResult, say};

/// Arguments of `doctor`.
#[derive(Args)]
#[command(after_help = "\
Example:
  bigbatch doctor --model DIR --device cuda --memory-budget 2GiB")]
pub(crate) struct Doctor {
    #[command(flatten)]
    model: ModelOptions,
}

pub(crate) fn doctor(args: Doctor) -> CommandResult {
    say!("bigbatch        {}", env!("CARGO_PKG_VERSION"));
    let machine = Machine::read();
    say!("platform        {}, kernel {}", machine.platform, machine.kernel);
    say!("processor       {}, {} threads", machine.cpu, machine.cpu_threads);
    if let Some(memory_bytes) = machine.memory_bytes {
        say!("memory          {}", units::bytes(memory_bytes));
    }
    say!(
        "request memory  {} of {} (serve --host-memory-budget)",
        units::bytes(bigbatch_server::memory::default_budget_bytes() as u64),
        host::memory_limit_bytes().map_or_else(|| "unknown".into(), units::bytes)
    );
    say!("instruction set {}", bigbatch_engine::backend::cpu::instruction_set());
    print_cuda_devices()?;
    let options = args.model.device()?;
    let model = args.model.load(TaskKind::Embed)?;
    let device = Device::start(&model, &options)?;
    say!("device          {}, {}", device.info().name, device.info().dtype);
    say!("model           {}", escape(&model.name));
    say!("threads         {}", options.threads);
    say!("memory budget   {}", units::bytes(options.memory_budget_bytes));
    #[cfg(feature = "cuda")]
    if let Some(report) = device.cuda_report() {
        say!("used            {} according to the driver", units::bytes(report.used_bytes));
        say!("context         {}", units::bytes(report.context_bytes + report.loaded_bytes));
        say!("weights         {}", units::bytes(report.weight_bytes));
        say!("graphs          {} in {}", report.graphs.len(), units::bytes(report.graph_bytes));
        say!("cublasLt        {}", report.cublaslt_version);
    }
    say!("arena           {}", units::bytes(device.arena().capacity_bytes));
    say!("largest batch   {} tokens", device.max_batch_tokens());
    say!(
        "longest input   {} tokens (limit of the model: {})",
        model.config.max_tokens.min(device.max_batch_tokens()),
        model.config.max_tokens
    );
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "cuda"))]
fn print_cuda_devices() -> std::io::Result<()> {
    say!("cuda            not in this build; build with `--features cuda`");
    Ok(())
}

/// Prints one line per CUDA device, or why there is none.
#[cfg(feature = "cuda")]
fn print_cuda_devices() -> std::io::Result<()> {
    match bigbatch_engine::backend::cuda::driver::device::list() {
        Ok(devices) if devices.is_empty() => say!("cuda            no device found"),
        Err(error) => say!("cuda            {error}"),
        Ok(devices) => {
            for (ordinal, device) in devices.iter().enumerate() {
                let (major, minor) = device.capability;
                let (driver_major, driver_minor) = device.driver_version;
                say!(
                    "cuda:{ordinal:<10} {}, {}, compute capability {major}.{minor}, driver for CUDA \
                     {driver_major}.{driver_minor}",
                    device.name,
                    units::bytes(device.memory_bytes)
                );
            }
        }
    }
    Ok(())
}
