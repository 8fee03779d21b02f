//! The wire format: every answer and refusal as a snapshot of its shape, and checks that the numbers in
//! them are the engine's. In one process, without sockets, over random models.

mod common;
mod document;
mod errors;
mod hub;
mod native;
mod openai;
mod pipelines;
mod tei;
