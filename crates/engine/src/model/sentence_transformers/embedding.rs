//! From pooled rows to vectors: the modules after pooling, the number of dimensions, and the similarity of two
//! vectors.

use super::dense::Dense;
use crate::pooling::Pooling;

/// How a model's hidden states become a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// How hidden states become one row.
    pub pooling: Pooling,
    /// Whether the tokens of a prompt are pooled; if not, its special tokens are not either.
    pub include_prompt: bool,
    /// What is computed from the pooled row, in order.
    pub modules: Vec<Module>,
    /// Elements of a whole vector.
    pub width: usize,
    /// Elements of a vector for a request that asks for no number of them (`truncate_dim`).
    pub default_dimensions: Option<usize>,
    /// How two vectors are compared.
    pub similarity: Similarity,
}

/// A module after pooling.
#[derive(Debug, Clone, PartialEq)]
pub enum Module {
    /// A dense layer.
    Dense(Dense),
    /// Scales the row to unit length.
    Normalize,
}

/// How two vectors are compared (`similarity_fn_name`); larger is more alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Similarity {
    /// The cosine of their angle.
    #[default]
    Cosine,
    /// Their product.
    Dot,
    /// Their distance, negated.
    Euclidean,
    /// The sum of the distances of their elements, negated.
    Manhattan,
}

impl Embedding {
    /// Returns mean pooling without modules: what a checkpoint without any of sentence-transformers' files gets,
    /// there as here.
    pub(super) fn mean(hidden_size: usize) -> Embedding {
        Embedding {
            pooling: Pooling::Mean,
            include_prompt: true,
            modules: Vec::new(),
            width: hidden_size,
            default_dimensions: None,
            similarity: Similarity::Cosine,
        }
    }

    /// Computes the vector of a pooled row. The modules run before it is cut.
    pub(crate) fn vector(&self, mut row: Vec<f32>, dimensions: Option<usize>) -> Vec<f32> {
        for module in &self.modules {
            match module {
                Module::Dense(dense) => row = dense.apply(&row),
                Module::Normalize => to_unit_length(&mut row),
            }
        }
        row.truncate(dimensions.or(self.default_dimensions).unwrap_or(self.width));
        row
    }
}

/// Returns the mean of `rows`, [tokens, width], without the first `left_out` of them; zeros if none is left.
pub(crate) fn mean_without(rows: &[f32], width: usize, left_out: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    let own = rows.chunks_exact(width).skip(left_out);
    let count = own.len().max(1) as f64;
    for row in own {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// Scales a vector to length 1; a vector of zeros stays as it is.
pub(crate) fn to_unit_length(vector: &mut [f32]) {
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let scale = (1.0 / norm.max(1e-12)) as f32;
    vector.iter_mut().for_each(|x| *x *= scale);
}

impl Similarity {
    /// Returns the similarity of this name.
    pub(super) fn named(name: &str) -> Option<Similarity> {
        Some(match name {
            "cosine" => Similarity::Cosine,
            "dot" => Similarity::Dot,
            "euclidean" => Similarity::Euclidean,
            "manhattan" => Similarity::Manhattan,
            _ => return None,
        })
    }

    /// Compares two vectors of one length; for [`Similarity::Cosine`], of unit length.
    pub fn of(self, a: &[f32], b: &[f32]) -> f32 {
        let pairs = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let value = match self {
            Similarity::Cosine | Similarity::Dot => pairs.map(|(a, b)| a * b).sum::<f64>(),
            Similarity::Euclidean => -pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
            Similarity::Manhattan => -pairs.map(|(a, b)| (a - b).abs()).sum::<f64>(),
        };
        value as f32
    }
}
