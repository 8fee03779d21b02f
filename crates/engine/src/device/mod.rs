//! The device side of the engine: packed token ids in, rows of floats out.
//!
//! It takes and returns plain data and knows no requests, so that it can live in a process of its own.

#[cfg(feature = "cuda")]
mod cuda;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::cpu::{self, CpuBackend};
use crate::backend::reference::ReferenceBackend;
use crate::backend::{
    ArenaUsage, Backend, Ceilings, DeviceMemory, Fetch, Op, RopeTable, View, WeightTable,
    converted_bytes,
};
use crate::batch::PackedBatch;
use crate::dtype::Dtype;
use crate::error::{DeviceError, LoadError};
use crate::model::modernbert::forward::{self, Program};
use crate::model::{Architecture, Config, Model, Workspace};

/// Where to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// Host threads.
    #[default]
    Cpu,
    /// The oracle: slow, for tests.
    Reference,
    /// A CUDA device by its index, computing in bf16 or f16.
    #[cfg(feature = "cuda")]
    Cuda(usize, crate::dtype::Dtype),
}

impl DeviceKind {
    /// The first CUDA device in bf16, where this build has CUDA and the machine a device; else the CPU.
    pub fn auto() -> DeviceKind {
        #[cfg(feature = "cuda")]
        if crate::backend::cuda::driver::device::list().is_ok_and(|devices| !devices.is_empty()) {
            return DeviceKind::Cuda(0, Dtype::Bf16);
        }
        DeviceKind::Cpu
    }
}

/// What the device side may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Where to run.
    pub kind: DeviceKind,
    /// Threads of a host backend.
    pub threads: usize,
    /// Everything but mapped weights, on a host.
    pub memory_budget_bytes: u64,
    /// `None`: as many as the budget holds, up to what is useful.
    pub max_batch_tokens: Option<usize>,
    /// Sequences of one batch.
    pub max_batch_sequences: usize,
}

/// Where a budget went, and which one would be the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// Everything beside the arena: weights, tables, and on a device its context and code.
    pub fixed_bytes: u64,
    /// The arena.
    pub arena_bytes: u64,
    /// Tokens of the largest batch that it holds.
    pub max_batch_tokens: usize,
    /// The smallest budget with which this model should start.
    pub least_budget_bytes: u64,
}

/// Tokens of a batch beyond which a larger one runs no faster, when nothing needs more.
const USEFUL_BATCH_TOKENS: usize = 16_384;

/// A budget that does not hold a batch of this many tokens is refused (or of the model's length, for
/// shorter models).
const LEAST_BATCH_TOKENS: usize = 512;

/// What a device is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `cpu, 16 threads`; `cuda:0, NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Element type of weights and activations.
    pub dtype: Dtype,
}

/// Reads how much of the device's memory is in use, from any thread; `None` on a host.
pub type MemoryMeter = Arc<dyn Fn() -> Option<DeviceMemory> + Send + Sync>;

/// Rows that a batch returned, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputRows {
    /// [segments, hidden]: base and masked-LM models.
    pub pooled: Vec<f32>,
    /// [segments, labels], [T, labels] or [mask rows, vocab], by the model's head.
    pub logits: Vec<f32>,
    /// [rows, hidden] of [`PackedBatch::hidden_rows`].
    pub hidden: Vec<f32>,
}

/// A batch on the device.
#[derive(Debug)]
pub struct Running {
    /// Handing the batch to the device, before the first launch. Reading back is part of the compute.
    pub copy_in: Duration,
    pooled: Option<Fetch>,
    logits: Option<Fetch>,
    hidden: Option<Fetch>,
}

/// A model on a device, with the arena that its batches run in.
pub struct Device {
    backend: Box<dyn Backend>,
    config: Config,
    architecture: Architecture,
    workspace: Workspace,
    info: DeviceInfo,
    meter: MemoryMeter,
    memory_plan: MemoryPlan,
    #[cfg(feature = "cuda")]
    cuda_report: Option<crate::backend::cuda::StartReport>,
}

impl Device {
    /// Plans the arena within the budget and makes the backend.
    ///
    /// # Errors
    /// [`LoadError::Budget`] saying how much is needed, or what the backend refuses.
    pub fn start(model: &Model, options: &DeviceOptions) -> Result<Device, LoadError> {
        #[cfg(feature = "cuda")]
        if let DeviceKind::Cuda(ordinal, dtype) = options.kind {
            return cuda::start(model, options, ordinal, dtype);
        }
        let (workspace, memory_plan) = plan(model, options)?;
        let config = model.config.clone();
        let weights = WeightTable::new(&model.architecture.tensors, &model.weights)?;
        let ropes = config.rope_tables(workspace.max_tokens);
        let (heads, eps, bytes) = (config.num_attention_heads, config.norm_eps, workspace.bytes);
        let threads = options.threads;
        let backend: Box<dyn Backend> = if options.kind == DeviceKind::Reference {
            Box::new(ReferenceBackend::new(weights, ropes.into(), heads, eps, bytes))
        } else {
            Box::new(CpuBackend::new(weights, ropes.into(), heads, eps, bytes, threads)?)
        };
        Ok(Device {
            backend,
            config,
            architecture: model.architecture.clone(),
            workspace,
            info: DeviceInfo { name: format!("cpu, {threads} threads"), dtype: Dtype::F32 },
            meter: Arc::new(|| None),
            memory_plan,
            #[cfg(feature = "cuda")]
            cuda_report: None,
        })
    }

    /// Bytes that a model's weights take of the memory budget; mapped ones take none of a host's.
    ///
    /// # Errors
    /// [`LoadError::Weights`] where one is missing.
    pub fn weight_bytes(model: &Model, kind: DeviceKind) -> Result<u64, LoadError> {
        match kind {
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda(_, dtype) => Ok(model.parameters() * dtype.size_bytes() as u64),
            _ => converted_bytes(&model.architecture.tensors, &model.weights),
        }
    }

    /// What start-up chose and measured on a CUDA device.
    #[cfg(feature = "cuda")]
    pub fn cuda_report(&self) -> Option<&crate::backend::cuda::StartReport> {
        self.cuda_report.as_ref()
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// A reader of its memory that outlives nothing but itself.
    pub fn memory_meter(&self) -> MemoryMeter {
        self.meter.clone()
    }

    /// Where the budget went.
    pub fn memory_plan(&self) -> MemoryPlan {
        self.memory_plan
    }

    /// The regions of the arena that activations lie in, sized for the largest batch.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The most tokens of one batch, and so of one sequence.
    pub fn max_batch_tokens(&self) -> usize {
        self.workspace.max_tokens
    }

    /// The most sequences of one batch.
    pub fn max_batch_sequences(&self) -> usize {
        self.workspace.max_sequences
    }

    /// How much of the arena is in use.
    pub fn arena(&self) -> ArenaUsage {
        self.backend.arena()
    }

    /// Runs one batch. A panic below is caught: it fails this batch, not the engine.
    ///
    /// # Errors
    /// [`DeviceError`] when a launch or a copy fails.
    pub fn forward(&mut self, batch: &PackedBatch) -> Result<OutputRows, DeviceError> {
        let running = self.start_batch(batch)?;
        self.finish_batch(running)
    }

    /// Hands one batch to the device. The next one may be started before this one is finished, but not the
    /// one after it; batches run in the order started.
    ///
    /// # Errors
    /// As [`Device::forward`].
    pub fn start_batch(&mut self, batch: &PackedBatch) -> Result<Running, DeviceError> {
        self.guarded(|device| {
            let started = Instant::now();
            device.backend.begin(batch)?;
            let copy_in = started.elapsed();
            let program = device.launch(batch)?;
            let mut fetch =
                |view: Option<View>| view.map(|view| device.backend.fetch(&view)).transpose();
            let (pooled, logits) = (fetch(program.pooled)?, fetch(program.logits)?);
            Ok(Running { pooled, logits, hidden: fetch(program.hidden_rows)?, copy_in })
        })
    }

    /// Waits for a batch and takes its rows.
    ///
    /// # Errors
    /// As [`Device::forward`].
    pub fn finish_batch(&mut self, running: Running) -> Result<OutputRows, DeviceError> {
        self.guarded(|device| {
            let mut collect = |fetch: Option<Fetch>| {
                fetch.map_or(Ok(Vec::new()), |fetch| device.backend.collect(fetch))
            };
            let (pooled, logits) = (collect(running.pooled)?, collect(running.logits)?);
            Ok(OutputRows { pooled, logits, hidden: collect(running.hidden)? })
        })
    }

    /// Whether [`Device::start_batch`] returns before the batch has run.
    pub fn runs_behind(&self) -> bool {
        self.backend.runs_behind()
    }

    /// The same device with another backend around its own.
    pub(crate) fn map_backend(
        mut self,
        map: impl FnOnce(Box<dyn Backend>) -> Box<dyn Backend>,
    ) -> Device {
        self.backend = map(self.backend);
        self
    }

    /// The final hidden states of a batch, [T, hidden].
    ///
    /// # Errors
    /// As [`Device::forward`].
    pub fn hidden(&mut self, batch: &PackedBatch) -> Result<Vec<f32>, DeviceError> {
        self.guarded(|device| {
            device.backend.begin(batch)?;
            let program = device.launch(batch)?;
            let rows = device.backend.fetch(&program.hidden)?;
            device.backend.collect(rows)
        })
    }

    /// Seconds of the launches of a batch that `select` picks, all of them together, once for each repeat.
    ///
    /// # Errors
    /// As [`Device::forward`].
    pub fn time(
        &mut self,
        batch: &PackedBatch,
        select: impl Fn(&Op) -> bool,
        repeats: usize,
    ) -> Result<Vec<f64>, DeviceError> {
        self.guarded(|device| {
            device.backend.begin(batch)?;
            let program = device.launch(batch)?;
            let ops: Vec<Op> = program.ops.into_iter().filter(|op| select(op)).collect();
            device.backend.time(&ops, repeats)
        })
    }

    /// The backend itself: how a test runs one operation alone.
    pub fn backend(&mut self) -> &mut dyn Backend {
        self.backend.as_mut()
    }

    /// What the device reaches at best.
    ///
    /// # Errors
    /// The backend's.
    pub fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        self.guarded(|device| device.backend.ceilings())
    }

    /// The launches of the batch that the backend has begun.
    fn launch(&mut self, batch: &PackedBatch) -> Result<Program, DeviceError> {
        let program = forward::program(&self.config, &self.architecture, &self.workspace, batch);
        for op in &program.ops {
            self.backend.launch(op)?;
        }
        Ok(program)
    }

    fn guarded<R>(
        &mut self,
        run: impl FnOnce(&mut Device) -> Result<R, DeviceError>,
    ) -> Result<R, DeviceError> {
        catch_unwind(AssertUnwindSafe(|| run(self))).unwrap_or_else(|panic| {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            let device = "device".into();
            Err(DeviceError::Call {
                device,
                call: "forward pass",
                reason: format!("panic: {said}"),
            })
        })
    }
}

fn least_batch_tokens(model: &Model, options: &DeviceOptions) -> usize {
    options.max_batch_tokens.unwrap_or(model.config.max_tokens.min(LEAST_BATCH_TOKENS))
}

/// The largest workspace that the budget holds, and where the budget went.
fn plan(model: &Model, options: &DeviceOptions) -> Result<(Workspace, MemoryPlan), LoadError> {
    let config = &model.config;
    let weights = converted_bytes(&model.architecture.tensors, &model.weights)?;
    let scratch = cpu::scratch_bytes(options.threads, config.head_dim()) as u64;
    let at = |tokens: usize| {
        let workspace = Workspace::plan(
            config,
            &model.architecture,
            Dtype::F32,
            tokens,
            options.max_batch_sequences.min(tokens),
        );
        let ropes = 2 * RopeTable::bytes(config.head_dim() / 2, tokens) as u64;
        let total = weights + scratch + ropes + workspace.bytes as u64;
        (workspace, total)
    };
    let fits = |tokens: usize| at(tokens).1 <= options.memory_budget_bytes;
    let least = least_batch_tokens(model, options);
    let least_budget_bytes = at(least).1;
    let planned = |tokens: usize| {
        let (workspace, total) = at(tokens);
        let plan = MemoryPlan {
            fixed_bytes: total - workspace.bytes as u64,
            arena_bytes: workspace.bytes as u64,
            max_batch_tokens: workspace.max_tokens,
            least_budget_bytes,
        };
        (workspace, plan)
    };
    if !fits(least) {
        return Err(LoadError::Budget {
            model: model.name.clone(),
            budget_bytes: options.memory_budget_bytes,
            needed_bytes: least_budget_bytes,
            detail: format!(
                "{} of weights converted to f32, the rest for batches of {least} tokens",
                crate::units::bytes(weights)
            ),
        });
    }
    if options.max_batch_tokens.is_some() {
        return Ok(planned(least));
    }
    let (mut low, mut high) = (least, config.max_tokens.max(USEFUL_BATCH_TOKENS).max(least));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    Ok(planned(low))
}
