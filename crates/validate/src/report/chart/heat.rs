//! Percentiles over time as a heat map per cell: a column is a window of time, a row a level from the median to
//! the maximum, the colour its latency. A server that slows down grows darker to the right; a stall is one dark
//! column.

use crate::analysis::latency::HeatMap;
use crate::results::Results;

use super::parts::{Charts, Figure};
use crate::format::{count, time};
use crate::report::markup::Markup;
use crate::report::sentences;

const WIDTH: f64 = 380.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const ROW: f64 = 17.0;
const BELOW: f64 = 32.0;
/// Colours that the style defines as `h0` (fast) to `h7` (slow).
const SHADES: usize = 8;

/// The latencies of the lightest and the darkest colour, the same in all charts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shades {
    least_ms: f64,
    most_ms: f64,
}

impl Shades {
    /// Returns the shade of a latency: equal ratios are equal steps.
    fn of(self, ms: f64) -> usize {
        let decades = (self.most_ms / self.least_ms).ln();
        let share = if decades > 0.0 { (ms / self.least_ms).ln() / decades } else { 0.0 };
        ((share * SHADES as f64) as usize).min(SHADES - 1)
    }

    /// Returns the latency at which a shade begins.
    fn begins(self, shade: usize) -> f64 {
        self.least_ms * (self.most_ms / self.least_ms).powf(shade as f64 / SHADES as f64)
    }

    /// Returns the shades that a legend needs: one of those that begin at the same figure.
    fn distinct(self) -> Vec<usize> {
        let mut shades: Vec<usize> = (0..SHADES).collect();
        shades.dedup_by_key(|&mut shade| time(self.begins(shade)));
        shades
    }
}

/// Returns one chart per cell, of its first run, under a legend of the colours.
pub(in crate::report) fn heat_maps(results: &Results) -> Option<Charts> {
    let cells: Vec<(String, &HeatMap)> = sentences::first_runs(results)
        .into_iter()
        .filter_map(|cell| {
            let found = results.analysis.latency.cells.iter().find(|of| of.cell == cell.index)?;
            (!found.heat.windows.is_empty()).then(|| (cell.name(), &found.heat))
        })
        .collect();
    let all = || {
        let windows = cells.iter().flat_map(|(_, heat)| &heat.windows);
        windows.flat_map(|window| &window.latency_ms).copied().filter(|&ms| ms > 0.0)
    };
    let (least_ms, most_ms) = (all().min_by(f64::total_cmp)?, all().max_by(f64::total_cmp)?);
    let shades = Shades { least_ms, most_ms };
    let chart = |(name, heat): (String, &HeatMap)| Figure {
        svg: draw(&name, heat, shades),
        wide: false,
        title: format!("{name}: percentiles of latency"),
    };
    let mut legend = Markup::new();
    legend.raw("<p class=\"legend\"><span>Latency from:</span>\n");
    for shade in shades.distinct() {
        let class = format!("swatch h{shade}");
        legend.raw("<span>").element("i", &[("class", &class)], "");
        legend.text(time(shades.begins(shade))).close("span");
    }
    legend.close("p");
    Some(Charts { legend, figures: cells.into_iter().map(chart).collect() })
}

fn draw(name: &str, heat: &HeatMap, shades: Shades) -> Markup {
    let mut out = Markup::new();
    let height = ROW * heat.levels.len() as f64 + BELOW;
    out.open_svg(WIDTH, height, &format!("Percentiles of latency over time, {name}"));
    for (row, &level) in heat.levels.iter().rev().enumerate() {
        out.label("", "end", (LEFT - 6.0, ROW * row as f64 + 12.5), level_name(level));
    }
    let from = heat.windows.first().map_or(0.0, |window| window.from_ms);
    let to = heat.windows.last().map_or(from, |window| window.to_ms);
    let x_of = |ms: f64| LEFT + (ms - from) / (to - from).max(1e-9) * (WIDTH - LEFT - RIGHT);
    for window in &heat.windows {
        let (x, width) = (x_of(window.from_ms), x_of(window.to_ms) - x_of(window.from_ms));
        let levels = heat.levels.iter().zip(&window.latency_ms).rev();
        for (row, (&level, &ms)) in levels.enumerate() {
            let title = format!(
                "{} {} of {} requests, {} to {}",
                level_name(level),
                time(ms),
                count(window.requests),
                time(window.from_ms),
                time(window.to_ms)
            );
            let class = format!("heat h{}", shades.of(ms));
            out.rect(&class, (x, ROW * row as f64), (width.max(0.5), ROW), title);
        }
    }
    let below = height - BELOW + 16.0;
    for (ms, anchor) in [(from, "start"), (to, "end")] {
        out.label("", anchor, (x_of(ms), below), format!("{:.0} s", ms / 1e3));
    }
    out.label("axis", "middle", ((LEFT + WIDTH - RIGHT) / 2.0, below), "time into the run");
    out.close("svg");
    out
}

/// Returns `p95`, or `max` for 1.
fn level_name(level: f64) -> String {
    if level >= 1.0 {
        return "max".into();
    }
    format!("p{}", (level * 1e5).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ratios_are_equal_steps_of_colour() {
        let shades = Shades { least_ms: 1.0, most_ms: 256.0 };
        assert_eq!([1.0, 1.9, 2.1, 16.5, 255.0, 256.0].map(|ms| shades.of(ms)), [0, 0, 1, 4, 7, 7]);
        assert!((shades.begins(4) - 16.0).abs() < 1e-9);
        let equal = Shades { least_ms: 5.0, most_ms: 5.0 };
        assert_eq!((equal.of(5.0), equal.distinct()), (0, vec![0]), "one latency, one shade");
        assert_eq!(shades.distinct().len(), SHADES);
    }

    #[test]
    fn levels_have_the_names_that_people_use() {
        assert_eq!([0.5, 0.95, 0.999, 1.0].map(level_name), ["p50", "p95", "p99.9", "max"]);
    }
}
