//! The start-up proof that an algorithm gives a row the same bits at any place among any number of rows.

use std::cell::Cell;
use std::sync::Arc;

use cudarc::driver::result as driver;

use super::algorithm::Algorithm;
use super::{Exclusion, Gemm, GemmCall, GemmShape, Plan, Scratch};
use crate::backend::cuda::driver::device::{Device, Stream};
use crate::backend::cuda::driver::fault::CallContext;
use crate::backend::cuda::kernels::{Kernels, Matrix};
use crate::dtype::Dtype;
use crate::error::DeviceError;

/// Rows by which the second comparison is shifted: a multiple of 4, so that every row's address stays a
/// multiple of 16 bytes, and of no tile size.
const SHIFT_ROWS: usize = 68;
/// Rows of the smallest trial.
const LEAST_ROWS: usize = 2 * SHIFT_ROWS;

/// Random operands for one shape, and the bits that the largest bucket's algorithm gave for them.
///
/// The scratch holds, one after another: weight, bias, `x`, the result to match, the result under test, and
/// what a residual product adds to.
pub(super) struct Trial<'a> {
    kernels: &'a Kernels,
    stream: &'a Stream,
    device: Arc<Device>,
    shape: GemmShape,
    rows: usize,
    at: Places,
    out_dtype: Dtype,
    x_dtype: Dtype,
    reference_made: Cell<bool>,
}

#[derive(Debug, Clone, Copy)]
struct Places {
    count: u64,
    weight: u64,
    bias: u64,
    x: u64,
    expected: u64,
    actual: u64,
    residual: u64,
    bytes: usize,
}

impl Places {
    fn new(
        shape: &GemmShape,
        element: usize,
        out_element: usize,
        rows: usize,
        start: u64,
    ) -> Places {
        let mut end = 0;
        let mut region = |bytes: usize| {
            let address = start + end as u64;
            end += bytes.next_multiple_of(256);
            address
        };
        let out = rows * shape.outputs * out_element;
        Places {
            count: region(4),
            weight: region(shape.outputs * shape.inputs * element),
            bias: region(shape.outputs * 4),
            x: region(rows * shape.x_stride * element),
            expected: region(out),
            actual: region(out),
            residual: region(if shape.accumulate { out } else { 0 }),
            bytes: end,
        }
    }
}

/// Bytes below which no trial of a shape can be made.
pub(super) fn least_bytes(shape: &GemmShape, dtype: Dtype) -> usize {
    let out = if shape.f32_out { Dtype::F32 } else { dtype };
    Places::new(shape, dtype.size_bytes(), out.size_bytes(), LEAST_ROWS, 0).bytes
}

impl<'a> Trial<'a> {
    /// Fills the operands. Takes as many rows as the scratch holds, at most `max_rows` and the shift.
    pub(super) fn new(
        gemm: &Gemm,
        kernels: &'a Kernels,
        stream: &'a Stream,
        shape: GemmShape,
        max_rows: usize,
        scratch: Scratch,
    ) -> Result<Trial<'a>, DeviceError> {
        let x_dtype = gemm.dtype;
        let out_dtype = if shape.f32_out { Dtype::F32 } else { x_dtype };
        let (element, out_element) = (x_dtype.size_bytes(), out_dtype.size_bytes());
        let place = |rows| Places::new(&shape, element, out_element, rows, scratch.address);
        let mut rows = max_rows.next_multiple_of(4) + SHIFT_ROWS;
        while place(rows).bytes > scratch.bytes && rows > LEAST_ROWS {
            rows = (rows / 2).next_multiple_of(4).max(LEAST_ROWS);
        }
        let at = place(rows);
        if at.bytes > scratch.bytes {
            return Err(DeviceError::OutOfMemory {
                device: gemm.device.label().into(),
                purpose: "the start-up check of matrix products",
                asked_bytes: at.bytes as u64,
                free_bytes: scratch.bytes as u64,
            });
        }
        for (seed, (from, to)) in [
            (at.weight, at.x),
            (at.x, at.expected),
            (at.residual, scratch.address + at.bytes as u64),
        ]
        .into_iter()
        .enumerate()
        {
            // A residual or bias in f32 gets pairs of elements as its bits: any finite value will do.
            kernels.fill_random(stream, from, (to - from) as usize, seed as u32 + 1)?;
        }
        let device = gemm.device.clone();
        let reference_made = Cell::new(false);
        Ok(Trial { kernels, stream, device, shape, rows, at, out_dtype, x_dtype, reference_made })
    }

    /// Runs the candidate as this bucket would; the first one that runs becomes the reference.
    ///
    /// Two comparisons: the most rows of the bucket from the first row on, and the fewest from a shifted row
    /// on, so that both the count and the place of a row change.
    pub(super) fn test(
        &self,
        gemm: &Gemm,
        plan: &mut Plan,
        max_rows: usize,
        algorithm: &Algorithm,
    ) -> Result<Option<Exclusion>, DeviceError> {
        let fewest = (max_rows / 2 + 1).min(self.rows - SHIFT_ROWS);
        let most = max_rows.min(self.rows);
        if !self.reference_made.get() {
            if !self.run(gemm, plan, algorithm, (0, self.rows), self.at.expected)? {
                return Ok(Some(Exclusion::Refused));
            }
            self.reference_made.set(true);
        }
        for (first, rows) in [(0, most), (SHIFT_ROWS, fewest), (SHIFT_ROWS, 1)] {
            if !self.run(gemm, plan, algorithm, (first, rows), self.at.actual)? {
                return Ok(Some(Exclusion::Refused));
            }
            if self.differs(first, rows)? {
                return Ok(Some(Exclusion::OtherBits));
            }
        }
        Ok(None)
    }

    /// The product of `rows` rows from `first` on, its result at the start of `out`; false where the library
    /// refuses the shape.
    fn run(
        &self,
        gemm: &Gemm,
        plan: &mut Plan,
        algorithm: &Algorithm,
        (first, rows): (usize, usize),
        out: u64,
    ) -> Result<bool, DeviceError> {
        let shape = &self.shape;
        let row_bytes = shape.outputs * self.out_dtype.size_bytes();
        if shape.accumulate {
            let from = self.at.residual + (first * row_bytes) as u64;
            // SAFETY: both regions lie in the scratch and hold this many rows.
            unsafe { driver::memcpy_dtod_async(out, from, rows * row_bytes, self.stream.handle()) }
                .context(self.device.label(), "cuMemcpyDtoDAsync")?;
        }
        let x = self.at.x + (first * shape.x_stride * self.x_dtype.size_bytes()) as u64;
        let (x_dtype, out_dtype) = (self.x_dtype, self.out_dtype);
        let call = GemmCall {
            x: Matrix {
                address: x,
                rows,
                cols: shape.inputs,
                stride: shape.x_stride,
                dtype: x_dtype,
            },
            weight: self.at.weight,
            bias: shape.bias.then_some(self.at.bias),
            out: Matrix {
                address: out,
                rows,
                cols: shape.outputs,
                stride: shape.outputs,
                dtype: out_dtype,
            },
            accumulate: shape.accumulate,
        };
        plan.x
            .set(rows, shape.x_stride)
            .and_then(|()| plan.out.set(rows, shape.outputs))
            .context(self.device.label(), "cublasLtMatrixLayoutSetAttribute")?;
        if !gemm.problem(plan).accepts(algorithm, gemm.workspace.bytes()) {
            return Ok(false);
        }
        gemm.enqueue(self.stream, plan, &call, algorithm).map(|()| true)
    }

    fn differs(&self, first: usize, rows: usize) -> Result<bool, DeviceError> {
        let row_bytes = self.shape.outputs * self.out_dtype.size_bytes();
        let expected = self.at.expected + (first * row_bytes) as u64;
        let (label, count) = (self.device.label(), self.at.count);
        // SAFETY: four bytes of the scratch.
        unsafe { driver::memset_d8_async(count, 0, 4, self.stream.handle()) }
            .context(label, "cuMemsetD8Async")?;
        self.kernels.count_differences(
            self.stream,
            expected,
            self.at.actual,
            rows * row_bytes,
            count,
        )?;
        let mut differences = [0u32];
        // SAFETY: four bytes of the scratch, to a live array; the stream is synchronised before it is read.
        unsafe { driver::memcpy_dtoh_async(&mut differences, count, self.stream.handle()) }
            .context(label, "cuMemcpyDtoHAsync")?;
        self.stream.synchronize()?;
        Ok(differences[0] > 0)
    }
}
