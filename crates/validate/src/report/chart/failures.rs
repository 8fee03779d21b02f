//! Failures over time: a lane for each kind, a bar for each cell from its first failure to its last,
//! over the cells as bands.

use crate::analysis::FailureGroup;
use crate::results::Results;
use crate::system::FailureKind;

use super::frame::{At, Axis, Frame, Scale, Size};
use super::parts::{Figure, bands, end_ms, series_class, short};
use crate::format::{count, time};

const WIDTH: f64 = 860.0;
const LANE: f64 = 30.0;
/// What the frame takes above and below its lanes.
const AROUND: f64 = 76.0;
/// Narrower bars would not be seen.
const BAR_PX: f64 = 5.0;

/// The chart and the names of its lanes, top to bottom; none if nothing failed.
pub(in super::super) fn failures(results: &Results) -> Option<(Figure, Vec<String>)> {
    let groups = &results.analysis.failures;
    let mut kinds: Vec<FailureKind> = groups.iter().map(|group| group.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let end = end_ms(results).filter(|_| !kinds.is_empty())?;
    let x = Scale::linear(end / 1e3);
    let y = Scale::linear(kinds.len() as f64);
    let x = Axis {
        scale: x,
        title: "time since the start, s",
        ticks: x.ticks(9).into_iter().map(|tick| (tick, short(tick))).collect(),
    };
    let y = Axis { scale: y, title: "", ticks: Vec::new() };
    let size = Size { width: WIDTH, height: LANE * kinds.len() as f64 + AROUND };
    let mut frame = Frame::new(size, "Failures over time, by kind", x, y);
    bands(&mut frame, results);
    for group in groups {
        let lane = kinds.iter().position(|&kind| kind == group.kind).unwrap_or(0);
        bar(&mut frame, group, kinds.len() - 1 - lane, &series_class(lane, kinds.len()));
    }
    let names = kinds.into_iter().map(|kind| kind.label().to_owned()).collect();
    Some((Figure { title: String::new(), svg: frame.finish() }, names))
}

fn bar(frame: &mut Frame, group: &FailureGroup, lane: usize, class: &str) {
    let (from, to) = (frame.x(group.first_at_ms / 1e3), frame.x(group.last_at_ms / 1e3));
    let width = (to - from).max(BAR_PX);
    let (top, height) =
        (frame.y(lane as f64 + 0.75), frame.y(lane as f64 + 0.25) - frame.y(lane as f64 + 0.75));
    let class = format!("part {class}");
    let title = format!(
        "{}: {} × {}, {} to {}",
        group.load,
        count(group.count),
        group.kind.label(),
        time(group.first_at_ms),
        time(group.last_at_ms)
    );
    let (x, y, wide, high) = (At(from), At(top), At(width), At(height));
    let right = frame.right();
    let out = frame.out();
    out.open(
        "rect",
        &[
            ("class", &class),
            ("x", &x),
            ("y", &y),
            ("width", &wide),
            ("height", &high),
            ("rx", &"2"),
        ],
    );
    out.element("title", &[], title).close("rect");
    // Beside the bar, on the side that has room.
    let fits = from + width + 46.0 < right;
    let (at, anchor) = if fits { (from + width + 5.0, "start") } else { (from - 5.0, "end") };
    let (x, y) = (At(at), At(top + height / 2.0 + 4.0));
    out.element(
        "text",
        &[("class", &"note"), ("x", &x), ("y", &y), ("text-anchor", &anchor)],
        count(group.count),
    );
}
