//! Weights and rotary tables in device memory: converted once, in one allocation.
//!
//! Matrices are kept in the element type that GEMMs take. Vectors are kept twice, as f32 for norms and the
//! narrow linear layers, and as elements for the biases of GEMMs; together they are less than a megabyte.

use std::borrow::Cow;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::driver::device::Device;
use super::driver::memory::DeviceBuffer;
use crate::backend::{RopeId, RopeTable, WeightId};
use crate::checkpoint::{Tensor, TensorSpec, Weights};
use crate::dtype::Dtype;
use crate::error::LoadError;

const ALIGN_BYTES: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Place {
    elements: usize,
    /// Of vectors only.
    floats: Option<usize>,
}

/// All tensors and tables of a model.
pub(super) struct DeviceWeights {
    buffer: DeviceBuffer,
    tensors: Vec<Place>,
    ropes: Vec<usize>,
}

/// Bytes that [`DeviceWeights`] of these tensors and tables take.
pub(super) fn bytes(specs: &[TensorSpec], ropes: &[RopeTable], dtype: Dtype) -> usize {
    layout(specs, ropes, dtype).2
}

/// Offsets of tensors and tables, and bytes of all.
fn layout(
    specs: &[TensorSpec],
    ropes: &[RopeTable],
    dtype: Dtype,
) -> (Vec<Place>, Vec<usize>, usize) {
    let mut end = 0;
    let mut region = |bytes: usize| {
        let start = end;
        end += bytes.next_multiple_of(ALIGN_BYTES);
        start
    };
    let tensors = specs.iter().map(|spec| {
        let count: usize = spec.shape.iter().product();
        let elements = region(count * dtype.size_bytes());
        Place { elements, floats: (spec.shape.len() == 1).then(|| region(4 * count)) }
    });
    let tensors = tensors.collect();
    let ropes = ropes.iter().map(|table| region(size_of_val(&table.cos_sin[..]))).collect();
    (tensors, ropes, end)
}

impl DeviceWeights {
    /// Converts and uploads, tensor by tensor.
    ///
    /// # Errors
    /// [`LoadError::Weights`] for a missing or misshapen tensor, [`LoadError::Device`] when it does not fit.
    pub(super) fn upload(
        device: &Arc<Device>,
        specs: &[TensorSpec],
        weights: &Weights,
        ropes: &[RopeTable],
        dtype: Dtype,
    ) -> Result<DeviceWeights, LoadError> {
        let (tensors, rope_places, bytes) = layout(specs, ropes, dtype);
        let mut buffer = DeviceBuffer::new(device, bytes, "the weights")?;
        for (spec, place) in specs.iter().zip(&tensors) {
            let tensor = weights.tensor(&spec.name, &spec.shape)?;
            buffer.write(place.elements, &elements(tensor, dtype))?;
            if let Some(floats) = place.floats {
                buffer.write(floats, bytemuck::cast_slice(&tensor.to_f32()))?;
            }
        }
        for (table, &place) in ropes.iter().zip(&rope_places) {
            buffer.write(place, bytemuck::cast_slice(&table.cos_sin))?;
        }
        buffer.settle()?;
        Ok(DeviceWeights { buffer, tensors, ropes: rope_places })
    }

    /// Device address of a tensor's elements.
    pub(super) fn elements(&self, id: WeightId) -> u64 {
        self.buffer.address() + self.tensors[id.0].elements as u64
    }

    /// Device address of a vector's f32 copy.
    pub(super) fn floats(&self, id: WeightId) -> u64 {
        let place = self.tensors[id.0].floats.expect("norms and biases are vectors");
        self.buffer.address() + place as u64
    }

    /// Device address of a rotary table.
    pub(super) fn rope(&self, id: RopeId) -> u64 {
        self.buffer.address() + self.ropes[id.0] as u64
    }
}

/// A tensor's elements in another type, as bytes; borrowed where the file has them so.
fn elements(tensor: &Tensor, dtype: Dtype) -> Cow<'_, [u8]> {
    if tensor.dtype == dtype {
        return Cow::Borrowed(tensor.bytes());
    }
    Cow::Owned(converted(&tensor.to_f32(), dtype))
}

/// Floats rounded to another type, as bytes.
pub(super) fn converted(floats: &[f32], dtype: Dtype) -> Vec<u8> {
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
