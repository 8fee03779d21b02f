//! The offset of each activation in the arena: three regions, sized once for the largest batch.
//!
//! ```text
//! stream   [T, hidden]                        the residual stream
//! narrow   [T, hidden]                        normed input, then attention's output
//! wide     [T, max(3 hidden, 2 intermediate)] qkv, then the MLP's gate and value
//! ```
//!
//! That is 3840 elements per token for the base model, 7.5 KiB in bf16. Heads reuse the regions; the
//! pooled rows and the logits have their own, small ones.

use super::architecture::Architecture;
use super::config::Config;
use crate::backend::{Layout, View, cpu};
use crate::batch::{Limits, MAX_MASKS};
use crate::dtype::Dtype;

/// Offsets of all regions for batches of at most `max_tokens` tokens in `max_sequences` sequences.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Element type of activations.
    pub dtype: Dtype,
    /// Upper limit on tokens.
    pub max_tokens: usize,
    /// Upper limit on sequences.
    pub max_sequences: usize,
    /// Bytes of all regions together.
    pub bytes: usize,
    stream: usize,
    narrow: usize,
    wide: usize,
    pooled: usize,
    logits: usize,
}

impl Workspace {
    /// Lays the regions out one after another.
    pub fn plan(
        config: &Config,
        architecture: &Architecture,
        dtype: Dtype,
        max_tokens: usize,
        max_sequences: usize,
    ) -> Workspace {
        let hidden = config.hidden_size;
        let narrowest = hidden.min(2 * config.intermediate_size);
        let rows = max_tokens.max(cpu::min_rows(narrowest));
        let element = dtype.size_bytes();
        let wide_columns = (3 * hidden).max(2 * config.intermediate_size);
        let returned = architecture.row_layout(config);
        let logit_rows = returned.logit_rows.count(rows, max_sequences, MAX_MASKS);
        let pooled_rows = max_sequences.max(cpu::min_rows(hidden));
        let mut layout = Layout::default();
        Workspace {
            stream: layout.place(rows * hidden * element),
            narrow: layout.place(rows * hidden * element),
            wide: layout.place(rows * wide_columns * element),
            pooled: layout.place(pooled_rows * hidden * 4),
            logits: layout.place(logit_rows * returned.outputs * 4),
            bytes: layout.bytes(),
            dtype,
            max_tokens,
            max_sequences,
        }
    }

    /// Moves all regions by so many bytes, a multiple of [`ALIGN_BYTES`](crate::backend::ALIGN_BYTES): a second workspace in one arena.
    pub fn moved_by(self, bytes: usize) -> Workspace {
        Workspace {
            stream: self.stream + bytes,
            narrow: self.narrow + bytes,
            wide: self.wide + bytes,
            pooled: self.pooled + bytes,
            logits: self.logits + bytes,
            ..self
        }
    }

    /// Returns the view of the residual stream, [rows, hidden].
    pub fn stream(&self, rows: usize, hidden: usize) -> View {
        View::new(self.stream, rows, hidden, self.dtype)
    }

    /// Returns a view of the narrow scratch, [rows, hidden].
    pub fn narrow(&self, rows: usize, hidden: usize) -> View {
        View::new(self.narrow, rows, hidden, self.dtype)
    }

    /// Returns a view of the wide scratch, [rows, columns], for `columns` up to max(3 hidden, 2 intermediate).
    pub fn wide(&self, rows: usize, columns: usize) -> View {
        View::new(self.wide, rows, columns, self.dtype)
    }

    /// Returns the view of the pooled rows, [rows, hidden] in f32.
    pub fn pooled(&self, rows: usize, hidden: usize) -> View {
        View::new(self.pooled, rows, hidden, Dtype::F32)
    }

    /// Returns the view of the logits, [rows, outputs] in f32.
    pub fn logits(&self, rows: usize, outputs: usize) -> View {
        View::new(self.logits, rows, outputs, Dtype::F32)
    }

    /// Returns the limits of the batches that fit into the regions.
    pub fn limits(&self) -> Limits {
        Limits {
            max_batch_tokens: self.max_tokens,
            max_batch_sequences: self.max_sequences,
            max_masks: MAX_MASKS,
        }
    }
}
