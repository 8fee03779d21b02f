//! A ramp: the p95 of latency against the rate, block by block, up to where the target broke.

use crate::figures::ramp::{Broken, Ramp};
use crate::figures::{Cell, Figures};
use crate::results::Results;

use super::frame::{At, Axis, Frame, Scale, Size};
use super::parts::{Figure, rate_tick, time_tick};
use crate::format::{count, rate, time};

const SIZE: Size = Size { width: 420.0, height: 280.0 };

/// A chart for each ramp that was run.
pub(in super::super) fn ramps(results: &Results) -> Vec<Figure> {
    let run = results.scenarios().into_iter().filter_map(|cell| Some((cell, cell.figures()?)));
    run.filter_map(|(cell, figures): (&Cell, &Figures)| chart(cell, figures.ramp.as_ref()?))
        .collect()
}

fn chart(cell: &Cell, ramp: &Ramp) -> Option<Figure> {
    let points: Vec<(f64, f64)> = ramp
        .blocks
        .iter()
        .filter_map(|block| Some((block.rate_per_second, block.latency_ms_p95?)))
        .collect();
    let latencies = || points.iter().map(|&(_, ms)| ms).chain(ramp.latency_ms_p95_max);
    let y_scale =
        Scale::log(latencies().min_by(f64::total_cmp)?, latencies().max_by(f64::total_cmp)?);
    let most = ramp.blocks.iter().map(|block| block.rate_per_second).max_by(f64::total_cmp)?;
    let x_scale = Scale::linear(most * 1.05);
    let x = Axis {
        scale: x_scale,
        title: "arrivals / s",
        ticks: x_scale.ticks(5).into_iter().map(|tick| (tick, rate_tick(tick))).collect(),
    };
    let y = Axis {
        scale: y_scale,
        title: "p95 latency (logarithmic)",
        ticks: y_scale.ticks(4).into_iter().map(|tick| (tick, time_tick(tick))).collect(),
    };
    let name = cell.name();
    let mut frame = Frame::new(SIZE, &format!("p95 latency against the rate, {name}"), x, y);
    if let Some(limit) = ramp.latency_ms_p95_max {
        frame.rule(limit, &format!("too late beyond {}", time(limit)));
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
        frame.dot("s2", (block.rate_per_second, ms), &title);
    }
    if let Some(broke) = &ramp.broke {
        let what = match broke.what {
            Broken::Failures => "too many failures",
            Broken::Latency => "too late",
        };
        broken(&mut frame, broke.rate_per_second, what);
    }
    Some(Figure { title: name, svg: frame.finish() })
}

/// A vertical line where the target broke, with the reason at its foot.
fn broken(frame: &mut Frame, rate_per_second: f64, what: &str) {
    let (x, top, bottom) = (frame.x(rate_per_second), frame.top(), frame.bottom());
    let fits = x < SIZE.width / 2.0;
    let (at, anchor) = if fits { (x + 5.0, "start") } else { (x - 5.0, "end") };
    let (x, top, below, bottom, at) = (At(x), At(top), At(bottom - 8.0), At(bottom), At(at));
    let out = frame.out();
    out.empty("line", &[("class", &"rule"), ("x1", &x), ("x2", &x), ("y1", &top), ("y2", &bottom)]);
    out.element(
        "text",
        &[("class", &"note"), ("x", &at), ("y", &below), ("text-anchor", &anchor)],
        format!("broke at {}/s: {what}", rate(rate_per_second)),
    );
}
