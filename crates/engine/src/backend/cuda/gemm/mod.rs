//! Matrix products through cuBLASLt, with algorithms chosen once and the same bits for a row in any batch.
//!
//! For each shape of weight and epilogue there is one algorithm per bucket of rows. All are chosen at
//! start-up ([`algorithm`]), and each must give, on random data, the bits of the largest bucket's algorithm
//! ([`verify`]): then a row's result depends neither on the number of rows nor on its position. The residual
//! is added in the epilogue (`beta = 1`, in place), as is a bias. Products with few outputs are a kernel
//! instead: `linear_rows.cu`.

mod algorithm;
mod descriptors;
mod verify;

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublaslt::{result, sys};

pub use self::algorithm::Exclusion;
use self::algorithm::{Algorithm, Problem};
use self::descriptors::{Handle, MatrixLayout, Operation, Preference};
use super::driver::device::{DeviceContext, Stream};
use super::driver::fault::CallContext;
use super::driver::libraries::{self, Library};
use super::driver::memory::DeviceBuffer;
use super::kernels::{Kernels, Matrix};
use crate::backend::Op;
use crate::dtype::Dtype;
use crate::error::DeviceError;

/// Enough for the tile counters of Hopper's persistent algorithms (4 bytes in cuBLASLt 13.1) and too little
/// for partial sums, so that the heuristic does not offer to split the inner dimension. Products run one
/// after another on one stream, so one workspace serves all.
const WORKSPACE_BYTES: usize = 64 << 10;

/// A product's shape without its rows; algorithms are chosen by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct GemmShape {
    /// Columns of the output.
    pub outputs: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Whether the product is added to the output.
    pub accumulate: bool,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether the output's element type is f32.
    pub f32_out: bool,
    /// Elements from one input row's start to the next one's, which limit its alignment.
    pub x_stride: usize,
}

impl GemmShape {
    /// Returns the shape and the rows of an operation's product; `None` if it is no product of elements.
    pub fn of(op: &Op) -> Option<(GemmShape, usize)> {
        match op {
            Op::Linear { x, bias, out, accumulate, .. } if x.dtype != Dtype::F32 => {
                let shape = GemmShape {
                    outputs: out.cols,
                    inputs: x.cols,
                    accumulate: *accumulate,
                    bias: bias.is_some(),
                    f32_out: out.dtype == Dtype::F32,
                    x_stride: x.stride,
                };
                Some((shape, x.rows))
            }
            _ => None,
        }
    }

    /// Returns the least memory that [`Gemm::plan`] needs to check the product with elements of type `dtype`.
    pub fn least_check_bytes(&self, dtype: Dtype) -> usize {
        verify::least_bytes(self, dtype)
    }
}

/// Operands of one product.
#[derive(Debug, Clone, Copy)]
pub struct GemmCall {
    /// [rows, inputs].
    pub x: Matrix,
    /// Device address of [outputs, inputs].
    pub weight: u64,
    /// Device address of [outputs] in the output's type.
    pub bias: Option<u64>,
    /// [rows, outputs].
    pub out: Matrix,
    /// Whether the product is added to `out`.
    pub accumulate: bool,
}

impl GemmCall {
    /// Returns the shape that its algorithm is chosen by.
    pub fn shape(&self) -> GemmShape {
        GemmShape {
            outputs: self.out.cols,
            inputs: self.x.cols,
            accumulate: self.accumulate,
            bias: self.bias.is_some(),
            f32_out: self.out.dtype == Dtype::F32,
            x_stride: self.x.stride,
        }
    }
}

/// The algorithm chosen for one shape and bucket.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Choice {
    /// Shape of the product.
    pub shape: GemmShape,
    /// Most rows of the bucket.
    pub max_rows: usize,
    /// Description of the algorithm.
    pub algorithm: String,
    /// Reasons against the candidates ranked before it.
    pub excluded: Vec<Exclusion>,
}

struct ShapePlan {
    operation: Operation,
    weight: MatrixLayout,
    x: MatrixLayout,
    out: MatrixLayout,
    /// (most rows, algorithm), ascending.
    buckets: Vec<(usize, Algorithm)>,
}

/// All products of a model.
pub struct Gemm {
    device: Arc<DeviceContext>,
    handle: Handle,
    dtype: Dtype,
    workspace: DeviceBuffer,
    plans: HashMap<GemmShape, ShapePlan>,
    choices: Vec<Choice>,
}

/// Memory for the check at start-up: the arena, while it is unused.
#[derive(Debug, Clone, Copy)]
pub struct Scratch {
    /// Device address, a multiple of 256.
    pub address: u64,
    /// Bytes.
    pub bytes: usize,
}

impl Gemm {
    /// Opens cuBLASLt and allocates its workspace. Algorithms are chosen later, by [`Gemm::plan`].
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if the library is missing, [`DeviceError::OutOfMemory`] if the workspace
    /// does not fit.
    pub fn new(device: &Arc<DeviceContext>, dtype: Dtype) -> Result<Gemm, DeviceError> {
        libraries::open(Library::CublasLt, device.library_majors()).map_err(|error| {
            DeviceError::Unavailable { device: device.label().into(), reason: error.to_string() }
        })?;
        device.bind()?;
        let handle = Handle::new().context(device.label(), "cublasLtCreate")?;
        let workspace = DeviceBuffer::new(device, WORKSPACE_BYTES, "the workspace of cuBLASLt")?;
        let (plans, choices) = (HashMap::new(), Vec::new());
        Ok(Gemm { device: device.clone(), handle, dtype, workspace, plans, choices })
    }

    /// Returns the element type of the factors.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the library's version: 130000 for 13.0.0.
    pub fn version(&self) -> usize {
        // SAFETY: the library is open.
        unsafe { sys::cublasLtGetVersion() }
    }

    /// Returns the algorithms chosen so far.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Chooses and verifies algorithms for up to `max_rows` rows, unless that is done already.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] if no algorithm is left for the shape; otherwise the library's or the
    /// driver's error.
    pub fn plan(
        &mut self,
        stream: &Stream,
        kernels: &Kernels,
        shape: GemmShape,
        max_rows: usize,
        scratch: Scratch,
    ) -> Result<(), DeviceError> {
        let largest = |plan: &ShapePlan| plan.buckets.last().map_or(0, |(rows, _)| *rows);
        if self.plans.get(&shape).is_some_and(|plan| largest(plan) >= max_rows) {
            return Ok(());
        }
        let label = self.device.label().to_string();
        let mut plan =
            self.empty_plan(shape, max_rows).context(&label, "cublasLtMatrixLayoutCreate")?;
        let trial = verify::Trial::new(self, kernels, stream, shape, max_rows, scratch)?;
        let mut choices = Vec::new();
        for max_rows in buckets(max_rows).into_iter().rev() {
            let (algorithm, excluded) = self.choose(&mut plan, shape, max_rows, &trial)?;
            plan.buckets.push((max_rows, algorithm));
            let algorithm = algorithm::describe(&algorithm);
            choices.push(Choice { shape, max_rows, algorithm, excluded });
        }
        plan.buckets.reverse();
        choices.reverse();
        self.choices.retain(|choice| choice.shape != shape);
        self.choices.extend(choices);
        self.plans.insert(shape, plan);
        Ok(())
    }

    fn empty_plan(&self, shape: GemmShape, rows: usize) -> Result<ShapePlan, result::CublasError> {
        let out = if shape.f32_out { Dtype::F32 } else { self.dtype };
        Ok(ShapePlan {
            operation: Operation::new(shape.bias)?,
            weight: MatrixLayout::new(self.dtype, shape.outputs, shape.inputs, shape.inputs)?,
            x: MatrixLayout::new(self.dtype, rows, shape.inputs, shape.x_stride)?,
            out: MatrixLayout::new(out, rows, shape.outputs, shape.outputs)?,
            buckets: Vec::new(),
        })
    }

    /// Returns the heuristic's first candidate that passes. Buckets come largest first, so the first
    /// algorithm chosen is the one that others are compared with; where no candidate matches it, it serves
    /// the bucket itself.
    fn choose(
        &self,
        plan: &mut ShapePlan,
        shape: GemmShape,
        max_rows: usize,
        trial: &verify::Trial,
    ) -> Result<(Algorithm, Vec<Exclusion>), DeviceError> {
        let label = self.device.label();
        let preference =
            Preference::new(WORKSPACE_BYTES).context(label, "cublasLtMatmulPreferenceCreate")?;
        plan.x.set(max_rows, shape.x_stride).context(label, "cublasLtMatrixLayoutSetAttribute")?;
        plan.out.set(max_rows, shape.outputs).context(label, "cublasLtMatrixLayoutSetAttribute")?;
        let candidates = self
            .problem(plan)
            .candidates(&preference)
            .context(label, "cublasLtMatmulAlgoGetHeuristic")?;
        let mut excluded = Vec::new();
        for (algorithm, reason) in candidates {
            let reason = match reason {
                None => trial.test(self, plan, max_rows, &algorithm)?,
                known => known,
            };
            match reason {
                None => return Ok((algorithm, excluded)),
                Some(reason) => excluded.push(reason),
            }
        }
        match plan.buckets.first() {
            Some((_, largest)) => Ok((*largest, excluded)),
            None => Err(DeviceError::Unavailable {
                device: label.into(),
                reason: format!(
                    "cuBLASLt {} has no algorithm for {shape:?} that gives a row the same bits in any batch \
                     (excluded: {excluded:?})",
                    self.version()
                ),
            }),
        }
    }

    fn problem<'a>(&'a self, plan: &'a ShapePlan) -> Problem<'a> {
        Problem {
            handle: &self.handle,
            operation: &plan.operation,
            weight: &plan.weight,
            x: &plan.x,
            out: &plan.out,
        }
    }

    /// Enqueues a product with the algorithm of its bucket.
    ///
    /// # Errors
    /// Fails for a shape or a number of rows that was not planned, or if the library's call fails.
    pub fn run(&mut self, stream: &Stream, call: &GemmCall) -> Result<(), DeviceError> {
        let shape = call.shape();
        let unplanned = |what: &str| DeviceError::Call {
            device: self.device.label().into(),
            call: "gemm",
            reason: format!("{what} of {shape:?} was not planned at start-up"),
        };
        let Some(mut plan) = self.plans.remove(&shape) else {
            return Err(unplanned("the shape"));
        };
        let bucket = plan.buckets.iter().find(|(rows, _)| *rows >= call.x.rows);
        let enqueued = match bucket.map(|(_, algorithm)| *algorithm) {
            Some(algorithm) => self.enqueue(stream, &mut plan, call, &algorithm),
            None => Err(unplanned(&format!("a product of {} rows", call.x.rows))),
        };
        self.plans.insert(shape, plan);
        enqueued
    }

    fn enqueue(
        &self,
        stream: &Stream,
        plan: &mut ShapePlan,
        call: &GemmCall,
        algorithm: &Algorithm,
    ) -> Result<(), DeviceError> {
        let label = self.device.label();
        debug_assert_eq!(call.x.rows, call.out.rows);
        plan.x
            .set(call.x.rows, call.x.stride)
            .and_then(|()| plan.out.set(call.out.rows, call.out.stride))
            .context(label, "cublasLtMatrixLayoutSetAttribute")?;
        if let Some(bias) = call.bias {
            plan.operation.set_bias(bias).context(label, "cublasLtMatmulDescSetAttribute")?;
        }
        let alpha = 1.0f32;
        let beta = if call.accumulate { 1.0f32 } else { 0.0 };
        let pointer = |address: u64| address as *mut c_void;
        // SAFETY: all descriptors are alive and describe matrices inside the arena or the weights, which
        // callers keep in range; scalars are read before the call returns; the workspace is of one stream.
        unsafe {
            result::matmul(
                self.handle.0,
                plan.operation.0,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                pointer(call.weight),
                plan.weight.0,
                pointer(call.x.address),
                plan.x.0,
                pointer(call.out.address),
                plan.out.0,
                pointer(call.out.address),
                plan.out.0,
                algorithm,
                pointer(self.workspace.address()),
                self.workspace.bytes(),
                stream.handle().cast(),
            )
        }
        .context(label, "cublasLtMatmul")
    }
}

/// Returns powers of two and the midpoints between them, up to the first that is at least `max_rows`.
fn buckets(max_rows: usize) -> Vec<usize> {
    let mut all = vec![16, 32, 64];
    let mut power = 128;
    while all.last().is_some_and(|&last| last < max_rows) {
        all.push(power);
        all.push(power / 2 * 3);
        power *= 2;
    }
    let end = all.iter().position(|&rows| rows >= max_rows).map_or(all.len(), |at| at + 1);
    all.truncate(end);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_count_once() {
        assert_eq!(buckets(1), [16]);
        assert_eq!(buckets(16), [16]);
        assert_eq!(buckets(200), [16, 32, 64, 128, 192, 256]);
        assert_eq!(buckets(300), [16, 32, 64, 128, 192, 256, 384]);
        for rows in [1, 17, 65, 128, 129, 8192, 65536, 100_000] {
            let all = buckets(rows);
            assert!(all.is_sorted() && *all.last().unwrap() >= rows);
            assert!(all.len() == 1 || all[all.len() - 2] < rows, "{rows}: {all:?}");
        }
    }
}
