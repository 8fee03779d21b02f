//! Memory over time, with the cells as bands behind it, and below it on the same axis of time what
//! ran: the tokens of the requests under way. Idle plateaus, from which leaks are judged, are marked.

use crate::figures::Cell;
use crate::results::Results;
use crate::system::MemorySample;

use super::frame::{At, Axis, Frame, Scale, Size};
use super::parts::{Figure, bands, end_ms, rate_tick, series_class, short};
use crate::format::{bytes, count, time};
use crate::report::words;

const SIZE: Size = Size { width: 860.0, height: 320.0 };
const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

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
    let end = end_ms(results)?;
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
        frame.line(&series_class(index, told.len()), &points, &format!("{name}: peak {peak}"));
    }
    plateaus(&mut frame, results, unit);
    let names = told.iter().map(|(name, _)| (*name).to_owned()).collect();
    Some((Figure { title: String::new(), svg: frame.finish() }, names))
}

/// A ring around each idle reading from which a leak is judged.
fn plateaus(frame: &mut Frame, results: &Results, unit: f64) {
    for leak in &results.analysis.memory.leaks {
        for &(at_ms, plateau) in &leak.plateaus {
            let (cx, cy) = (At(frame.x(at_ms / 1e3)), At(frame.y(plateau as f64 / unit)));
            let title = format!(
                "idle plateau of {}: {} at {}",
                leak.quantity.label(),
                bytes(plateau),
                time(at_ms)
            );
            let ring: &[(&'static str, &dyn std::fmt::Display)] =
                &[("class", &"plateau"), ("cx", &cx), ("cy", &cy), ("r", &"4")];
            frame.out().open("circle", ring).element("title", &[], title).close("circle");
        }
    }
}

/// Tokens of the requests under way, on the same axis of time; none if nothing was aligned.
pub(in super::super) fn in_flight(results: &Results) -> Option<Figure> {
    let aligned = &results.analysis.memory.aligned;
    let points = || aligned.iter().flat_map(|series| &series.points);
    let most = points().map(|point| point.tokens_in_flight).max().filter(|&most| most > 0)?;
    let x_scale = Scale::linear(end_ms(results)? / 1e3);
    let y_scale = Scale::linear(most as f64 * 1.35);
    let ticks = |scale: Scale, about| scale.ticks(about);
    let x = Axis {
        scale: x_scale,
        title: "time since the start, s",
        ticks: ticks(x_scale, 9).into_iter().map(|tick| (tick, short(tick))).collect(),
    };
    let y = Axis {
        scale: y_scale,
        title: "tokens",
        ticks: ticks(y_scale, 3).into_iter().map(|tick| (tick, rate_tick(tick))).collect(),
    };
    let size = Size { width: SIZE.width, height: 170.0 };
    let mut frame = Frame::new(size, "Tokens of the requests under way over time", x, y);
    bands(&mut frame, results);
    for series in aligned {
        let line: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|point| (point.at_ms / 1e3, point.tokens_in_flight as f64))
            .collect();
        let most = series.points.iter().map(|point| point.requests_in_flight).max().unwrap_or(0);
        let cell = results.cells.iter().find(|cell| cell.index == series.cell);
        let name = cell.map(Cell::name).unwrap_or_default();
        frame.line("s2", &line, &format!("{name}: at most {} requests under way", count(most)));
    }
    Some(Figure { title: String::new(), svg: frame.finish() })
}
