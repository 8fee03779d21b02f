//! Memory over time above the bands of the cells, and on the same axis of time the tokens of the requests in
//! flight. Rings mark the idle plateaus from which leaks are judged.

use crate::figures::Cell;
use crate::results::Results;
use crate::system::MemorySample;

use super::frame::{Axis, Frame, Scale};
use super::parts::{Charts, over_time, rate_tick, series_class, short};
use crate::format::{bytes, count, time};
use crate::report::sentences;

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

type Reading = fn(&MemorySample) -> Option<u64>;

/// The lines of the chart, by name.
const SERIES: [(&str, Reading); 5] = [
    ("device, process", |sample| sample.device_used_bytes),
    ("device, whole card", |sample| sample.card_used_bytes),
    ("resident (RSS)", |sample| sample.rss_bytes),
    ("arena, in use", |sample| sample.arena.map(|arena| arena.used_bytes)),
    ("arena, high water", |sample| sample.arena.map(|arena| arena.high_water_bytes)),
];

/// Returns the chart; `None` if the target reports no memory.
pub(in crate::report) fn memory(results: &Results) -> Option<Charts> {
    let series: Vec<(&str, Reading, u64)> = SERIES
        .into_iter()
        .filter_map(|(name, of)| Some((name, of, sentences::peak(results, of)?)))
        .collect();
    let peak = series.iter().map(|&(_, _, peak)| peak).max()? as f64;
    let budget = results.target.memory_budget_bytes.map(|budget| budget as f64);
    let top = budget.filter(|&budget| budget < 4.0 * peak).map_or(peak, |budget| budget.max(peak));
    let (unit, title) = if top >= 0.75 * GIB { (GIB, "memory, GiB") } else { (MIB, "memory, MiB") };
    let y = Axis::new(Scale::linear(top * 1.12 / unit), title, 5, short);
    let mut frame = over_time(results, 320.0, "Memory over time", y)?;
    if let Some(budget) = budget.filter(|&budget| budget <= top) {
        frame.horizontal(budget / unit, &format!("budget {}", bytes(budget as u64)));
    }
    for (index, &(name, of, peak)) in series.iter().enumerate() {
        let points: Vec<(f64, f64)> = results
            .cells
            .iter()
            .flat_map(|cell| &cell.memory)
            .filter_map(|point| Some((point.at_ms / 1e3, of(&point.sample)? as f64 / unit)))
            .collect();
        let title = format!("{name}: peak {}", bytes(peak));
        frame.line(&series_class(index, series.len()), &points, &title);
    }
    plateaus(&mut frame, results, unit);
    let caption = "Memory over the time of the run";
    Charts::new(vec![frame.finish(caption)], "Line:", series.iter().map(|(name, ..)| *name))
}

/// Draws a ring around each idle reading from which a leak is judged.
fn plateaus(frame: &mut Frame, results: &Results, unit: f64) {
    for leak in &results.analysis.memory.leaks {
        let what = leak.quantity.label();
        for &(at_ms, plateau) in &leak.plateaus {
            let title = format!("idle plateau of {what}: {} at {}", bytes(plateau), time(at_ms));
            frame.circle("plateau", (at_ms / 1e3, plateau as f64 / unit), 4.0, &title);
        }
    }
}

/// Returns the tokens of the requests in flight over time; `None` without readings under load.
pub(in crate::report) fn in_flight(results: &Results) -> Option<Charts> {
    let aligned = &results.analysis.memory.aligned;
    let points = || aligned.iter().flat_map(|series| &series.points);
    let most = points().map(|point| point.tokens_in_flight).max().filter(|&most| most > 0)?;
    let y = Axis::new(Scale::linear(most as f64 * 1.35), "tokens", 3, rate_tick);
    let mut frame = over_time(results, 170.0, "Tokens of the requests in flight over time", y)?;
    for series in aligned {
        let line: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|point| (point.at_ms / 1e3, point.tokens_in_flight as f64))
            .collect();
        let most = series.points.iter().map(|point| point.requests_in_flight).max().unwrap_or(0);
        let cell = results.cells.iter().find(|cell| cell.index == series.cell);
        let name = cell.map(Cell::name).unwrap_or_default();
        frame.line("s2", &line, &format!("{name}: at most {} requests in flight", count(most)));
    }
    Charts::plain(vec![frame.finish("Tokens of the requests in flight")])
}
