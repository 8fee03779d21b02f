//! Where a request's time goes: one bar a cell, its stages as shares of the mean latency. The stages
//! are those of the findings, or where there are none those that the figures tell.

use crate::analysis::Stage;
use crate::figures::Cell;
use crate::results::Results;

use super::frame::At;
use super::parts::{Figure, series_class};
use crate::format::time;
use crate::report::markup::Markup;
use crate::report::words;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 84.0;
const ROW: f64 = 26.0;

/// Names of the stages that the figures tell, in the order drawn.
const STAGES: [&str; 4] = ["tokenize", "queue", "compute", "other"];

/// The chart and its stages' names, if the target tells stages.
pub(in super::super) fn stages(results: &Results) -> Option<(Figure, Vec<String>)> {
    let cells = words::first_runs(results);
    let told: Vec<(&Cell, Vec<(&str, f64)>)> =
        cells.into_iter().filter_map(|cell| Some((cell, stages_of(results, cell)?))).collect();
    if told.is_empty() {
        return None;
    }
    let mut out = Markup::new();
    let height = ROW * told.len() as f64 + 8.0;
    let view = format!("0 0 {WIDTH} {height}");
    out.open(
        "svg",
        &[("viewBox", &view), ("role", &"img"), ("aria-label", &"Mean time of a request by stage")],
    );
    for (row, (cell, stages)) in told.iter().enumerate() {
        let total: f64 = stages.iter().map(|(_, ms)| ms).sum();
        let top = 4.0 + ROW * row as f64;
        let baseline = At(top + 16.0);
        let before = At(LEFT - 10.0);
        let name = cell.name();
        out.element("text", &[("x", &before), ("y", &baseline), ("text-anchor", &"end")], &name);
        let mut x = LEFT;
        for (index, (stage, ms)) in stages.iter().copied().enumerate() {
            let width = (WIDTH - LEFT - RIGHT) * ms / total.max(1e-9);
            let class = format!("part {}", series_class(index, stages.len()));
            let (at, y, wide, high) = (At(x), At(top + 3.0), At(width), At(ROW - 8.0));
            out.open(
                "rect",
                &[("class", &class), ("x", &at), ("y", &y), ("width", &wide), ("height", &high)],
            );
            out.element("title", &[], format!("{name}: {stage} {}", time(ms))).close("rect");
            x += width;
        }
        let after = At(WIDTH - RIGHT + 10.0);
        out.element("text", &[("x", &after), ("y", &baseline)], time(total));
    }
    out.close("svg");
    let names = told[0].1.iter().map(|(name, _)| (*name).to_owned()).collect();
    Some((Figure { title: String::new(), svg: out }, names))
}

/// Mean milliseconds of a cell's requests in each stage.
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
    Some(STAGES.into_iter().zip(means).collect())
}
