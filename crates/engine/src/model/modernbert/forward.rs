//! The forward pass of ModernBERT, written once, as a list of operations.
//!
//! Pre-norm encoder with gated MLPs (GeGLU in most checkpoints) and rotary positions; layer 0 has no attention norm because the embedding
//! is normed. Warner et al., 2024, <https://arxiv.org/abs/2412.13663>; names follow `transformers`'
//! `modeling_modernbert.py`. Nothing runs here: a [`Backend`](crate::backend::Backend) runs the list.

use super::architecture::{Architecture, HeadWeights, LayerWeights, LinearWeights};
use super::config::{Config, LayerKind};
use super::workspace::Workspace;
use crate::backend::{Op, RopeId, View};
use crate::batch::{Exit, LogitRows, PackedBatch, RowCounts};
use crate::dtype::Dtype;

/// Rotary table of full-attention layers.
pub const ROPE_FULL: RopeId = RopeId(0);
/// Rotary table of sliding layers.
pub const ROPE_SLIDING: RopeId = RopeId(1);

/// The launches of a batch in order, and the views that hold its rows once all have run.
#[derive(Debug, Clone)]
pub struct Program {
    /// The launches in order; the engine may pause between any two.
    pub ops: Vec<Op>,
    /// [T, hidden]: the final hidden states, if the batch runs all layers.
    pub hidden: View,
    /// [segments, hidden], f32; models without a head on the device, and masked-LM models.
    pub pooled: Option<View>,
    /// [rows, outputs], f32; which rows is the head's [`LogitRows`].
    pub logits: Option<View>,
    /// The rows of `hidden` that are returned as they are; base and masked-LM models.
    pub hidden_rows: Option<View>,
}

/// Lists the launches of one batch.
pub fn program(
    config: &Config,
    architecture: &Architecture,
    workspace: &Workspace,
    batch: &PackedBatch,
) -> Program {
    debug_assert!(workspace.limits().allow(batch));
    let t = batch.tokens();
    let stream = workspace.stream(t, config.hidden_size);
    let hidden = workspace.narrow(t, config.hidden_size);
    let mut ops = vec![Op::Embed {
        embedding: architecture.embedding,
        norm: architecture.embedding_norm,
        out: stream,
    }];
    let depth = batch.layers.unwrap_or(usize::MAX);
    for (layer, run) in architecture.layers.iter().zip(1..).take(depth) {
        attention(&mut ops, config, workspace, layer, t);
        mlp(&mut ops, config, workspace, layer, t);
        if let Some(exit) = batch.exits.iter().find(|exit| exit.layers == run) {
            pool_exit(&mut ops, config, architecture, workspace, (batch, exit));
        }
    }
    if batch.layers.is_none() {
        ops.push(Op::Norm { x: stream, norm: architecture.final_norm, out: hidden });
    }
    let mut program = Program { ops, hidden, pooled: None, logits: None, hidden_rows: None };
    heads(&mut program, config, architecture, workspace, batch);
    program
}

/// Lists the launches that pool some segments on the way. The scratch that a norm writes to holds nothing between layers.
fn pool_exit(
    ops: &mut Vec<Op>,
    config: &Config,
    architecture: &Architecture,
    at: &Workspace,
    (batch, exit): (&PackedBatch, &Exit),
) {
    let (t, h) = (batch.tokens(), config.hidden_size);
    let is_last = exit.layers == architecture.layers.len();
    let mut x = at.stream(t, h);
    if architecture.exit_norm || is_last {
        let out = at.narrow(t, h);
        ops.push(Op::Norm { x, norm: architecture.final_norm, out });
        x = out;
    }
    let (first, rows) = (exit.segments.start, exit.segments.len());
    let out = at.pooled(batch.segments.len(), h).rows(first, rows);
    ops.push(Op::Pool { x, first, out });
}

fn linear(x: View, weights: LinearWeights, out: View, accumulate: bool) -> Op {
    Op::Linear { x, weight: weights.weight, bias: weights.bias, out, accumulate }
}

fn attention(ops: &mut Vec<Op>, config: &Config, at: &Workspace, layer: &LayerWeights, t: usize) {
    let stream = at.stream(t, config.hidden_size);
    let narrow = at.narrow(t, config.hidden_size);
    let qkv = at.wide(t, 3 * config.hidden_size);
    let (table, window) = match layer.kind {
        LayerKind::Full => (ROPE_FULL, None),
        LayerKind::Sliding => (ROPE_SLIDING, Some(config.window)),
    };
    let input = match layer.attn_norm {
        Some(norm) => {
            ops.push(Op::Norm { x: stream, norm, out: narrow });
            narrow
        }
        None => stream,
    };
    ops.push(linear(input, layer.wqkv, qkv, false));
    ops.push(Op::Rope { qkv, table });
    ops.push(Op::Attention { qkv, out: narrow, window });
    ops.push(linear(narrow, layer.attn_out, stream, true));
}

fn mlp(ops: &mut Vec<Op>, config: &Config, at: &Workspace, layer: &LayerWeights, t: usize) {
    let stream = at.stream(t, config.hidden_size);
    let narrow = at.narrow(t, config.hidden_size);
    let wide = at.wide(t, 2 * config.intermediate_size);
    ops.push(Op::Norm { x: stream, norm: layer.mlp_norm, out: narrow });
    ops.push(linear(narrow, layer.mlp_in, wide, false));
    ops.push(Op::Gated { x: wide, activation: config.hidden_activation });
    ops.push(linear(wide.left(config.intermediate_size), layer.mlp_out, stream, true));
}

/// Lists the launches after the encoder: those that compute each matrix of [`RowCounts`].
fn heads(
    program: &mut Program,
    config: &Config,
    architecture: &Architecture,
    at: &Workspace,
    batch: &PackedBatch,
) {
    let (h, hidden) = (config.hidden_size, program.hidden);
    let layout = architecture.row_layout(config);
    let RowCounts { pooled, logits: rows, hidden: hidden_rows } = layout.counts(batch);
    let ops = &mut program.ops;
    if let Some(head) = &architecture.head
        && rows > 0
    {
        program.logits = match layout.logit_rows {
            LogitRows::None => None,
            LogitRows::Segments => {
                // One row per sequence: the head stays in f32, whatever the encoder computes in.
                let pooled = at.pooled(rows, h);
                ops.push(Op::Pool { x: hidden, first: 0, out: pooled });
                let dense = View { dtype: Dtype::F32, ..at.wide(rows, h) };
                let dense = prediction_head(ops, head, pooled, dense);
                Some(label_logits(ops, head, at, dense))
            }
            LogitRows::Tokens => {
                let dense = prediction_head(ops, head, hidden, at.stream(rows, h));
                Some(label_logits(ops, head, at, dense))
            }
            LogitRows::Masks => {
                let gathered = at.stream(rows, h);
                ops.push(Op::Gather { x: hidden, out: gathered });
                let dense = prediction_head(ops, head, gathered, at.wide(rows, h));
                let logits = at.logits(rows, head.outputs);
                ops.push(linear(dense, head.output, logits, false));
                Some(logits)
            }
        };
    }
    if pooled > 0 {
        let out = at.pooled(pooled, h);
        let first = batch.exits.last().map_or(0, |exit| exit.segments.end);
        if first < pooled {
            ops.push(Op::Pool { x: hidden, first, out: out.rows(first, pooled - first) });
        }
        program.pooled = Some(out);
    }
    // No head writes where the hidden states lie, so they are still whole.
    program.hidden_rows =
        (!hidden_rows.is_empty()).then(|| hidden.rows(hidden_rows.start, hidden_rows.len()));
}

/// dense, activation, norm: `ModernBertPredictionHead`.
fn prediction_head(ops: &mut Vec<Op>, head: &HeadWeights, x: View, out: View) -> View {
    ops.push(linear(x, head.dense, out, false));
    ops.push(Op::Activate { x: out, activation: head.activation });
    ops.push(Op::Norm { x: out, norm: head.norm, out });
    out
}

fn label_logits(ops: &mut Vec<Op>, head: &HeadWeights, at: &Workspace, x: View) -> View {
    let out = at.logits(x.rows, head.outputs);
    let LinearWeights { weight, bias } = head.output;
    ops.push(Op::LinearRows { x, weight, bias, out });
    out
}
