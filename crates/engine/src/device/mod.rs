//! The device side of the engine: packed token ids in, rows of floats out.
//!
//! It takes and returns plain data and has no notion of requests, so that it can live in a process of its own. It
//! runs the operations that [`crate::model`] lists on a [`Backend`]; `plan.rs` divides the memory budget,
//! `options.rs` holds what a caller chooses. Threads and queues are [`crate::engine`]'s.

#[cfg(feature = "cuda")]
mod cuda;
mod options;
mod plan;
mod slices;

pub use options::{DeviceKind, DeviceOptions};
pub use plan::MemoryPlan;

use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::allocation::require_host_memory;
use crate::backend::cpu::CpuBackend;
use crate::backend::reference::ReferenceBackend;
use crate::backend::{
    ArenaUsage, Backend, Ceilings, DeviceMemory, Fetch, Op, View, WeightTable, owned_bytes,
};
use crate::batch::passing::Turns;
use crate::batch::size::BatchSize;
use crate::batch::{Limits, OutputRows, PackedBatch};
use crate::dtype::Dtype;
use crate::error::{DeviceError, LoadError};
use crate::model::modernbert::forward::{self, Program};
use crate::model::{Architecture, Config, Model, Workspace};
use crate::panics;
use slices::{Slice, SliceTimer, Slicer, Slicing};

/// Name and element type of a device, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `cpu, 16 threads`; `cuda:0, NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Element type of weights and activations.
    pub dtype: Dtype,
}

/// Reads the device's memory use, from any thread; `None` on a host.
pub type MemoryMeter = Arc<dyn Fn() -> Option<DeviceMemory> + Send + Sync>;

/// A batch that the device was given: proof that [`Device::finish_batch`] has rows to wait for.
#[derive(Debug)]
pub struct DeviceBatch {
    /// Time to copy the batch to the device, before the first launch. Copying the rows back counts as compute.
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
    /// Where short batches run, also while a long one pauses: behind its workspace in the arena. Those that fit run here at all
    /// times, so that what a backend records of them serves both.
    short_lane: Option<Workspace>,
    /// Divides the batches that pause; `None` on a device that does not.
    slicer: Option<Slicer>,
    threads: usize,
    /// A batch that runs in slices is paused: only the short lane is free.
    paused: bool,
    /// Batches that the backend has begun.
    begun: u64,
    info: DeviceInfo,
    meter: MemoryMeter,
    memory_plan: MemoryPlan,
    #[cfg(feature = "cuda")]
    cuda_report: Option<crate::backend::cuda::StartReport>,
}

/// Runs between two slices of a batch; it may run short batches on the device. [`ControlFlow::Break`] gives the batch up.
pub type Pause<'a> = dyn FnMut(&mut Device) -> ControlFlow<()> + 'a;

impl Device {
    /// Plans the arena within the budget and starts the backend.
    ///
    /// # Errors
    /// [`LoadError::Budget`] with the bytes that are needed, [`LoadError::Weights`] for a missing tensor,
    /// [`LoadError::Option`] and [`LoadError::Device`] for what the backend cannot do.
    pub fn start(model: &Model, options: &DeviceOptions) -> Result<Device, LoadError> {
        #[cfg(feature = "cuda")]
        if let DeviceKind::Cuda(ordinal, dtype) = options.kind {
            return cuda::start(model, options, ordinal, dtype);
        }
        let (workspace, short, memory_plan) = plan::plan_host(model, options)?;
        let planned = (memory_plan.fixed_bytes + memory_plan.arena_bytes) as usize;
        require_host_memory(planned, "the model and its batches")?;
        let config = model.config.clone();
        let weights = WeightTable::new(&model.architecture.tensors, &model.weights)?;
        let ropes = config.rope_tables(workspace.max_tokens);
        let (heads, eps) = (config.num_attention_heads, config.norm_eps);
        let (bytes, threads) = (memory_plan.arena_bytes as usize, options.threads);
        let slicer = short.as_ref().map(|_| Slicer::new(Slicing::of_host(threads)));
        let backend: Box<dyn Backend> = if options.kind == DeviceKind::Reference {
            Box::new(ReferenceBackend::new(weights, ropes.into(), heads, eps, bytes)?)
        } else {
            Box::new(CpuBackend::new(weights, ropes.into(), heads, eps, bytes, threads)?)
        };
        Ok(Device {
            backend,
            config,
            architecture: model.architecture.clone(),
            workspace,
            short_lane: short,
            slicer,
            threads,
            paused: false,
            begun: 0,
            info: DeviceInfo { name: format!("cpu, {threads} threads"), dtype: Dtype::F32 },
            meter: Arc::new(|| None),
            memory_plan,
            #[cfg(feature = "cuda")]
            cuda_report: None,
        })
    }

    /// Returns the bytes that a model's weights take of the memory budget. On a host, those of an embedded model
    /// take none where they are f32: they are part of the program.
    ///
    /// # Errors
    /// [`LoadError::Weights`] for a missing or misshapen tensor.
    pub fn weight_bytes(model: &Model, kind: DeviceKind) -> Result<u64, LoadError> {
        match kind {
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda(_, dtype) => Ok(model.parameters() * dtype.size_bytes() as u64),
            _ => owned_bytes(&model.architecture.tensors, &model.weights),
        }
    }

    /// Returns what start-up chose and measured; `None` unless this is a CUDA device.
    #[cfg(feature = "cuda")]
    pub fn cuda_report(&self) -> Option<&crate::backend::cuda::StartReport> {
        self.cuda_report.as_ref()
    }

    /// Returns the name and element type.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Returns a handle that reads the device's memory use from any thread.
    pub fn memory_meter(&self) -> MemoryMeter {
        self.meter.clone()
    }

    /// Returns how the memory budget is divided.
    pub fn memory_plan(&self) -> MemoryPlan {
        self.memory_plan
    }

    /// Returns the regions of the arena that activations lie in, sized for the largest batch.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Returns the limits of one batch.
    pub fn limits(&self) -> Limits {
        self.workspace.limits()
    }

    /// Returns the upper limit on tokens per batch, and so per sequence.
    pub fn max_batch_tokens(&self) -> usize {
        self.workspace.max_tokens
    }

    /// Returns the upper limit on sequences per batch.
    pub fn max_batch_sequences(&self) -> usize {
        self.workspace.max_sequences
    }

    /// Returns the use of the arena.
    pub fn arena(&self) -> ArenaUsage {
        self.backend.arena()
    }

    /// Runs one batch and waits for its rows. A panic in the backend is caught: it fails this batch, not the
    /// engine.
    ///
    /// # Errors
    /// [`DeviceError`] if a launch or a copy fails.
    pub fn forward(&mut self, batch: &PackedBatch) -> Result<OutputRows, DeviceError> {
        let batch = self.start_batch(batch)?;
        self.finish_batch(batch)
    }

    /// Hands one batch to the device. The next batch may be started before this one is finished, but not the
    /// one after it. Batches run in the order in which they were started.
    ///
    /// # Errors
    /// As [`Device::forward`]; [`DeviceError::Call`] if another batch is paused and this one is not within
    /// [`Device::short_limits`].
    pub fn start_batch(&mut self, batch: &PackedBatch) -> Result<DeviceBatch, DeviceError> {
        let fits = self.short_limits().is_some_and(|limits| limits.allow(batch));
        if self.paused && !fits {
            return Err(DeviceError::Call {
                device: self.info.name.clone(),
                call: "start a batch",
                reason: "another one is paused, and this one does not fit beside it".into(),
            });
        }
        if let Some(slicer) = self.slicer.as_mut().filter(|_| self.paused) {
            slicer.record_short_batch();
        }
        self.begin_and_launch(batch, |device| device.launch(device.program(batch)))
    }

    /// As [`Device::start_batch`] on a device with [`Device::short_limits`], but runs the launches in slices and calls `pause`
    /// after each, for batches that may run in between. The rows are the same to the bit. An asynchronous device works on one
    /// slice during the pause after it was launched.
    ///
    /// # Errors
    /// As [`Device::forward`]; [`DeviceError::GivenUp`] if `pause` breaks.
    pub fn start_batch_in_slices(
        &mut self,
        batch: &PackedBatch,
        pause: &mut Pause<'_>,
    ) -> Result<DeviceBatch, DeviceError> {
        let started = self.begin_and_launch(batch, |device| device.launch_slices(batch, pause));
        self.paused = false;
        started
    }

    /// Returns the limits of a batch that runs while a longer one pauses; `None` if the device does not pause.
    pub fn short_limits(&self) -> Option<Limits> {
        self.short_lane.as_ref().map(Workspace::limits)
    }

    /// Returns how long the turns of long and short batches are.
    pub fn turns(&self) -> Turns {
        if self.is_asynchronous() { Turns::GPU } else { Turns::HOST }
    }

    /// Returns a rate of floating-point operations of the right order, for predictions before anything has run.
    pub fn nominal_flops_per_second(&self) -> f64 {
        if self.is_asynchronous() { 3e14 } else { 1e10 * self.threads as f64 }
    }

    /// Returns the size of a batch with the rows that the device adds to it, and without the layers that do not run.
    pub fn batch_size(&self, batch: &PackedBatch) -> BatchSize {
        let size = BatchSize::of(batch.spans().map(|span| span.len()));
        let padded = BatchSize { tokens: self.backend.padded_tokens(size.tokens), ..size };
        padded.at_depth(self.config.depth(batch.layers))
    }

    /// Hands a batch to the device; `launch` launches its forward pass.
    fn begin_and_launch(
        &mut self,
        batch: &PackedBatch,
        launch: impl FnOnce(&mut Device) -> Result<Program, DeviceError>,
    ) -> Result<DeviceBatch, DeviceError> {
        self.catch_panics(|device| {
            let started = Instant::now();
            device.begin(batch)?;
            let copy_in = started.elapsed();
            let program = launch(device)?;
            let mut fetch =
                |view: Option<View>| view.map(|view| device.backend.fetch(&view)).transpose();
            let (pooled, logits) = (fetch(program.pooled)?, fetch(program.logits)?);
            Ok(DeviceBatch { pooled, logits, hidden: fetch(program.hidden_rows)?, copy_in })
        })
    }

    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        self.begun += 1;
        self.backend.begin(batch)
    }

    /// Blocks until a batch has run and returns its rows.
    ///
    /// # Errors
    /// As [`Device::forward`].
    pub fn finish_batch(&mut self, batch: DeviceBatch) -> Result<OutputRows, DeviceError> {
        self.catch_panics(|device| {
            let mut collect = |fetch: Option<Fetch>| {
                fetch.map_or(Ok(Vec::new()), |fetch| device.backend.collect(fetch))
            };
            let (pooled, logits) = (collect(batch.pooled)?, collect(batch.logits)?);
            Ok(OutputRows { pooled, logits, hidden: collect(batch.hidden)? })
        })
    }

    /// Whether [`Device::start_batch`] returns before the batch has run.
    pub fn is_asynchronous(&self) -> bool {
        self.backend.is_asynchronous()
    }

    /// Wraps the device's backend in another.
    pub(crate) fn wrap_backend(
        mut self,
        wrap: impl FnOnce(Box<dyn Backend>) -> Box<dyn Backend>,
    ) -> Device {
        self.backend = wrap(self.backend);
        self
    }

    /// Runs one batch and returns its final hidden states, [T, hidden].
    ///
    /// # Errors
    /// As [`Device::forward`].
    pub fn hidden(&mut self, batch: &PackedBatch) -> Result<Vec<f32>, DeviceError> {
        self.catch_panics(|device| {
            device.begin(batch)?;
            let program = device.launch(device.program(batch))?;
            let rows = device.backend.fetch(&program.hidden)?;
            device.backend.collect(rows)
        })
    }

    /// Measures the launches of a batch that `select` picks: seconds of all of them together, one value per
    /// repeat.
    ///
    /// # Errors
    /// As [`Device::forward`].
    pub fn time(
        &mut self,
        batch: &PackedBatch,
        select: impl Fn(&Op) -> bool,
        repeats: usize,
    ) -> Result<Vec<f64>, DeviceError> {
        self.catch_panics(|device| {
            device.begin(batch)?;
            let program = device.launch(device.program(batch))?;
            let ops: Vec<Op> = program.ops.into_iter().filter(|op| select(op)).collect();
            device.backend.time(&ops, repeats)
        })
    }

    /// Returns the backend, for tests that run a single operation.
    pub fn backend(&mut self) -> &mut dyn Backend {
        self.backend.as_mut()
    }

    /// Measures the rates that no operation on the device exceeds.
    ///
    /// # Errors
    /// As [`Backend::ceilings`].
    pub fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        self.catch_panics(|device| device.backend.ceilings())
    }

    /// Lists the launches of a batch, in the short lane if it fits there.
    fn program(&self, batch: &PackedBatch) -> Program {
        let lane = self.short_lane.as_ref().filter(|lane| lane.limits().allow(batch));
        self.program_in(lane.unwrap_or(&self.workspace), batch)
    }

    fn program_in(&self, workspace: &Workspace, batch: &PackedBatch) -> Program {
        forward::program(&self.config, &self.architecture, workspace, batch)
    }

    /// Launches a forward pass of the batch that the backend has begun.
    fn launch(&mut self, program: Program) -> Result<Program, DeviceError> {
        program.ops.iter().try_for_each(|op| self.backend.launch(op))?;
        Ok(program)
    }

    /// Launches the forward pass of the batch that the backend has begun, in slices.
    fn launch_slices(
        &mut self,
        batch: &PackedBatch,
        pause: &mut Pause<'_>,
    ) -> Result<Program, DeviceError> {
        let program = self.program_in(&self.workspace, batch);
        let longest = batch.spans().map(|span| span.len()).max().unwrap_or(0);
        let (mut slice, mut timer) = (Slice::default(), SliceTimer::new(self.is_asynchronous()));
        for (index, op) in program.ops.iter().enumerate() {
            let (mut first, rows) = (0, Slicer::rows(op));
            loop {
                let part = self.launch_part(op, longest, first, slice.seconds)?;
                first = part.end;
                if first >= rows && index + 1 == program.ops.len() {
                    break;
                }
                let Some(slicer) = &self.slicer else { return Err(self.no_pause()) };
                slice.push((op, part), slicer, batch);
                if slicer.is_slice(slice.seconds) {
                    let slice = std::mem::take(&mut slice);
                    if self.end_slice(slice, &mut timer, batch, pause)?.is_break() {
                        let (device, launches) = (self.info.name.clone(), program.ops.len());
                        return Err(DeviceError::GivenUp { device, launched: index, launches });
                    }
                }
                if first >= rows {
                    break;
                }
            }
        }
        Ok(program)
    }

    /// Launches the rows of an operation from `first` on that complete a slice which has had `so_far` seconds.
    fn launch_part(
        &mut self,
        op: &Op,
        longest: usize,
        first: usize,
        so_far: f64,
    ) -> Result<Range<usize>, DeviceError> {
        let Some(slicer) = &self.slicer else { return Err(self.no_pause()) };
        let rows = slicer.part(op, longest, first, so_far);
        if rows == (0..Slicer::rows(op)) {
            self.backend.launch(op)?;
        } else {
            self.backend.launch_rows(op, rows.clone())?;
        }
        Ok(rows)
    }

    /// Lets others run after a slice, and learns from the time of the latest one that is done.
    fn end_slice<'a>(
        &mut self,
        slice: Slice<'a>,
        timer: &mut SliceTimer<'a>,
        batch: &PackedBatch,
        pause: &mut Pause<'_>,
    ) -> Result<ControlFlow<()>, DeviceError> {
        self.backend.keep_up()?;
        if let (Some(slicer), Some((parts, elapsed))) = (&mut self.slicer, timer.stop(slice)) {
            slicer.record(&parts, batch, elapsed);
        }
        let begun = self.begun;
        self.paused = true;
        let flow = pause(self);
        self.paused = false;
        let others_ran = self.begun != begun;
        if others_ran && flow.is_continue() {
            self.begin(batch)?;
        }
        timer.start(others_ran);
        Ok(flow)
    }

    fn no_pause(&self) -> DeviceError {
        DeviceError::Unavailable {
            device: self.info.name.clone(),
            reason: "it does not run a batch while another pauses".into(),
        }
    }

    /// Runs `run`, and turns a panic into an error.
    fn catch_panics<R>(
        &mut self,
        run: impl FnOnce(&mut Device) -> Result<R, DeviceError>,
    ) -> Result<R, DeviceError> {
        catch_unwind(AssertUnwindSafe(|| run(self))).unwrap_or_else(|panic| {
            let reason = format!("panic: {}", panics::message(panic.as_ref()));
            Err(DeviceError::Call { device: "device".into(), call: "forward pass", reason })
        })
    }
}
