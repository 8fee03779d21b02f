//! The server as its operators see it: over real sockets, in its own process.

mod batch;
mod chaos;
mod connections;
mod grafana;
mod health;
#[path = "../../../engine/tests/hooked/mod.rs"]
mod hooked;
mod hostile;
mod memory;
mod overhead;
mod overload;
mod runtime;
mod support;
mod terms;
mod tls;
