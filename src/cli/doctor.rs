//! `doctor`: what this machine can do, and the limits that would be set on it.

use std::process::ExitCode;

use bigbatch_engine::device::Device;
use bigbatch_engine::task::TaskKind;
use bigbatch_engine::units;
use bigbatch_validate::Machine;
use clap::Args;

use super::Outcome;
use super::options::ModelOptions;

/// Arguments of `doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    model: ModelOptions,
}

pub(crate) fn doctor(args: Doctor) -> Outcome {
    println!("bigbatch        {}", env!("CARGO_PKG_VERSION"));
    let machine = Machine::read();
    println!("platform        {}, kernel {}", machine.platform, machine.kernel);
    println!("processor       {}, {} threads", machine.cpu, machine.cpu_threads);
    if let Some(memory_bytes) = machine.memory_bytes {
        println!("memory          {}", units::bytes(memory_bytes));
    }
    println!("instruction set {}", bigbatch_engine::backend::cpu::instruction_set());
    println!("cuda            not in this build; build with `--features cuda`");
    let options = args.model.device()?;
    let model = args.model.load(TaskKind::Embed)?;
    let device = Device::start(&model, &options)?;
    println!("model           {}", model.name);
    println!("threads         {}", options.threads);
    println!("memory budget   {}", units::bytes(options.memory_budget_bytes));
    println!("arena           {}", units::bytes(device.arena().capacity_bytes));
    println!("batch           {} tokens", device.max_batch_tokens());
    println!(
        "longest input   {} tokens (the model takes {})",
        model.config.max_tokens.min(device.max_batch_tokens()),
        model.config.max_tokens
    );
    Ok(ExitCode::SUCCESS)
}
