//! The distribution of latency: for the matrix one chart per length with a line per concurrency, for each
//! scenario a chart with two lines, from the intended start and from sending.
//!
//! A line is over all requests, and no time reaches one that failed: the line of a cell with failures ends below
//! 100 % and continues level and dashed. A diamond marks a p95 limit, which the line should pass on its left.

use crate::figures::{Cell, Figures};
use crate::results::Results;
use crate::stats::Spread;

use super::frame::{Axis, Frame, Scale};
use super::parts::{Charts, Figure, series_class, time_tick};
use crate::format::{percent_limit, time, tokens};
use crate::report::markup::Px;
use crate::report::tables::table::or_dash;

/// Returns one chart per length that was run.
pub(in crate::report) fn latencies(results: &Results) -> Option<Charts> {
    let matrix = results.matrix();
    let run: Vec<(&Cell, &Figures)> = matrix
        .iter()
        .filter_map(|cell| Some((*cell, cell.figures()?)))
        .filter(|(_, figures)| !figures.distribution.is_empty())
        .collect();
    let times = || run.iter().flat_map(|(_, figures)| &figures.distribution).map(|&(ms, _)| ms);
    let ends = (times().min_by(f64::total_cmp)?, times().max_by(f64::total_cmp)?);
    let mut levels = results.plan.concurrency.clone();
    levels.sort_unstable();
    let chart = |length: usize| {
        let of_length = |(cell, _): &(&Cell, &Figures)| cell.spec.tokens() == Some(length);
        let cells: Vec<_> = run.iter().copied().filter(of_length).collect();
        (!cells.is_empty()).then(|| length_chart(results, length, &cells, &levels, ends))
    };
    let charts = results.lengths_run().into_iter().filter_map(chart).collect();
    Charts::new(charts, "Clients:", levels.iter().map(|level| format!("C = {level}")))
}

fn length_chart(
    results: &Results,
    length: usize,
    cells: &[(&Cell, &Figures)],
    levels: &[usize],
    (least, most): (f64, f64),
) -> Figure {
    let bars = results.plan.bars.iter().filter(|bar| bar.tokens == Some(length));
    let limits: Vec<(usize, f64)> = bars
        .filter_map(|bar| Some((bar.concurrency?, bar.latency_seconds_p95_max? * 1e3)))
        .collect();
    let far = limits.iter().map(|&(_, ms)| ms).fold(most, f64::max);
    let class = |clients: usize| {
        let index = levels.iter().position(|&level| level == clients).unwrap_or(0);
        series_class(index, levels.len())
    };
    let caption = format!("{} tokens", tokens(length));
    let mut frame = axes(&format!("Distribution of latency, {caption}"), least, far);
    for (cell, figures) in cells {
        let class = class(cell.spec.concurrency().unwrap_or_default());
        let title = summary(&cell.name(), &figures.latency_over_all);
        distribution(&mut frame, &class, &figures.distribution, far * 2.0, &title);
    }
    for (clients, ms) in limits {
        let title = format!("limit for {clients} clients: p95 at most {}", time(ms));
        diamond(&mut frame, &class(clients), ms, &title);
    }
    frame.finish(caption)
}

/// Returns one chart per scenario that was run.
pub(in crate::report) fn scenarios(results: &Results) -> Option<Charts> {
    let cells = results.scenarios().into_iter();
    let charts = cells.filter_map(|cell| scenario(results, cell, cell.figures()?)).collect();
    Charts::new(charts, "Latency:", ["from the intended start", "from sending"])
}

fn scenario(results: &Results, cell: &Cell, figures: &Figures) -> Option<Figure> {
    let plan = &results.plan;
    let bars = plan.bars.iter().filter(|bar| plan.cell_of(bar).as_ref() == Some(&cell.spec));
    let limit = bars.filter_map(|bar| bar.latency_seconds_p95_max).next().map(|limit| limit * 1e3);
    let (intended, sending) = (&figures.distribution, &figures.distribution_from_sending);
    let times = || intended.iter().chain(sending).map(|&(ms, _)| ms);
    let least = times().min_by(f64::total_cmp)?;
    let far = times().chain(limit).max_by(f64::total_cmp)?;
    let name = cell.name();
    let mut frame = axes(&format!("Distribution of latency, {name}"), least, far);
    let title = summary(&format!("{name}, from sending"), &figures.latency_over_all_from_sending);
    distribution(&mut frame, &series_class(1, 2), sending, far * 2.0, &title);
    let title = summary(&format!("{name}, from the intended start"), &figures.latency_over_all);
    distribution(&mut frame, &series_class(0, 2), intended, far * 2.0, &title);
    if let Some(ms) = limit {
        diamond(&mut frame, &series_class(0, 2), ms, &format!("limit: p95 at most {}", time(ms)));
    }
    Some(frame.finish(format!("{name}: {}", cell.spec.load.label())))
}

fn axes(label: &str, least: f64, most: f64) -> Frame {
    let x = Axis::new(Scale::log(least, most), "latency (logarithmic)", 4, time_tick);
    let shares = [0.0, 0.25, 0.5, 0.75, 0.95].map(|share| (share, percent_limit(share)));
    let y = Axis::with_ticks(Scale::linear(1.0), "share of requests answered", shares);
    Frame::new((380.0, 280.0), label, x, y)
}

fn summary(name: &str, spread: &Spread) -> String {
    let (p50, p95) = (spread.p50.label(), spread.p95.label());
    format!("{name}: p50 {p50}, p95 {p95}, max {}", or_dash(spread.max_ms, time))
}

/// Draws a distribution and, if requests failed, a dashed line to `beyond` at the share that was answered.
fn distribution(
    frame: &mut Frame,
    class: &str,
    distribution: &[(f64, f64)],
    beyond: f64,
    title: &str,
) {
    let (Some(&(first, _)), Some(&(last, share))) = (distribution.first(), distribution.last())
    else {
        return;
    };
    let mut points = vec![(first, 0.0)];
    points.extend(distribution);
    frame.line(class, &points, title);
    if share < 1.0 {
        frame.line(&format!("{class} never"), &[(last, share), (beyond, share)], title);
    }
}

fn diamond(frame: &mut Frame, class: &str, ms: f64, title: &str) {
    let path = format!("M{} {}l6 6l-6 6l-6 -6z", Px(frame.x(ms)), Px(frame.y(0.95) - 6.0));
    let class = format!("bar {class}");
    let out = frame.out().open("path", &[("class", &class), ("d", &path)]);
    out.element("title", &[], title).close("path");
}
