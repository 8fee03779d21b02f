//! [`Backend`] on a CUDA device: every operation becomes one kernel or one matrix product on one stream.

use std::sync::Arc;

use super::driver::device::{Device, Stream};
use super::driver::memory::Arena;
use super::gemm::{Gemm, GemmCall};
use super::graphs::{Player, Step};
use super::inputs::{Inputs, Lists};
use super::kernels::{Kernels, Matrix, NormAddresses};
use super::outputs::Outputs;
use super::start::StartReport;
use super::weights::DeviceWeights;
use crate::backend::{ArenaUsage, Backend, Ceilings, Fetch, NormWeights, Op, View};
use crate::batch::PackedBatch;
use crate::dtype::Dtype;
use crate::error::DeviceError;

/// What the launches of a batch work on.
pub(super) struct State {
    pub(super) stream: Stream,
    pub(super) kernels: Kernels,
    pub(super) gemm: Gemm,
    pub(super) weights: DeviceWeights,
    pub(super) eps: f32,
    pub(super) arena: Arena,
    /// Bytes of the arena that views may lie in; inputs come after them.
    pub(super) workspace_bytes: usize,
    pub(super) high_water: usize,
}

/// A model on a CUDA device, ready to run batches. Made by [`super::start`].
pub struct CudaBackend {
    // Fields drop in order: graphs and buffers before the stream and the device they belong to.
    pub(super) player: Player,
    pub(super) inputs: Inputs,
    pub(super) outputs: Outputs,
    pub(super) lists: Option<Lists>,
    pub(super) report: StartReport,
    pub(super) state: State,
}

impl CudaBackend {
    /// The device it runs on.
    pub fn device(&self) -> &Arc<Device> {
        self.state.stream.device()
    }

    /// What start-up chose and measured.
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    /// The stream that all launches go to, for timing with events.
    pub fn stream(&self) -> &Stream {
        &self.state.stream
    }

    /// Launches what was held back for a recording that was not completed.
    fn flush(&mut self) -> Result<(), DeviceError> {
        let held_back = self.player.held_back();
        self.launch_all(&held_back)
    }

    fn launch_all(&mut self, ops: &[Op]) -> Result<(), DeviceError> {
        let lists = self.lists()?;
        ops.iter().try_for_each(|op| self.state.launch(op, &lists))
    }

    pub(super) fn lists(&self) -> Result<Lists, DeviceError> {
        self.lists.ok_or_else(|| DeviceError::Call {
            device: self.device().label().into(),
            call: "launch",
            reason: "no batch has begun".into(),
        })
    }
}

impl Backend for CudaBackend {
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        self.device().bind()?;
        let padding = self.player.padding(batch.tokens());
        let lists = self.inputs.send(&self.state.stream, batch, padding)?;
        self.player.begin(batch.tokens(), lists.sizes);
        self.outputs.begin();
        self.lists = Some(lists);
        Ok(())
    }

    fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
        self.device().bind()?;
        match self.player.step(&self.state.stream, op)? {
            Step::HeldBack | Step::Played => {
                self.state.note_use(op);
                Ok(())
            }
            Step::Launch(held_back) => {
                self.launch_all(&held_back)?;
                self.launch_all(std::slice::from_ref(op))
            }
        }
    }

    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        self.device().bind()?;
        self.flush()?;
        let matrix = self.state.matrix(view);
        self.outputs.fetch(&self.state.stream, matrix)
    }

    fn collect(&mut self, fetch: Fetch) -> Result<Vec<f32>, DeviceError> {
        self.device().bind()?;
        match fetch {
            Fetch::Done(rows) => Ok(rows),
            Fetch::Coming(coming) => self.outputs.collect(coming),
        }
    }

    fn is_asynchronous(&self) -> bool {
        true
    }

    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
        self.device().bind()?;
        self.flush()?;
        self.state.stream.synchronize()?;
        let matrix = self.state.matrix(view);
        assert!(matrix.cols == matrix.stride && rows.len() == matrix.rows * matrix.cols);
        self.state.arena.write(view.offset_bytes, &super::weights::converted(rows, view.dtype))
    }

    fn arena(&self) -> ArenaUsage {
        ArenaUsage {
            capacity_bytes: self.state.arena.bytes() as u64,
            planned_bytes: self.state.workspace_bytes as u64,
            high_water_bytes: self.state.high_water as u64,
        }
    }

    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
        self.device().bind()?;
        self.time_launches(ops, repeats)
    }

    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        self.device().bind()?;
        self.measure_ceilings()
    }
}

impl Drop for CudaBackend {
    fn drop(&mut self) {
        // What is freed next must not be in use. A device that failed has nothing under way.
        let _ = self.state.stream.synchronize();
    }
}

impl State {
    /// A view as the device sees it. Panics where it leaves the workspace: a bug in the program, caught by
    /// the engine before anything is launched.
    fn matrix(&self, view: &View) -> Matrix {
        let elements = if view.rows == 0 { 0 } else { (view.rows - 1) * view.stride + view.cols };
        let end = view.offset_bytes + elements * view.dtype.size_bytes();
        assert!(end <= self.workspace_bytes, "{view:?} ends beyond the workspace");
        Matrix {
            address: self.arena.address() + view.offset_bytes as u64,
            rows: view.rows,
            cols: view.cols,
            stride: view.stride,
            dtype: view.dtype,
        }
    }

    /// How far into the arena an operation writes.
    fn note_use(&mut self, op: &Op) {
        let (Op::Embed { out, .. }
        | Op::Norm { out, .. }
        | Op::Linear { out, .. }
        | Op::LinearRows { out, .. }
        | Op::Attention { out, .. }
        | Op::Pool { out, .. }
        | Op::Gather { out, .. }
        | Op::Rope { qkv: out, .. }
        | Op::GeGlu { x: out }
        | Op::Gelu { x: out }) = op;
        self.high_water = self.high_water.max(out.offset_bytes + out.extent_bytes());
    }

    fn norm(&self, norm: &NormWeights) -> NormAddresses {
        NormAddresses {
            weight: self.weights.floats(norm.weight),
            bias: norm.bias.map_or(0, |id| self.weights.floats(id)),
            eps: self.eps,
        }
    }

    /// Enqueues one operation over the lists of the current batch.
    pub(super) fn launch(&mut self, op: &Op, lists: &Lists) -> Result<(), DeviceError> {
        self.note_use(op);
        match op {
            Op::Embed { embedding, norm, out } => {
                let (out, norm) = (self.matrix(out), self.norm(norm));
                let embedding = self.weights.elements(*embedding);
                self.kernels.embed_norm(&self.stream, lists.ids, embedding, norm, out)
            }
            Op::Norm { x, norm, out } => {
                let (x, norm, out) = (self.matrix(x), self.norm(norm), self.matrix(out));
                self.kernels.norm(&self.stream, x, norm, out)
            }
            Op::Linear { x, weight, bias, out, accumulate } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                if x.dtype == Dtype::F32 {
                    assert!(!accumulate, "a product of f32 rows does not accumulate");
                    let bias = bias.map_or(0, |id| self.weights.floats(id));
                    let weight = self.weights.elements(*weight);
                    return self.kernels.linear_rows(&self.stream, x, weight, bias, out);
                }
                let call = self.gemm_call(x, *weight, *bias, out, *accumulate);
                self.gemm.run(&self.stream, &call)
            }
            Op::LinearRows { x, weight, bias, out } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                let bias = bias.map_or(0, |id| self.weights.floats(id));
                let weight = self.weights.elements(*weight);
                self.kernels.linear_rows(&self.stream, x, weight, bias, out)
            }
            Op::Rope { qkv, table } => {
                let (qkv, table) = (self.matrix(qkv), self.weights.rope(*table));
                self.kernels.rope(&self.stream, qkv, table, lists.positions)
            }
            Op::Attention { qkv, out, window } => {
                let (qkv, out) = (self.matrix(qkv), self.matrix(out));
                let (kernels, stream) = (&self.kernels, &self.stream);
                match *window {
                    None => {
                        let work = (lists.longest_first, lists.sizes.full_tiles);
                        kernels.attention_full(stream, qkv, out, work)
                    }
                    Some(window) => {
                        let work = (lists.packed_order, lists.sizes.window_tiles);
                        kernels.attention_window(stream, qkv, out, work, window)
                    }
                }
            }
            Op::GeGlu { x } => {
                let x = self.matrix(x);
                self.kernels.geglu(&self.stream, x)
            }
            Op::Gelu { x } => {
                let x = self.matrix(x);
                self.kernels.gelu(&self.stream, x)
            }
            Op::Pool { x, out } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                self.kernels.pool(&self.stream, x, lists.bounds, lists.pairs, out)
            }
            Op::Gather { x, out } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                self.kernels.gather(&self.stream, x, lists.rows, out)
            }
        }
    }

    /// A linear operation over elements as a matrix product.
    fn gemm_call(
        &self,
        x: Matrix,
        weight: crate::backend::WeightId,
        bias: Option<crate::backend::WeightId>,
        out: Matrix,
        accumulate: bool,
    ) -> GemmCall {
        let bias = bias.map(|id| {
            if out.dtype == Dtype::F32 {
                self.weights.floats(id)
            } else {
                self.weights.elements(id)
            }
        });
        GemmCall { x, weight: self.weights.elements(weight), bias, out, accumulate }
    }
}
