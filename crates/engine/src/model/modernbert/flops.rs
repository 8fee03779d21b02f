//! Floating-point operations of a forward pass: multiplications and additions of products and attention.
//!
//! Norms, activations, rotations and heads are not counted. The rates that `bench` prints and the time that the
//! engine predicts for a batch both come from these counts.

use super::config::{Config, LayerKind};

/// Counts the operations of one layer's attention over a sequence of `tokens` tokens.
pub fn attention_flops(config: &Config, kind: LayerKind, tokens: usize) -> f64 {
    let keys = match kind {
        LayerKind::Full => tokens,
        LayerKind::Sliding => tokens.min(2 * config.window + 1),
    };
    4.0 * tokens as f64 * (keys * config.hidden_size) as f64
}

/// Counts the operations of all layers over sequences of these lengths, in tokens.
pub fn forward_flops(config: &Config, lengths: impl IntoIterator<Item = usize>) -> f64 {
    let (h, i) = (config.hidden_size as f64, config.intermediate_size as f64);
    let linear = 2.0 * (4.0 * h * h + 3.0 * h * i) * config.layers.len() as f64;
    let full = config.layers.iter().filter(|kind| **kind == LayerKind::Full).count() as f64;
    let sliding = config.layers.len() as f64 - full;
    let sequence = |tokens: usize| {
        tokens as f64 * linear
            + full * attention_flops(config, LayerKind::Full, tokens)
            + sliding * attention_flops(config, LayerKind::Sliding, tokens)
    };
    lengths.into_iter().map(sequence).sum()
}
