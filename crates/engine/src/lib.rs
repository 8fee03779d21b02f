//! ModernBERT inference for many callers at once, in a fixed amount of memory.
//!
//! The data path reads in one direction:
//!
//! ```text
//! text -> tokens -> queue -> batch plan -> packed batch -> embedding -> layers -> head -> response
//! ```
//!
//! | step | where |
//! |---|---|
//! | a model's files: directory, Hub, memory | [`Checkpoint`]: `checkpoint/` |
//! | text to tokens, windows, entities | [`Tokenizer`], [`Chunks`], [`Entity`]: `text/` |
//! | which requests run next; packing them, and handing their rows back | [`schedule`], [`PackedBatch`], [`RowLayout`]: `batch/` |
//! | what an operation does on a CPU or a GPU | [`backend`] |
//! | the forward pass as a list of operations | [`Model`]: `model/` |
//! | token ids in, rows out, within a memory budget | [`Device`]: `device/` |
//! | what a request asks, and the answer computed from its rows | [`Task`], [`Answer`]: `task/` |
//! | admission, the queue, and the threads that tokenize and run batches | [`Engine`]: `engine/` |
//!
//! The rows of the table are the rooms from the bottom up: each uses those above it. [`units`],
//! [`host`], [`raise_open_file_limit`], the errors, [`Dtype`] and [`Pooling`] lie below all of them.
//!
//! [`Engine::submit`] takes one request, [`Engine::classify_all`] and its siblings any number of texts.
//!
//! The engine serves no HTTP and has no async runtime and no wire format; those are the server's. Its one
//! HTTP client fetches models from the Hugging Face Hub (`checkpoint/hub.rs`). It does not train, and it
//! runs one family of models well instead of many.
//!
//! ```
//! use std::path::Path;
//!
//! use bigbatch_engine::{
//!     Answer, Checkpoint, Engine, EngineOptions, Input, Model, Request, RopeOverride, Task, Truncate,
//! };
//!
//! let checkpoint = Checkpoint::directory(Path::new("tests/goldens/seqcls-mean-softmax-legacy"));
//! let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
//! let engine = Engine::start(model, &EngineOptions::default())?;
//! let input = Input::Text("Where is my parcel?".into());
//! let request = Request::new(input, Task::Classify { raw_scores: false }, Truncate::No);
//! let response = engine.submit(request)?.wait()?;
//! let Answer::Labels(labels) = response.answer else { unreachable!() };
//! let total: f32 = labels.iter().map(|label| label.score).sum();
//! assert!((total - 1.0).abs() < 1e-6, "a softmax over {} labels", labels.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allocation;
pub mod backend;
mod batch;
mod checkpoint;
mod device;
mod dtype;
mod engine;
mod error;
pub mod host;
mod model;
mod open_files;
mod panics;
mod pooling;
mod task;
mod text;
pub mod units;

pub use allocation::require_host_memory;
pub use backend::{ArenaUsage, CudaDevice, DeviceMemory, device_memory_of};
pub use batch::cost::{CostFit, CostModel, CostRecord};
pub use batch::passing::{Passing, Turns, next_full_peers, next_peers};
pub use batch::schedule;
pub use batch::size::BatchSize;
pub use batch::{
    Exit, FairClock, Flow, Limits, LogitRows, MAX_MASKS, OutputRows, PackedBatch, Priority,
    RowCounts, RowLayout, Rows, Sequence,
};
pub use checkpoint::{Checkpoint, HubOptions, Tensor, TensorSpec, Weights, WeightsFile};
pub use device::{
    Device, DeviceBatch, DeviceInfo, DeviceKind, DeviceOptions, MemoryMeter, MemoryPlan, Pause,
};
pub use dtype::Dtype;
pub use engine::{
    BatchInfo, BatchReport, Engine, EngineOptions, Pending, Permit, Pulse, Request, Reservation,
    Response, ResponseFuture, RunningBatch, TextAnswer, TextAnswers, TextTask, Timings,
};
pub use error::{DeviceError, LoadError, RequestError};
pub use model::{
    Activation, Architecture, Config, DefaultPrompt, Dense, Embedding, Exits, Head, Init, InitHead,
    LayerKind, LoadOptions, Model, Module, OperatingPoint, PRESETS, PairScorers, Preset, Program,
    Prompts, Rope, RopeOverride, Scaling, Scoring, Similarity, Workspace, attention_flops,
    forward_flops, modernbert, prompted,
};
pub use open_files::raise_open_file_limit;
pub use panics::catch_panic;
pub use pooling::Pooling;
pub use task::{Answer, Task, TaskKind, TokenScore, find_entities};
pub use text::aggregate::{Aggregation, Group};
pub use text::chunk::{Chunking, Chunks, Merge, Overlong, shares, windows};
pub use text::entities::{Entity, LabelScore};
pub use text::input::{Input, InputLength, Tokens, Truncate};
pub use text::tokenize::{TokenPiece, Tokenizer};
