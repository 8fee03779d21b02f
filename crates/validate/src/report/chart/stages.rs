//! One bar per cell: its stages as shares of the mean latency, from the findings or, without them, from the
//! figures.

use crate::analysis::Stage;
use crate::figures::Cell;
use crate::results::Results;

use super::parts::{Charts, Figure, WIDE, series_class};
use crate::format::time;
use crate::report::markup::Markup;
use crate::report::sentences;

const LEFT: f64 = 96.0;
const RIGHT: f64 = 84.0;
const ROW: f64 = 26.0;

/// Returns the chart; `None` if the target reports no stages.
pub(in crate::report) fn stages(results: &Results) -> Option<Charts> {
    let cells: Vec<(&Cell, Vec<(&str, f64)>)> = sentences::first_runs(results)
        .into_iter()
        .filter_map(|cell| Some((cell, stages_of(results, cell)?)))
        .collect();
    let names: Vec<&str> = cells.first()?.1.iter().map(|(name, _)| *name).collect();
    let mut out = Markup::new();
    out.open_svg(WIDE, ROW * cells.len() as f64 + 8.0, "Mean time of a request by stage");
    for (row, (cell, stages)) in cells.iter().enumerate() {
        let total: f64 = stages.iter().map(|(_, ms)| ms).sum();
        let top = 4.0 + ROW * row as f64;
        let name = cell.name();
        out.label("", "end", (LEFT - 10.0, top + 16.0), &name);
        let mut x = LEFT;
        for (index, (stage, ms)) in stages.iter().copied().enumerate() {
            let width = (WIDE - LEFT - RIGHT) * ms / total.max(1e-9);
            let class = format!("part {}", series_class(index, stages.len()));
            let title = format!("{name}: {stage} {}", time(ms));
            out.rect(&class, (x, top + 3.0), (width, ROW - 8.0), title);
            x += width;
        }
        out.label("", "start", (WIDE - RIGHT + 10.0, top + 16.0), time(total));
    }
    out.close("svg");
    let title = "Mean latency of each cell by stage".to_owned();
    Charts::new(vec![Figure { title, wide: true, svg: out }], "Stage:", names)
}

/// Returns the mean milliseconds of a cell's requests in each stage.
fn stages_of(results: &Results, cell: &Cell) -> Option<Vec<(&'static str, f64)>> {
    let figures = cell.figures()?;
    let found = &results.analysis.scaling.bottlenecks;
    let shares = found.iter().find(|found| found.cell == cell.index).map(|found| &found.shares);
    if let (Some(shares), Some(mean_ms)) = (shares, figures.latency.mean_ms) {
        let share =
            |stage| shares.iter().find(|(of, _)| *of == stage).map_or(0.0, |(_, share)| *share);
        return Some(Stage::ALL.map(|stage| (stage.label(), share(stage) * mean_ms)).to_vec());
    }
    let means = figures.stages_ms_mean?;
    let means = [means.tokenize, means.queue, means.compute, means.other];
    Some(["tokenize", "queue", "compute", "other"].into_iter().zip(means).collect())
}
