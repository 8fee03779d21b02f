//! What several charts share: colours of series, ticks, the bands of cells, legends.

use super::frame::{At, Frame};
use crate::format::time;
use crate::report::markup::Markup;
use crate::results::Results;

/// Colours that the style defines as `s0`, `s1`, ...; a series beyond them starts over, dashed.
const COLOURS: usize = 6;

/// A chart and the words above it.
pub(in crate::report) struct Figure {
    pub(in crate::report) title: String,
    pub(in crate::report) svg: Markup,
}

/// Class of series number `index` of `of`: spread over the palette, so that an order is seen.
pub(in crate::report) fn series_class(index: usize, of: usize) -> String {
    let step = if of <= 1 { 0 } else { index * (COLOURS - 1) / (of.min(COLOURS) - 1).max(1) };
    match of {
        0..=COLOURS => format!("s{}", step.min(COLOURS - 1)),
        _ if index < COLOURS => format!("s{index}"),
        _ => format!("s{} dashed", index % COLOURS),
    }
}

/// End of the last cell, in milliseconds since the start of the run; none if none started.
pub(super) fn end_ms(results: &Results) -> Option<f64> {
    let ends = results.cells.iter().filter_map(|cell| cell.span_ms).map(|(_, to)| to);
    ends.max_by(f64::total_cmp)
}

/// A tick without the digits that adding up steps leaves behind.
pub(super) fn short(tick: f64) -> String {
    ((tick * 1e6).round() / 1e6).to_string()
}

/// A tick of an axis of counts, with k or M.
pub(super) fn rate_tick(tick: f64) -> String {
    match tick {
        tick if tick < 1e3 => short(tick),
        tick if tick < 1e6 => format!("{}k", short(tick / 1e3)),
        tick => format!("{}M", short(tick / 1e6)),
    }
}

/// A tick of the time axis: round, so without trailing zeros.
pub(super) fn time_tick(ms: f64) -> String {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    if ms < 999.5 { format!("{} ms", rounded(ms)) } else { format!("{} s", rounded(ms / 1e3)) }
}

/// A band narrower than this has its name only as a tooltip.
const NAMED_FROM_PX: f64 = 46.0;

/// The cells as bands of a chart over time.
pub(super) fn bands(frame: &mut Frame, results: &Results) {
    let spans = results.cells.iter().filter_map(|cell| Some((cell, cell.span_ms?)));
    for (index, (cell, (from, to))) in spans.enumerate() {
        let (left, right) = (frame.x(from / 1e3), frame.x(to / 1e3));
        let (top, height) = (At(frame.top()), At(frame.bottom() - frame.top()));
        let class = if index % 2 == 0 { "band" } else { "band odd" };
        let (x, width) = (At(left), At((right - left).max(0.5)));
        let title = format!("{}, {}", cell.name(), time(to - from));
        let name_at = (At((left + right) / 2.0), At(frame.top() + 13.0));
        let out = frame.out();
        out.open(
            "rect",
            &[("class", &class), ("x", &x), ("y", &top), ("width", &width), ("height", &height)],
        );
        out.element("title", &[], title).close("rect");
        if right - left >= NAMED_FROM_PX {
            out.element(
                "text",
                &[
                    ("class", &"note"),
                    ("x", &name_at.0),
                    ("y", &name_at.1),
                    ("text-anchor", &"middle"),
                ],
                cell.name(),
            );
        }
    }
}

/// A legend: names beside the colours of their series.
pub(in crate::report) fn legend(title: &str, names: &[String]) -> Markup {
    let mut out = Markup::new();
    out.open("p", &[("class", &"legend")]).element("span", &[], title);
    for (index, name) in names.iter().enumerate() {
        let class = format!("key {}", series_class(index, names.len()));
        out.open("span", &[]).element("i", &[("class", &class)], "").text(name).close("span");
    }
    out.close("p");
    out
}
