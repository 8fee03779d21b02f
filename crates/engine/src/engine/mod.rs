//! The engine: many callers, one device, batches of real tokens.
//!
//! A request goes through the queue twice: raw to a small pool of tokenizer threads, ready to the device
//! thread, whose loop is `device_loop`. Nobody waits on a lock while the device computes.

mod device_loop;
mod queue;
mod watch;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::device_loop::device_loop;
use self::queue::{Place, Placed, Queue};
use self::watch::Watch;
pub use self::watch::{BatchReport, Pulse, RunningBatch};
use crate::backend::{ArenaUsage, Backend, DeviceMemory};
use crate::batch::Limits;
use crate::batch::Rows;
use crate::device::{Device, DeviceInfo, DeviceOptions, MemoryMeter, MemoryPlan};
use crate::error::{LoadError, RequestError};
use crate::model::{MAX_MASKS, Model};
use crate::task::{Answer, Task};
use crate::text::tokenize::{Input, Tokens, Truncate};

/// How an engine is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// The device side.
    pub device: DeviceOptions,
    /// Requests admitted at once, waiting or running; one more is refused.
    pub max_concurrent_requests: usize,
    /// Threads that tokenize.
    pub tokenizer_threads: usize,
}

impl Default for EngineOptions {
    /// All cores, 2 GiB, and as many concurrent requests as text-embeddings-inference admits.
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

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What to read.
    pub input: Input,
    /// What to say of it.
    pub task: Task,
    /// What becomes of an input that is too long.
    pub truncate: Truncate,
}

/// How long each stage of a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From admission until a tokenizer thread took it, and tokenizing.
    pub tokenize: Duration,
    /// Waiting for a batch.
    pub queue: Duration,
    /// Handing its batch to the device.
    pub copy: Duration,
    /// The batch on the device, its rows read back.
    pub compute: Duration,
    /// All of it.
    pub total: Duration,
}

/// The batch a request ran in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchInfo {
    /// Counts from 0.
    pub id: u64,
    /// Sequences in it.
    pub sequences: usize,
    /// Tokens in it.
    pub tokens: usize,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Tokens read, special ones included, after any cut.
    pub tokens: usize,
    /// Whether the input was cut.
    pub truncated: bool,
    /// What the task asked for.
    pub answer: Answer,
    /// Stage times.
    pub timings: Timings,
    /// The batch.
    pub batch: BatchInfo,
}

type Reply = oneshot::Sender<Result<Response, RequestError>>;

/// A request that waits to be tokenized.
struct Raw {
    place: Place,
    request: Request,
    reply: Reply,
    admitted: Instant,
}

/// A request that waits for a batch.
struct Ready {
    place: Place,
    task: Task,
    /// Kept where the answer quotes it; empty for ids.
    text: String,
    tokens: Tokens,
    rows: Rows,
    reply: Reply,
    admitted: Instant,
    tokenized: Instant,
}

impl Placed for Raw {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Placed for Ready {
    fn place(&self) -> &Place {
        &self.place
    }
}

struct Shared {
    model: Model,
    queue: Queue<Raw, Ready>,
    limits: Limits,
    max_tokens: usize,
    arena: Mutex<ArenaUsage>,
    info: DeviceInfo,
    meter: MemoryMeter,
    batches: AtomicU64,
    on_device: AtomicUsize,
    memory_plan: MemoryPlan,
    watch: Watch,
}

impl Shared {
    /// What a request hears that nobody is left to answer.
    fn gone(&self) -> RequestError {
        self.watch.pulse().lost.map_or(RequestError::Stopped, RequestError::DeviceLost)
    }
}

/// A running engine. Dropping it answers what was admitted, then stops.
pub struct Engine {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Puts the model on its device and starts the threads.
    ///
    /// # Errors
    /// [`LoadError`] from the device side.
    pub fn start(model: Model, options: &EngineOptions) -> Result<Engine, LoadError> {
        let device = Device::start(&model, &options.device)?;
        Engine::over(device, model, options)
    }

    /// As [`Engine::start`], with another backend around the device's own: how a test makes a device slow,
    /// or loses it.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_around(
        model: Model,
        options: &EngineOptions,
        around: impl FnOnce(Box<dyn Backend>) -> Box<dyn Backend>,
    ) -> Result<Engine, LoadError> {
        let device = Device::start(&model, &options.device)?.map_backend(around);
        Engine::over(device, model, options)
    }

    /// Starts the threads around a device that has the model.
    fn over(device: Device, model: Model, options: &EngineOptions) -> Result<Engine, LoadError> {
        let limits = Limits {
            max_batch_tokens: device.max_batch_tokens(),
            max_batch_sequences: device.max_batch_sequences(),
            max_masks: MAX_MASKS,
        };
        let shared = Arc::new(Shared {
            max_tokens: model.config.max_tokens.min(limits.max_batch_tokens),
            queue: Queue::new(options.max_concurrent_requests),
            arena: Mutex::new(device.arena()),
            info: device.info().clone(),
            meter: device.memory_meter(),
            batches: AtomicU64::new(0),
            on_device: AtomicUsize::new(0),
            memory_plan: device.memory_plan(),
            watch: Watch::default(),
            limits,
            model,
        });
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name).spawn(work).map_err(|e| LoadError::Option {
                option: "--tokenizer-threads",
                reason: format!("the operating system gives no thread: {e}"),
            })
        };
        let mut threads = Vec::new();
        for n in 0..options.tokenizer_threads.max(1) {
            let shared = shared.clone();
            threads.push(spawn(format!("tokenize-{n}"), Box::new(move || tokenize_loop(&shared)))?);
        }
        let for_device = shared.clone();
        threads.push(spawn("device".into(), Box::new(move || device_loop(&for_device, device)))?);
        Ok(Engine { shared, threads })
    }

    /// Admits a request, or refuses it at once. Never blocks.
    ///
    /// # Errors
    /// [`RequestError::Overloaded`], [`RequestError::WrongTask`], [`RequestError::Invalid`],
    /// [`RequestError::Stopped`]. Everything else comes with the answer.
    pub fn submit(&self, request: Request) -> Result<Pending, RequestError> {
        request.task.check(&self.shared.model)?;
        let (reply, receiver) = oneshot::channel();
        let admitted = Instant::now();
        let made = self.shared.queue.admit(|place| Raw { place, request, reply, admitted });
        let id = made.map_err(|error| match error {
            RequestError::Stopped => self.shared.gone(),
            RequestError::Overloaded { limit, .. } => {
                RequestError::Overloaded { limit, wait: self.shared.watch.wait(limit) }
            }
            other => other,
        })?;
        let claim = Claim { shared: self.shared.clone(), id, answered: false };
        Ok(Pending { receiver, claim })
    }

    /// The model it runs.
    pub fn model(&self) -> &Model {
        &self.shared.model
    }

    /// What one batch may hold.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// The longest input in tokens: the model's length, or less if the memory budget holds less.
    pub fn max_tokens(&self) -> usize {
        self.shared.max_tokens
    }

    /// Requests admitted at once.
    pub fn max_concurrent_requests(&self) -> usize {
        self.shared.queue.capacity()
    }

    /// Threads that tokenize.
    pub fn tokenizer_threads(&self) -> usize {
        self.threads.len() - 1
    }

    /// Requests admitted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.shared.queue.taken()
    }

    /// Batches run so far.
    pub fn batches(&self) -> u64 {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// The device it runs on.
    pub fn device(&self) -> &DeviceInfo {
        &self.shared.info
    }

    /// Batches that the device has now, running or next.
    pub fn batches_in_flight(&self) -> usize {
        self.shared.on_device.load(Ordering::Relaxed)
    }

    /// Where the memory budget went, and which one would be the least.
    pub fn memory_plan(&self) -> MemoryPlan {
        self.shared.memory_plan
    }

    /// Memory of the device, as its driver tells; `None` on a host.
    pub fn device_memory(&self) -> Option<DeviceMemory> {
        (self.shared.meter)()
    }

    /// Memory of the device that this process uses, as its driver tells; `None` on a host.
    pub fn device_used_bytes(&self) -> Option<u64> {
        self.device_memory()?.process_bytes
    }

    /// The arena after the latest batch.
    pub fn arena(&self) -> ArenaUsage {
        *self.shared.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.queue.close();
        for thread in self.threads.drain(..) {
            // Both loops catch the panics of their work; an error here has nothing left to tell.
            let _ = thread.join();
        }
    }
}

fn tokenize_loop(shared: &Shared) {
    while let Some(Raw { place, request, reply, admitted }) = shared.queue.take_raw() {
        let Request { input, task, truncate } = request;
        let read = || {
            let tokens = shared.model.tokenizer.encode(&input, shared.max_tokens, truncate)?;
            let vocab = shared.model.config.vocab_size;
            if let Some(id) = tokens.ids.iter().find(|&&id| id as usize >= vocab) {
                return Err(RequestError::Invalid(format!("token id {id} is outside 0..{vocab}")));
            }
            let rows = task.rows(&shared.model, &tokens)?;
            Ok((tokens, rows))
        };
        let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            Err(RequestError::Invalid("the tokenizer failed on this text".into()))
        });
        let ready = match read {
            Ok((tokens, rows)) if !reply.is_closed() => {
                let tokenized = Instant::now();
                let text = match input {
                    Input::Text(text) | Input::Pair(text, _) | Input::Tokens(text, _) => text,
                    Input::Ids(_) => String::new(),
                };
                Some(Ready { place, task, text, tokens, rows, reply, admitted, tokenized })
            }
            Ok(_) => None,
            Err(error) => {
                drop(place);
                let _ = reply.send(Err(error));
                None
            }
        };
        shared.queue.put_ready(ready);
    }
}

/// Takes a request out of the queue when nobody waits for it any more.
struct Claim {
    shared: Arc<Shared>,
    id: u64,
    answered: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.queue.cancel(self.id);
        }
    }
}

/// An answer to come: wait for it on this thread, or await it. Dropping it gives the request up.
pub struct Pending {
    receiver: oneshot::Receiver<Result<Response, RequestError>>,
    claim: Claim,
}

impl Pending {
    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// What went wrong with this request.
    pub fn wait(mut self) -> Result<Response, RequestError> {
        let answer = self.receiver.recv().unwrap_or_else(|_| Err(self.claim.shared.gone()));
        self.claim.answered = true;
        answer
    }
}

impl IntoFuture for Pending {
    type Output = Result<Response, RequestError>;
    type IntoFuture = Answering;

    fn into_future(self) -> Answering {
        Answering { receiver: self.receiver.into_future(), claim: self.claim }
    }
}

/// [`Pending`] as a future.
pub struct Answering {
    receiver: oneshot::AsyncReceiver<Result<Response, RequestError>>,
    claim: Claim,
}

impl Future for Answering {
    type Output = Result<Response, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(|answer| {
            self.claim.answered = true;
            answer.unwrap_or_else(|_| Err(self.claim.shared.gone()))
        })
    }
}
