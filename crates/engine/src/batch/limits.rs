//! What bounds a batch.

/// What one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of all sequences.
    pub max_batch_tokens: usize,
    /// Sequences.
    pub max_batch_sequences: usize,
    /// Masked positions.
    pub max_masks: usize,
}
