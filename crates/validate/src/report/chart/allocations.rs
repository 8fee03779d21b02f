//! The allocate and free timeline of an experiment: what is live at each operation, and what each
//! strategy has taken from the device for it.

use bigbatch_allocators::MemoryExperiment;

use super::frame::{At, Axis, Frame, Scale, Size};
use super::parts::{Figure, series_class};
use crate::format::bytes;

/// The chart's own size.
pub(in super::super) const SIZE: Size = Size { width: 860.0, height: 340.0 };
const MIB: f64 = (1u64 << 20) as f64;

/// The chart and the names of its lines; none for an experiment without batches.
pub(in super::super) fn allocations(
    experiment: &MemoryExperiment,
) -> Option<(Figure, Vec<String>)> {
    let last = experiment.demand.last()?.0;
    let run = || experiment.strategies.iter().filter(|strategy| !strategy.timeline.is_empty());
    let reserved = run().flat_map(|strategy| &strategy.timeline).map(|held| held.reserved_bytes);
    let top = reserved.chain(experiment.demand.iter().map(|&(_, bytes)| bytes)).max()? as f64;
    let x_scale = Scale::linear(last as f64);
    let y_scale = Scale::linear(top * 1.08 / MIB);
    let ticks = |scale: Scale, about| {
        scale.ticks(about).into_iter().map(|tick| (tick, format!("{tick:.0}"))).collect()
    };
    let x =
        Axis { scale: x_scale, title: "operations, batch after batch", ticks: ticks(x_scale, 9) };
    let y = Axis { scale: y_scale, title: "buffers, MiB", ticks: ticks(y_scale, 5) };
    let label = "Memory asked for and reserved, operation by operation";
    let mut frame = Frame::new(SIZE, label, x, y);
    bands(&mut frame, experiment, last);
    let count = 1 + run().count();
    let line = |frame: &mut Frame, index, steps: Vec<(usize, u64)>, title: String| {
        let points = corners(&steps);
        frame.line(&series_class(index, count), &points, &title);
    };
    for (index, strategy) in run().enumerate() {
        let steps = strategy.timeline.iter().map(|held| (held.step, held.reserved_bytes)).collect();
        let title = format!("{}: {}", strategy.name, bytes(strategy.reserved_bytes_max));
        line(&mut frame, index + 1, steps, title);
    }
    // On top: the others are what is held for it.
    let peak = bytes(experiment.demand_bytes_max);
    line(&mut frame, 0, experiment.demand.clone(), format!("live buffers: up to {peak}"));
    let names = ["live buffers".to_owned()].into_iter();
    let names = names.chain(run().map(|strategy| format!("{}, reserved", strategy.name)));
    Some((Figure { title: String::new(), svg: frame.finish() }, names.collect()))
}

/// A step lasts until the next one: a line with corners, in MiB.
fn corners(steps: &[(usize, u64)]) -> Vec<(f64, f64)> {
    let mut points = Vec::with_capacity(2 * steps.len());
    let mut before = None;
    for &(step, bytes) in steps {
        let (x, y) = (step as f64, bytes as f64 / MIB);
        points.extend(before.filter(|&held| held != y).map(|held| (x, held)));
        points.push((x, y));
        before = Some(y);
    }
    points
}

/// Every second batch is shaded.
fn bands(frame: &mut Frame, experiment: &MemoryExperiment, last: usize) {
    let ends = experiment.timeline_batches.iter().skip(1).chain([&last]);
    for (index, (&from, &to)) in experiment.timeline_batches.iter().zip(ends).enumerate() {
        let (left, right) = (frame.x(from as f64), frame.x(to as f64));
        let class = if index % 2 == 0 { "band" } else { "band odd" };
        let (x, y, width, height) =
            (At(left), At(frame.top()), At(right - left), At(frame.bottom() - frame.top()));
        let out = frame.out();
        out.open(
            "rect",
            &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)],
        );
        out.element("title", &[], format!("batch {}", index + 1)).close("rect");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_along_and_then_up() {
        let mib = |n: u64| n << 20;
        let points = corners(&[(0, mib(1)), (1, mib(1)), (4, mib(3))]);
        assert_eq!(points, [(0.0, 1.0), (1.0, 1.0), (4.0, 1.0), (4.0, 3.0)]);
    }
}
