//! Throughput and efficiency against concurrency, one line per length.

use crate::figures::estimate::speedup;
use crate::results::Results;

use super::frame::{Axis, Frame, Scale, Size};
use super::parts::{Figure, rate_tick, series_class};
use crate::format::{rate, tokens};

const SIZE: Size = Size { width: 420.0, height: 290.0 };

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Rate {
    /// Tokens per second.
    Tokens,
    /// Throughput over C times that at C = 1, in percent.
    Efficiency,
}

impl Rate {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Rate::Tokens => ("Tokens per second", "tokens / s"),
            Rate::Efficiency => ("Efficiency against C = 1", "%"),
        }
    }

    fn printed(self, value: f64) -> String {
        match self {
            Rate::Tokens => format!("{} tokens/s", rate(value)),
            Rate::Efficiency => format!("{value:.0} % of C times C = 1"),
        }
    }
}

/// One length: (concurrency, value).
struct Line {
    tokens: usize,
    measured: Vec<(usize, f64)>,
}

/// The chart, if any cell was run and, for efficiency, at C = 1 as well.
pub(in super::super) fn throughput(results: &Results, which: Rate) -> Option<Figure> {
    let lines = lines(results, which);
    let points = || lines.iter().flat_map(|line| &line.measured);
    let most = points().map(|&(_, value)| value).max_by(f64::total_cmp)?;
    let mut levels: Vec<usize> = points().map(|&(clients, _)| clients).collect();
    levels.sort_unstable();
    levels.dedup();
    let (title, unit) = which.words();
    let x_scale = Scale::log(*levels.first()? as f64, *levels.last()? as f64);
    let y_scale = Scale::linear(most * 1.08);
    let x = Axis {
        scale: x_scale,
        title: "clients (logarithmic)",
        ticks: levels.iter().map(|&level| (level as f64, level.to_string())).collect(),
    };
    let y = Axis {
        scale: y_scale,
        title: unit,
        ticks: y_scale.ticks(5).into_iter().map(|tick| (tick, rate_tick(tick))).collect(),
    };
    let mut frame = Frame::new(SIZE, &format!("{title} against concurrency"), x, y);
    if which == Rate::Efficiency && most >= 100.0 {
        frame.rule(100.0, "as much for each client as alone");
    }
    let all = results.lengths_run();
    for line in &lines {
        let index = all.iter().position(|&length| length == line.tokens).unwrap_or(0);
        draw(&mut frame, line, &series_class(index, all.len()), which);
    }
    Some(Figure { title: title.into(), svg: frame.finish() })
}

fn draw(frame: &mut Frame, line: &Line, class: &str, which: Rate) {
    let name = format!("{} tokens", tokens(line.tokens));
    let place = |&(clients, value): &(usize, f64)| (clients as f64, value);
    let places: Vec<(f64, f64)> = line.measured.iter().map(place).collect();
    frame.line(class, &places, &name);
    for &(clients, value) in &line.measured {
        let title = format!("{name}, C = {clients}: {}", which.printed(value));
        frame.dot(class, (clients as f64, value), &title);
    }
}

fn lines(results: &Results, which: Rate) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let places = results.places();
    for place in &places {
        let per_client =
            |value: f64| Some(100.0 * speedup(&places, place, value)? / place.concurrency as f64);
        let scale = |requests_per_second: f64| match which {
            Rate::Tokens => Some(requests_per_second * place.tokens as f64),
            Rate::Efficiency => per_client(requests_per_second),
        };
        let line = match lines.last_mut() {
            Some(line) if line.tokens == place.tokens => line,
            _ => {
                lines.push(Line { tokens: place.tokens, measured: vec![] });
                let Some(line) = lines.last_mut() else { continue };
                line
            }
        };
        let measured = place.requests_per_second().value.and_then(scale);
        line.measured.extend(measured.map(|value| (place.concurrency, value)));
    }
    lines.retain(|line| !line.measured.is_empty());
    lines
}
