//! Percentiles over time as a heat map, one a cell: a column is a window of time, a row a level from
//! the median up to the maximum, the colour its latency. A server that slows down grows darker to
//! the right; a stall is one dark column.

use crate::analysis::latency::HeatMap;
use crate::results::Results;

use super::frame::At;
use super::parts::Figure;
use crate::format::{count, time};
use crate::report::markup::Markup;
use crate::report::words;

const WIDTH: f64 = 380.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const ROW: f64 = 17.0;
const BELOW: f64 = 32.0;
/// Colours that the style defines as `h0` (fast) to `h7` (slow).
const SHADES: usize = 8;

/// The latencies that the lightest and the darkest colour stand for, the same in all charts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shades {
    least_ms: f64,
    most_ms: f64,
}

impl Shades {
    /// Shade of a latency: equal ratios are equal steps.
    fn of(self, ms: f64) -> usize {
        let decades = (self.most_ms / self.least_ms).ln();
        let share = if decades > 0.0 { (ms / self.least_ms).ln() / decades } else { 0.0 };
        ((share * SHADES as f64) as usize).min(SHADES - 1)
    }

    /// Latency at which a shade begins.
    fn begins(self, shade: usize) -> f64 {
        self.least_ms * (self.most_ms / self.least_ms).powf(shade as f64 / SHADES as f64)
    }
}

/// A chart for the first run of each cell, and the legend of their colours.
pub(in super::super) fn heat_maps(results: &Results) -> Option<(Vec<Figure>, Markup)> {
    let shown: Vec<(String, &HeatMap)> = words::first_runs(results)
        .into_iter()
        .filter_map(|cell| {
            let found = results.analysis.latency.cells.iter().find(|of| of.cell == cell.index)?;
            (!found.heat.windows.is_empty()).then(|| (cell.name(), &found.heat))
        })
        .collect();
    let all = || {
        let windows = shown.iter().flat_map(|(_, heat)| &heat.windows);
        windows.flat_map(|window| &window.latency_ms).copied().filter(|&ms| ms > 0.0)
    };
    let shades =
        Shades { least_ms: all().min_by(f64::total_cmp)?, most_ms: all().max_by(f64::total_cmp)? };
    let charts = shown
        .iter()
        .map(|(name, heat)| Figure { title: name.clone(), svg: chart(name, heat, shades) });
    Some((charts.collect(), legend(shades)))
}

fn chart(name: &str, heat: &HeatMap, shades: Shades) -> Markup {
    let mut out = Markup::new();
    let height = ROW * heat.levels.len() as f64 + BELOW;
    let view = format!("0 0 {WIDTH} {height}");
    let label = format!("Percentiles of latency over time, {name}");
    out.open("svg", &[("viewBox", &view), ("role", &"img"), ("aria-label", &label)]);
    for (row, &level) in heat.levels.iter().rev().enumerate() {
        let (x, y) = (At(LEFT - 6.0), At(ROW * row as f64 + 12.5));
        out.element("text", &[("x", &x), ("y", &y), ("text-anchor", &"end")], level_name(level));
    }
    let from = heat.windows.first().map_or(0.0, |window| window.from_ms);
    let to = heat.windows.last().map_or(from, |window| window.to_ms);
    let x_of = |ms: f64| LEFT + (ms - from) / (to - from).max(1e-9) * (WIDTH - LEFT - RIGHT);
    for window in &heat.windows {
        let (x, width) = (x_of(window.from_ms), x_of(window.to_ms) - x_of(window.from_ms));
        let levels = heat.levels.iter().zip(&window.latency_ms).rev();
        for (row, (&level, &ms)) in levels.enumerate() {
            let class = format!("heat h{}", shades.of(ms));
            let (x, y, wide, high) = (At(x), At(ROW * row as f64), At(width.max(0.5)), At(ROW));
            out.open(
                "rect",
                &[("class", &class), ("x", &x), ("y", &y), ("width", &wide), ("height", &high)],
            );
            let title = format!(
                "{} {} of {} requests, {} to {}",
                level_name(level),
                time(ms),
                count(window.requests),
                time(window.from_ms),
                time(window.to_ms)
            );
            out.element("title", &[], title).close("rect");
        }
    }
    time_axis(&mut out, height, (from, to), x_of);
    out.close("svg");
    out
}

/// Both ends of the time, and what it counts from.
fn time_axis(out: &mut Markup, height: f64, (from, to): (f64, f64), x_of: impl Fn(f64) -> f64) {
    let y = At(height - BELOW + 16.0);
    for (ms, anchor) in [(from, "start"), (to, "end")] {
        let x = At(x_of(ms));
        out.element("text", &[("x", &x), ("y", &y), ("text-anchor", &anchor)], seconds(ms));
    }
    let x = At((LEFT + WIDTH - RIGHT) / 2.0);
    out.element(
        "text",
        &[("class", &"axis"), ("x", &x), ("y", &y), ("text-anchor", &"middle")],
        "time into the run",
    );
}

fn seconds(ms: f64) -> String {
    format!("{:.0} s", ms / 1e3)
}

/// `p95`, or `max`.
fn level_name(level: f64) -> String {
    if level >= 1.0 {
        return "max".into();
    }
    format!("p{}", (level * 1e5).round() / 1e3)
}

fn legend(shades: Shades) -> Markup {
    let mut out = Markup::new();
    out.open("p", &[("class", &"legend")]).element("span", &[], "Latency from:");
    for shade in 0..SHADES {
        let class = format!("swatch h{shade}");
        out.open("span", &[]).element("i", &[("class", &class)], "");
        out.text(time(shades.begins(shade))).close("span");
    }
    out.close("p");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ratios_are_equal_steps_of_colour() {
        let shades = Shades { least_ms: 1.0, most_ms: 256.0 };
        assert_eq!([1.0, 1.9, 2.1, 16.5, 255.0, 256.0].map(|ms| shades.of(ms)), [0, 0, 1, 4, 7, 7]);
        assert!((shades.begins(4) - 16.0).abs() < 1e-9);
        assert_eq!(Shades { least_ms: 5.0, most_ms: 5.0 }.of(5.0), 0);
    }

    #[test]
    fn levels_have_the_names_that_people_use() {
        assert_eq!([0.5, 0.95, 0.999, 1.0].map(level_name), ["p50", "p95", "p99.9", "max"]);
    }
}
