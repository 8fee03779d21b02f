//! The wire format: every answer and refusal as a snapshot of its shape, and checks that the numbers in
//! them are the engine's. In one process, without sockets, over random models.

mod checkpoint_settings;
mod choice;
mod cohere;
mod common;
mod document;
mod errors;
mod fields;
mod guardrails;
mod hub;
mod native;
mod nulls;
mod openai;
mod partial;
mod pipelines;
mod tei;
mod terms;
mod truncation;
mod unknown;
mod vllm;
