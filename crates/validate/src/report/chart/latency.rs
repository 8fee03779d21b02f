//! The distribution of latency: of the matrix one chart a length and one line a concurrency, of each
//! scenario a chart of its own with both distributions, from the intended start and from sending.
//!
//! The line is over all requests: one that failed is a request that no time reaches, so the line of
//! a cell with failures ends below 100 % and runs on level and dashed. A diamond marks a p95 bar: the line
//! should pass on its left.

use crate::figures::{Cell, Figures};
use crate::results::Results;
use crate::stats::Spread;

use super::frame::{At, Axis, Frame, Scale, Size};
use super::parts::{Figure, series_class, time_tick};
use crate::format::{percent_limit, time, tokens};
use crate::report::words;

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
    let label = format!("Distribution of latency at {} tokens", tokens(length));
    let mut frame = axes(&label, least, far);
    for (cell, figures) in cells {
        let class = class(levels, cell.spec.concurrency().unwrap_or_default());
        let title = summary(&cell.name(), &figures.latency_over_all);
        distribution(&mut frame, &class, &figures.distribution, far * 2.0, &title);
    }
    for (concurrency, ms) in bars {
        let title = format!("bar for {concurrency} clients: p95 at most {}", time(ms));
        diamond(&mut frame, &class(levels, concurrency), ms, &title);
    }
    Figure { title: format!("{} tokens", tokens(length)), svg: frame.finish() }
}

/// A chart for each scenario that was run, and the names of their two lines.
pub(in super::super) fn scenarios(results: &Results) -> Option<(Vec<Figure>, Vec<String>)> {
    let charts: Vec<Figure> = results
        .scenarios()
        .into_iter()
        .filter_map(|cell| scenario(results, cell, cell.figures()?))
        .collect();
    let names = vec!["from the intended start".to_owned(), "from sending".to_owned()];
    (!charts.is_empty()).then_some((charts, names))
}

fn scenario(results: &Results, cell: &Cell, figures: &Figures) -> Option<Figure> {
    let bars = results.plan.bars.iter().filter(|bar| bar.scenario == cell.spec.scenario);
    let bar = bars.filter_map(|bar| bar.latency_seconds_p95_max).next().map(|limit| limit * 1e3);
    let both = [&figures.distribution, &figures.distribution_from_sending];
    let times = || both.into_iter().flatten().map(|&(ms, _)| ms);
    let least = times().min_by(f64::total_cmp)?;
    let far = times().chain(bar).max_by(f64::total_cmp)?;
    let name = cell.name();
    let mut frame = axes(&format!("Distribution of latency, {name}"), least, far);
    let lines = [
        (
            &figures.distribution_from_sending,
            &figures.latency_over_all_from_sending,
            1,
            "from sending",
        ),
        (&figures.distribution, &figures.latency_over_all, 0, "from the intended start"),
    ];
    for (points, spread, index, from) in lines {
        let title = summary(&format!("{name}, {from}"), spread);
        distribution(&mut frame, &series_class(index, 2), points, far * 2.0, &title);
    }
    if let Some(ms) = bar {
        diamond(&mut frame, &series_class(0, 2), ms, &format!("bar: p95 at most {}", time(ms)));
    }
    Some(Figure { title: format!("{name}: {}", cell.spec.load.label()), svg: frame.finish() })
}

fn axes(label: &str, least: f64, most: f64) -> Frame {
    let scale = Scale::log(least, most);
    let x = Axis {
        scale,
        title: "latency (logarithmic)",
        ticks: scale.ticks(4).into_iter().map(|ms| (ms, time_tick(ms))).collect(),
    };
    let shares = [0.0, 0.25, 0.5, 0.75, 0.95];
    let y = Axis {
        scale: Scale::linear(1.0),
        title: "share of requests answered",
        ticks: shares.map(|share| (share, percent_limit(share))).to_vec(),
    };
    Frame::new(SIZE, label, x, y)
}

fn summary(name: &str, spread: &Spread) -> String {
    format!(
        "{name}: p50 {}, p95 {}, max {}",
        spread.p50.label(),
        spread.p95.label(),
        words::optional_time(spread.max_ms)
    )
}

fn class(levels: &[usize], concurrency: usize) -> String {
    let index = levels.iter().position(|&level| level == concurrency).unwrap_or(0);
    series_class(index, levels.len())
}

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
    let (x, y) = (frame.x(ms), frame.y(0.95));
    let path = format!("M{} {}l6 6l-6 6l-6 -6z", At(x), At(y - 6.0));
    let class = format!("bar {class}");
    frame
        .out()
        .open("path", &[("class", &class), ("d", &path)])
        .element("title", &[], title)
        .close("path");
}
