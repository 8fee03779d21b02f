//! ModernBERT: its configuration, its tensors, the offsets of its activations, and its forward pass.
//!
//! [`Config`] and [`Rope`] read `config.json`, [`Architecture`] lists the tensors, [`Workspace`] lays out
//! the activations, [`forward`] lists the operations, and [`Init`] draws random weights. Nothing here reads
//! weights or runs an operation: see `checkpoint` and [`crate::backend`].

mod architecture;
mod config;
mod draw;
mod flops;
pub mod forward;
mod head;
mod init;
mod package;
mod rope;
mod workspace;

pub use architecture::Architecture;
pub use config::{Config, LayerKind};
pub use flops::{attention_flops, forward_flops};
pub use head::{Head, Scoring};
#[cfg(test)]
pub(crate) use init::smallest;
pub use init::{Init, InitHead, PRESETS, Preset};
pub use rope::{Rope, RopeOverride, Scaling};
pub use workspace::Workspace;
