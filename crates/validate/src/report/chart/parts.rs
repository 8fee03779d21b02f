//! The parts that several charts share: colours of series, ticks, the bands of cells, legends.

use super::frame::{Axis, Frame, Scale};
use crate::format::time;
use crate::report::markup::Markup;
use crate::results::Results;

/// Colours that the style defines as `s0`, `s1`, ...; later series reuse them, dashed.
const COLOURS: usize = 6;

/// A chart and its caption, which says what is drawn.
pub(in crate::report) struct Figure {
    pub(in crate::report) title: String,
    /// Whether it takes the whole width of the page.
    pub(in crate::report) wide: bool,
    pub(in crate::report) svg: Markup,
}

/// Charts under one legend.
pub(in crate::report) struct Charts {
    pub(in crate::report) legend: Markup,
    /// Side by side, wide ones below one another.
    pub(in crate::report) figures: Vec<Figure>,
}

impl Charts {
    /// Returns the charts under a legend of their series; `None` without charts.
    pub(in crate::report) fn new<Name: AsRef<str>>(
        figures: Vec<Figure>,
        legend: &'static str,
        series: impl IntoIterator<Item = Name>,
    ) -> Option<Charts> {
        let names: Vec<Name> = series.into_iter().collect();
        let mut out = Markup::new();
        out.open("p", &[("class", &"legend")]).element("span", &[], legend);
        for (index, name) in names.iter().enumerate() {
            let class = format!("key {}", series_class(index, names.len()));
            out.raw("<span>").element("i", &[("class", &class)], "");
            out.text(name.as_ref()).close("span");
        }
        out.close("p");
        (!figures.is_empty()).then_some(Charts { legend: out, figures })
    }

    /// Returns charts that need no legend; `None` without charts.
    pub(super) fn plain(figures: Vec<Figure>) -> Option<Charts> {
        (!figures.is_empty()).then(|| Charts { legend: Markup::new(), figures })
    }
}

/// Returns the class of series `index` of `of`: spread over the palette, so that an order is visible.
pub(in crate::report) fn series_class(index: usize, of: usize) -> String {
    let step = if of <= 1 { 0 } else { index * (COLOURS - 1) / (of.min(COLOURS) - 1).max(1) };
    match of {
        0..=COLOURS => format!("s{}", step.min(COLOURS - 1)),
        _ if index < COLOURS => format!("s{index}"),
        _ => format!("s{} dashed", index % COLOURS),
    }
}

/// Prints a tick without the digits that adding up steps leaves behind.
pub(super) fn short(tick: f64) -> String {
    ((tick * 1e6).round() / 1e6).to_string()
}

/// Prints a tick of an axis of counts, with k or M.
pub(super) fn rate_tick(tick: f64) -> String {
    match tick {
        tick if tick < 1e3 => short(tick),
        tick if tick < 1e6 => format!("{}k", short(tick / 1e3)),
        tick => format!("{}M", short(tick / 1e6)),
    }
}

/// Prints a tick of a time axis in ms or s.
pub(super) fn time_tick(ms: f64) -> String {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    if ms < 999.5 { format!("{} ms", rounded(ms)) } else { format!("{} s", rounded(ms / 1e3)) }
}

/// Starts a chart over the run's time, whose cells are bands; `None` if no cell started.
pub(super) fn over_time(results: &Results, height: f64, label: &str, y: Axis) -> Option<Frame> {
    let spans = || results.cells.iter().filter_map(|cell| Some((cell, cell.span_ms?)));
    let end = spans().map(|(_, (_, to))| to).max_by(f64::total_cmp)?;
    let x = Axis::new(Scale::linear(end / 1e3), "time since the start, s", 9, short);
    let mut frame = Frame::new((WIDE, height), label, x, y);
    for (index, (cell, (from, to))) in spans().enumerate() {
        let title = format!("{}, {}", cell.name(), time(to - from));
        frame.band(index, (from / 1e3, to / 1e3), &cell.name(), &title);
    }
    Some(frame)
}

/// Width of a chart that takes the whole page, in pixels.
pub(super) const WIDE: f64 = 860.0;
