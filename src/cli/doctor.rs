//! `doctor`: what this machine can do, and the limits that would be set on it.

use std::process::ExitCode;

use bigbatch_engine::device::Device;
use bigbatch_engine::task::TaskKind;
use bigbatch_engine::units;
use bigbatch_validate::Machine;
use clap::Args;

use super::options::ModelOptions;
use super::{Outcome, say};

/// Arguments of `doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    model: ModelOptions,
}

pub(crate) fn doctor(args: Doctor) -> Outcome {
    say!("bigbatch        {}", env!("CARGO_PKG_VERSION"));
    let machine = Machine::read();
    say!("platform        {}, kernel {}", machine.platform, machine.kernel);
    say!("processor       {}, {} threads", machine.cpu, machine.cpu_threads);
    if let Some(memory_bytes) = machine.memory_bytes {
        say!("memory          {}", units::bytes(memory_bytes));
    }
    say!("instruction set {}", bigbatch_engine::backend::cpu::instruction_set());
    say!("cuda            not in this build; build with `--features cuda`");
    let options = args.model.device()?;
    let model = args.model.load(TaskKind::Embed)?;
    let device = Device::start(&model, &options)?;
    say!("model           {}", model.name);
    say!("threads         {}", options.threads);
    say!("memory budget   {}", units::bytes(options.memory_budget_bytes));
    say!("arena           {}", units::bytes(device.arena().capacity_bytes));
    say!("batch           {} tokens", device.max_batch_tokens());
    say!(
        "longest input   {} tokens (the model takes {})",
        model.config.max_tokens.min(device.max_batch_tokens()),
        model.config.max_tokens
    );
    Ok(ExitCode::SUCCESS)
}
