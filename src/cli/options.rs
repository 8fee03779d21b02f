//! Options that several commands share: the model, the device, the memory.

use std::error::Error;
use std::num::NonZeroUsize;

use bigbatch_engine::device::{DeviceKind, DeviceOptions};
use bigbatch_engine::engine::{Engine, EngineOptions};
use bigbatch_engine::error::LoadError;
use bigbatch_engine::model::{Checkpoint, Model, RopeOverride};
use bigbatch_engine::task::TaskKind;
use bigbatch_engine::units;
use clap::{Args, ValueEnum};

/// Which model, and what it may use.
#[derive(Args, Clone)]
pub(crate) struct ModelOptions {
    /// A directory, a Hugging Face Hub id, or embedded[:NAME]
    #[arg(long, visible_alias = "model-id", value_name = "SOURCE", default_value = "embedded")]
    pub(crate) model: String,
    /// auto, cpu or cuda[:N]
    #[arg(long, default_value = "auto", value_parser = device)]
    device: DeviceChoice,
    /// Element type of the computation
    #[arg(long, value_enum, default_value_t = DtypeChoice::Auto)]
    dtype: DtypeChoice,
    /// All the memory the device may give; on a CPU everything but mapped weights
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = units::parse_bytes)]
    memory_budget: u64,
    /// Tokens of one batch [default: as many as the budget holds, up to what is useful]
    #[arg(long, value_name = "N")]
    max_batch_tokens: Option<NonZeroUsize>,
    /// Rotary scaling: as the checkpoint says, or overridden
    #[arg(long, value_enum, default_value_t = RopeChoice::Checkpoint)]
    rope: RopeChoice,
    /// Threads that compute on a CPU [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, PartialEq)]
enum DeviceChoice {
    Auto,
    Cpu,
    Cuda(usize),
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "cuda" => Ok(DeviceChoice::Cuda(0)),
        other => match other.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => Ok(DeviceChoice::Cuda(index)),
            _ => Err("devices are auto, cpu, cuda and cuda:N".into()),
        },
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum DtypeChoice {
    Auto,
    F32,
    Bf16,
    F16,
    Int8,
}

#[derive(Clone, Copy, ValueEnum)]
enum RopeChoice {
    Checkpoint,
    Yarn,
    Plain,
}

impl ModelOptions {
    /// Reads the checkpoint; `task` chooses among embedded models of one name.
    pub(crate) fn load(&self, task: TaskKind) -> Result<Model, LoadError> {
        let rope = match self.rope {
            RopeChoice::Checkpoint => RopeOverride::Checkpoint,
            RopeChoice::Yarn => RopeOverride::Yarn,
            RopeChoice::Plain => RopeOverride::Plain,
        };
        Model::load(&Checkpoint::resolve(&self.model, task)?, rope)
    }

    /// Options of the device side.
    pub(crate) fn device(&self) -> Result<DeviceOptions, LoadError> {
        let defaults = EngineOptions::default().device;
        if let DeviceChoice::Cuda(_) = self.device {
            return Err(LoadError::Option {
                option: "--device",
                reason: "this build has no CUDA; build with `--features cuda`, or use --device cpu"
                    .into(),
            });
        }
        if !matches!(self.dtype, DtypeChoice::Auto | DtypeChoice::F32) {
            return Err(LoadError::Option {
                option: "--dtype",
                reason: "the CPU computes in f32; use --dtype auto or f32".into(),
            });
        }
        Ok(DeviceOptions {
            kind: DeviceKind::Cpu,
            threads: self.threads.map_or(defaults.threads, NonZeroUsize::get),
            memory_budget_bytes: self.memory_budget,
            max_batch_tokens: self.max_batch_tokens.map(NonZeroUsize::get),
            ..defaults
        })
    }

    /// A running engine.
    pub(crate) fn engine(&self, task: TaskKind) -> Result<Engine, Box<dyn Error>> {
        let device = self.device()?;
        Ok(Engine::start(self.load(task)?, &EngineOptions { device, ..EngineOptions::default() })?)
    }
}
