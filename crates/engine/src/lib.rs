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
//! | what is asked and answered | [`Task`], [`Answer`]: `task.rs` |
//! | a model's files: directory, Hub, memory | [`Checkpoint`]: `checkpoint/` |
//! | text to tokens, windows, entities | [`Tokenizer`], [`Chunks`], [`Entity`]: `text/` |
//! | admission, a bounded place for each request | `engine/queue.rs` |
//! | which requests run next: a pure function; sequences end to end | [`schedule`], [`PackedBatch`]: `batch/` |
//! | the loop that takes, packs, runs, answers | [`Engine`]: `engine/` |
//! | token ids in, rows out | [`Device`]: `device/` |
//! | the forward pass as a list of operations | [`Model`]: `model/` |
//! | what an operation does on a CPU or a GPU | [`backend`] |
//!
//! This crate has no HTTP, no async runtime and no wire format; those are the server's. It does not train,
//! and it runs one family of models well instead of many.
//!
//! ```
//! use bigbatch_engine::{
//!     Answer, Checkpoint, Engine, EngineOptions, Input, Model, Request, RopeOverride, Task, TaskKind,
//!     Truncate,
//! };
//!
//! let checkpoint = Checkpoint::resolve("embedded:random", TaskKind::Classify)?;
//! let model = Model::load(&checkpoint, RopeOverride::Checkpoint)?;
//! let engine = Engine::start(model, &EngineOptions::default())?;
//! let request = Request {
//!     input: Input::Text("Where is my parcel?".into()),
//!     task: Task::Classify { raw_scores: false },
//!     truncate: Truncate::No,
//! };
//! let response = engine.submit(request)?.wait()?;
//! let Answer::Labels(labels) = response.answer else { unreachable!() };
//! assert_eq!(labels.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backend;
mod batch;
mod checkpoint;
mod device;
mod dtype;
pub mod embedded;
mod engine;
mod error;
mod model;
mod pooling;
mod task;
mod text;
pub mod units;

pub use backend::{ArenaUsage, CudaDevice, DeviceMemory, device_memory_of};
pub use batch::schedule;
pub use batch::{
    Limits, LogitRows, MAX_MASKS, OutputRows, PackedBatch, RowCounts, RowLayout, Rows, Sequence,
};
pub use checkpoint::{Checkpoint, FileBytes, Tensor, TensorSpec, Weights};
pub use device::{
    Device, DeviceBatch, DeviceInfo, DeviceKind, DeviceOptions, MemoryMeter, MemoryPlan,
};
pub use dtype::Dtype;
pub use engine::{
    BatchInfo, BatchReport, Engine, EngineOptions, Pending, Pulse, Request, Response,
    ResponseFuture, RunningBatch, Timings,
};
pub use error::{DeviceError, LoadError, RequestError};
pub use model::{
    Architecture, Config, Head, Init, InitHead, LayerKind, Model, PRESETS, Preset, Prompts, Rope,
    RopeOverride, Scaling, Scoring, Workspace, attention_flops, forward_flops, modernbert,
    prompted,
};
pub use pooling::Pooling;
pub use task::{Answer, Task, TaskKind, TokenScore};
pub use text::chunk::{Chunking, Chunks, Merge, Overlong, shares, windows};
pub use text::entities::{Entity, LabelScore};
pub use text::tokenize::{Input, TokenPiece, Tokenizer, Tokens, Truncate};
