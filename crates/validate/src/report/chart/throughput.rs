//! Throughput against concurrency, one line a length.

use crate::Results;
use crate::results::Figures;

use super::super::format::{rate, tokens};
use super::super::words;
use super::frame::{Axis, Frame, Scale, Size};
use super::{Figure, series_class};

const SIZE: Size = Size { width: 420.0, height: 290.0 };

/// Which rate to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Rate {
    Tokens,
    Requests,
}

impl Rate {
    fn of(self, figures: &Figures) -> f64 {
        match self {
            Rate::Tokens => figures.tokens_per_second,
            Rate::Requests => figures.requests_per_second,
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Rate::Tokens => ("Tokens per second", "tokens / s"),
            Rate::Requests => ("Requests per second", "requests / s"),
        }
    }
}

/// The chart, if any cell was run.
pub(in super::super) fn throughput(results: &Results, which: Rate) -> Option<Figure> {
    let matrix = results.matrix();
    let points: Vec<_> =
        matrix.iter().filter_map(|cell| Some((*cell, which.of(cell.figures()?)))).collect();
    let most = points.iter().map(|&(_, rate)| rate).max_by(f64::total_cmp)?;
    let (title, unit) = which.words();
    let mut levels = results.plan.concurrency.clone();
    levels.sort_unstable();
    let lengths = results.lengths_run();
    let x_scale = Scale::log(levels[0] as f64, *levels.last()? as f64);
    let y_scale = Scale::linear(most * 1.08);
    let x = Axis {
        scale: x_scale,
        title: "clients (logarithmic)",
        ticks: levels.iter().map(|&level| (level as f64, level.to_string())).collect(),
    };
    let y = Axis {
        scale: y_scale,
        title: unit,
        ticks: y_scale.ticks(5).into_iter().map(|tick| (tick, short(tick))).collect(),
    };
    let mut frame = Frame::new(SIZE, &format!("{title} against concurrency"), x, y);
    for (index, &length) in lengths.iter().enumerate() {
        let class = series_class(index, lengths.len());
        let line: Vec<_> =
            points.iter().filter(|(cell, _)| cell.spec.tokens() == Some(length)).collect();
        let places: Vec<(f64, f64)> = line
            .iter()
            .map(|(cell, rate)| (cell.spec.concurrency().unwrap_or_default() as f64, *rate))
            .collect();
        frame.line(&class, &places, &format!("{} tokens", tokens(length)));
        for (place, (cell, value)) in places.iter().zip(line) {
            frame.dot(
                &class,
                *place,
                &format!("{}: {} {unit}", words::cell_name(cell), rate(*value)),
            );
        }
    }
    Some(Figure { title: title.into(), svg: frame.finish() })
}

fn short(tick: f64) -> String {
    match tick {
        tick if tick < 1e3 => format!("{tick}"),
        tick if tick < 1e6 => format!("{}k", tick / 1e3),
        tick => format!("{}M", tick / 1e6),
    }
}
