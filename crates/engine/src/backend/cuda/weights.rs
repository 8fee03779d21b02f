//! Weights and rotary tables in device memory: converted once, in one allocation.
//!
//! Matrices are kept in the element type that GEMMs take. Vectors are kept twice, as f32 for norms and the
//! narrow linear layers, and as elements for the biases of GEMMs; together they are less than a megabyte.

use std::borrow::Cow;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::driver::device::DeviceContext;
use super::driver::memory::DeviceBuffer;
use crate::backend::{Layout, RopeId, RopeTable, WeightId};
use crate::checkpoint::{Tensor, TensorSpec, Weights};
use crate::dtype::Dtype;
use crate::error::LoadError;

/// A model as numbers, tensors and tables.
pub struct ModelData<'a> {
    /// The name that errors give.
    pub name: &'a str,
    /// Elements of one attention head.
    pub head_dim: usize,
    /// Elements of a row of the residual stream.
    pub hidden_size: usize,
    /// Elements of a row between the MLP's two products.
    pub intermediate_size: usize,
    /// Added to the variance in every norm.
    pub norm_eps: f32,
    /// Names and shapes, in the order of their [`WeightId`]s.
    pub tensors: &'a [TensorSpec],
    /// The tensors of these names.
    pub weights: &'a Weights,
    /// Rotary tables, in the order of their [`RopeId`]s, for all positions of the longest sequence.
    pub ropes: &'a [RopeTable],
}

/// Offsets of one tensor's copies.
#[derive(Debug, Clone, Copy)]
struct TensorOffsets {
    elements: usize,
    /// Offset of the f32 copy, which only vectors have.
    floats: Option<usize>,
}

/// All tensors and rotary tables of a model.
pub(super) struct DeviceWeights {
    buffer: DeviceBuffer,
    layout: WeightLayout,
}

/// Offsets of all tensors and tables in their allocation.
pub(super) struct WeightLayout {
    tensors: Vec<TensorOffsets>,
    ropes: Vec<usize>,
    bytes: usize,
}

impl WeightLayout {
    /// Lays out tensors in the order of their [`WeightId`]s and tables in that of their [`RopeId`]s.
    pub(super) fn new(specs: &[TensorSpec], ropes: &[RopeTable], dtype: Dtype) -> WeightLayout {
        let mut layout = Layout::default();
        let tensors = specs.iter().map(|spec| {
            let elements = layout.place(spec.elements() * dtype.size_bytes());
            let floats = (spec.shape.len() == 1).then(|| layout.place(4 * spec.elements()));
            TensorOffsets { elements, floats }
        });
        let tensors = tensors.collect();
        let ropes =
            ropes.iter().map(|table| layout.place(size_of_val(&table.cos_sin[..]))).collect();
        WeightLayout { tensors, ropes, bytes: layout.bytes() }
    }

    /// Returns the size of the allocation.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl DeviceWeights {
    /// Converts and uploads every tensor, and uploads the tables.
    ///
    /// # Errors
    /// [`LoadError::Weights`] for a missing or misshapen tensor, [`LoadError::Device`] if the device has no
    /// room, else as [`Tensor::read`].
    pub(super) fn upload(
        device: &Arc<DeviceContext>,
        layout: WeightLayout,
        model: &ModelData<'_>,
        dtype: Dtype,
    ) -> Result<DeviceWeights, LoadError> {
        let mut buffer = DeviceBuffer::new(device, layout.bytes, "the weights")?;
        for (spec, offsets) in model.tensors.iter().zip(&layout.tensors) {
            let tensor = model.weights.tensor(&spec.name, &spec.shape)?;
            buffer.write(offsets.elements, &elements(tensor, dtype)?)?;
            if let Some(floats) = offsets.floats {
                buffer.write(floats, bytemuck::cast_slice(&tensor.to_f32()?))?;
            }
        }
        for (table, &offset) in model.ropes.iter().zip(&layout.ropes) {
            buffer.write(offset, bytemuck::cast_slice(&table.cos_sin))?;
        }
        buffer.wait_for_writes()?;
        Ok(DeviceWeights { buffer, layout })
    }

    /// Returns the device address of a tensor's elements.
    pub(super) fn elements(&self, id: WeightId) -> u64 {
        self.buffer.address() + self.layout.tensors[id.0].elements as u64
    }

    /// Returns the device address of a vector's f32 copy.
    pub(super) fn floats(&self, id: WeightId) -> u64 {
        let offset = self.layout.tensors[id.0].floats.expect("norms and biases are vectors");
        self.buffer.address() + offset as u64
    }

    /// Returns the device address of a rotary table.
    pub(super) fn rope(&self, id: RopeId) -> u64 {
        self.buffer.address() + self.layout.ropes[id.0] as u64
    }
}

/// Returns a tensor's elements as bytes of another type; as they are stored where the file stores that type.
fn elements(tensor: &Tensor, dtype: Dtype) -> Result<Cow<'_, [u8]>, LoadError> {
    if tensor.dtype == dtype {
        return tensor.read();
    }
    Ok(Cow::Owned(convert(&tensor.to_f32()?, dtype)))
}

/// Rounds floats to another type and returns its bytes.
pub(super) fn convert(floats: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => bytemuck::cast_slice(floats).to_vec(),
        Dtype::Bf16 => {
            let mut converted = vec![bf16::ZERO; floats.len()];
            converted.convert_from_f32_slice(floats);
            converted.reinterpret_cast().iter().flat_map(|bits| bits.to_le_bytes()).collect()
        }
        Dtype::F16 => {
            let mut converted = vec![f16::ZERO; floats.len()];
            converted.convert_from_f32_slice(floats);
            converted.reinterpret_cast().iter().flat_map(|bits| bits.to_le_bytes()).collect()
        }
    }
}
