//! The buffers that a batch would ask for, were each operation to allocate its result.
//!
//! The engine allocates nothing: [`Workspace`] gives every activation a fixed place. A runtime that works
//! operation by operation makes a new tensor for each result and frees it after its last use. This module
//! reads that traffic off the list of operations: every result as a buffer with its size, the operation that
//! makes it and the last one that reads it. What allocators make of the traffic is measured elsewhere
//! ([`crate::backend::allocators`]).
//!
//! It is a lower bound of what such a runtime allocates: kernels stay fused as they are here, so there is no
//! score matrix, no mask, and no temporary but the product that is added to the residual stream.

use std::collections::HashMap;

use super::architecture::Architecture;
use super::config::{Config, Head};
use super::forward::{self, Program};
use super::workspace::Workspace;
use crate::backend::{Op, View, WeightId};
use crate::batch::{PackedBatch, Rows, Sequence};
use crate::pooling::Pooling;

/// A buffer from the step that makes it to the last one that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds: the operation, and the weight it used.
    pub name: String,
    /// Bytes, never 0.
    pub bytes: usize,
    /// The step that makes it.
    pub born: usize,
    /// The step after which nobody needs it; at least `born`.
    pub dies: usize,
    /// Where the arena has it. Results that the arena computes in place share one.
    pub offset_bytes: usize,
}

/// The buffers of one batch, in the order they are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchBuffers {
    /// Operations, and one more step for reading the rows back.
    pub steps: usize,
    /// Tokens of the batch.
    pub tokens: usize,
    /// By `born`, ascending.
    pub buffers: Vec<Buffer>,
}

impl BatchBuffers {
    /// The most bytes that are needed at once.
    pub fn peak_bytes(&self) -> usize {
        (0..self.steps)
            .map(|step| {
                let live = self.buffers.iter().filter(|b| b.born <= step && step <= b.dies);
                live.map(|buffer| buffer.bytes).sum()
            })
            .max()
            .unwrap_or(0)
    }
}

/// Makes [`BatchBuffers`] of any batch that an engine's plan holds. Keeps no device.
#[derive(Debug, Clone)]
pub struct BufferPlan {
    config: Config,
    architecture: Architecture,
    workspace: Workspace,
}

/// What a batch's description takes a token: ids, positions, and at most one bound for each, of 4 bytes.
const INPUT_BYTES: usize = 4;

impl BufferPlan {
    /// For batches that `workspace` holds.
    pub fn new(config: &Config, architecture: &Architecture, workspace: &Workspace) -> BufferPlan {
        BufferPlan {
            config: config.clone(),
            architecture: architecture.clone(),
            workspace: workspace.clone(),
        }
    }

    /// Bytes of an arena that holds every batch of the plan.
    pub fn capacity_bytes(&self) -> usize {
        self.input_offset(Input::COUNT)
    }

    /// The most tokens of one batch.
    pub fn max_tokens(&self) -> usize {
        self.workspace.max_tokens
    }

    /// The most sequences of one batch.
    pub fn max_sequences(&self) -> usize {
        self.workspace.max_sequences
    }

    /// The buffers of a batch of sequences of these lengths, each with the rows that the model's head is
    /// for. The batch must be within [`BufferPlan::max_tokens`] and [`BufferPlan::max_sequences`].
    pub fn of(&self, lengths: &[usize]) -> BatchBuffers {
        let wants = match self.config.head {
            Head::Token => Rows::All,
            _ => Rows::Pooled(Pooling::Mean),
        };
        let ids = vec![0; lengths.iter().copied().max().unwrap_or(0)];
        let sequence = |&length: &usize| Sequence { token_ids: &ids[..length], wants: &wants };
        let batch = PackedBatch::pack(lengths.iter().map(sequence));
        let program = forward::program(&self.config, &self.architecture, &self.workspace, &batch);
        Lives::read(self, &program, &batch)
    }

    fn input_offset(&self, input: usize) -> usize {
        let each = (INPUT_BYTES * (self.workspace.max_tokens + 1)).next_multiple_of(256);
        self.workspace.bytes.next_multiple_of(256) + input * each
    }
}

/// What describes a batch to the operations.
#[derive(Clone, Copy)]
enum Input {
    TokenIds,
    Positions,
    Bounds,
}

impl Input {
    const COUNT: usize = 3;
}

/// Buffers so far, and which of them lies at each offset now.
struct Lives {
    buffers: Vec<Buffer>,
    at: HashMap<usize, usize>,
    inputs: [usize; Input::COUNT],
}

impl Lives {
    fn read(plan: &BufferPlan, program: &Program, batch: &PackedBatch) -> BatchBuffers {
        let inputs = [
            (Input::TokenIds, "token ids", batch.tokens()),
            (Input::Positions, "positions", batch.tokens()),
            (Input::Bounds, "sequence bounds", batch.cu_seqlens.len()),
        ];
        let mut lives = Lives { buffers: Vec::new(), at: HashMap::new(), inputs: [0, 1, 2] };
        for (input, name, numbers) in inputs {
            let offset_bytes = plan.input_offset(input as usize);
            lives.make(0, name.into(), INPUT_BYTES * numbers, offset_bytes);
        }
        for (step, op) in program.ops.iter().enumerate() {
            lives.operation(step, op, &plan.architecture);
        }
        let last = program.ops.len();
        for view in program.pooled.iter().chain(&program.logits) {
            lives.needs(last, view);
        }
        let Lives { buffers, .. } = lives;
        BatchBuffers { steps: last + 1, tokens: batch.tokens(), buffers }
    }

    fn operation(&mut self, step: usize, op: &Op, architecture: &Architecture) {
        let weight = |kind: &str, WeightId(id): WeightId| {
            let name = architecture.tensors.get(id).map_or("", |tensor| tensor.name.as_str());
            format!("{kind} {name}")
        };
        match op {
            Op::Embed { embedding, out, .. } => {
                self.needs_input(step, Input::TokenIds);
                self.makes(step, weight("embed", *embedding), out);
            }
            Op::Norm { x, norm, out } => {
                self.needs(step, x);
                self.makes(step, weight("norm", norm.weight), out);
            }
            Op::Linear { x, weight: id, out, accumulate, .. } => {
                self.needs(step, x);
                if *accumulate {
                    self.make(step, weight("product", *id), bytes(out), out.offset_bytes);
                    self.needs(step, out);
                    self.makes(step, weight("sum", *id), out);
                } else {
                    self.makes(step, weight("product", *id), out);
                }
            }
            Op::LinearRows { x, weight: id, out, .. } => {
                self.needs(step, x);
                self.makes(step, weight("product", *id), out);
            }
            Op::Rope { qkv, .. } => {
                self.needs(step, qkv);
                self.needs_input(step, Input::Positions);
                self.makes(step, "rotated".into(), qkv);
            }
            Op::Attention { qkv, out, .. } => {
                self.needs(step, qkv);
                self.needs_input(step, Input::Bounds);
                self.makes(step, "attention".into(), out);
            }
            Op::GeGlu { x } => {
                self.needs(step, x);
                self.makes(step, "geglu".into(), &x.left(x.cols / 2));
            }
            Op::Gelu { x } => {
                self.needs(step, x);
                self.makes(step, "gelu".into(), x);
            }
            Op::Pool { x, out } | Op::Gather { x, out } => {
                self.needs(step, x);
                self.needs_input(step, Input::Bounds);
                self.makes(step, "rows".into(), out);
            }
        }
    }

    /// The result of a step, which from now on is what lies at its offset.
    fn makes(&mut self, step: usize, name: String, out: &View) {
        let index = self.make(step, name, bytes(out), out.offset_bytes);
        self.at.insert(out.offset_bytes, index);
    }

    fn make(&mut self, step: usize, name: String, bytes: usize, offset_bytes: usize) -> usize {
        let bytes = bytes.max(1);
        self.buffers.push(Buffer { name, bytes, born: step, dies: step, offset_bytes });
        self.buffers.len() - 1
    }

    fn needs(&mut self, step: usize, view: &View) {
        if let Some(&index) = self.at.get(&view.offset_bytes) {
            self.buffers[index].dies = step;
        }
    }

    fn needs_input(&mut self, step: usize, input: Input) {
        let index = self.inputs[input as usize];
        self.buffers[index].dies = step;
    }
}

/// Of a tensor without gaps between its rows.
fn bytes(view: &View) -> usize {
    view.rows * view.cols * view.dtype.size_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use crate::model::{InitHead, Model, RopeOverride, smallest};

    fn plan(head: InitHead) -> (Model, BufferPlan) {
        let model = Model::load(&smallest(head), RopeOverride::Checkpoint).unwrap();
        let workspace = Workspace::plan(&model.config, &model.architecture, Dtype::F32, 512, 64);
        let plan = BufferPlan::new(&model.config, &model.architecture, &workspace);
        (model, plan)
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
        let (model, plan) = plan(InitHead::MaskedLm);
        let (t, h) = (48, model.config.hidden_size);
        let batch = plan.of(&[16, 32]);
        assert_eq!(batch.tokens, t);
        // embed, Wqkv, rope, attention, Wo + residual, norm, Wi, ...; layer 0 has no attention norm.
        let embed = only(&batch, "embed embeddings.tok_embeddings.weight");
        assert_eq!(
            (embed.bytes, embed.born, embed.dies),
            (4 * t * h, 0, 4),
            "read by the residual"
        );
        let qkv = only(&batch, "product layers.0.attn.Wqkv.weight");
        assert_eq!((qkv.bytes, qkv.born, qkv.dies), (4 * t * 3 * h, 1, 2), "rotated, then gone");
        let product = only(&batch, "product layers.0.attn.Wo.weight");
        assert_eq!((product.born, product.dies), (4, 4), "added at once");
        let sum = only(&batch, "sum layers.0.attn.Wo.weight");
        assert_eq!((sum.born, sum.dies), (4, 8), "normed at 5, added to at 8");
        let ids = only(&batch, "token ids");
        assert_eq!((ids.bytes, ids.born, ids.dies), (4 * t, 0, 0));
        let rows = batch.buffers.last().unwrap();
        assert_eq!((rows.bytes, rows.dies), (4 * 2 * h, batch.steps - 1), "read back at the end");
    }

    #[test]
    fn every_buffer_is_needed_and_lies_inside_the_arena() {
        let labels = ["A", "B", "C"].map(String::from);
        for head in [
            InitHead::Base,
            InitHead::MaskedLm,
            InitHead::Sequence(labels.to_vec()),
            InitHead::Token(labels.to_vec()),
        ] {
            let (_, plan) = plan(head.clone());
            for lengths in [vec![1], vec![512], vec![7; 64], vec![200, 1, 300]] {
                let batch = plan.of(&lengths);
                for buffer in &batch.buffers {
                    assert!(buffer.born <= buffer.dies && buffer.dies < batch.steps, "{buffer:?}");
                    let end = buffer.offset_bytes + buffer.bytes;
                    assert!(end <= plan.capacity_bytes(), "{head:?} {lengths:?}: {buffer:?}");
                }
                assert!(batch.buffers.is_sorted_by_key(|buffer| buffer.born));
                // The residual stream alone is never gone before the end.
                assert!(batch.peak_bytes() > 4 * batch.tokens);
            }
        }
    }
}
