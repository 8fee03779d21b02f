//! Failures over time: a lane per kind, and in it a bar per cell from its first failure to its last, over the
//! bands of the cells.

use crate::analysis::FailureGroup;
use crate::results::Results;
use crate::system::FailureKind;

use super::frame::{Axis, Frame, MARGINS, Scale};
use super::parts::{Charts, over_time, series_class};
use crate::format::{count, time};

const LANE: f64 = 30.0;
/// Narrower bars would not be visible.
const BAR_PX: f64 = 5.0;

/// Returns the chart, lanes in the order of its legend; `None` if nothing failed.
pub(in crate::report) fn failures(results: &Results) -> Option<Charts> {
    let groups = &results.analysis.failures;
    let mut kinds: Vec<FailureKind> = groups.iter().map(|group| group.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        return None;
    }
    let lanes = kinds.len();
    let y = Axis::with_ticks(Scale::linear(lanes as f64), "", []);
    let height = LANE * lanes as f64 + MARGINS + 20.0;
    let mut frame = over_time(results, height, "Failures over time, by kind", y)?;
    for group in groups {
        let lane = kinds.iter().position(|&kind| kind == group.kind).unwrap_or(0);
        bar(&mut frame, group, lanes - 1 - lane, &series_class(lane, lanes));
    }
    Charts::new(
        vec![frame.finish("Failed requests over the time of the run")],
        "Kind:",
        kinds.into_iter().map(FailureKind::label),
    )
}

fn bar(frame: &mut Frame, group: &FailureGroup, lane: usize, class: &str) {
    let (from, to) = (frame.x(group.first_at_ms / 1e3), frame.x(group.last_at_ms / 1e3));
    let width = (to - from).max(BAR_PX);
    let (top, bottom) = (frame.y(lane as f64 + 0.75), frame.y(lane as f64 + 0.25));
    let title = format!(
        "{}: {} × {}, {} to {}",
        group.load,
        count(group.count),
        group.kind.label(),
        time(group.first_at_ms),
        time(group.last_at_ms)
    );
    // The count stands beside the bar, on the side that has room.
    let fits = from + width + 46.0 < frame.right();
    let (at, anchor) = if fits { (from + width + 5.0, "start") } else { (from - 5.0, "end") };
    let out = frame.out();
    out.rect(&format!("part {class}"), (from, top), (width, bottom - top), title);
    out.label("note", anchor, (at, (top + bottom) / 2.0 + 4.0), count(group.count));
}
