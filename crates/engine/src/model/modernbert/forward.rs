//! The forward pass of ModernBERT, written once, as a list of operations.
//!
//! Pre-norm encoder with GeGLU and rotary positions; layer 0 has no attention norm because the embedding
//! is normed. Warner et al., 2024, <https://arxiv.org/abs/2412.13663>; names follow `transformers`'
//! `modeling_modernbert.py`.

use super::architecture::{Architecture, HeadWeights, LayerWeights, LinearWeights};
use super::config::{Config, Head, LayerKind};
use super::workspace::Workspace;
use crate::backend::{Op, RopeId, View};
use crate::batch::PackedBatch;
use crate::dtype::Dtype;

/// Rotary table of full-attention layers.
pub const ROPE_FULL: RopeId = RopeId(0);
/// Rotary table of sliding layers.
pub const ROPE_SLIDING: RopeId = RopeId(1);

/// Launches in order, and where the answers lie once all have run.
#[derive(Debug, Clone)]
pub struct Program {
    /// Run in order; the engine may pause between any two.
    pub ops: Vec<Op>,
    /// [T, hidden], final hidden states.
    pub hidden: View,
    /// [segments, hidden], f32: base and masked-LM models.
    pub pooled: Option<View>,
    /// [segments | T | mask rows, outputs], f32: by the head's kind.
    pub logits: Option<View>,
    /// [rows, hidden] of `hidden` that are read as they are: base and masked-LM models.
    pub hidden_rows: Option<View>,
}

/// Writes down the launches for one batch.
pub fn program(
    config: &Config,
    architecture: &Architecture,
    workspace: &Workspace,
    batch: &PackedBatch,
) -> Program {
    debug_assert!(workspace.holds(batch));
    let t = batch.tokens();
    let stream = workspace.stream(t, config.hidden_size);
    let hidden = workspace.narrow(t, config.hidden_size);
    let mut ops = vec![Op::Embed {
        embedding: architecture.embedding,
        norm: architecture.embedding_norm,
        out: stream,
    }];
    for layer in &architecture.layers {
        attention(&mut ops, config, workspace, layer, t);
        mlp(&mut ops, config, workspace, layer, t);
    }
    ops.push(Op::Norm { x: stream, norm: architecture.final_norm, out: hidden });
    let mut program = Program { ops, hidden, pooled: None, logits: None, hidden_rows: None };
    heads(&mut program, config, architecture, workspace, batch);
    program
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
    ops.push(Op::GeGlu { x: wide });
    ops.push(linear(wide.left(config.intermediate_size), layer.mlp_out, stream, true));
}

fn heads(
    program: &mut Program,
    config: &Config,
    architecture: &Architecture,
    at: &Workspace,
    batch: &PackedBatch,
) {
    let (t, h) = (batch.tokens(), config.hidden_size);
    let hidden = program.hidden;
    let segments = batch.segments.len();
    let masks = batch.mask_rows.len();
    match (&config.head, &architecture.head) {
        (Head::Sequence { .. }, Some(head)) if segments > 0 => {
            // One row a sequence: the head stays in f32, whatever the encoder computes in.
            let rows = at.pooled(segments, h);
            program.ops.push(Op::Pool { x: hidden, out: rows });
            let dense = View { dtype: Dtype::F32, ..at.wide(segments, h) };
            let dense = prediction_head(&mut program.ops, head, rows, dense);
            program.logits = Some(label_logits(&mut program.ops, head, at, dense));
        }
        (Head::Token, Some(head)) => {
            let dense = prediction_head(&mut program.ops, head, hidden, at.stream(t, h));
            program.logits = Some(label_logits(&mut program.ops, head, at, dense));
        }
        (Head::MaskedLm { .. }, Some(head)) if masks > 0 => {
            let rows = at.stream(masks, h);
            program.ops.push(Op::Gather { x: hidden, out: rows });
            let dense = prediction_head(&mut program.ops, head, rows, at.wide(masks, h));
            let logits = at.logits(masks, head.outputs);
            program.ops.push(linear(dense, head.output, logits, false));
            program.logits = Some(logits);
        }
        _ => {}
    }
    if !matches!(config.head, Head::Base | Head::MaskedLm { .. }) {
        return;
    }
    if segments > 0 {
        let pooled = at.pooled(segments, h);
        program.ops.push(Op::Pool { x: hidden, out: pooled });
        program.pooled = Some(pooled);
    }
    // No head writes where the hidden states lie, so they are still whole.
    let rows = &batch.hidden_rows;
    program.hidden_rows = (!rows.is_empty()).then(|| hidden.rows(rows.start as usize, rows.len()));
}

/// dense, GELU, norm: `ModernBertPredictionHead`.
fn prediction_head(ops: &mut Vec<Op>, head: &HeadWeights, x: View, out: View) -> View {
    ops.push(linear(x, head.dense, out, false));
    ops.push(Op::Gelu { x: out });
    ops.push(Op::Norm { x: out, norm: head.norm, out });
    out
}

fn label_logits(ops: &mut Vec<Op>, head: &HeadWeights, at: &Workspace, x: View) -> View {
    let out = at.logits(x.rows, head.outputs);
    let LinearWeights { weight, bias } = head.output;
    ops.push(Op::LinearRows { x, weight, bias, out });
    out
}
