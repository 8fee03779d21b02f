//! Options that several commands share: the model, the device, the memory budget. Options about the texts
//! are in `texts`, those about the system that `validate` measures in `target`.

use std::error::Error;
use std::path::PathBuf;

#[cfg(feature = "cuda")]
use bigbatch_engine::Dtype;
use bigbatch_engine::{
    DefaultPrompt, DeviceKind, DeviceOptions, Engine, EngineOptions, HubOptions, LoadError,
    LoadOptions, Model, Pooling, RopeOverride, TaskKind, units,
};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};

/// The headings of these options in `--help`.
pub(crate) const MODEL: &str = "Model";
const DEVICE: &str = "Device and memory";

/// The model, and the device and memory that it runs in.
#[derive(Args, Clone)]
#[command(next_help_heading = MODEL)]
pub(crate) struct ModelOptions {
    /// Model: a directory, a Hugging Face Hub id (OWNER/NAME or OWNER/NAME@REVISION), or `embedded[:NAME]`;
    /// `embedded` picks the embedded model for the task
    #[arg(long, visible_alias = "model-id", value_name = "SOURCE", default_value = "embedded")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) runtime: RuntimeOptions,
}

/// Where models come from, their device, its arithmetic, and the memory and threads that they may use.
#[derive(Args, Clone)]
#[command(next_help_heading = DEVICE)]
pub(crate) struct RuntimeOptions {
    /// Branch, tag or commit of a model of the Hub that names none with @ [default: main]
    #[arg(long, help_heading = MODEL, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// Directory of the Hub's cache [default: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, or hub in HF_HOME]
    #[arg(long, help_heading = MODEL, value_name = "DIR")]
    huggingface_hub_cache: Option<PathBuf>,
    /// Device: auto, cpu or `cuda[:N]`
    #[arg(long, default_value = "auto", value_parser = parse_device)]
    device: DeviceChoice,
    /// Element type of activations: f32 on the CPU; bf16 (auto) or f16 on CUDA
    #[arg(long, value_enum, default_value_t = DtypeChoice::Auto)]
    dtype: DtypeChoice,
    /// Device memory that the process may hold in total; on the CPU, all memory but the weights of embedded models
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = units::parse_bytes)]
    memory_budget: u64,
    /// Maximum tokens per batch [default: as many as the memory budget holds, at most the larger of the
    /// model's length and 16384 (CPU) or 65536 (CUDA)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    max_batch_tokens: Option<u32>,
    /// Rotary scaling: that of the checkpoint, or an override
    #[arg(long, help_heading = MODEL, value_enum, default_value_t = RopeChoice::Checkpoint)]
    rope: RopeChoice,
    /// Maximum tokens per input, special ones included, at most the model's positions [default: that of the
    /// checkpoint, such as `max_seq_length` of sentence_bert_config.json, else all positions]
    #[arg(long, help_heading = MODEL, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_seq_length: Option<u32>,
    /// Compute threads on the CPU [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Whether the digest of all files of a model is computed.
    #[arg(skip)]
    pub(crate) hash: bool,
}

/// What overrides the checkpoint for vectors of texts.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Vectors")]
pub(crate) struct VectorOptions {
    /// Pooling of token vectors: cls or mean [default: that of the checkpoint, else mean]
    #[arg(long, value_name = "POOLING", value_parser = parse_pooling)]
    pub(crate) pooling: Option<Pooling>,
    /// Prompt before every text that is embedded, unless the request names one of the checkpoint's
    #[arg(long, value_name = "TEXT", conflicts_with = "default_prompt_name")]
    pub(crate) default_prompt: Option<String>,
    /// Name of the checkpoint's prompt that is put before every text that is embedded
    #[arg(long, value_name = "NAME")]
    pub(crate) default_prompt_name: Option<String>,
}

impl VectorOptions {
    /// Returns the first option that is set, as typed.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let set = [
            ("--pooling", self.pooling.is_some()),
            ("--default-prompt", self.default_prompt.is_some()),
            ("--default-prompt-name", self.default_prompt_name.is_some()),
        ];
        set.into_iter().find(|(_, set)| *set).map(|(name, _)| name)
    }
}

/// Parses the pooling. The other values are text-embeddings-inference's.
fn parse_pooling(text: &str) -> Result<Pooling, String> {
    match text {
        "cls" => Ok(Pooling::Cls),
        "mean" => Ok(Pooling::Mean),
        "last-token" | "splade" => Err("it is not computed; use cls or mean".into()),
        _ => Err("use cls or mean".into()),
    }
}

/// The names of the [`ModelOptions`] that the command line sets, as opposed to defaults. Adds no options of
/// its own; flatten it before [`ModelOptions`], whose parser removes the values that it reads.
pub(crate) struct ExplicitModelOptions(Vec<String>);

impl ExplicitModelOptions {
    /// Returns the first, as typed: `--device`.
    pub(crate) fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}

impl FromArgMatches for ExplicitModelOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let options = ModelOptions::augment_args(Command::new(""));
        let given = options.get_arguments().filter(|option| {
            matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine)
        });
        let named = given.filter_map(|option| Some(format!("--{}", option.get_long()?)));
        Ok(ExplicitModelOptions(named.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ExplicitModelOptions {
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

fn parse_device(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "cuda" => Ok(DeviceChoice::Cuda(0)),
        other => match other.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(index)) => Ok(DeviceChoice::Cuda(index)),
            _ => Err("use auto, cpu, cuda or cuda:N".into()),
        },
    }
}

/// Parses seconds from 0 to below a day.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("use seconds from 0 to below 86400, such as 5 or 0.5".into()),
    }
}

/// Parses seconds above 0 and below a day.
pub(crate) fn parse_positive_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 86_400.0 => Ok(seconds),
        _ => Err("use seconds above 0 and below 86400, such as 2 or 0.5".into()),
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
    /// Makes `embedded` stand for the reranker: texts are read in pairs with a query.
    pub(crate) fn prefer_reranker(&mut self) {
        if self.model == "embedded" {
            self.model = "embedded:rerank".into();
        }
    }

    /// Loads the checkpoint; `task` picks the model that `embedded` stands for.
    pub(crate) fn load(&self, task: TaskKind) -> Result<Model, LoadError> {
        self.runtime.load(&self.model, task, &VectorOptions::default())
    }

    /// The value of `--memory-budget`.
    pub(crate) fn memory_budget_bytes(&self) -> u64 {
        self.runtime.memory_budget_bytes()
    }

    /// Converts the options to those of the engine's device.
    ///
    /// # Errors
    /// A `--device` or `--dtype` that this build or the device does not have.
    pub(crate) fn device(&self) -> Result<DeviceOptions, LoadError> {
        self.runtime.device()
    }

    /// Loads the model and starts an engine on it.
    pub(crate) fn start_engine(
        &self,
        task: TaskKind,
        vectors: &VectorOptions,
    ) -> Result<Engine, Box<dyn Error>> {
        let device = self.device()?;
        let model = self.runtime.load(&self.model, task, vectors)?;
        Ok(Engine::start(model, &EngineOptions { device, ..EngineOptions::default() })?)
    }
}

impl RuntimeOptions {
    /// The value of `--memory-budget`.
    pub(crate) fn memory_budget_bytes(&self) -> u64 {
        self.memory_budget
    }

    /// Loads the checkpoint of `source`; `task` picks the model that `embedded` stands for.
    pub(crate) fn load(
        &self,
        source: &str,
        task: TaskKind,
        vectors: &VectorOptions,
    ) -> Result<Model, LoadError> {
        let rope = match self.rope {
            RopeChoice::Checkpoint => RopeOverride::Checkpoint,
            RopeChoice::Yarn => RopeOverride::Yarn,
            RopeChoice::Plain => RopeOverride::Plain,
        };
        let VectorOptions { pooling, default_prompt, default_prompt_name } = vectors.clone();
        let text = default_prompt.map(DefaultPrompt::Text);
        let options = LoadOptions {
            rope,
            max_seq_length: self.max_seq_length.map(|n| n as usize),
            pooling,
            default_prompt: text.or(default_prompt_name.map(DefaultPrompt::Name)),
            hash: self.hash,
        };
        let hub = HubOptions {
            cache_dir: self.huggingface_hub_cache.clone(),
            revision: self.revision.clone(),
        };
        Model::load(&bigbatch_models::resolve(source, task, &hub)?, options)
    }

    /// Converts the options to those of the engine's device.
    ///
    /// # Errors
    /// A `--device` or `--dtype` that this build or the device does not have.
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
            DeviceChoice::Cpu => return self.cpu_kind(),
            DeviceChoice::Cuda(ordinal) => ordinal,
            DeviceChoice::Auto if DeviceKind::auto() == DeviceKind::Cpu => return self.cpu_kind(),
            DeviceChoice::Auto => 0,
        };
        match self.dtype {
            DtypeChoice::Auto | DtypeChoice::Bf16 => Ok(DeviceKind::Cuda(ordinal, Dtype::Bf16)),
            DtypeChoice::F16 => Ok(DeviceKind::Cuda(ordinal, Dtype::F16)),
            DtypeChoice::F32 | DtypeChoice::Int8 => Err(LoadError::Option {
                option: "--dtype",
                reason: "CUDA computes in bf16 or f16 only; use --dtype auto, bf16 or f16".into(),
            }),
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn device_kind(&self) -> Result<DeviceKind, LoadError> {
        match self.device {
            DeviceChoice::Auto | DeviceChoice::Cpu => self.cpu_kind(),
            DeviceChoice::Cuda(_) => Err(LoadError::Option {
                option: "--device",
                reason: "this build has no CUDA backend; build with `--features cuda` or use --device cpu"
                    .into(),
            }),
        }
    }

    fn cpu_kind(&self) -> Result<DeviceKind, LoadError> {
        match self.dtype {
            DtypeChoice::Auto | DtypeChoice::F32 => Ok(DeviceKind::Cpu),
            _ => Err(LoadError::Option {
                option: "--dtype",
                reason: "the CPU computes in f32 only; use --dtype auto or f32".into(),
            }),
        }
    }
}
