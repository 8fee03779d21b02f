//! What goes over the wire, one file a dialect. Field names, defaults and shapes are the originals'.

pub(crate) mod inputs;
pub(crate) mod tei;
