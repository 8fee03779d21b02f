//! The weights and rotary tables that a backend holds beside its arena, as plain numbers.
//!
//! Nothing here depends on the model that they belong to: a weight is named by its [`WeightId`], and the
//! frequencies of a rotary table are computed by the model. Host backends use both types as they are; `cuda`
//! uploads its own copy of each.

use super::WeightId;
use crate::checkpoint::{Tensor, TensorSpec, Weights};
use crate::error::LoadError;

/// Cosine and sine of every position, for half a head.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeTable {
    /// Pairs of elements that are rotated together: `head_dim / 2`.
    pub pairs: usize,
    /// [positions, pairs], interleaved (cos, sin).
    pub cos_sin: Vec<[f32; 2]>,
}

impl RopeTable {
    /// Tabulates positions 0 to `positions - 1`: one pair per inverse frequency (radians per position), both
    /// values multiplied by `scale`. Angles are products in f32, as those of `transformers` are; their cosines
    /// and sines are taken in f64.
    pub fn new(inverse_frequencies: &[f32], scale: f32, positions: usize) -> RopeTable {
        let entry = |position: usize, frequency: f32| {
            let angle = f64::from(position as f32 * frequency);
            [angle.cos() as f32 * scale, angle.sin() as f32 * scale]
        };
        let cos_sin = (0..positions)
            .flat_map(|position| inverse_frequencies.iter().map(move |&f| entry(position, f)))
            .collect();
        RopeTable { pairs: inverse_frequencies.len(), cos_sin }
    }

    /// Returns (cos, sin) of each pair at one position.
    pub fn row(&self, position: usize) -> &[[f32; 2]] {
        &self.cos_sin[position * self.pairs..][..self.pairs]
    }

    /// Returns the bytes of a table of this shape.
    pub fn bytes(pairs: usize, positions: usize) -> usize {
        pairs * positions * size_of::<[f32; 2]>()
    }
}

/// All tensors of a model as f32: borrowed where the caller's memory holds aligned f32, else read and converted.
pub struct WeightTable {
    tensors: Vec<StoredTensor>,
}

struct StoredTensor {
    columns: usize,
    elements: Elements,
}

enum Elements {
    Borrowed(Tensor),
    Owned(Vec<f32>),
}

impl WeightTable {
    /// Reads every tensor in the order of its [`WeightId`].
    ///
    /// # Errors
    /// [`LoadError::Weights`] for a missing or misshapen tensor, else as [`Tensor::to_f32`].
    pub fn new(specs: &[TensorSpec], weights: &Weights) -> Result<WeightTable, LoadError> {
        let read = |spec: &TensorSpec| {
            let tensor = weights.tensor(&spec.name, &spec.shape)?;
            let elements = match tensor.as_f32() {
                Some(_) => Elements::Borrowed(tensor.clone()),
                None => Elements::Owned(tensor.to_f32()?),
            };
            Ok(StoredTensor { columns: spec.shape.last().copied().unwrap_or(1), elements })
        };
        Ok(WeightTable { tensors: specs.iter().map(read).collect::<Result<_, LoadError>>()? })
    }

    /// Returns the tensor's elements, row-major.
    pub fn get(&self, id: WeightId) -> &[f32] {
        match &self.tensors[id.0].elements {
            Elements::Borrowed(tensor) => tensor.as_f32().unwrap_or_default(),
            Elements::Owned(floats) => floats,
        }
    }

    /// Returns the tensor's innermost dimension.
    pub fn columns(&self, id: WeightId) -> usize {
        self.tensors[id.0].columns
    }
}

/// Returns the bytes that [`WeightTable::new`] allocates: the f32 copies of tensors that are not in memory as f32.
///
/// # Errors
/// [`LoadError::Weights`] for a missing or misshapen tensor.
pub fn owned_bytes(specs: &[TensorSpec], weights: &Weights) -> Result<u64, LoadError> {
    let mut total = 0;
    for spec in specs {
        let tensor = weights.tensor(&spec.name, &spec.shape)?;
        if tensor.as_f32().is_none() {
            total += 4 * spec.elements() as u64;
        }
    }
    Ok(total)
}
