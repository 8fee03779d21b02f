//! Rows on their way back, through pinned buffers.
//!
//! A batch has three buffers, one for each kind of rows (pooled, a head's, every token's), and the next batch
//! the other three, so that its launches and copies can be enqueued before the rows of this one are collected. What fits into one buffer is copied behind the launches and
//! collected later. What does not is waited for at once, in pieces: one is converted while the next is copied.

use std::sync::Arc;

use cudarc::driver::sys;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::driver::device::{Device, Event, Stream};
use super::driver::fault::At;
use super::driver::memory::Pinned;
use super::kernels::Matrix;
use crate::backend::Fetch;
use crate::dtype::Dtype;
use crate::error::DeviceError;

/// Of each buffer. Enough that a copy takes much longer than its launch.
const PIECE_BYTES: usize = 4 << 20;

struct Piece {
    host: Pinned,
    copied: Event,
    /// Rows in it are yet to be collected.
    busy: bool,
}

/// Rows that arrive in one of the buffers.
#[derive(Debug)]
pub struct Coming {
    batch: u64,
    piece: usize,
    bytes: usize,
    dtype: Dtype,
}

/// The way back.
pub(super) struct Outputs {
    device: Arc<Device>,
    /// Three for batches of even number, three for the others.
    pieces: [Piece; 6],
    batch: u64,
}

impl Outputs {
    pub(super) fn new(device: &Arc<Device>) -> Result<Outputs, DeviceError> {
        let piece = || {
            let host = Pinned::new(device, PIECE_BYTES)?;
            Ok(Piece { host, copied: Event::new(device, false)?, busy: false })
        };
        let pieces = [piece()?, piece()?, piece()?, piece()?, piece()?, piece()?];
        Ok(Outputs { device: device.clone(), pieces, batch: 0 })
    }

    /// Turns to the buffers of the next batch. Rows of the batch before the last are given up.
    pub(super) fn begin(&mut self) {
        self.batch += 1;
        for piece in self.own() {
            self.pieces[piece].busy = false;
        }
    }

    /// The buffers of the current batch.
    fn own(&self) -> [usize; 3] {
        if self.batch.is_multiple_of(2) { [0, 1, 2] } else { [3, 4, 5] }
    }

    /// Brings back the matrix's elements as the launches before leave them.
    pub(super) fn fetch(&mut self, stream: &Stream, matrix: Matrix) -> Result<Fetch, DeviceError> {
        let row_bytes = matrix.cols * matrix.dtype.size_bytes();
        let bytes = matrix.rows * row_bytes;
        let free: Vec<usize> =
            self.own().into_iter().filter(|&piece| !self.pieces[piece].busy).collect();
        let Some(&piece) = free.first() else {
            return Err(self.misused("fetch", "the rows of this batch are on their way already"));
        };
        if bytes > PIECE_BYTES {
            return self.read(stream, matrix, &free).map(Fetch::Done);
        }
        if bytes > 0 {
            self.copy(stream, matrix, (0, matrix.rows), piece)?;
        } else {
            self.pieces[piece].copied.record(stream)?;
        }
        self.pieces[piece].busy = true;
        Ok(Fetch::Coming(Coming { batch: self.batch, piece, bytes, dtype: matrix.dtype }))
    }

    /// Waits for rows that [`Outputs::fetch`] said were coming.
    pub(super) fn collect(&mut self, coming: Coming) -> Result<Vec<f32>, DeviceError> {
        if coming.batch + 1 < self.batch {
            return Err(self.misused("collect", "two more batches were begun before its rows were"));
        }
        let Piece { host, copied, busy } = &mut self.pieces[coming.piece];
        copied.wait()?;
        *busy = false;
        let mut rows = Vec::with_capacity(coming.bytes / coming.dtype.size_bytes());
        append_as_f32(&host.as_slice()[..coming.bytes], coming.dtype, &mut rows);
        Ok(rows)
    }

    /// Waits for the matrix's elements, row by row, through the pieces in turn.
    fn read(
        &mut self,
        stream: &Stream,
        matrix: Matrix,
        through: &[usize],
    ) -> Result<Vec<f32>, DeviceError> {
        let row_bytes = matrix.cols * matrix.dtype.size_bytes();
        let mut out = Vec::with_capacity(matrix.rows * matrix.cols);
        let rows = PIECE_BYTES / row_bytes;
        assert!(rows > 0, "a row longer than a whole piece");
        let count = matrix.rows.div_ceil(rows);
        let rows_of = |turn: usize| (turn * rows, rows.min(matrix.rows - turn * rows));
        let buffer_of = |turn: usize| through[turn % through.len()];
        for turn in 0..count.min(through.len()) {
            self.copy(stream, matrix, rows_of(turn), buffer_of(turn))?;
        }
        for turn in 0..count {
            let Piece { host, copied, .. } = &self.pieces[buffer_of(turn)];
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

    fn misused(&self, call: &'static str, reason: &str) -> DeviceError {
        DeviceError::Call { device: self.device.label().into(), call, reason: reason.into() }
    }

    /// Enqueues the copy of some rows, without the gaps between them.
    fn copy(
        &self,
        stream: &Stream,
        matrix: Matrix,
        (first, rows): (usize, usize),
        buffer: usize,
    ) -> Result<(), DeviceError> {
        let Piece { host, copied, .. } = &self.pieces[buffer];
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
            .at(self.device.label(), "cuMemcpy2DAsync")?;
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
