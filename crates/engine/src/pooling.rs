//! How the hidden states of a sequence become one row.

use serde::Deserialize;

/// How a sequence's hidden states become one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The first token's row.
    Cls,
    /// The mean over all tokens of the sequence, special ones included.
    Mean,
}
