//! The p95 latency of a ramp against its rate, block by block, up to the rate that the target did not keep.

use crate::figures::{Cell, Ramp};
use crate::results::Results;

use super::frame::{Axis, Frame, Scale};
use super::parts::{Charts, Figure, rate_tick, time_tick};
use crate::format::{count, rate, time};
use crate::report::sentences;

/// Returns a chart for each ramp that was run.
pub(in crate::report) fn ramps(results: &Results) -> Option<Charts> {
    let chart = |cell: &Cell| draw(cell, cell.figures()?.ramp.as_ref()?);
    Charts::plain(results.scenarios().into_iter().filter_map(chart).collect())
}

fn draw(cell: &Cell, ramp: &Ramp) -> Option<Figure> {
    let point =
        |block: &crate::figures::RampBlock| Some((block.rate_per_second, block.latency_ms_p95?));
    let points: Vec<(f64, f64)> = ramp.blocks.iter().filter_map(point).collect();
    let latencies = || points.iter().map(|&(_, ms)| ms).chain(ramp.latency_ms_p95_max);
    let (least, most) = (latencies().min_by(f64::total_cmp)?, latencies().max_by(f64::total_cmp)?);
    let fastest = ramp.blocks.iter().map(|block| block.rate_per_second).max_by(f64::total_cmp)?;
    let x = Axis::new(Scale::linear(fastest * 1.05), "arrivals / s", 5, rate_tick);
    let y = Axis::new(Scale::log(least, most), "p95 latency (logarithmic)", 4, time_tick);
    let name = cell.name();
    let mut frame =
        Frame::new((420.0, 280.0), &format!("p95 latency against the rate, {name}"), x, y);
    if let Some(limit) = ramp.latency_ms_p95_max {
        frame.horizontal(limit, &format!("limit {}", time(limit)));
    }
    frame.line("s2", &points, &name);
    for block in &ramp.blocks {
        let Some(ms) = block.latency_ms_p95 else { continue };
        let title = format!(
            "{} arrivals/s: p95 {}, {} of {} failed",
            rate(block.rate_per_second),
            time(ms),
            count(block.failures),
            count(block.requests)
        );
        frame.circle("dot s2", (block.rate_per_second, ms), 3.5, &title);
    }
    if let Some(broke) = &ramp.broke {
        frame.vertical(broke.rate_per_second, &sentences::breaking_point(broke));
    }
    Some(frame.finish(name))
}
