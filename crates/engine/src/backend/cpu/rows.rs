//! Operations that treat every row alike: norms, rotations, labels, pooling.
//!
//! Attention and products of matrices, whose rows share work, are in `attention` and `gemm`.

use pulp::Arch;
use rayon::prelude::*;

use crate::backend::{RopeTable, View};

/// Rows per task of the thread pool.
const ROWS: usize = 16;

/// Independent partial sums of a dot product: one or more vector registers on every target.
const LANES: usize = 32;

/// A layer norm's weights.
pub(super) struct Norm<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) eps: f32,
}

/// Sums in [`LANES`] interleaved partial sums, in one order whatever the target.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    fold(lanes)
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

impl Norm<'_> {
    #[inline(always)]
    fn apply(&self, row: &mut [f32]) {
        let n = row.len() as f32;
        let mean = sum(row, |x| x) / n;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
        let scale = 1.0 / (variance + self.eps).sqrt();
        for (x, w) in row.iter_mut().zip(self.weight) {
            *x = (*x - mean) * scale * w;
        }
        if let Some(bias) = self.bias {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += b;
            }
        }
    }
}

/// Runs `f(first_row, rows)` over chunks of whole rows on all threads, vectorised for this machine.
pub(super) fn each_rows(data: &mut [f32], stride: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let arch = Arch::new();
    data.par_chunks_mut(ROWS * stride).enumerate().for_each(|(i, rows)| {
        arch.dispatch(|| f(i * ROWS, rows));
    });
}

pub(super) fn embed(table: &[f32], ids: &[u32], norm: &Norm<'_>, out: &mut [f32], width: usize) {
    each_rows(out, width, |first, rows| {
        for (row, &id) in rows.chunks_mut(width).zip(&ids[first..]) {
            row.copy_from_slice(&table[id as usize * width..][..width]);
            norm.apply(row);
        }
    });
}

pub(super) fn norm(x: &[f32], out: &mut [f32], width: usize, norm: &Norm<'_>) {
    each_rows(out, width, |first, rows| {
        rows.copy_from_slice(&x[first * width..][..rows.len()]);
        rows.chunks_mut(width).for_each(|row| norm.apply(row));
    });
}

pub(super) fn norm_in_place(x: &mut [f32], width: usize, norm: &Norm<'_>) {
    each_rows(x, width, |_, rows| rows.chunks_mut(width).for_each(|row| norm.apply(row)));
}

pub(super) fn rope(qkv: &mut [f32], width: usize, positions: &[u32], table: &RopeTable) {
    let pairs = table.pairs;
    each_rows(qkv, width, |first, rows| {
        for (row, &position) in rows.chunks_mut(width).zip(&positions[first..]) {
            let angles = table.row(position as usize);
            for head in row[..width / 3 * 2].chunks_exact_mut(2 * pairs) {
                let (low, high) = head.split_at_mut(pairs);
                for ((a, b), [cos, sin]) in low.iter_mut().zip(high).zip(angles) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    });
}

/// Computes one dot product per row and label.
pub(super) fn linear_rows(
    x: &[f32],
    view: &View,
    w: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let labels = w.len() / view.cols;
    each_rows(out, labels, |first, rows| {
        for (r, row) in rows.chunks_mut(labels).enumerate() {
            let x = &x[(first + r) * view.stride..][..view.cols];
            for (n, y) in row.iter_mut().enumerate() {
                let weights = &w[n * view.cols..][..view.cols];
                *y = dot(x, weights) + bias.map_or(0.0, |b| b[n]);
            }
        }
    });
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += x * y;
    }
    fold(lanes)
}

/// Computes the mean of each range of rows, summed in blocks so that long ones keep the precision of f32.
pub(super) fn pool(x: &[f32], out: &mut [f32], width: usize, segments: &[(u32, u32)]) {
    const BLOCK: usize = 64;
    let arch = Arch::new();
    out.par_chunks_mut(width).zip(segments).for_each(|(out, &(first, count))| {
        let rows = &x[first as usize * width..][..count as usize * width];
        let mut partial = vec![0.0f32; width];
        arch.dispatch(|| {
            out.fill(0.0);
            for block in rows.chunks(BLOCK * width) {
                partial.fill(0.0);
                for row in block.chunks_exact(width) {
                    partial.iter_mut().zip(row).for_each(|(s, x)| *s += x);
                }
                out.iter_mut().zip(&partial).for_each(|(s, x)| *s += x);
            }
            out.iter_mut().for_each(|s| *s /= count as f32);
        });
    });
}

pub(super) fn gather(x: &[f32], out: &mut [f32], width: usize, rows: &[u32]) {
    for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
        out.copy_from_slice(&x[row as usize * width..][..width]);
    }
}
