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
//! | what is asked, and what is answered | [`task`] |
//! | text to tokens, nothing cut silently | [`tokenize`] |
//! | texts longer than the model, in windows | [`chunk`] |
//! | admission, a bounded place for each request | `queue` |
//! | which requests run next: a pure function | [`schedule`] |
//! | sequences end to end, no padding | [`pack`] |
//! | the loop that takes, packs, runs, answers | [`engine`] |
//! | token ids in, rows out | [`device`] |
//! | the forward pass as a list of launches | [`model`] |
//! | what a launch does on a CPU (or a GPU) | [`backend`] |
//!
//! This crate has no HTTP, no async runtime and no wire format; those are the server's. It does not train,
//! and it runs one family of models well instead of many.
//!
//! ```
//! use bigbatch_engine::engine::{Engine, EngineOptions, Request};
//! use bigbatch_engine::model::{Model, RopeOverride};
//! use bigbatch_engine::task::{Answer, Task, TaskKind};
//! use bigbatch_engine::tokenize::{Input, Truncate};
//!
//! let checkpoint = bigbatch_models::checkpoint("random", TaskKind::Classify)?;
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
pub mod chunk;
pub mod device;
pub mod engine;
mod entities;
pub mod error;
pub mod model;
pub mod pack;
mod queue;
pub mod schedule;
pub mod task;
pub mod tokenize;
pub mod units;
