//! What goes over the wire: every success and error shape as a snapshot, and that the numbers in them are the
//! engine's. In one process, without sockets, over random models.

mod common;
mod document;
mod errors;
mod hub;
mod native;
mod openai;
mod tei;
