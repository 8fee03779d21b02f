//! What goes over the wire, one file a dialect. Field names, defaults and shapes are the originals'.

pub(crate) mod both;
pub(crate) mod hub;
pub(crate) mod inputs;
pub(crate) mod long;
pub(crate) mod openai;
pub(crate) mod ours;
pub(crate) mod tei;
pub(crate) mod vllm;
