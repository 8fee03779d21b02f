//! Rows on their way back: copied in pieces through two pinned buffers, converted to f32 while the next
//! piece is copied.

use std::sync::Arc;

use cudarc::driver::sys;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::device::{Device, Event, Stream};
use super::fault::At;
use super::kernels::Matrix;
use super::memory::Pinned;
use crate::backend::Dtype;
use crate::error::DeviceError;

/// Of each buffer. Enough that a copy takes much longer than its launch.
const PIECE_BYTES: usize = 4 << 20;

struct Piece {
    host: Pinned,
    copied: Event,
}

/// The way back.
pub(super) struct Outputs {
    device: Arc<Device>,
    pieces: [Piece; 2],
}

impl Outputs {
    pub(super) fn new(device: &Arc<Device>) -> Result<Outputs, DeviceError> {
        let piece = || {
            let host = Pinned::new(device, PIECE_BYTES)?;
            Ok(Piece { host, copied: Event::new(device, false)? })
        };
        Ok(Outputs { device: device.clone(), pieces: [piece()?, piece()?] })
    }

    /// Waits for what the stream holds and appends the matrix's elements, row by row.
    pub(super) fn read(
        &mut self,
        stream: &Stream,
        matrix: Matrix,
        out: &mut Vec<f32>,
    ) -> Result<(), DeviceError> {
        let row_bytes = matrix.cols * matrix.dtype.size_bytes();
        if matrix.rows == 0 || row_bytes == 0 {
            return stream.synchronize();
        }
        out.reserve(matrix.rows * matrix.cols);
        let piece_rows = (PIECE_BYTES / row_bytes).max(1).min(matrix.rows);
        assert!(piece_rows * row_bytes <= PIECE_BYTES, "a row longer than a whole piece");
        let pieces = matrix.rows.div_ceil(piece_rows);
        let rows_of = |piece: usize| {
            let first = piece * piece_rows;
            (first, piece_rows.min(matrix.rows - first))
        };
        self.copy(stream, matrix, rows_of(0), 0)?;
        for piece in 0..pieces {
            if piece + 1 < pieces {
                self.copy(stream, matrix, rows_of(piece + 1), (piece + 1) % 2)?;
            }
            let Piece { host, copied } = &self.pieces[piece % 2];
            copied.wait()?;
            let bytes = &host.as_slice()[..rows_of(piece).1 * row_bytes];
            append_as_f32(bytes, matrix.dtype, out);
        }
        Ok(())
    }

    /// Enqueues the copy of some rows, without the gaps between them.
    fn copy(
        &self,
        stream: &Stream,
        matrix: Matrix,
        (first, rows): (usize, usize),
        buffer: usize,
    ) -> Result<(), DeviceError> {
        let Piece { host, copied } = &self.pieces[buffer];
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
