//! The arena of a host backend. Borrows views of it, and keeps the high-water mark of what was written.

use super::{ArenaUsage, View};
use crate::allocation;
use crate::dtype::Dtype;
use crate::error::LoadError;

/// One allocation of f32, made at start-up, that every view lies in.
pub(super) struct HostArena {
    floats: Vec<f32>,
    high_water: usize,
}

impl HostArena {
    /// # Errors
    /// [`LoadError::HostMemory`].
    pub(super) fn new(bytes: usize) -> Result<HostArena, LoadError> {
        let floats = allocation::zeroed(bytes.div_ceil(4), "the arena of batches")?;
        Ok(HostArena { floats, high_water: 0 })
    }

    pub(super) fn usage(&self) -> ArenaUsage {
        let bytes = |floats: usize| 4 * floats as u64;
        ArenaUsage {
            capacity_bytes: bytes(self.floats.len()),
            planned_bytes: bytes(self.floats.len()),
            high_water_bytes: bytes(self.high_water),
        }
    }

    pub(super) fn get(&self, view: &View) -> &[f32] {
        &self.floats[range(view)]
    }

    pub(super) fn get_mut(&mut self, view: &View) -> &mut [f32] {
        let range = range(view);
        self.high_water = self.high_water.max(range.end);
        &mut self.floats[range]
    }

    /// Copies rows without gaps between them into a view.
    pub(super) fn write(&mut self, view: &View, rows: &[f32]) {
        let (cols, stride) = (view.cols, view.stride);
        for (to, from) in self.get_mut(view).chunks_mut(stride).zip(rows.chunks_exact(cols)) {
            to[..cols].copy_from_slice(from);
        }
    }

    /// Borrows an input and an output that does not overlap it.
    pub(super) fn input_output(&mut self, input: &View, output: &View) -> (&[f32], &mut [f32]) {
        let (input, output) = (range(input), range(output));
        self.high_water = self.high_water.max(output.end);
        match self.floats.get_disjoint_mut([input, output]) {
            Ok([input, output]) => (input, output),
            Err(error) => unreachable!("input and output of an operation overlap: {error}"),
        }
    }
}

/// Returns the floats of a view. The last row ends at its last column, so that a strided view never reaches
/// past its region.
fn range(view: &View) -> std::ops::Range<usize> {
    debug_assert_eq!(view.dtype, Dtype::F32);
    let start = view.offset_bytes / 4;
    let len = if view.rows == 0 { 0 } else { (view.rows - 1) * view.stride + view.cols };
    start..start + len
}
