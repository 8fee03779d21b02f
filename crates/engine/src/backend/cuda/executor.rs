//! Operations of a forward pass as launches on one stream: each becomes one kernel or one matrix product.
//!
//! [`Executor`] turns views into device addresses and reads nothing of a batch but its lists;
//! [`super::backend`] feeds it batch by batch, and [`super::graphs`] records what it launches.

use std::ops::Range;

use super::driver::device::Stream;
use super::driver::memory::Arena;
use super::gemm::{Gemm, GemmCall};
use super::inputs::Lists;
use super::kernels::worklist::Tile;
use super::kernels::{Kernels, Matrix, NormAddresses};
use super::weights::DeviceWeights;
use crate::backend::{NormWeights, Op, View, WeightId};
use crate::dtype::Dtype;
use crate::error::DeviceError;

/// Everything that a launch needs beside the batch: code, weights and the arena.
pub(super) struct Executor {
    pub(super) stream: Stream,
    pub(super) kernels: Kernels,
    pub(super) gemm: Gemm,
    pub(super) weights: DeviceWeights,
    pub(super) eps: f32,
    pub(super) arena: Arena,
    /// Bytes of the arena that views lie in; a batch's lists come after them.
    pub(super) workspace_bytes: usize,
    /// End of the arena's part that any batch so far has written to, in bytes.
    pub(super) high_water: usize,
}

impl Executor {
    /// Returns a view as the device sees it. Panics if it leaves the workspace: a bug in the list of
    /// operations, which the engine catches before anything is launched.
    pub(super) fn matrix(&self, view: &View) -> Matrix {
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

    /// Raises the high-water mark to the end of what an operation writes.
    pub(super) fn raise_high_water(&mut self, op: &Op) {
        let (Op::Embed { out, .. }
        | Op::Norm { out, .. }
        | Op::Linear { out, .. }
        | Op::LinearRows { out, .. }
        | Op::Attention { out, .. }
        | Op::Pool { out, .. }
        | Op::Gather { out, .. }
        | Op::Rope { qkv: out, .. }
        | Op::Gated { x: out, .. }
        | Op::Activate { x: out, .. }) = op;
        self.high_water = self.high_water.max(out.offset_bytes + out.extent_bytes());
    }

    fn norm_addresses(&self, norm: &NormWeights) -> NormAddresses {
        NormAddresses {
            weight: self.weights.floats(norm.weight),
            bias: norm.bias.map_or(0, |id| self.weights.floats(id)),
            eps: self.eps,
        }
    }

    /// Enqueues one operation over the lists of the current batch.
    pub(super) fn launch(&mut self, op: &Op, lists: &Lists) -> Result<(), DeviceError> {
        self.raise_high_water(op);
        match op {
            Op::Embed { embedding, norm, out } => {
                let (out, norm) = (self.matrix(out), self.norm_addresses(norm));
                let embedding = self.weights.elements(*embedding);
                self.kernels.embed_norm(&self.stream, lists.ids, embedding, norm, out)
            }
            Op::Norm { x, norm, out } => {
                let (x, norm, out) = (self.matrix(x), self.norm_addresses(norm), self.matrix(out));
                self.kernels.norm(&self.stream, x, norm, out)
            }
            Op::Linear { x, weight, bias, out, accumulate } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                if x.dtype == Dtype::F32 {
                    assert!(!accumulate, "a product of f32 rows does not accumulate");
                    return self.linear_rows(x, *weight, *bias, out);
                }
                let call = self.gemm_call(x, *weight, *bias, out, *accumulate);
                self.gemm.run(&self.stream, &call)
            }
            Op::LinearRows { x, weight, bias, out } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                self.linear_rows(x, *weight, *bias, out)
            }
            Op::Rope { qkv, table } => {
                let (qkv, table) = (self.matrix(qkv), self.weights.rope(*table));
                self.kernels.rope(&self.stream, qkv, table, lists.positions)
            }
            Op::Attention { qkv, out, window } => self.attention(qkv, out, *window, lists),
            Op::Gated { x, activation } => {
                let x = self.matrix(x);
                self.kernels.gated(&self.stream, x, *activation)
            }
            Op::Activate { x, activation } => {
                let x = self.matrix(x);
                self.kernels.activate(&self.stream, x, *activation)
            }
            Op::Pool { x, first, out } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                let pairs = lists.pairs + 4 * *first as u64;
                self.kernels.pool(&self.stream, x, lists.bounds, pairs, out)
            }
            Op::Gather { x, out } => {
                let (x, out) = (self.matrix(x), self.matrix(out));
                self.kernels.gather(&self.stream, x, lists.rows, out)
            }
        }
    }

    fn attention(
        &self,
        qkv: &View,
        out: &View,
        window: Option<usize>,
        lists: &Lists,
    ) -> Result<(), DeviceError> {
        match window {
            None => self.full_attention(qkv, out, lists, 0..lists.sizes.full_tiles),
            Some(window) => {
                let (qkv, out) = (self.matrix(qkv), self.matrix(out));
                let work = (lists.packed_order, lists.sizes.window_tiles);
                self.kernels.attention_window(&self.stream, qkv, out, work, window)
            }
        }
    }

    /// Enqueues full attention over some tiles of its work list.
    pub(super) fn full_attention(
        &self,
        qkv: &View,
        out: &View,
        lists: &Lists,
        tiles: Range<usize>,
    ) -> Result<(), DeviceError> {
        if tiles.is_empty() {
            return Ok(());
        }
        let (qkv, out) = (self.matrix(qkv), self.matrix(out));
        let list = lists.longest_first + (tiles.start * size_of::<Tile>()) as u64;
        self.kernels.attention_full(&self.stream, qkv, out, (list, tiles.len()))
    }

    fn linear_rows(
        &self,
        x: Matrix,
        weight: WeightId,
        bias: Option<WeightId>,
        out: Matrix,
    ) -> Result<(), DeviceError> {
        let bias = bias.map_or(0, |id| self.weights.floats(id));
        let weight = self.weights.elements(weight);
        self.kernels.linear_rows(&self.stream, x, weight, bias, out)
    }

    /// Describes a linear operation on elements as a matrix product.
    fn gemm_call(
        &self,
        x: Matrix,
        weight: WeightId,
        bias: Option<WeightId>,
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
