//! The size of a batch, as far as its time depends on it: what [`super::cost`] predicts a time from.

/// Terms of the cost model.
pub(super) const TERMS: usize = 4;

/// The size of a batch, as far as its time depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BatchSize {
    /// Rows that the device runs, padding included.
    pub tokens: usize,
    /// Sum of the squares of the sequences' lengths.
    pub squares: f64,
    /// Sequences.
    pub sequences: usize,
}

impl BatchSize {
    /// Returns the size of a batch of sequences of these lengths, in tokens.
    pub fn of(lengths: impl IntoIterator<Item = usize>) -> BatchSize {
        lengths.into_iter().fold(BatchSize::default(), |size, tokens| BatchSize {
            tokens: size.tokens + tokens,
            squares: size.squares + (tokens as f64).powi(2),
            sequences: size.sequences + 1,
        })
    }

    /// Returns the size of which all layers take as long as this one's do whose encoder stops early, after such a share of
    /// them.
    pub fn at_depth(self, share: f64) -> BatchSize {
        let tokens = (self.tokens as f64 * share).ceil() as usize;
        BatchSize { tokens, squares: self.squares * share, ..self }
    }

    /// Returns the factors of the model's coefficients, scaled so that the sums of products stay within the range in which
    /// they can be solved.
    pub(super) fn factors(self) -> [f64; TERMS] {
        [1.0, self.tokens as f64 * 1e-3, self.squares * 1e-6, self.sequences as f64]
    }
}
