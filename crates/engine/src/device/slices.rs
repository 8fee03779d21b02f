//! Slices of a forward pass: what runs of it before the device may do something else.
//!
//! A long text takes seconds on a CPU and a hundred milliseconds on a GPU. Its forward pass is divided between launches, and
//! long launches by rows, so that a short batch need not wait for all of it: products, norms and activations compute each row
//! by itself, attention each query, so a sliced launch gives the same bits as a whole one. How much makes a slice follows from
//! the rates of the slices before. Who runs between two slices is decided by the engine's device loop.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::backend::{Op, cpu};
use crate::batch::PackedBatch;
use crate::batch::passing::Turns;

/// Short batches are expected for so long after one.
const EXPECTED: Duration = Duration::from_secs(2);
/// Weight of the latest slice in the running averages.
const NEWEST_SHARE: f64 = 0.3;
/// Slices of fewer operations do not show the rate.
const LEAST_FLOPS: f64 = 1e7;

/// How a device divides a forward pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slicing {
    /// How long a slice is meant to take while short batches come.
    hurried: Duration,
    /// How long it is meant to take otherwise.
    usual: Duration,
    /// Floating-point operations per second before any slice has run, by [`LaunchKind`].
    flops_per_second: [f64; 4],
    /// Whether each piece of a launch is a slice, or launches are added up until they take long enough.
    each_launch: bool,
    /// The rows of a slice of full attention are a multiple of this while short batches come.
    query_step: usize,
    /// And of this otherwise.
    usual_query_step: usize,
    /// The same for windowed attention, products and elements; `None` where these are never divided.
    other_steps: Option<OtherSteps>,
}

#[derive(Debug, Clone, Copy)]
struct OtherSteps {
    windowed: usize,
    /// Each slice of a product packs all weights.
    product: usize,
    elements: usize,
}

impl Slicing {
    /// Returns how a host of so many threads divides it. Its pauses cost nothing, but small slices cost a long text half as
    /// much again. The rate is that of slow cores.
    pub(super) fn of_host(threads: usize) -> Slicing {
        Slicing {
            hurried: Turns::HOST.slice,
            usual: Duration::from_millis(20),
            flops_per_second: [4e9 * threads.max(1) as f64; 4],
            each_launch: true,
            query_step: cpu::QUERY_STEP,
            usual_query_step: cpu::QUERIES,
            other_steps: Some(OtherSteps { windowed: cpu::QUERIES, product: 256, elements: 64 }),
        }
    }

    /// Returns how a GPU divides it: only full attention takes long enough to be divided. `wave` is the number of queries
    /// whose tiles fill all multiprocessors once.
    #[cfg(feature = "cuda")]
    pub(super) fn of_gpu(wave: usize) -> Slicing {
        let slice = Turns::GPU.slice;
        Slicing {
            hurried: slice,
            usual: 3 * slice,
            // Of products, full and windowed attention on a Hopper card; elements are bound by memory.
            flops_per_second: [5e14, 4e14, 1e14, 5e12],
            each_launch: false,
            query_step: wave,
            usual_query_step: wave,
            other_steps: None,
        }
    }
}

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
}

/// Returns the cost of a launch whose rows are computed one by one; `longest` is the longest sequence of its batch, in tokens.
fn cost(op: &Op, longest: usize) -> Option<Cost> {
    let cost = |kind, rows, flops: usize| Some(Cost { kind, rows, flops_per_row: flops as f64 });
    match op {
        Op::Linear { x, out, .. } => cost(LaunchKind::Product, x.rows, 2 * x.cols * out.cols),
        Op::Attention { out, window: None, .. } => {
            cost(LaunchKind::FullAttention, out.rows, 4 * longest * out.cols)
        }
        Op::Attention { out, window: Some(window), .. } => {
            let keys = longest.min(2 * window + 1);
            cost(LaunchKind::WindowedAttention, out.rows, 4 * keys * out.cols)
        }
        Op::Norm { x, .. } | Op::Gated { x, .. } | Op::Activate { x, .. } => {
            cost(LaunchKind::Elements, x.rows, 16 * x.cols)
        }
        Op::Embed { .. }
        | Op::LinearRows { .. }
        | Op::Rope { .. }
        | Op::Pool { .. }
        | Op::Gather { .. } => None,
    }
}

/// A part of a launch: its operation, and which of its rows.
pub(super) type Part<'a> = (&'a Op, Range<usize>);

/// The parts that run between two pauses.
#[derive(Debug, Default)]
pub(super) struct Slice<'a> {
    parts: Vec<Part<'a>>,
    /// Predicted.
    pub(super) seconds: f64,
}

impl<'a> Slice<'a> {
    pub(super) fn push(&mut self, part: Part<'a>, slicer: &Slicer, batch: &PackedBatch) {
        self.seconds += slicer.seconds(&part, batch);
        self.parts.push(part);
    }
}

/// Measures slices. An asynchronous device still works on a slice when the next one is launched: its time is that between the
/// ends of the slice before and its own.
#[derive(Debug)]
pub(super) struct SliceTimer<'a> {
    asynchronous: bool,
    running: Vec<Part<'a>>,
    /// When the slice began that ends next, if nothing else ran since.
    since: Option<Instant>,
    ended: Instant,
}

impl<'a> SliceTimer<'a> {
    pub(super) fn new(asynchronous: bool) -> SliceTimer<'a> {
        let ended = Instant::now();
        let since = (!asynchronous).then_some(ended);
        SliceTimer { asynchronous, running: Vec::new(), since, ended }
    }

    /// Returns the latest slice that is done, and its time if it is known. `launched` was launched last.
    pub(super) fn stop(&mut self, launched: Slice<'a>) -> Option<(Vec<Part<'a>>, Duration)> {
        self.ended = Instant::now();
        let done = if self.asynchronous {
            std::mem::replace(&mut self.running, launched.parts)
        } else {
            launched.parts
        };
        Some((done, self.ended - self.since?))
    }

    /// Begins to measure the next slice, unless the time of others would count.
    pub(super) fn start(&mut self, others_ran: bool) {
        self.since = match (self.asynchronous, others_ran) {
            (false, _) => Some(Instant::now()),
            (true, false) => Some(self.ended),
            (true, true) => None,
        };
    }
}

/// The rates of a device, which size its slices.
#[derive(Debug)]
pub(super) struct Slicer {
    slicing: Slicing,
    /// By [`LaunchKind`].
    flops_per_second: [f64; 4],
    /// When the latest short batch ran.
    short_batch: Option<Instant>,
}

impl Slicer {
    pub(super) fn new(slicing: Slicing) -> Slicer {
        Slicer { slicing, flops_per_second: slicing.flops_per_second, short_batch: None }
    }

    fn is_hurried(&self) -> bool {
        self.short_batch.is_some_and(|latest| latest.elapsed() < EXPECTED)
    }

    fn slice_seconds(&self) -> f64 {
        let Slicing { hurried, usual, .. } = self.slicing;
        if self.is_hurried() { hurried.as_secs_f64() } else { usual.as_secs_f64() }
    }

    /// Returns the number that the rows of a part of this launch are a multiple of; `None` if it is not divided.
    fn step(&self, op: &Op, kind: LaunchKind) -> Option<usize> {
        let Slicing { query_step, usual_query_step, other_steps, .. } = self.slicing;
        match (kind, op) {
            (LaunchKind::FullAttention, _) if self.is_hurried() => Some(query_step),
            (LaunchKind::FullAttention, _) => Some(usual_query_step),
            (LaunchKind::WindowedAttention, _) => other_steps.map(|steps| steps.windowed),
            (LaunchKind::Elements, _) => other_steps.map(|steps| steps.elements),
            (LaunchKind::Product, Op::Linear { out, .. }) => {
                other_steps.map(|steps| steps.product.max(cpu::min_rows(out.cols)))
            }
            (LaunchKind::Product, _) => None,
        }
    }

    /// Returns the rows of a launch that can be divided; 1 for others.
    pub(super) fn rows(op: &Op) -> usize {
        cost(op, 0).map_or(1, |cost| cost.rows)
    }

    /// Returns the rows of the next part of a launch, from row `first` on; all of them if the launch is not divided. The
    /// slice has had `so_far` seconds before it.
    pub(super) fn part(&self, op: &Op, longest: usize, first: usize, so_far: f64) -> Range<usize> {
        let whole = first..Slicer::rows(op);
        let Some(cost) = cost(op, longest) else { return whole };
        let Some(step) = self.step(op, cost.kind) else { return whole };
        let seconds = (self.slice_seconds() - so_far).max(0.0);
        let flops = self.flops_per_second[cost.kind as usize] * seconds;
        let rows = ((flops / cost.flops_per_row) as usize / step).max(1) * step;
        // A rest that is too small for a part of its own joins this one.
        let end = if first + rows + step <= cost.rows { first + rows } else { cost.rows };
        first..end
    }

    /// Returns whether a slice that takes so many seconds is long enough.
    pub(super) fn is_slice(&self, seconds: f64) -> bool {
        self.slicing.each_launch || seconds >= 0.75 * self.slice_seconds()
    }

    /// Records that a short batch ran.
    pub(super) fn record_short_batch(&mut self) {
        self.short_batch = Some(Instant::now());
    }

    /// Predicts the seconds of a part.
    pub(super) fn seconds(&self, (op, rows): &Part<'_>, batch: &PackedBatch) -> f64 {
        work(op, batch, rows)
            .map_or(0.0, |(kind, flops)| flops / self.flops_per_second[kind as usize])
    }

    /// Records how long the parts of a slice took together. The rates of all of them change by what was wrong, each by its
    /// share of the time.
    pub(super) fn record(&mut self, parts: &[Part<'_>], batch: &PackedBatch, elapsed: Duration) {
        let (mut seconds, mut flops) = ([0.0; 4], 0.0);
        for (op, rows) in parts {
            if let Some((kind, of_part)) = work(op, batch, rows) {
                seconds[kind as usize] += of_part / self.flops_per_second[kind as usize];
                flops += of_part;
            }
        }
        let all: f64 = seconds.iter().sum();
        if flops < LEAST_FLOPS || elapsed.is_zero() {
            return;
        }
        let faster = all / elapsed.as_secs_f64();
        for (rate, seconds) in self.flops_per_second.iter_mut().zip(seconds) {
            *rate *= 1.0 + NEWEST_SHARE * seconds / all * (faster - 1.0);
        }
    }
}

/// Counts the operations of some rows of a launch, each with the keys of its own sequence.
fn work(op: &Op, batch: &PackedBatch, rows: &Range<usize>) -> Option<(LaunchKind, f64)> {
    let (mut flops, mut kind) = (0.0, None);
    for span in batch.spans() {
        let common = span.start.max(rows.start)..span.end.min(rows.end);
        if !common.is_empty() {
            let cost = cost(op, span.len())?;
            flops += cost.flops_per_row * common.len() as f64;
            kind = Some(cost.kind);
        }
    }
    kind.map(|kind| (kind, flops))
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

    fn host() -> Slicer {
        Slicer::new(Slicing::of_host(1))
    }

    fn slices(slicer: &Slicer, op: &Op, rows: usize) -> Vec<Range<usize>> {
        let mut all = Vec::new();
        while all.last().is_none_or(|last: &Range<usize>| last.end < rows) {
            let first = all.last().map_or(0, |last| last.end);
            all.push(slicer.part(op, rows, first, 0.0));
        }
        all
    }

    #[test]
    fn slices_cover_all_rows_in_order_and_none_is_too_small() {
        let slicer = host();
        for rows in [1, 63, 64, 65, 407, 448, 470, 10_000, 32_768] {
            let all = slices(&slicer, &product(rows), rows);
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, rows));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start), "{all:?}");
            assert!(all.iter().all(|slice| slice.len() >= 256.min(rows)), "{all:?}");
        }
    }

    #[test]
    fn slices_follow_the_rate() {
        let (mut slicer, op) = (host(), product(32_768));
        let before = slices(&slicer, &op, 32_768).len();
        let batch = batch(&[32_768]);
        for _ in 0..50 {
            slicer.record(&[(&op, 0..32_768)], &batch, Duration::from_millis(20));
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
        let (mut slicer, batch) = (host(), batch(&lengths));
        // 1280 rows of 20 keys, not of 8192.
        slicer.record(&[(&attention, 0..1280)], &batch, Duration::from_millis(1));
        let expected = 0.7 * 4e9 + 0.3 * (1280.0 * 4.0 * 20.0 * 128.0) * 1e3;
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
