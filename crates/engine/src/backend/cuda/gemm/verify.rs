//! The check at start-up that an algorithm gives a row the same bits at any position among any number of
//! rows.

use std::cell::Cell;
use std::sync::Arc;

use cudarc::driver::result as driver;

use super::algorithm::Algorithm;
use super::{Exclusion, Gemm, GemmCall, GemmShape, Scratch, ShapePlan};
use crate::backend::Layout;
use crate::backend::cuda::driver::device::{DeviceContext, Stream};
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
    device: Arc<DeviceContext>,
    shape: GemmShape,
    rows: usize,
    regions: TrialRegions,
    out_dtype: Dtype,
    x_dtype: Dtype,
    reference_made: Cell<bool>,
}

/// Device address of each operand, and the bytes of all.
#[derive(Debug, Clone, Copy)]
struct TrialRegions {
    count: u64,
    weight: u64,
    bias: u64,
    x: u64,
    expected: u64,
    actual: u64,
    residual: u64,
    bytes: usize,
}

impl TrialRegions {
    fn new(
        shape: &GemmShape,
        element: usize,
        out_element: usize,
        rows: usize,
        start: u64,
    ) -> TrialRegions {
        let mut layout = Layout::default();
        let mut region = |bytes: usize| start + layout.place(bytes) as u64;
        let out = rows * shape.outputs * out_element;
        TrialRegions {
            count: region(4),
            weight: region(shape.outputs * shape.inputs * element),
            bias: region(shape.outputs * 4),
            x: region(rows * shape.x_stride * element),
            expected: region(out),
            actual: region(out),
            residual: region(if shape.accumulate { out } else { 0 }),
            bytes: layout.bytes(),
        }
    }
}

/// Returns the least memory for a trial of a shape.
pub(super) fn least_bytes(shape: &GemmShape, dtype: Dtype) -> usize {
    let out = if shape.f32_out { Dtype::F32 } else { dtype };
    TrialRegions::new(shape, dtype.size_bytes(), out.size_bytes(), LEAST_ROWS, 0).bytes
}

impl<'a> Trial<'a> {
    /// Fills the operands with random elements, for as many rows as the scratch holds and at most `max_rows`
    /// and the shift.
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
        let regions_of =
            |rows| TrialRegions::new(&shape, element, out_element, rows, scratch.address);
        let mut rows = max_rows.next_multiple_of(4) + SHIFT_ROWS;
        while regions_of(rows).bytes > scratch.bytes && rows > LEAST_ROWS {
            rows = (rows / 2).next_multiple_of(4).max(LEAST_ROWS);
        }
        let regions = regions_of(rows);
        if regions.bytes > scratch.bytes {
            return Err(DeviceError::OutOfMemory {
                device: gemm.device.label().into(),
                purpose: "the start-up check of matrix products",
                asked_bytes: regions.bytes as u64,
                free_bytes: scratch.bytes as u64,
            });
        }
        for (seed, (from, to)) in [
            (regions.weight, regions.x),
            (regions.x, regions.expected),
            (regions.residual, scratch.address + regions.bytes as u64),
        ]
        .into_iter()
        .enumerate()
        {
            // A residual or bias in f32 gets pairs of elements as its bits: any finite value will do.
            kernels.fill_random(stream, from, (to - from) as usize, seed as u32 + 1)?;
        }
        let device = gemm.device.clone();
        let reference_made = Cell::new(false);
        Ok(Trial {
            kernels,
            stream,
            device,
            shape,
            rows,
            regions,
            out_dtype,
            x_dtype,
            reference_made,
        })
    }

    /// Runs the candidate as this bucket would and returns why it is excluded, if it is. The first candidate
    /// that runs becomes the reference.
    ///
    /// It compares the bucket's most rows from the first row on, and its fewest rows and a single row from a
    /// shifted row on, so that both the number of rows and a row's position change.
    pub(super) fn test(
        &self,
        gemm: &Gemm,
        plan: &mut ShapePlan,
        max_rows: usize,
        algorithm: &Algorithm,
    ) -> Result<Option<Exclusion>, DeviceError> {
        let fewest = (max_rows / 2 + 1).min(self.rows - SHIFT_ROWS);
        let most = max_rows.min(self.rows);
        if !self.reference_made.get() {
            if !self.run(gemm, plan, algorithm, (0, self.rows), self.regions.expected)? {
                return Ok(Some(Exclusion::Refused));
            }
            self.reference_made.set(true);
        }
        for (first, rows) in [(0, most), (SHIFT_ROWS, fewest), (SHIFT_ROWS, 1)] {
            if !self.run(gemm, plan, algorithm, (first, rows), self.regions.actual)? {
                return Ok(Some(Exclusion::Refused));
            }
            if self.differs(first, rows)? {
                return Ok(Some(Exclusion::OtherBits));
            }
        }
        Ok(None)
    }

    /// Enqueues the product of `rows` rows from `first` on, its result at the start of `out`. Returns false
    /// if the library rejects the shape.
    fn run(
        &self,
        gemm: &Gemm,
        plan: &mut ShapePlan,
        algorithm: &Algorithm,
        (first, rows): (usize, usize),
        out: u64,
    ) -> Result<bool, DeviceError> {
        let shape = &self.shape;
        let row_bytes = shape.outputs * self.out_dtype.size_bytes();
        if shape.accumulate {
            let from = self.regions.residual + (first * row_bytes) as u64;
            // SAFETY: both regions lie in the scratch and hold this many rows.
            unsafe { driver::memcpy_dtod_async(out, from, rows * row_bytes, self.stream.handle()) }
                .context(self.device.label(), "cuMemcpyDtoDAsync")?;
        }
        let x = self.regions.x + (first * shape.x_stride * self.x_dtype.size_bytes()) as u64;
        let (x_dtype, out_dtype) = (self.x_dtype, self.out_dtype);
        let call = GemmCall {
            x: Matrix {
                address: x,
                rows,
                cols: shape.inputs,
                stride: shape.x_stride,
                dtype: x_dtype,
            },
            weight: self.regions.weight,
            bias: shape.bias.then_some(self.regions.bias),
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
        let expected = self.regions.expected + (first * row_bytes) as u64;
        let (label, count) = (self.device.label(), self.regions.count);
        // SAFETY: four bytes of the scratch.
        unsafe { driver::memset_d8_async(count, 0, 4, self.stream.handle()) }
            .context(label, "cuMemsetD8Async")?;
        self.kernels.count_differences(
            self.stream,
            expected,
            self.regions.actual,
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
