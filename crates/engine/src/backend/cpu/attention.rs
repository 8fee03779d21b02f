//! Attention over packed sequences that never holds a score matrix.
//!
//! Each task takes one block of queries of one head of one sequence and walks the keys in blocks with a
//! running maximum and sum (Milakov and Gimelshein, 2018; Dao, 2023, <https://arxiv.org/abs/2307.08691>).
//! Blocks are counted from the sequence's own start and only those inside the window are visited, so the
//! bits of an answer depend on its own sequence alone.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use gemm_common::Parallelism;
use pulp::Arch;
use rayon::prelude::*;

use super::gemm::{Operand, Output, Size, min_rows, multiply};
use super::math::exp_nonpositive;

/// Queries per task of the thread pool, at most.
pub(crate) const QUERIES: usize = 64;
/// Queries of the parts that a task of full attention can be divided into. Products of so many rows with [`KEYS_LEAST`]
/// columns or more sum as those of [`QUERIES`] do; see [`min_rows`].
pub(crate) const QUERY_STEP: usize = 16;
/// Keys visited at a time.
const KEYS: usize = 256;
/// Keys visited at a time at least, but where there are fewer.
const KEYS_LEAST: usize = 18;

/// The dimensions that all tasks of a launch share.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) heads: usize,
    pub(super) hidden: usize,
    pub(super) window: Option<usize>,
}

/// The working memory of one thread.
struct Scratch {
    /// [QUERIES, KEYS].
    scores: Vec<f32>,
    /// [QUERIES, head_dim].
    sums: Vec<f32>,
    /// Running maximum and total of each query.
    max: [f32; QUERIES],
    total: [f32; QUERIES],
}

/// One scratch per thread, made at start-up.
pub(super) struct ScratchPool(Vec<Mutex<Scratch>>);

pub(super) fn scratch_bytes(head_dim: usize) -> usize {
    4 * QUERIES * (KEYS + head_dim + 2)
}

impl ScratchPool {
    pub(super) fn new(threads: usize, head_dim: usize) -> ScratchPool {
        let scratch = || Scratch {
            scores: vec![0.0; QUERIES * KEYS],
            sums: vec![0.0; QUERIES * head_dim],
            max: [0.0; QUERIES],
            total: [0.0; QUERIES],
        };
        ScratchPool((0..threads.max(1)).map(|_| Mutex::new(scratch())).collect())
    }
}

struct QueryBlock {
    /// First and end row of the sequence.
    sequence: (usize, usize),
    head: usize,
    /// First query, counted from the sequence's start, and how many.
    first: usize,
    queries: usize,
}

/// Iterates over the first query and the number of queries of each block of a sequence of `len` tokens that has queries
/// among `wanted`. If blocks are not `divided`, one is whole if its first query is wanted, and absent otherwise. The last block
/// of a sequence is never divided, because its parts could be too small.
fn blocks(len: usize, wanted: Range<usize>, divided: bool) -> impl Iterator<Item = (usize, usize)> {
    (0..len).step_by(QUERIES).filter_map(move |first| {
        let queries = QUERIES.min(len - first);
        if !divided || queries < QUERIES {
            return wanted.contains(&first).then_some((first, queries));
        }
        let parts = (first..first + QUERIES).step_by(QUERY_STEP);
        let mut parts = parts.filter(|part| wanted.contains(part));
        let start = parts.next()?;
        let end = parts.next_back().unwrap_or(start) + QUERY_STEP;
        Some((start, end - start))
    })
}

/// Iterates over the first key and the number of keys of each block. None is so small that the products of some queries
/// with it would sum in another order than those of more.
fn key_blocks(keys: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let mut first = keys.start;
    std::iter::from_fn(move || {
        let at = first;
        let count = match keys.end - at {
            0 => return None,
            left if left > KEYS && left < KEYS + KEYS_LEAST => left - KEYS_LEAST,
            left => left.min(KEYS),
        };
        first += count;
        Some((at, count))
    })
}

/// Where a task writes: [queries, head_dim] with the row stride of the whole output.
struct OutputTile(*mut f32);

// SAFETY: every task writes a tile of rows and columns that no other task has.
unsafe impl Send for OutputTile {}

/// Computes softmax(q k^T / sqrt(head_dim)) v within each sequence. `qkv` is [T, 3 hidden], already rotated; `out` is [T, hidden].
/// Only blocks of queries that begin in the rows `queries` are computed: all of them, once such ranges cover all rows.
pub(super) fn attention(
    qkv: &[f32],
    out: &mut [f32],
    cu_seqlens: &[u32],
    queries: Range<usize>,
    shape: Shape,
    scratch: &ScratchPool,
) {
    let mut tasks = Vec::new();
    let dim = shape.hidden / shape.heads;
    // Windows begin at a block's first query, and the products of few queries with narrow values sum in another order.
    let divided = shape.window.is_none() && min_rows(dim) <= QUERY_STEP;
    for pair in cu_seqlens.windows(2) {
        let sequence = (pair[0] as usize, pair[1] as usize);
        let own = |row: usize| row.saturating_sub(sequence.0);
        let wanted = own(queries.start)..own(queries.end);
        for (first, queries) in blocks(sequence.1 - sequence.0, wanted, divided) {
            tasks.extend((0..shape.heads).map(|head| QueryBlock {
                sequence,
                head,
                first,
                queries,
            }));
        }
    }
    assert!(out.len() == cu_seqlens.last().map_or(0, |&t| t as usize) * shape.hidden);
    let tiles: Vec<(QueryBlock, OutputTile)> = tasks
        .into_iter()
        .map(|task| {
            let at = (task.sequence.0 + task.first) * shape.hidden + task.head * dim;
            let tile = OutputTile(&raw mut out[at]);
            (task, tile)
        })
        .collect();
    tiles.into_par_iter().for_each(|(task, tile)| {
        let slot = rayon::current_thread_index().unwrap_or(0) % scratch.0.len();
        let mut scratch = scratch.0[slot].lock().unwrap_or_else(PoisonError::into_inner);
        run(qkv, tile, &task, shape, &mut scratch);
    });
}

fn run(qkv: &[f32], out: OutputTile, task: &QueryBlock, shape: Shape, scratch: &mut Scratch) {
    let dim = shape.hidden / shape.heads;
    let stride = 3 * shape.hidden;
    let (start, end) = task.sequence;
    let len = end - start;
    let queries = task.queries;
    let scale = 1.0 / (dim as f32).sqrt();
    let (low, high) = match shape.window {
        Some(w) => (task.first.saturating_sub(w), len.min(task.first + queries + w)),
        None => (0, len),
    };
    scratch.max.fill(f32::NEG_INFINITY);
    scratch.total.fill(0.0);
    scratch.sums.fill(0.0);
    let arch = Arch::new();
    let row = |position: usize, part: usize| {
        &qkv[(start + position) * stride + part * shape.hidden + task.head * dim..]
    };
    for (first_key, keys) in key_blocks(low..high) {
        let rows_of = |position, part| Operand {
            start: row(position, part).as_ptr(),
            row_stride: stride,
            column_stride: 1,
        };
        let transposed =
            |o: Operand| Operand { row_stride: o.column_stride, column_stride: o.row_stride, ..o };
        let size = Size { rows: queries, columns: keys, inner: dim };
        let out = Output { start: scratch.scores.as_mut_ptr(), row_stride: KEYS, add: false };
        let (q, k) = (rows_of(task.first, 0), transposed(rows_of(first_key, 1)));
        // SAFETY: queries, keys and values are rows of `qkv` inside the sequence, `dim` wide and
        // `stride` apart; scores hold QUERIES x KEYS.
        unsafe { multiply(size, out, q, k, scale, Parallelism::None) };
        let Scratch { scores, sums, max, total } = scratch;
        arch.dispatch(|| {
            for i in 0..queries {
                let scores = &mut scores[i * KEYS..][..keys];
                if let Some(w) = shape.window {
                    let at = task.first + i;
                    mask(scores, first_key, at.saturating_sub(w), at + w);
                }
                let sums = &mut sums[i * dim..][..dim];
                fold_block(scores, sums, &mut max[i], &mut total[i]);
            }
        });
        let size = Size { rows: queries, columns: dim, inner: keys };
        let out = Output { start: scratch.sums.as_mut_ptr(), row_stride: dim, add: true };
        let weights =
            Operand { start: scratch.scores.as_ptr(), row_stride: KEYS, column_stride: 1 };
        // SAFETY: as above; sums hold QUERIES x head_dim.
        unsafe { multiply(size, out, weights, rows_of(first_key, 2), 1.0, Parallelism::None) };
    }
    for i in 0..queries {
        let inverse = 1.0 / scratch.total[i];
        for (d, sum) in scratch.sums[i * dim..][..dim].iter().enumerate() {
            // SAFETY: row `first + i` of this task's own tile; see [`OutputTile`].
            unsafe { *out.0.add(i * shape.hidden + d) = sum * inverse };
        }
    }
}

/// Masks the scores of keys outside [low, high].
#[inline(always)]
fn mask(scores: &mut [f32], first_key: usize, low: usize, high: usize) {
    for (j, score) in scores.iter_mut().enumerate() {
        let key = first_key + j;
        if key < low || key > high {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Turns a block's scores into weights relative to the running maximum and rescales the sums so far.
#[inline(always)]
fn fold_block(scores: &mut [f32], sums: &mut [f32], max: &mut f32, total: &mut f32) {
    let block_max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let new_max = max.max(block_max);
    if new_max == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    let rescale = exp_nonpositive(*max - new_max);
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = scores.as_chunks_mut::<16>();
    for chunk in chunks {
        for (lane, s) in lanes.iter_mut().zip(chunk) {
            *s = exp_nonpositive(*s - new_max);
            *lane += *s;
        }
    }
    for (lane, s) in lanes.iter_mut().zip(rest) {
        *s = exp_nonpositive(*s - new_max);
        *lane += *s;
    }
    *total = *total * rescale + lanes.iter().sum::<f32>();
    *max = new_max;
    if rescale != 1.0 {
        sums.iter_mut().for_each(|s| *s *= rescale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_keys_are_in_order_and_none_is_small() {
        for keys in 1..1500 {
            let mut next = 7;
            for (first, count) in key_blocks(7..7 + keys) {
                assert_eq!(first, next);
                assert!((KEYS_LEAST.min(keys)..=KEYS).contains(&count), "{count} of {keys}");
                next += count;
            }
            assert_eq!(next, 7 + keys);
        }
        assert!(min_rows(KEYS_LEAST) <= QUERY_STEP && min_rows(KEYS_LEAST - 1) > QUERY_STEP);
    }
}
