//! Memory over time, with the cells as bands behind it.

use crate::Results;
use crate::target::MemorySample;

use super::super::format::{bytes, time};
use super::super::words;
use super::frame::{At, Axis, Frame, Scale, Size};

use super::Figure;

const SIZE: Size = Size { width: 860.0, height: 320.0 };
const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
/// A band narrower than this has its name only as a tooltip.
const NAMED_FROM_PX: f64 = 46.0;

type Reading = fn(&MemorySample) -> Option<u64>;

/// What may be drawn: (name, reading).
const SERIES: [(&str, Reading); 5] = [
    ("device, process", |sample| sample.device_used_bytes),
    ("device, whole card", |sample| sample.card_used_bytes),
    ("resident (RSS)", |sample| sample.rss_bytes),
    ("arena, in use", |sample| sample.arena.map(|arena| arena.used_bytes)),
    ("arena, high water", |sample| sample.arena.map(|arena| arena.high_water_bytes)),
];

/// The chart and the names of its lines, if the target told anything.
pub(in super::super) fn memory(results: &Results) -> Option<(Figure, Vec<String>)> {
    let told: Vec<(&str, Reading)> =
        SERIES.into_iter().filter(|(_, of)| words::peak(results, of).is_some()).collect();
    let peak = told.iter().filter_map(|(_, of)| words::peak(results, of)).max()? as f64;
    let end = results
        .cells
        .iter()
        .filter_map(|cell| cell.span_ms)
        .map(|(_, to)| to)
        .max_by(f64::total_cmp)?;
    let budget = results.target.memory_budget_bytes.map(|budget| budget as f64);
    let top = budget.filter(|&budget| budget < 4.0 * peak).map_or(peak, |budget| budget.max(peak));
    let (unit, title) = if top >= 0.75 * GIB { (GIB, "memory, GiB") } else { (MIB, "memory, MiB") };
    let x_scale = Scale::linear(end / 1e3);
    let y_scale = Scale::linear(top * 1.12 / unit);
    let ticks = |scale: Scale, about| {
        scale.ticks(about).into_iter().map(|tick| (tick, short(tick))).collect()
    };
    let x = Axis { scale: x_scale, title: "time since the start, s", ticks: ticks(x_scale, 9) };
    let y = Axis { scale: y_scale, title, ticks: ticks(y_scale, 5) };
    let mut frame = Frame::new(SIZE, "Memory over time", x, y);
    bands(&mut frame, results);
    if let Some(budget) = budget.filter(|&budget| budget <= top) {
        frame.rule(budget / unit, &format!("budget {}", bytes(budget as u64)));
    }
    for (index, (name, of)) in told.iter().enumerate() {
        let points: Vec<(f64, f64)> = results
            .cells
            .iter()
            .flat_map(|cell| &cell.memory)
            .filter_map(|point| Some((point.at_ms / 1e3, of(&point.sample)? as f64 / unit)))
            .collect();
        let peak = words::peak(results, of).map(bytes).unwrap_or_default();
        frame.line(
            &super::series_class(index, told.len()),
            &points,
            &format!("{name}: peak {peak}"),
        );
    }
    let names = told.iter().map(|(name, _)| (*name).to_owned()).collect();
    Some((Figure { title: String::new(), svg: frame.finish() }, names))
}

/// A tick without the digits that adding up steps leaves behind.
fn short(tick: f64) -> String {
    ((tick * 1e6).round() / 1e6).to_string()
}

fn bands(frame: &mut Frame, results: &Results) {
    let spans = results.cells.iter().filter_map(|cell| Some((cell, cell.span_ms?)));
    for (index, (cell, (from, to))) in spans.enumerate() {
        let (left, right) = (frame.x(from / 1e3), frame.x(to / 1e3));
        let (top, height) = (At(frame.top()), At(frame.bottom() - frame.top()));
        let class = if index % 2 == 0 { "band" } else { "band odd" };
        let (x, width) = (At(left), At((right - left).max(0.5)));
        let title = format!("{}, {}", words::cell_name(cell), time(to - from));
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
                words::cell_name(cell),
            );
        }
    }
}
