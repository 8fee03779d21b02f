//! The model-runtime contract as a router's client speaks it: what it sends, what it relies on, and what is refused.

mod bundle;
mod cards;
mod classify;
mod client;
mod embeddings;
mod packages;
mod refusals;
mod rerank;
mod spans;
