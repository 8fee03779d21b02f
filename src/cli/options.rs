//! Options that several commands share: the model, the device, the memory.

use std::error::Error;

#[cfg(feature = "cuda")]
use bigbatch_engine::Dtype;
use bigbatch_engine::{
    DeviceKind, DeviceOptions, Engine, EngineOptions, LoadError, Model, RopeOverride, TaskKind,
    units,
};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};

/// Which model, and what it may use.
#[derive(Args, Clone)]
pub(crate) struct ModelOptions {
    /// A directory, a Hugging Face Hub id, or `embedded[:NAME]`; `embedded` alone is the one for the task
    #[arg(long, visible_alias = "model-id", value_name = "SOURCE", default_value = "embedded")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) runtime: RuntimeOptions,
}

/// What models run on, and what they may use.
#[derive(Args, Clone)]
pub(crate) struct RuntimeOptions {
    /// auto, cpu or `cuda[:N]`
    #[arg(long, default_value = "auto", value_parser = device)]
    device: DeviceChoice,
    /// Element type of the computation
    #[arg(long, value_enum, default_value_t = DtypeChoice::Auto)]
    dtype: DtypeChoice,
    /// All the memory the device may give; on a CPU everything but mapped weights
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = units::parse_bytes)]
    memory_budget: u64,
    /// Tokens of one batch [default: as many as the budget holds, up to what is useful]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    max_batch_tokens: Option<u32>,
    /// Rotary scaling: as the checkpoint says, or overridden
    #[arg(long, value_enum, default_value_t = RopeChoice::Checkpoint)]
    rope: RopeChoice,
    /// Threads that compute on a CPU [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Which of the [`ModelOptions`] were given and not left at their defaults. It has no options of its own;
/// it has to be flattened before them, since whoever reads options takes them away.
pub(crate) struct GivenModelOptions(Vec<String>);

impl GivenModelOptions {
    /// The first of them, as it is written on a command line.
    pub(crate) fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}

impl FromArgMatches for GivenModelOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let options = ModelOptions::augment_args(Command::new(""));
        let given = options.get_arguments().filter(|option| {
            matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine)
        });
        let named = given.filter_map(|option| Some(format!("--{}", option.get_long()?)));
        Ok(GivenModelOptions(named.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenModelOptions {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
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

/// A time in seconds, none included, less than a day.
pub(crate) fn seconds_or_none(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds from 0 to 86400, such as 5 or 0.5".into()),
    }
}

/// A time in seconds that is more than none and less than a day.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 86_400.0 => Ok(seconds),
        _ => Err("give seconds above 0 and below 86400, such as 2 or 0.5".into()),
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum DtypeChoice {
    Auto,
    #[value(alias = "float32")]
    F32,
    #[value(alias = "bfloat16")]
    Bf16,
    #[value(alias = "float16")]
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
    /// Reads the checkpoint; `task` chooses which embedded model `embedded` alone is.
    pub(crate) fn load(&self, task: TaskKind) -> Result<Model, LoadError> {
        self.runtime.load(&self.model, task)
    }

    /// What `--memory-budget` says.
    pub(crate) fn memory_budget_bytes(&self) -> u64 {
        self.runtime.memory_budget
    }

    /// Options of the device side.
    pub(crate) fn device(&self) -> Result<DeviceOptions, LoadError> {
        self.runtime.device()
    }

    /// A running engine.
    pub(crate) fn engine(&self, task: TaskKind) -> Result<Engine, Box<dyn Error>> {
        let device = self.device()?;
        Ok(Engine::start(self.load(task)?, &EngineOptions { device, ..EngineOptions::default() })?)
    }
}

impl RuntimeOptions {
    /// Reads the checkpoint of a source; `task` chooses which embedded model `embedded` alone is.
    pub(crate) fn load(&self, source: &str, task: TaskKind) -> Result<Model, LoadError> {
        let rope = match self.rope {
            RopeChoice::Checkpoint => RopeOverride::Checkpoint,
            RopeChoice::Yarn => RopeOverride::Yarn,
            RopeChoice::Plain => RopeOverride::Plain,
        };
        Model::load(&bigbatch_models::resolve(source, task)?, rope)
    }

    /// Options of the device side.
    pub(crate) fn device(&self) -> Result<DeviceOptions, LoadError> {
        let defaults = EngineOptions::default().device;
        Ok(DeviceOptions {
            kind: self.device_kind()?,
            threads: self.threads.map_or(defaults.threads, usize::from),
            memory_budget_bytes: self.memory_budget,
            max_batch_tokens: self.max_batch_tokens.map(|n| n as usize),
            ..defaults
        })
    }

    #[cfg(feature = "cuda")]
    fn device_kind(&self) -> Result<DeviceKind, LoadError> {
        let ordinal = match self.device {
            DeviceChoice::Cpu => return self.cpu(),
            DeviceChoice::Cuda(ordinal) => ordinal,
            DeviceChoice::Auto if DeviceKind::auto() == DeviceKind::Cpu => return self.cpu(),
            DeviceChoice::Auto => 0,
        };
        match self.dtype {
            DtypeChoice::Auto | DtypeChoice::Bf16 => Ok(DeviceKind::Cuda(ordinal, Dtype::Bf16)),
            DtypeChoice::F16 => Ok(DeviceKind::Cuda(ordinal, Dtype::F16)),
            DtypeChoice::F32 | DtypeChoice::Int8 => Err(LoadError::Option {
                option: "--dtype",
                reason: "CUDA computes in bf16 or f16; use --dtype auto, bf16 or f16".into(),
            }),
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn device_kind(&self) -> Result<DeviceKind, LoadError> {
        match self.device {
            DeviceChoice::Auto | DeviceChoice::Cpu => self.cpu(),
            DeviceChoice::Cuda(_) => Err(LoadError::Option {
                option: "--device",
                reason: "this build has no CUDA; build with `--features cuda`, or use --device cpu"
                    .into(),
            }),
        }
    }

    fn cpu(&self) -> Result<DeviceKind, LoadError> {
        match self.dtype {
            DtypeChoice::Auto | DtypeChoice::F32 => Ok(DeviceKind::Cpu),
            _ => Err(LoadError::Option {
                option: "--dtype",
                reason: "the CPU computes in f32; use --dtype auto or f32".into(),
            }),
        }
    }
}
