//! The allocate and free timeline of a memory experiment: the bytes live at each operation, and the bytes that
//! each strategy has reserved from the device for them.

use bigbatch_allocators::MemoryExperiment;

use super::frame::{Axis, Frame, Scale};
use super::parts::{Figure, WIDE, series_class};
use crate::format::bytes;

/// Width and height of the chart in pixels.
pub(in crate::report) const SIZE: (f64, f64) = (WIDE, 340.0);
const MIB: f64 = (1u64 << 20) as f64;

/// Returns the chart and the names of its lines; `None` for an experiment without batches.
pub(in crate::report) fn allocations(
    experiment: &MemoryExperiment,
) -> Option<(Figure, Vec<String>)> {
    let last = experiment.demand.last()?.0;
    let run = || experiment.strategies.iter().filter(|strategy| !strategy.timeline.is_empty());
    let reserved = run().flat_map(|strategy| &strategy.timeline).map(|held| held.reserved_bytes);
    let top = reserved.chain(experiment.demand.iter().map(|&(_, bytes)| bytes)).max()? as f64;
    let whole = |tick: f64| format!("{tick:.0}");
    let x = Axis::new(Scale::linear(last as f64), "operations, batch after batch", 9, whole);
    let y = Axis::new(Scale::linear(top * 1.08 / MIB), "buffers, MiB", 5, whole);
    let mut frame = Frame::new(SIZE, "Memory requested and reserved, operation by operation", x, y);
    let ends = experiment.timeline_batches.iter().skip(1).chain([&last]);
    for (index, (&from, &to)) in experiment.timeline_batches.iter().zip(ends).enumerate() {
        let title = format!("batch {}", index + 1);
        frame.band(index, (from as f64, to as f64), "", &title);
    }
    let count = 1 + run().count();
    for (index, strategy) in run().enumerate() {
        let held = strategy.timeline.iter().map(|held| (held.step, held.reserved_bytes));
        let title = format!("{}: {}", strategy.name, bytes(strategy.reserved_bytes_max));
        frame.line(&series_class(index + 1, count), &corners(held), &title);
    }
    // Drawn last, above the memory that is held for it.
    let title = format!("live buffers: up to {}", bytes(experiment.demand_bytes_max));
    let demand = corners(experiment.demand.iter().copied());
    frame.line(&series_class(0, count), &demand, &title);
    let names = run().map(|strategy| format!("{}, reserved", strategy.name));
    let names = std::iter::once("live buffers".to_owned()).chain(names).collect();
    Some((frame.finish("Bytes of buffers, operation by operation"), names))
}

/// Returns the corners, in MiB, of a line on which each step's bytes last until the next step.
fn corners(steps: impl Iterator<Item = (usize, u64)>) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut before = None;
    for (step, bytes) in steps {
        let (x, y) = (step as f64, bytes as f64 / MIB);
        points.extend(before.filter(|&held| held != y).map(|held| (x, held)));
        points.push((x, y));
        before = Some(y);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_along_and_then_up() {
        let mib = |n: u64| n << 20;
        let points = corners([(0, mib(1)), (1, mib(1)), (4, mib(3))].into_iter());
        assert_eq!(points, [(0.0, 1.0), (1.0, 1.0), (4.0, 1.0), (4.0, 3.0)]);
    }
}
