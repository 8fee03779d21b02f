//! The engine: many callers, one device, batches of real tokens.
//!
//! A request passes the queue twice: admitted, it waits for one of a few tokenizer threads (`tokenizer_loop`);
//! tokenized, it waits for the device thread (`device_loop`), which takes batches, runs them and answers. No
//! thread waits on a lock while the device computes. The engine has no transport and no wire format;
//! running a batch is left to [`crate::device`].
//!
//! | file | what |
//! |---|---|
//! | `request.rs` | a request at each of its stages, and the response |
//! | `backlog.rs` | the work ahead, and how long it takes: whether a request can be answered in time |
//! | `queue.rs`, `queue_state.rs`, `slot.rs`, `sync.rs` | slots, waiting for one's turn, deadlines; the primitives that they are written with |
//! | `tokenizer_loop.rs`, `device_loop.rs` | the threads |
//! | `short_batches.rs` | short requests that run while a long batch pauses |
//! | `watch.rs` | what the device thread does now, as others see it |
//! | `pending.rs` | the caller's end: wait, await, cancel |
//! | `texts.rs` | any number of texts: a bounded number in flight, answers in order |
//! | `shared.rs` | the state that all of them share |

mod backlog;
mod device_loop;
mod pending;
mod queue;
mod queue_state;
mod request;
mod shared;
mod short_batches;
mod slot;
mod sync;
mod texts;
mod tokenizer_loop;
mod warm_up;
mod watch;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::backlog::Reservation;
use self::backlog::{Backlog, Work};
use self::device_loop::device_loop;
pub use self::pending::{Pending, ResponseFuture};
pub use self::queue::Permit;
use self::queue::Queue;
use self::request::{AdmittedRequest, TokenizedRequest};
pub use self::request::{BatchInfo, Request, Response, Timings};
use self::shared::Shared;
use self::slot::Terms;
pub use self::texts::{TextAnswer, TextAnswers, TextTask};
use self::tokenizer_loop::tokenizer_loop;
use self::watch::Watch;
pub use self::watch::{BatchReport, Pulse, RunningBatch};
use crate::backend::{ArenaUsage, Backend, DeviceMemory};
use crate::batch::cost::{CostFit, CostModel};
use crate::batch::{Flow, Limits, Priority};
use crate::device::{Device, DeviceInfo, DeviceOptions, MemoryPlan};
use crate::error::{LoadError, RequestError};
use crate::model::Model;
use crate::task::Task;
use crate::text::chunk::{Chunking, Overlong};
use crate::text::input::{Input, InputLength, Truncate};

/// Limits and sizes of an engine, fixed at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Where to run, and within which memory.
    pub device: DeviceOptions,
    /// Upper limit on requests that wait or run. One more is [`RequestError::Overloaded`].
    pub max_concurrent_requests: usize,
    /// Tokenizer threads; at least one is started.
    pub tokenizer_threads: usize,
}

impl Default for EngineOptions {
    /// Returns all cores, 2 GiB, and 512 concurrent requests, as many as text-embeddings-inference admits.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        EngineOptions {
            device: DeviceOptions {
                kind: Default::default(),
                threads: cores,
                memory_budget_bytes: 2 << 30,
                max_batch_tokens: None,
                max_batch_sequences: 512,
            },
            max_concurrent_requests: 512,
            tokenizer_threads: cores.min(16),
        }
    }
}

/// A running engine. Dropping it answers every admitted request, then stops its threads.
pub struct Engine {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    tokenizer_threads: usize,
}

impl Engine {
    /// Puts the model on its device and starts the threads.
    ///
    /// # Errors
    /// [`LoadError::Budget`] if the memory budget is too small, [`LoadError::Device`] and [`LoadError::Option`]
    /// for what the device cannot do, [`LoadError::Weights`] for a tensor that is missing.
    pub fn start(model: Model, options: &EngineOptions) -> Result<Engine, LoadError> {
        let device = Device::start(&model, &options.device)?;
        Engine::spawn(device, model, options)
    }

    /// Starts as [`Engine::start`] does, with the device's backend wrapped in another, by which a test makes a
    /// device slow or loses it.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_with_backend(
        model: Model,
        options: &EngineOptions,
        wrap: impl FnOnce(Box<dyn Backend>) -> Box<dyn Backend>,
    ) -> Result<Engine, LoadError> {
        let device = Device::start(&model, &options.device)?.wrap_backend(wrap);
        Engine::spawn(device, model, options)
    }

    /// Starts the threads for a device that holds the model.
    fn spawn(device: Device, model: Model, options: &EngineOptions) -> Result<Engine, LoadError> {
        let (limits, short_lane) = (device.limits(), device.short_limits());
        let shared = Arc::new(Shared {
            max_tokens: model.config.max_tokens.min(limits.max_batch_tokens),
            queue: Queue::new(options.max_concurrent_requests, options.tokenizer_threads),
            backlog: Arc::new(Backlog::new(short_lane.map(|_| device.turns()))),
            short_tokens: short_lane.map_or(0, |limits| limits.max_batch_tokens),
            arena: Mutex::new(device.arena()),
            info: device.info().clone(),
            meter: device.memory_meter(),
            batches: AtomicU64::new(0),
            on_device: AtomicUsize::new(0),
            memory_plan: device.memory_plan(),
            watch: Watch::default(),
            costs: Mutex::new(CostFit::new(CostModel::from_flops(
                &model.config,
                device.nominal_flops_per_second(),
            ))),
            cost_file: OnceLock::new(),
            limits,
            model,
        });
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name).spawn(work).map_err(|error| LoadError::Option {
                option: "--tokenizer-threads",
                reason: format!("the operating system cannot start a thread: {error}"),
            })
        };
        let mut threads = Vec::new();
        let tokenizer_threads = options.tokenizer_threads.max(1);
        for n in 0..tokenizer_threads {
            let shared = shared.clone();
            threads
                .push(spawn(format!("tokenize-{n}"), Box::new(move || tokenizer_loop(&shared)))?);
        }
        // It ends with the device's thread.
        let for_deadlines = shared.clone();
        let expire_late = move || for_deadlines.queue.expire_late();
        threads.push(spawn("deadlines".into(), Box::new(expire_late))?);
        let for_device = shared.clone();
        threads.push(spawn("device".into(), Box::new(move || device_loop(&for_device, device)))?);
        Ok(Engine { shared, threads, tokenizer_threads })
    }

    /// Admits a request or rejects it at once. Never blocks.
    ///
    /// # Errors
    /// [`RequestError::Overloaded`] if every slot is taken, [`RequestError::WrongTask`] and
    /// [`RequestError::Invalid`] for a task that the model cannot do, [`RequestError::WaitTooLong`] and
    /// [`RequestError::DeadlinePassed`] for a deadline that cannot be met, [`RequestError::Stopped`] and
    /// [`RequestError::DeviceLost`] if the engine no longer runs. Errors in the input come with the answer.
    pub fn submit(&self, request: Request) -> Result<Pending, RequestError> {
        let work = self.predict_request(&request);
        let backlog = &self.shared.backlog;
        let work = match request.deadline {
            None => backlog.add(work, request.flow),
            Some(deadline) => {
                let limit = deadline.saturating_duration_since(Instant::now());
                let longest = self.shared.if_short(work);
                backlog.reserve([work, 0], longest, limit, request.flow)?.next(work)
            }
        };
        self.admit(request, work, None)
    }

    /// Reserves the time for the inputs of one request, or rejects all of them at once: the inputs and the work ahead
    /// of them must be done within four fifths of `limit`, as far as the engine can predict. Ahead of them is other work of
    /// their flow, as much of each other flow, and before batch requests all interactive ones, but not long inputs that
    /// shorter ones pass. An idle engine, and one that has not run long enough to know its speed, accept anything.
    /// `layers` is [`Task::layers`] of the request.
    ///
    /// # Errors
    /// [`RequestError::WaitTooLong`], [`RequestError::TooMuchWork`].
    pub fn reserve(
        &self,
        inputs: impl IntoIterator<Item = InputLength>,
        overlong: Overlong,
        layers: Option<usize>,
        limit: Duration,
        flow: Flow,
    ) -> Result<Reservation, RequestError> {
        let work = |length: InputLength| match overlong {
            Overlong::Truncate(truncate) => self.predict_work(length, truncate, layers),
            Overlong::Chunk(chunking) => self.predict_work_in_windows(length, chunking, layers),
        };
        let mut most = 0;
        let mut inputs = inputs.into_iter().map(work).inspect(|work| most = most.max(*work));
        let of_first = inputs.next().unwrap_or(0);
        let longest = match overlong {
            Overlong::Truncate(_) => self.max_tokens(),
            // Windows after the first are submitted as further inputs are.
            Overlong::Chunk(chunking) => self.window_tokens(chunking),
        };
        let first = of_first.min(self.shared.nanoseconds_at(longest, layers));
        let further = inputs.fold(of_first - first, u64::saturating_add);
        self.shared.backlog.reserve([first, further], self.shared.if_short(most), limit, flow)
    }

    /// Admits a request of a caller that bounds its requests in flight itself, by as many permits as
    /// [`Engine::max_concurrent_requests`], and has reserved the time: this method does not check either again. The
    /// permit is dropped when the request is answered, or cancelled and neither waits nor runs any more.
    ///
    /// # Errors
    /// As [`Engine::submit`], but for [`RequestError::Overloaded`].
    pub fn submit_reserved(
        &self,
        request: Request,
        reservation: &mut Reservation,
        permit: Permit,
    ) -> Result<Pending, RequestError> {
        let work = reservation.next(self.predict_request(&request));
        self.admit(request, work, Some(permit))
    }

    /// Admits a request beyond the limit on concurrent requests, for a caller that bounds its own.
    fn submit_permitted(&self, request: Request, permit: Permit) -> Result<Pending, RequestError> {
        let work = self.predict_request(&request);
        let work = self.shared.backlog.add(work, request.flow);
        self.admit(request, work, Some(permit))
    }

    fn admit(
        &self,
        request: Request,
        work: Work,
        permit: Option<Permit>,
    ) -> Result<Pending, RequestError> {
        let shared = &self.shared;
        request.task.check(&shared.model)?;
        let (reply, receiver) = oneshot::channel();
        let admitted = Instant::now();
        let terms = Terms { flow: request.flow, deadline: request.deadline };
        if terms.deadline.is_some_and(|deadline| deadline <= admitted) {
            return Err(RequestError::DeadlinePassed);
        }
        let make = |slot| AdmittedRequest { slot, request, reply, admitted };
        let id = shared.queue.admit(permit, work, terms, make).map_err(|error| match error {
            RequestError::Stopped => shared.stopped_error(),
            RequestError::Overloaded { .. } => self.overloaded_error(),
            other => other,
        })?;
        Ok(Pending::new(shared, id, receiver))
    }

    /// Returns the error for a request that finds no free slot.
    pub fn overloaded_error(&self) -> RequestError {
        let limit = self.max_concurrent_requests();
        RequestError::Overloaded { limit, wait: self.predict_wait() }
    }

    /// Predicts how long the requests take that wait or run; `None` while the engine's speed is not known.
    pub fn predict_wait(&self) -> Option<Duration> {
        self.shared.backlog.predict_wait()
    }

    /// Returns the model of how long batches take on the device, as it is fitted now.
    pub fn cost_model(&self) -> CostModel {
        self.shared.cost_model()
    }

    /// Returns the median of the relative errors of the latest predictions of a batch's time, each made before the batch ran;
    /// `None` before the second batch.
    pub fn cost_error_ratio(&self) -> Option<f64> {
        self.shared.fit().error_ratio()
    }

    /// Predicts the nanoseconds of device time for a request.
    fn predict_request(&self, request: &Request) -> u64 {
        self.predict_work(request.input.length(), request.truncate, request.task.layers())
    }

    /// Predicts the nanoseconds of device time for an input that is read whole, by so many layers.
    fn predict_work(&self, length: InputLength, truncate: Truncate, layers: Option<usize>) -> u64 {
        let tokens = self.shared.predict_tokens(length);
        // What is too long is rejected soon, and costs no more than what is not.
        let kept = truncate.kept(tokens, self.max_tokens()).len().min(self.max_tokens());
        self.shared.nanoseconds_at(kept, layers)
    }

    /// Predicts the nanoseconds of device time for a text that is read in windows.
    fn predict_work_in_windows(
        &self,
        length: InputLength,
        chunking: Chunking,
        layers: Option<usize>,
    ) -> u64 {
        let (tokens, special) =
            (self.shared.predict_tokens(length), self.model().tokenizer.frame_tokens());
        let size = self.window_tokens(chunking);
        if tokens <= size {
            return self.shared.nanoseconds_at(tokens, layers);
        }
        let step = size.saturating_sub(chunking.overlap.saturating_add(special)).max(1);
        let windows = 1 + (tokens - size).div_ceil(step) as u64;
        windows.saturating_mul(self.shared.nanoseconds_at(size, layers))
    }

    /// Returns the tokens of a window, special ones included.
    fn window_tokens(&self, chunking: Chunking) -> usize {
        chunking.size.unwrap_or(usize::MAX).min(self.max_tokens())
    }

    /// Records how many tokens an input has that was tokenized outside the engine: the work of others is predicted from
    /// their bytes.
    pub fn record_tokens(&self, length: InputLength, tokens: usize) {
        self.shared.record_tokens(length, tokens);
    }

    /// Submits a forward pass over one token, past the tokenizers and past the limit on requests: the least
    /// work that shows that the device answers. It waits in line for the device as any request does.
    ///
    /// # Errors
    /// [`RequestError::Stopped`] or [`RequestError::DeviceLost`] if the engine no longer runs.
    pub fn probe(&self) -> Result<Pending, RequestError> {
        let shared = &self.shared;
        let task = Task::default_for(&shared.model.config.head);
        let tokens = shared.model.tokenizer.encode(&Input::Ids(vec![0]), 1, Truncate::No)?;
        let rows = task.rows(&shared.model, &tokens)?;
        let (reply, receiver) = oneshot::channel();
        let now = Instant::now();
        let tokenized = |slot| TokenizedRequest {
            slot,
            task,
            text: String::new(),
            tokens,
            rows,
            reply,
            admitted: now,
            tokenized: now,
        };
        // No work to wait for: an engine that only shows that it answers is idle.
        let work = shared.backlog.add(0, Flow::default());
        let id = shared.queue.admit_tokenized(work, tokenized);
        let id = id.map_err(|_| shared.stopped_error())?;
        Ok(Pending::new(shared, id, receiver))
    }

    /// Returns what the device thread does now, without waiting for it.
    pub fn pulse(&self) -> Pulse {
        self.shared.watch.pulse()
    }

    /// Registers a listener that the device thread calls after every batch; it must not block. Later calls are
    /// ignored.
    pub fn on_batch(&self, listener: impl Fn(&BatchReport) + Send + Sync + 'static) {
        self.shared.watch.listen(Box::new(listener));
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.shared.model
    }

    /// Returns the limits of one batch.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Returns the longest accepted input in tokens: the model's length, or less if the memory budget holds
    /// less.
    pub fn max_tokens(&self) -> usize {
        self.shared.max_tokens
    }

    /// Returns the upper limit on requests that wait or run.
    pub fn max_concurrent_requests(&self) -> usize {
        self.shared.queue.capacity()
    }

    /// Returns the number of tokenizer threads.
    pub fn tokenizer_threads(&self) -> usize {
        self.tokenizer_threads
    }

    /// Returns the number of requests admitted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.shared.queue.taken()
    }

    /// Returns the number of requests of a priority that wait for a tokenizer or for the device. Batch requests that have
    /// waited for [`AGING`](crate::schedule::AGING) count as interactive.
    pub fn waiting(&self, priority: Priority) -> usize {
        self.shared.queue.waiting(priority)
    }

    /// Returns the number of batches handed to the device since the start.
    pub fn batches(&self) -> u64 {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// Returns the name and element type of the device.
    pub fn device(&self) -> &DeviceInfo {
        &self.shared.info
    }

    /// Returns the number of batches that the device has now, running or next: at most two.
    pub fn batches_in_flight(&self) -> usize {
        self.shared.on_device.load(Ordering::Relaxed)
    }

    /// Returns how the memory budget is divided, and the smallest one that would do.
    pub fn memory_plan(&self) -> MemoryPlan {
        self.shared.memory_plan
    }

    /// Returns the use of the device's memory as its driver reports it; `None` on a host.
    pub fn device_memory(&self) -> Option<DeviceMemory> {
        (self.shared.meter)()
    }

    /// Returns the bytes of the device's memory that this process uses, as its driver reports them; `None` on
    /// a host.
    pub fn device_used_bytes(&self) -> Option<u64> {
        self.device_memory()?.process_bytes
    }

    /// Returns the use of the arena after the latest batch.
    pub fn arena(&self) -> ArenaUsage {
        *self.shared.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.queue.close();
        for thread in self.threads.drain(..) {
            // Both loops catch the panics of their work; an error here has nothing left to report.
            let _ = thread.join();
        }
        self.save_costs();
    }
}

#[cfg(test)]
mod queue_tests;

#[cfg(test)]
mod queue_interleavings;
