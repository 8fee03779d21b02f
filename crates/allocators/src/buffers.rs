//! The buffers that a batch would allocate if each operation allocated its result.
//!
//! The engine itself allocates nothing: [`Workspace`] gives every activation a fixed offset. This module
//! reads the traffic of a runtime that works operation by operation off the engine's list of operations: one
//! buffer per result, with its size, the operation that fills it and the last one that reads it.
//! [`crate::compare`] replays it.
//!
//! It is a lower bound of what such a runtime allocates: kernels stay fused as they are here, so there is no
//! score matrix, no mask, and no temporary but the product that is added to the residual stream.

use std::collections::HashMap;

use bigbatch_engine::backend::{ALIGN_BYTES, Op, View, WeightId};
use bigbatch_engine::{Head, Model, PackedBatch, Pooling, Program, Rows, Sequence, Workspace};

/// One buffer, from the step that fills it to the last one that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// The operation, and the weight it used.
    pub name: String,
    /// Size; never 0.
    pub bytes: usize,
    /// The step that fills it.
    pub first_step: usize,
    /// The last step that reads it; at least `first_step`.
    pub last_step: usize,
    /// Offset in the planned arena. Results that the arena computes in place share one.
    pub offset_bytes: usize,
}

/// The buffers of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchBuffers {
    /// Operations, and one more step in which the rows are read back.
    pub steps: usize,
    /// Tokens of the batch.
    pub tokens: usize,
    /// Ascending by `first_step`.
    pub buffers: Vec<Buffer>,
}

impl BatchBuffers {
    /// Returns the largest sum of buffers that are live at one step.
    pub fn peak_bytes(&self) -> usize {
        (0..self.steps)
            .map(|step| {
                let live = |b: &&Buffer| b.first_step <= step && step <= b.last_step;
                self.buffers.iter().filter(live).map(|buffer| buffer.bytes).sum()
            })
            .max()
            .unwrap_or(0)
    }
}

/// Lists the buffers of any batch that fits a device's workspace. Needs no device.
pub struct BufferPlan<'m> {
    model: &'m Model,
    workspace: Workspace,
}

/// Bytes per token of each list that describes a batch: ids, positions, and at most one bound per token.
const INPUT_BYTES: usize = 4;

impl<'m> BufferPlan<'m> {
    /// Plans the buffers of batches that `workspace` holds: see [`bigbatch_engine::Device::workspace`].
    pub fn new(model: &'m Model, workspace: &Workspace) -> BufferPlan<'m> {
        BufferPlan { model, workspace: workspace.clone() }
    }

    /// Returns the size of an arena that holds every batch.
    pub fn capacity_bytes(&self) -> usize {
        self.list_offset(BatchList::COUNT)
    }

    /// Lists the buffers of a batch of sequences of these lengths in tokens, each with the rows that the
    /// model's head reads. The batch must fit the workspace.
    pub fn list(&self, lengths: &[usize]) -> BatchBuffers {
        let wants = match self.model.config.head {
            Head::Token => Rows::All,
            _ => Rows::Pooled(Pooling::Mean),
        };
        let ids = vec![0; lengths.iter().copied().max().unwrap_or(0)];
        let sequence = |&length: &usize| Sequence { token_ids: &ids[..length], wants: &wants };
        let batch = PackedBatch::pack(lengths.iter().map(sequence));
        let program = self.model.program(&self.workspace, &batch);
        Lifetimes::trace(self, &program, &batch)
    }

    fn list_offset(&self, input: usize) -> usize {
        let each = (INPUT_BYTES * (self.workspace.max_tokens + 1)).next_multiple_of(ALIGN_BYTES);
        self.workspace.bytes.next_multiple_of(ALIGN_BYTES) + input * each
    }
}

/// The lists that describe a batch to the operations.
#[derive(Clone, Copy)]
enum BatchList {
    TokenIds,
    Positions,
    Bounds,
}

impl BatchList {
    const COUNT: usize = 3;
}

/// The buffers so far, with the lifetimes seen so far.
struct Lifetimes {
    buffers: Vec<Buffer>,
    /// Index of the buffer whose contents lie at an arena offset now.
    at_offset: HashMap<usize, usize>,
    inputs: [usize; BatchList::COUNT],
}

impl Lifetimes {
    fn trace(plan: &BufferPlan<'_>, program: &Program, batch: &PackedBatch) -> BatchBuffers {
        let inputs = [
            (BatchList::TokenIds, "token ids", batch.tokens()),
            (BatchList::Positions, "positions", batch.tokens()),
            (BatchList::Bounds, "sequence bounds", batch.cu_seqlens.len()),
        ];
        let mut lifetimes =
            Lifetimes { buffers: Vec::new(), at_offset: HashMap::new(), inputs: [0, 1, 2] };
        for (input, name, numbers) in inputs {
            let offset_bytes = plan.list_offset(input as usize);
            lifetimes.add(0, name.into(), INPUT_BYTES * numbers, offset_bytes);
        }
        for (step, op) in program.ops.iter().enumerate() {
            lifetimes.record(step, op, plan.model);
        }
        let last = program.ops.len();
        for view in program.pooled.iter().chain(&program.logits) {
            lifetimes.read(last, view);
        }
        BatchBuffers { steps: last + 1, tokens: batch.tokens(), buffers: lifetimes.buffers }
    }

    fn record(&mut self, step: usize, op: &Op, model: &Model) {
        let weight = |kind: &str, WeightId(id): WeightId| {
            let name = model.architecture.tensors.get(id).map_or("", |tensor| tensor.name.as_str());
            format!("{kind} {name}")
        };
        match op {
            Op::Embed { embedding, out, .. } => {
                self.read_list(step, BatchList::TokenIds);
                self.write(step, weight("embed", *embedding), out);
            }
            Op::Norm { x, norm, out } => {
                self.read(step, x);
                self.write(step, weight("norm", norm.weight), out);
            }
            Op::Linear { x, weight: id, out, accumulate, .. } => {
                self.read(step, x);
                if *accumulate {
                    self.add(step, weight("product", *id), bytes(out), out.offset_bytes);
                    self.read(step, out);
                    self.write(step, weight("sum", *id), out);
                } else {
                    self.write(step, weight("product", *id), out);
                }
            }
            Op::LinearRows { x, weight: id, out, .. } => {
                self.read(step, x);
                self.write(step, weight("product", *id), out);
            }
            Op::Rope { qkv, .. } => {
                self.read(step, qkv);
                self.read_list(step, BatchList::Positions);
                self.write(step, "rotated".into(), qkv);
            }
            Op::Attention { qkv, out, .. } => {
                self.read(step, qkv);
                self.read_list(step, BatchList::Bounds);
                self.write(step, "attention".into(), out);
            }
            Op::Gated { x, .. } => {
                self.read(step, x);
                self.write(step, "gated".into(), &x.left(x.cols / 2));
            }
            Op::Activate { x, .. } => {
                self.read(step, x);
                self.write(step, "activation".into(), x);
            }
            Op::Pool { x, out, .. } | Op::Gather { x, out } => {
                self.read(step, x);
                self.read_list(step, BatchList::Bounds);
                self.write(step, "rows".into(), out);
            }
        }
    }

    /// Adds the result of a step; later reads of its offset are reads of this buffer.
    fn write(&mut self, step: usize, name: String, out: &View) {
        let index = self.add(step, name, bytes(out), out.offset_bytes);
        self.at_offset.insert(out.offset_bytes, index);
    }

    fn add(&mut self, step: usize, name: String, bytes: usize, offset_bytes: usize) -> usize {
        let bytes = bytes.max(1);
        self.buffers.push(Buffer { name, bytes, first_step: step, last_step: step, offset_bytes });
        self.buffers.len() - 1
    }

    fn read(&mut self, step: usize, view: &View) {
        if let Some(&index) = self.at_offset.get(&view.offset_bytes) {
            self.buffers[index].last_step = step;
        }
    }

    fn read_list(&mut self, step: usize, input: BatchList) {
        let index = self.inputs[input as usize];
        self.buffers[index].last_step = step;
    }
}

/// Returns the size of a view's elements without the gaps between its rows.
fn bytes(view: &View) -> usize {
    view.rows * view.cols * view.dtype.size_bytes()
}

#[cfg(test)]
mod tests {
    use bigbatch_engine::{Dtype, RopeOverride, TaskKind};

    use super::*;

    fn load(task: TaskKind) -> Model {
        let checkpoint = bigbatch_models::checkpoint("random", task).unwrap();
        Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap()
    }

    fn plan(model: &Model) -> BufferPlan<'_> {
        let workspace = Workspace::plan(&model.config, &model.architecture, Dtype::F32, 512, 64);
        BufferPlan::new(model, &workspace)
    }

    /// The step of the only buffer of this name.
    fn only<'a>(batch: &'a BatchBuffers, name: &str) -> &'a Buffer {
        let mut found = batch.buffers.iter().filter(|buffer| buffer.name == name);
        let buffer = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "two of {name}");
        buffer
    }

    #[test]
    fn the_first_layers_buffers_live_as_its_formulas_say() {
        let model = load(TaskKind::Embed);
        let (t, h) = (48, model.config.hidden_size);
        let batch = plan(&model).list(&[16, 32]);
        assert_eq!(batch.tokens, t);
        // embed, Wqkv, rope, attention, Wo + residual, norm, Wi, ...; layer 0 has no attention norm.
        let embed = only(&batch, "embed embeddings.tok_embeddings.weight");
        assert_eq!(
            (embed.bytes, embed.first_step, embed.last_step),
            (4 * t * h, 0, 4),
            "read by the residual"
        );
        let qkv = only(&batch, "product layers.0.attn.Wqkv.weight");
        assert_eq!(
            (qkv.bytes, qkv.first_step, qkv.last_step),
            (4 * t * 3 * h, 1, 2),
            "rotated, then gone"
        );
        let product = only(&batch, "product layers.0.attn.Wo.weight");
        assert_eq!((product.first_step, product.last_step), (4, 4), "added at once");
        let sum = only(&batch, "sum layers.0.attn.Wo.weight");
        assert_eq!((sum.first_step, sum.last_step), (4, 8), "normed at 5, added to at 8");
        let ids = only(&batch, "token ids");
        assert_eq!((ids.bytes, ids.first_step, ids.last_step), (4 * t, 0, 0));
        let rows = batch.buffers.last().unwrap();
        assert_eq!(
            (rows.bytes, rows.last_step),
            (4 * 2 * h, batch.steps - 1),
            "read back at the end"
        );
    }

    #[test]
    fn every_buffer_is_needed_and_lies_inside_the_arena() {
        for task in [TaskKind::Embed, TaskKind::Classify, TaskKind::Tag, TaskKind::FillMask] {
            let model = load(task);
            let plan = plan(&model);
            for lengths in [vec![1], vec![512], vec![7; 64], vec![200, 1, 300]] {
                let batch = plan.list(&lengths);
                for buffer in &batch.buffers {
                    assert!(
                        buffer.first_step <= buffer.last_step && buffer.last_step < batch.steps,
                        "{buffer:?}"
                    );
                    let end = buffer.offset_bytes + buffer.bytes;
                    assert!(end <= plan.capacity_bytes(), "{task:?} {lengths:?}: {buffer:?}");
                }
                assert!(batch.buffers.is_sorted_by_key(|buffer| buffer.first_step));
                // The residual stream alone is live to the end.
                assert!(batch.peak_bytes() > 4 * batch.tokens);
            }
        }
    }
}
