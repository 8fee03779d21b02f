//! The oracle: every operation as its formula reads, in plain loops with f64 sums.
//!
//! It is slow on purpose and holds a row of scores per query. Tests compare the fast backends with it; it is
//! not meant to serve requests, nor for sequences longer than [`MAX_TOKENS`].

use std::ops::Range;

use super::activation::{LAPLACE_DEVIATION, LAPLACE_MEAN};
use super::host_arena::HostArena;
use super::{
    Activation, ArenaUsage, Backend, Ceilings, Fetch, NormWeights, Op, RopeTable, View, WeightTable,
};
use crate::batch::PackedBatch;
use crate::error::{DeviceError, LoadError};

/// Longer batches take minutes: attention alone is quadratic, in scalar code.
pub const MAX_TOKENS: usize = 2048;

/// Plain loops over an arena of f32.
pub struct ReferenceBackend {
    weights: WeightTable,
    ropes: Vec<RopeTable>,
    heads: usize,
    norm_eps: f64,
    arena: HostArena,
    batch: PackedBatch,
}

impl ReferenceBackend {
    /// Reserves the arena. `heads` is `num_attention_heads`; `ropes` are in the order of their
    /// [`super::RopeId`]s.
    ///
    /// # Errors
    /// [`LoadError::HostMemory`] if there is no room for the arena.
    pub fn new(
        weights: WeightTable,
        ropes: Vec<RopeTable>,
        heads: usize,
        norm_eps: f32,
        arena_bytes: usize,
    ) -> Result<Self, LoadError> {
        let (arena, batch) = (HostArena::new(arena_bytes)?, PackedBatch::default());
        Ok(ReferenceBackend { weights, ropes, heads, norm_eps: norm_eps.into(), arena, batch })
    }

    fn norm_row(&self, row: &[f32], norm: NormWeights) -> Vec<f32> {
        let n = row.len() as f64;
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / (variance + self.norm_eps).sqrt();
        let weight = self.weights.get(norm.weight);
        let bias = norm.bias.map(|id| self.weights.get(id));
        let one = |(j, &x): (usize, &f32)| {
            let normed = (f64::from(x) - mean) * scale * f64::from(weight[j]);
            (normed + bias.map_or(0.0, |b| f64::from(b[j]))) as f32
        };
        row.iter().enumerate().map(one).collect()
    }

    fn rows(&self, view: &View) -> Vec<Vec<f32>> {
        let data = self.arena.get(view);
        (0..view.rows).map(|r| data[r * view.stride..][..view.cols].to_vec()).collect()
    }

    fn write(&mut self, view: &View, rows: &[Vec<f32>]) {
        let data = self.arena.get_mut(view);
        for (r, row) in rows.iter().enumerate() {
            data[r * view.stride..][..view.cols].copy_from_slice(row);
        }
    }

    fn map(&mut self, x: &View, out: &View, f: impl Fn(&Self, usize, &[f32]) -> Vec<f32>) {
        let rows = self.rows(x);
        let mapped: Vec<_> = rows.iter().enumerate().map(|(r, row)| f(self, r, row)).collect();
        self.write(out, &mapped);
    }

    fn linear_row(
        &self,
        row: &[f32],
        weight: super::WeightId,
        bias: Option<super::WeightId>,
    ) -> Vec<f32> {
        let matrix = self.weights.get(weight);
        let one = |(n, w): (usize, &[f32])| {
            let sum: f64 = w.iter().zip(row).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
            (sum + bias.map_or(0.0, |id| f64::from(self.weights.get(id)[n]))) as f32
        };
        matrix.chunks_exact(row.len()).enumerate().map(one).collect()
    }

    fn rope_row(&self, position: usize, row: &[f32], table: &RopeTable) -> Vec<f32> {
        let mut out = row.to_vec();
        let (pairs, rotated) = (table.pairs, row.len() / 3 * 2);
        for head in (0..rotated).step_by(2 * pairs) {
            for (i, [cos, sin]) in table.row(position).iter().enumerate() {
                let (a, b) = (row[head + i], row[head + pairs + i]);
                out[head + i] = a * cos - b * sin;
                out[head + pairs + i] = b * cos + a * sin;
            }
        }
        out
    }

    fn attention(&mut self, qkv: &View, out: &View, window: Option<usize>) {
        let rows = self.rows(qkv);
        let hidden = out.cols;
        let dim = hidden / self.heads;
        let scale = 1.0 / (dim as f64).sqrt();
        let mut answer = vec![vec![0.0; hidden]; out.rows];
        for span in self.batch.spans() {
            for i in span.clone() {
                let near = |j: &usize| window.is_none_or(|w| i.abs_diff(*j) <= w);
                let keys: Vec<usize> = span.clone().filter(near).collect();
                for head in (0..hidden).step_by(dim) {
                    let q = &rows[i][head..head + dim];
                    let dot = |j: &usize| {
                        let k = &rows[*j][hidden + head..][..dim];
                        q.iter().zip(k).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
                            * scale
                    };
                    let scores: Vec<f64> = keys.iter().map(dot).collect();
                    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for (d, slot) in answer[i][head..head + dim].iter_mut().enumerate() {
                        let v = |j: usize| f64::from(rows[j][2 * hidden + head + d]);
                        let sum: f64 = keys.iter().zip(&weights).map(|(&j, w)| w * v(j)).sum();
                        *slot = (sum / total) as f32;
                    }
                }
            }
        }
        self.write(out, &answer);
    }

    fn pool(&mut self, x: &View, first: usize, out: &View) {
        let rows = self.rows(x);
        let mean = |&(first, count): &(u32, u32)| {
            let rows = &rows[first as usize..][..count as usize];
            let column = |c: usize| rows.iter().map(|r| f64::from(r[c])).sum::<f64>();
            (0..x.cols).map(|c| (column(c) / f64::from(count)) as f32).collect()
        };
        let pooled: Vec<Vec<f32>> =
            self.batch.segments[first..][..out.rows].iter().map(mean).collect();
        self.write(out, &pooled);
    }
}

/// Computes an activation as its formula reads.
fn activate(activation: Activation, x: f32) -> f32 {
    use std::f64::consts::{PI, SQRT_2};
    let x = f64::from(x);
    let gelu = 0.5 * x * (1.0 + libm::erf(x / SQRT_2));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = x.max(0.0) + (-x.abs()).exp().ln_1p();
    let y = match activation {
        Activation::Gelu => gelu,
        Activation::Gelu10 => gelu.clamp(-10.0, 10.0),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Silu => x * sigmoid(x),
        Activation::Mish => x * softplus.tanh(),
        Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Relu => x.max(0.0),
        Activation::Relu2 => x.max(0.0).powi(2),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu => x.max(0.01 * x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Laplace => {
            0.5 * (1.0 + libm::erf((x - LAPLACE_MEAN) / (LAPLACE_DEVIATION * SQRT_2)))
        }
        Activation::SqrtSoftplus => softplus.sqrt(),
        Activation::Linear => x,
    };
    y as f32
}

impl Backend for ReferenceBackend {
    fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
        self.batch = batch.clone();
        Ok(())
    }

    fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
        match op {
            Op::Embed { embedding, norm, out } => {
                let width = self.weights.columns(*embedding);
                let table = self.weights.get(*embedding);
                let embed =
                    |&id: &u32| self.norm_row(&table[id as usize * width..][..width], *norm);
                let rows: Vec<_> = self.batch.token_ids.iter().map(embed).collect();
                self.write(out, &rows);
            }
            Op::Norm { x, norm, out } => self.map(x, out, |this, _, row| this.norm_row(row, *norm)),
            Op::Linear { x, weight, bias, out, accumulate } => {
                let before = self.rows(out);
                self.map(x, out, |this, r, row| {
                    let mut y = this.linear_row(row, *weight, *bias);
                    if *accumulate {
                        y.iter_mut().zip(&before[r]).for_each(|(y, b)| *y += b);
                    }
                    y
                });
            }
            Op::LinearRows { x, weight, bias, out } => {
                self.map(x, out, |this, _, row| this.linear_row(row, *weight, *bias));
            }
            Op::Rope { qkv, table } => self.map(qkv, qkv, |this, r, row| {
                this.rope_row(this.batch.positions[r] as usize, row, &this.ropes[table.0])
            }),
            Op::Attention { qkv, out, window } => self.attention(qkv, out, *window),
            Op::Gated { x, activation: f } => {
                let half = x.cols / 2;
                self.map(x, &x.left(half), |_, _, row| {
                    let (input, gate) = row.split_at(half);
                    input.iter().zip(gate).map(|(&a, &g)| activate(*f, a) * g).collect()
                });
            }
            Op::Activate { x, activation: f } => {
                self.map(x, x, |_, _, row| row.iter().map(|&a| activate(*f, a)).collect());
            }
            Op::Pool { x, first, out } => self.pool(x, *first, out),
            Op::Gather { x, out } => {
                let rows = self.rows(x);
                let pick = |&r: &u32| rows[r as usize].clone();
                let picked: Vec<_> = self.batch.mask_rows.iter().map(pick).collect();
                self.write(out, &picked);
            }
        }
        Ok(())
    }

    fn launch_rows(&mut self, op: &Op, rows: Range<usize>) -> Result<(), DeviceError> {
        super::launch_independent_rows(self, op, rows)
    }

    fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
        Ok(Fetch::Done(self.rows(view).into_iter().flatten().collect()))
    }

    fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
        self.arena.write(view, rows);
        Ok(())
    }

    fn arena(&self) -> ArenaUsage {
        self.arena.usage()
    }

    fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
        super::time_on_host(self, ops, repeats)
    }

    fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
        Err(DeviceError::Unavailable {
            device: "reference".into(),
            reason: "it is an oracle, not measured".into(),
        })
    }
}
