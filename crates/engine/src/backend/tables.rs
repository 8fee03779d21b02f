use crate::checkpoint::Tensor;
use crate::checkpoint::Weights;
use crate::error::LoadError;
use crate::model::{Rope, TensorSpec};

use super::WeightId;

/// cos and sin of every position, for half a head.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeTable {
    /// Pairs of elements that are rotated together: `head_dim / 2`.
    pub pairs: usize,
    /// [positions, pairs], interleaved (cos, sin).
    pub cos_sin: Vec<[f32; 2]>,
}

impl RopeTable {
    /// Tabulates positions 0 to `positions - 1`. Angles are products in f32, as upstream's are; their
    /// cosines and sines are taken in f64.
    pub fn new(rope: &Rope, head_dim: usize, positions: usize) -> RopeTable {
        let frequencies = rope.inverse_frequencies(head_dim);
        let scale = rope.attention_factor() as f32;
        let entry = |position: usize, frequency: f32| {
            let angle = f64::from(position as f32 * frequency);
            [angle.cos() as f32 * scale, angle.sin() as f32 * scale]
        };
        let cos_sin = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |&f| entry(position, f)))
            .collect();
        RopeTable { pairs: head_dim / 2, cos_sin }
    }

    /// (cos, sin) of one position's pairs.
    pub fn row(&self, position: usize) -> &[[f32; 2]] {
        &self.cos_sin[position * self.pairs..][..self.pairs]
    }

    /// Bytes that a table takes.
    pub fn bytes(pairs: usize, positions: usize) -> usize {
        pairs * positions * size_of::<[f32; 2]>()
    }
}

/// All tensors of a model as f32, read where the file holds them so.
pub struct WeightTable {
    tensors: Vec<Held>,
}

struct Held {
    columns: usize,
    data: HeldData,
}

enum HeldData {
    InPlace(Tensor),
    Converted(Vec<f32>),
}

impl WeightTable {
    /// Reads every tensor in the order of its [`WeightId`].
    ///
    /// # Errors
    /// [`LoadError::Weights`] for a missing or misshapen tensor.
    pub fn new(specs: &[TensorSpec], weights: &Weights) -> Result<WeightTable, LoadError> {
        let read = |spec: &TensorSpec| {
            let tensor = weights.tensor(&spec.name, &spec.shape)?;
            let data = match tensor.as_f32() {
                Some(_) => HeldData::InPlace(tensor.clone()),
                None => HeldData::Converted(tensor.to_f32()),
            };
            Ok(Held { columns: spec.shape.last().copied().unwrap_or(1), data })
        };
        Ok(WeightTable { tensors: specs.iter().map(read).collect::<Result<_, LoadError>>()? })
    }

    /// The tensor's elements, row-major.
    pub fn get(&self, id: WeightId) -> &[f32] {
        match &self.tensors[id.0].data {
            HeldData::InPlace(tensor) => tensor.as_f32().unwrap_or_default(),
            HeldData::Converted(floats) => floats,
        }
    }

    /// Columns of a matrix.
    pub fn columns(&self, id: WeightId) -> usize {
        self.tensors[id.0].columns
    }
}

/// Bytes that [`WeightTable::new`] would hold beyond the mapped files: what has to be converted.
pub fn converted_bytes(specs: &[TensorSpec], weights: &Weights) -> Result<u64, LoadError> {
    let mut total = 0;
    for spec in specs {
        let tensor = weights.tensor(&spec.name, &spec.shape)?;
        if tensor.as_f32().is_none() {
            total += 4 * spec.shape.iter().product::<usize>() as u64;
        }
    }
    Ok(total)
}
