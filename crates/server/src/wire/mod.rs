//! What goes over the wire, one file a dialect. Field names, defaults and shapes are the originals'.

pub(crate) mod hub;
pub(crate) mod inputs;
pub(crate) mod native;
pub(crate) mod openai;
pub(crate) mod overlong;
pub(crate) mod shared;
pub(crate) mod tei;
pub(crate) mod vllm;
