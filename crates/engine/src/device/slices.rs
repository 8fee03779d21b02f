//! Slices of a forward pass: the rows of each launch that run before the device may do something else.
//!
//! A long text takes seconds on a CPU. Its launches are divided by rows, so that a short batch need not wait for all of
//! them: products, norms and activations compute each row by itself, attention each query, so a sliced launch gives the
//! same bits as a whole one. How many rows take [`SLICE`] or [`LONG_SLICE`] follows from the rate of the slices before. Who
//! runs between two slices is decided by the engine's device loop.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::backend::{Op, cpu};
use crate::batch::PackedBatch;

/// How long a slice is meant to take while short batches come.
const SLICE: Duration = Duration::from_millis(5);
/// How long it is meant to take otherwise. Small slices cost a long text half as much again.
const LONG_SLICE: Duration = Duration::from_millis(20);
/// Short batches are expected for so long after one.
const EXPECTED: Duration = Duration::from_secs(2);
/// Rows of a slice of elements, at least.
const ELEMENT_ROWS: usize = 64;
/// Rows of a slice of a product, at least: each packs all weights.
const PRODUCT_ROWS: usize = 256;
/// Floating-point operations per second before any slice has run: of one slow core.
const FIRST_FLOPS_PER_SECOND: f64 = 4e9;
/// Weight of the latest slice in the running averages.
const NEWEST_SHARE: f64 = 0.3;
/// Slices of fewer operations do not show the rate.
const LEAST_FLOPS: f64 = 1e7;

/// What a launch mostly does. Each has a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaunchKind {
    Product,
    FullAttention,
    WindowedAttention,
    Elements,
}

/// Floating-point operations per row of a launch, as [`Op::Linear`] and [`Op::Attention`] have them; for elements, a
/// rough count that its own rate corrects.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    kind: LaunchKind,
    rows: usize,
    flops_per_row: f64,
    /// Rows of a slice are a multiple of this; the rest is a part of the last slice.
    step: usize,
}

/// Returns the cost of a launch that can be divided by rows; `longest` is the longest sequence of its batch, in tokens.
fn cost(op: &Op, longest: usize) -> Option<Cost> {
    let cost = |kind, rows, flops: usize, step| {
        Some(Cost { kind, rows, flops_per_row: flops as f64, step })
    };
    match op {
        Op::Linear { x, out, .. } => {
            let step = PRODUCT_ROWS.max(cpu::min_rows(out.cols));
            cost(LaunchKind::Product, x.rows, 2 * x.cols * out.cols, step)
        }
        Op::Attention { out, window: None, .. } => {
            let flops = 4 * longest * out.cols;
            cost(LaunchKind::FullAttention, out.rows, flops, cpu::QUERY_STEP)
        }
        Op::Attention { out, window: Some(window), .. } => {
            let flops = 4 * longest.min(2 * window + 1) * out.cols;
            cost(LaunchKind::WindowedAttention, out.rows, flops, cpu::QUERIES)
        }
        Op::Norm { x, .. } | Op::Gated { x, .. } | Op::Activate { x, .. } => {
            cost(LaunchKind::Elements, x.rows, 16 * x.cols, ELEMENT_ROWS)
        }
        Op::Embed { .. }
        | Op::LinearRows { .. }
        | Op::Rope { .. }
        | Op::Pool { .. }
        | Op::Gather { .. } => None,
    }
}

/// The rates of a device, which size its slices.
#[derive(Debug)]
pub(super) struct Slicer {
    /// By [`LaunchKind`].
    flops_per_second: [f64; 4],
    /// When the latest short batch ran.
    short_batch: Option<Instant>,
}

impl Slicer {
    /// Returns a slicer for a device of so many threads.
    pub(super) fn new(threads: usize) -> Slicer {
        Slicer {
            flops_per_second: [FIRST_FLOPS_PER_SECOND * threads.max(1) as f64; 4],
            short_batch: None,
        }
    }

    /// Returns the rows of the next slice of a launch, from row `first` on; all of them if the launch is not divided.
    pub(super) fn slice(&self, op: &Op, longest: usize, first: usize) -> Option<Range<usize>> {
        let cost = cost(op, longest)?;
        let hurried = self.short_batch.is_some_and(|latest| latest.elapsed() < EXPECTED);
        let (time, step) =
            if hurried { (SLICE, cost.step) } else { (LONG_SLICE, cost.step.max(cpu::QUERIES)) };
        let flops = self.flops_per_second[cost.kind as usize] * time.as_secs_f64();
        let rows = ((flops / cost.flops_per_row) as usize / step).max(1) * step;
        // A rest that is too small for a slice of its own joins this one.
        let end = if first + rows + cost.step <= cost.rows { first + rows } else { cost.rows };
        Some(first..end)
    }

    /// Records that a short batch ran.
    pub(super) fn record_short_batch(&mut self) {
        self.short_batch = Some(Instant::now());
    }

    /// Returns whether a slice is the last of its launch.
    pub(super) fn is_last(&self, op: &Op, rows: &Range<usize>) -> bool {
        cost(op, 0).is_none_or(|cost| rows.end >= cost.rows)
    }

    /// Records how long some rows of a launch took.
    pub(super) fn record(
        &mut self,
        op: &Op,
        batch: &PackedBatch,
        rows: &Range<usize>,
        elapsed: Duration,
    ) {
        let spans = batch.spans().filter_map(|span| {
            let common = span.start.max(rows.start)..span.end.min(rows.end);
            (!common.is_empty()).then_some((common.len(), span.len()))
        });
        let (mut flops, mut kind) = (0.0, None);
        for (count, length) in spans {
            let Some(cost) = cost(op, length) else { return };
            flops += cost.flops_per_row * count as f64;
            kind = Some(cost.kind);
        }
        if let Some(kind) = kind.filter(|_| flops >= LEAST_FLOPS && !elapsed.is_zero()) {
            let rate = &mut self.flops_per_second[kind as usize];
            *rate += NEWEST_SHARE * (flops / elapsed.as_secs_f64() - *rate);
        }
    }

    /// Returns about how many operations of a forward pass the device does in this time.
    pub(super) fn flops_in(&self, time: Duration) -> f64 {
        self.flops_per_second[LaunchKind::Product as usize] * time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{View, WeightId};
    use crate::batch::{Rows, Sequence};
    use crate::dtype::Dtype;

    fn product(rows: usize) -> Op {
        let view = |cols| View::new(0, rows, cols, Dtype::F32);
        let (x, out) = (view(128), view(384));
        Op::Linear { x, weight: WeightId(0), bias: None, out, accumulate: false }
    }

    fn slices(slicer: &Slicer, op: &Op, rows: usize) -> Vec<Range<usize>> {
        let mut all = Vec::new();
        while all.last().is_none_or(|last: &Range<usize>| last.end < rows) {
            let first = all.last().map_or(0, |last| last.end);
            all.push(slicer.slice(op, rows, first).expect("it is divided"));
        }
        all
    }

    #[test]
    fn slices_cover_all_rows_in_order_and_none_is_too_small() {
        let slicer = Slicer::new(1);
        for rows in [1, 63, 64, 65, 407, 448, 470, 10_000, 32_768] {
            let all = slices(&slicer, &product(rows), rows);
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, rows));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start), "{all:?}");
            assert!(all.iter().all(|slice| slice.len() >= PRODUCT_ROWS.min(rows)), "{all:?}");
        }
    }

    #[test]
    fn slices_follow_the_rate() {
        let (mut slicer, op) = (Slicer::new(1), product(32_768));
        let before = slices(&slicer, &op, 32_768).len();
        let batch = batch(&[32_768]);
        for _ in 0..50 {
            slicer.record(&op, &batch, &(0..32_768), Duration::from_millis(20));
        }
        let after = slices(&slicer, &op, 32_768);
        assert!(before > 15 && after.len() <= 2, "{before} {after:?}");
        slicer.record_short_batch();
        let after = slices(&slicer, &op, 32_768);
        assert!((4..=5).contains(&after.len()), "{after:?}");
    }

    fn batch(lengths: &[usize]) -> PackedBatch {
        let ids: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![7; length]).collect();
        let wants = &Rows::All;
        PackedBatch::pack(ids.iter().map(|token_ids| Sequence { token_ids, wants }))
    }

    #[test]
    fn short_texts_beside_a_long_one_do_not_count_as_long() {
        let view = |cols| View::new(0, 8192 + 64 * 20, cols, Dtype::F32);
        let attention = Op::Attention { qkv: view(384), out: view(128), window: None };
        let lengths: Vec<usize> = std::iter::repeat_n(20, 64).chain([8192]).collect();
        let (mut slicer, batch) = (Slicer::new(1), batch(&lengths));
        // 1280 rows of 20 keys, not of 8192.
        slicer.record(&attention, &batch, &(0..1280), Duration::from_millis(1));
        let expected = 0.7 * FIRST_FLOPS_PER_SECOND + 0.3 * (1280.0 * 4.0 * 20.0 * 128.0) * 1e3;
        let rate = slicer.flops_per_second[LaunchKind::FullAttention as usize];
        assert!((rate / expected - 1.0).abs() < 1e-6, "{rate} {expected}");
    }

    #[test]
    fn a_window_bounds_the_cost_of_attention() {
        let view = |cols| View::new(0, 8192, cols, Dtype::F32);
        let attention = |window| Op::Attention { qkv: view(384), out: view(128), window };
        let flops = |window| cost(&attention(window), 8192).expect("it is divided").flops_per_row;
        assert_eq!(flops(None), 4.0 * 8192.0 * 128.0);
        assert_eq!(flops(Some(64)), 4.0 * 129.0 * 128.0);
    }
}
