//! Where a request's time goes: one bar a cell, its stages as shares of the mean latency.

use crate::Results;

use super::super::format::time;
use super::super::markup::Markup;
use super::super::words;
use super::frame::At;
use super::{Figure, series_class};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 84.0;
const ROW: f64 = 26.0;

/// Names of the stages, in the order drawn.
const STAGES: [&str; 4] = ["tokenise", "queue", "compute", "other"];

/// The chart and its stages' names, if the target tells stages.
pub(in super::super) fn stages(results: &Results) -> Option<(Figure, Vec<String>)> {
    let matrix = results.matrix();
    let told: Vec<_> =
        matrix.iter().filter_map(|cell| Some((*cell, cell.figures()?.stages_ms_mean?))).collect();
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
    for (row, (cell, means)) in told.iter().enumerate() {
        let shares = [means.tokenize, means.queue, means.compute, means.other];
        let total: f64 = shares.iter().sum();
        let top = 4.0 + ROW * row as f64;
        let baseline = At(top + 16.0);
        let before = At(LEFT - 10.0);
        let name = words::cell_name(cell);
        out.element("text", &[("x", &before), ("y", &baseline), ("text-anchor", &"end")], &name);
        let mut x = LEFT;
        for (index, (stage, ms)) in STAGES.iter().zip(shares).enumerate() {
            let width = (WIDTH - LEFT - RIGHT) * ms / total.max(1e-9);
            let class = format!("part {}", series_class(index, STAGES.len()));
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
    let names = STAGES.iter().map(|name| (*name).to_owned()).collect();
    Some((Figure { title: String::new(), svg: out }, names))
}
