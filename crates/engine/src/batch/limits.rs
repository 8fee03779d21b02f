//! Upper limits of a batch: the scheduler chooses within them, a workspace is sized for them.

use super::pack::PackedBatch;

/// Upper limit on masked positions per batch: each has a row of `vocab_size` logits in f32.
pub const MAX_MASKS: usize = 64;

/// Upper limits of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of all sequences together.
    pub max_batch_tokens: usize,
    /// Sequences, and so pooled rows.
    pub max_batch_sequences: usize,
    /// Masked positions of all sequences together.
    pub max_masks: usize,
}

impl Limits {
    /// Whether `batch` exceeds none of the limits.
    pub fn allow(&self, batch: &PackedBatch) -> bool {
        batch.tokens() <= self.max_batch_tokens
            && batch.sequences() <= self.max_batch_sequences
            && batch.segments.len() <= self.max_batch_sequences
            && batch.mask_rows.len() <= self.max_masks
    }
}
