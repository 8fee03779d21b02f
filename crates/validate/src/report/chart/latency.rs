//! The distribution of latency, one chart a length, one line a concurrency.
//!
//! The line is over all requests: one that failed is a request that no time reaches, so the line of
//! a cell with failures ends below 100 % and runs on level and dashed. A diamond marks a p95 bar: the line
//! should pass on its left.

use crate::Results;
use crate::results::{Cell, Figures};

use super::super::format::{percent_limit, time, tokens};
use super::super::words;
use super::frame::{At, Axis, Frame, Scale, Size};
use super::{Figure, series_class};

const SIZE: Size = Size { width: 380.0, height: 280.0 };

/// One chart for each length that was run.
pub(in super::super) fn latencies(results: &Results) -> Vec<Figure> {
    let matrix = results.matrix();
    let run: Vec<(&Cell, &Figures)> = matrix
        .iter()
        .filter_map(|cell| Some((*cell, cell.figures()?)))
        .filter(|(_, figures)| !figures.distribution.is_empty())
        .collect();
    let times = || run.iter().flat_map(|(_, figures)| &figures.distribution).map(|&(ms, _)| ms);
    let Some(least) = times().min_by(f64::total_cmp) else { return Vec::new() };
    let most = times().max_by(f64::total_cmp).unwrap_or(least);
    let mut levels = results.plan.concurrency.clone();
    levels.sort_unstable();
    let mut charts = Vec::new();
    for length in results.lengths_run() {
        let cells: Vec<_> =
            run.iter().copied().filter(|(cell, _)| cell.spec.tokens() == Some(length)).collect();
        if !cells.is_empty() {
            charts.push(chart(results, length, &cells, &levels, (least, most)));
        }
    }
    charts
}

fn chart(
    results: &Results,
    length: usize,
    cells: &[(&Cell, &Figures)],
    levels: &[usize],
    (least, most): (f64, f64),
) -> Figure {
    let bars: Vec<(usize, f64)> = results
        .plan
        .bars
        .iter()
        .filter(|bar| bar.tokens == Some(length))
        .filter_map(|bar| Some((bar.concurrency?, bar.latency_seconds_p95_max? * 1e3)))
        .collect();
    let far = bars.iter().map(|&(_, ms)| ms).fold(most, f64::max);
    let scale = Scale::log(least, far);
    let x = Axis {
        scale,
        title: "latency (logarithmic)",
        ticks: scale.ticks(4).into_iter().map(|ms| (ms, tick(ms))).collect(),
    };
    let shares = [0.0, 0.25, 0.5, 0.75, 0.95];
    let y = Axis {
        scale: Scale::linear(1.0),
        title: "share of requests answered",
        ticks: shares.map(|share| (share, percent_limit(share))).to_vec(),
    };
    let label = format!("Distribution of latency at {} tokens", tokens(length));
    let mut frame = Frame::new(SIZE, &label, x, y);
    for (cell, figures) in cells {
        let class = class(levels, cell.spec.concurrency().unwrap_or_default());
        let title = format!(
            "{}: p50 {}, p95 {}, max {}",
            words::cell_name(cell),
            words::percentile(&figures.latency_over_all.p50),
            words::percentile(&figures.latency_over_all.p95),
            words::optional_time(figures.latency_over_all.max_ms)
        );
        distribution(&mut frame, &class, figures, far * 2.0, &title);
    }
    for (concurrency, ms) in bars {
        diamond(&mut frame, &class(levels, concurrency), ms, concurrency);
    }
    Figure { title: format!("{} tokens", tokens(length)), svg: frame.finish() }
}

fn class(levels: &[usize], concurrency: usize) -> String {
    let index = levels.iter().position(|&level| level == concurrency).unwrap_or(0);
    series_class(index, levels.len())
}

fn distribution(frame: &mut Frame, class: &str, figures: &Figures, beyond: f64, title: &str) {
    let Some(&(first, _)) = figures.distribution.first() else { return };
    let mut points = vec![(first, 0.0)];
    points.extend(&figures.distribution);
    frame.line(class, &points, title);
    if let Some(&(last, share)) = figures.distribution.last().filter(|(_, share)| *share < 1.0) {
        frame.line(&format!("{class} never"), &[(last, share), (beyond, share)], title);
    }
}

fn diamond(frame: &mut Frame, class: &str, ms: f64, concurrency: usize) {
    let (x, y) = (frame.x(ms), frame.y(0.95));
    let path = format!("M{} {}l6 6l-6 6l-6 -6z", At(x), At(y - 6.0));
    let title = format!("bar for {concurrency} clients: p95 at most {}", time(ms));
    let class = format!("bar {class}");
    frame
        .out()
        .open("path", &[("class", &class), ("d", &path)])
        .element("title", &[], title)
        .close("path");
}

/// A tick of the time axis: round, so without trailing zeros.
fn tick(ms: f64) -> String {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    if ms < 999.5 { format!("{} ms", rounded(ms)) } else { format!("{} s", rounded(ms / 1e3)) }
}
