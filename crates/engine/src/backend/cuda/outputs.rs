//! Rows copied back to the host through pinned buffers.
//!
//! A batch has three buffers, one for each kind of rows (pooled, a head's, every token's), and the next batch
//! has the other three, so that its launches and copies can be enqueued before the rows of this one are
//! collected. Rows that fit into one buffer are copied after the launches and collected later. More rows are
//! waited for at once, in pieces: one piece is converted while the next is copied. The way in is
//! [`super::inputs`].

use std::sync::Arc;

use cudarc::driver::sys;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::driver::device::{DeviceContext, Event, Stream};
use super::driver::fault::CallContext;
use super::driver::memory::PinnedBuffer;
use super::kernels::Matrix;
use crate::backend::Fetch;
use crate::dtype::Dtype;
use crate::error::DeviceError;

/// Size of each buffer: enough that a copy takes much longer than its launch.
const BUFFER_BYTES: usize = 4 << 20;

/// A pinned buffer, and the event of the last copy into it.
struct RowBuffer {
    host: PinnedBuffer,
    copied: Event,
    /// Rows in it are yet to be collected.
    busy: bool,
}

/// Rows that are being copied into one of the buffers.
#[derive(Debug)]
pub struct PendingRows {
    batch: u64,
    buffer: usize,
    bytes: usize,
    dtype: Dtype,
}

/// The buffers of two batches.
pub(super) struct Outputs {
    device: Arc<DeviceContext>,
    /// Three for batches with an even number, three for the others.
    buffers: [RowBuffer; 6],
    batch: u64,
}

impl Outputs {
    pub(super) fn new(device: &Arc<DeviceContext>) -> Result<Outputs, DeviceError> {
        let buffer = || {
            let host = PinnedBuffer::new(device, BUFFER_BYTES)?;
            Ok(RowBuffer { host, copied: Event::new(device, false)?, busy: false })
        };
        let buffers = [buffer()?, buffer()?, buffer()?, buffer()?, buffer()?, buffer()?];
        Ok(Outputs { device: device.clone(), buffers, batch: 0 })
    }

    /// Switches to the buffers of the next batch. Uncollected rows of the batch before the last are dropped.
    pub(super) fn begin(&mut self) {
        self.batch += 1;
        for buffer in self.current() {
            self.buffers[buffer].busy = false;
        }
    }

    /// Returns the buffers of the current batch.
    fn current(&self) -> [usize; 3] {
        if self.batch.is_multiple_of(2) { [0, 1, 2] } else { [3, 4, 5] }
    }

    /// Copies the matrix's elements as the launches so far leave them.
    pub(super) fn fetch(&mut self, stream: &Stream, matrix: Matrix) -> Result<Fetch, DeviceError> {
        let row_bytes = matrix.cols * matrix.dtype.size_bytes();
        let bytes = matrix.rows * row_bytes;
        let free: Vec<usize> =
            self.current().into_iter().filter(|&buffer| !self.buffers[buffer].busy).collect();
        let Some(&buffer) = free.first() else {
            return Err(
                self.misuse("fetch", "all three kinds of rows of this batch are fetched already")
            );
        };
        if bytes > BUFFER_BYTES {
            return self.read(stream, matrix, &free).map(Fetch::Done);
        }
        if bytes > 0 {
            self.copy(stream, matrix, (0, matrix.rows), buffer)?;
        } else {
            self.buffers[buffer].copied.record(stream)?;
        }
        self.buffers[buffer].busy = true;
        Ok(Fetch::Pending(PendingRows { batch: self.batch, buffer, bytes, dtype: matrix.dtype }))
    }

    /// Blocks until rows of [`Outputs::fetch`] are copied, and converts them.
    pub(super) fn collect(&mut self, rows: PendingRows) -> Result<Vec<f32>, DeviceError> {
        if rows.batch + 1 < self.batch {
            return Err(
                self.misuse("collect", "two more batches began before the rows were collected")
            );
        }
        let RowBuffer { host, copied, busy } = &mut self.buffers[rows.buffer];
        copied.wait()?;
        *busy = false;
        let mut floats = Vec::with_capacity(rows.bytes / rows.dtype.size_bytes());
        append_as_f32(&host.as_slice()[..rows.bytes], rows.dtype, &mut floats);
        Ok(floats)
    }

    /// Copies the matrix piece by piece through the free buffers in turn, and blocks until all is converted.
    fn read(
        &mut self,
        stream: &Stream,
        matrix: Matrix,
        through: &[usize],
    ) -> Result<Vec<f32>, DeviceError> {
        let row_bytes = matrix.cols * matrix.dtype.size_bytes();
        let mut out = Vec::with_capacity(matrix.rows * matrix.cols);
        let rows = BUFFER_BYTES / row_bytes;
        assert!(rows > 0, "a row is longer than a whole buffer");
        let count = matrix.rows.div_ceil(rows);
        let rows_of = |turn: usize| (turn * rows, rows.min(matrix.rows - turn * rows));
        let buffer_of = |turn: usize| through[turn % through.len()];
        for turn in 0..count.min(through.len()) {
            self.copy(stream, matrix, rows_of(turn), buffer_of(turn))?;
        }
        for turn in 0..count {
            let RowBuffer { host, copied, .. } = &self.buffers[buffer_of(turn)];
            copied.wait()?;
            let bytes = &host.as_slice()[..rows_of(turn).1 * row_bytes];
            append_as_f32(bytes, matrix.dtype, &mut out);
            let next = turn + through.len();
            if next < count {
                self.copy(stream, matrix, rows_of(next), buffer_of(next))?;
            }
        }
        Ok(out)
    }

    fn misuse(&self, call: &'static str, reason: &str) -> DeviceError {
        DeviceError::Call { device: self.device.label().into(), call, reason: reason.into() }
    }

    /// Enqueues the copy of some rows into a buffer, without the gaps between them.
    fn copy(
        &self,
        stream: &Stream,
        matrix: Matrix,
        (first, rows): (usize, usize),
        buffer: usize,
    ) -> Result<(), DeviceError> {
        let RowBuffer { host, copied, .. } = &self.buffers[buffer];
        let element = matrix.dtype.size_bytes();
        let row_bytes = matrix.cols * element;
        let copy = sys::CUDA_MEMCPY2D {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
            srcHost: std::ptr::null(),
            srcDevice: matrix.address + (first * matrix.stride * element) as u64,
            srcArray: std::ptr::null_mut(),
            srcPitch: matrix.stride * element,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: host.address(),
            dstDevice: 0,
            dstArray: std::ptr::null_mut(),
            dstPitch: row_bytes,
            WidthInBytes: row_bytes,
            Height: rows,
        };
        // SAFETY: the rows lie in the arena; the pinned buffer has room and was read before.
        unsafe { sys::cuMemcpy2DAsync_v2(&copy, stream.handle()) }
            .result()
            .context(self.device.label(), "cuMemcpy2DAsync")?;
        copied.record(stream)
    }
}

fn append_as_f32(bytes: &[u8], dtype: Dtype, out: &mut Vec<f32>) {
    let start = out.len();
    match dtype {
        Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word))),
        Dtype::Bf16 => {
            out.extend(bytes.as_chunks().0.iter().map(|word| bf16::from_le_bytes(*word).to_f32()));
        }
        Dtype::F16 => {
            let halves: Vec<f16> =
                bytes.as_chunks().0.iter().map(|word| f16::from_le_bytes(*word)).collect();
            out.resize(start + halves.len(), 0.0);
            halves.convert_to_f32_slice(&mut out[start..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_become_floats() {
        let mut out = vec![9.0];
        append_as_f32(&[0x80, 0x3f, 0x20, 0xc0], Dtype::Bf16, &mut out);
        append_as_f32(&[0x00, 0x3c, 0x00, 0xc1], Dtype::F16, &mut out);
        append_as_f32(&(-0.25f32).to_le_bytes(), Dtype::F32, &mut out);
        assert_eq!(out, [9.0, 1.0, -2.5, 1.0, -2.5, -0.25]);
    }
}
