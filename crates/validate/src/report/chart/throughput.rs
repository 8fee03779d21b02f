//! Throughput and efficiency against concurrency, one line per length. With a single concurrency there is no line: each
//! point has its figure beside it, and efficiency, which compares concurrencies, is left out.

use crate::analysis::scaling::ScalingPoint;
use crate::results::Results;

use super::frame::{Axis, Frame, Scale};
use super::parts::{Charts, Figure, rate_tick, series_class};
use crate::format::{rate, tokens};

/// Returns both charts; that of efficiency only if C = 1 was run.
pub(in crate::report) fn throughput(results: &Results) -> Option<Charts> {
    let rates = |point: &ScalingPoint| Some(point.tokens_per_second);
    let print = |value: f64| format!("{} tokens/s", rate(value));
    let tokens_per_second = draw(results, "Tokens per second", "tokens / s", rates, print);
    let shares = |point: &ScalingPoint| point.efficiency.map(|share| 100.0 * share);
    let print = |value: f64| format!("{value:.0} % of C times C = 1");
    let efficiency = draw(results, "Efficiency against C = 1", "%", shares, print);
    let lengths =
        results.lengths_run().into_iter().map(|length| format!("{} tokens", tokens(length)));
    let charts = [tokens_per_second, efficiency].into_iter().flatten().collect();
    Charts::new(charts, "Length:", lengths)
}

fn draw(
    results: &Results,
    title: &'static str,
    unit: &'static str,
    of: impl Fn(&ScalingPoint) -> Option<f64>,
    print: impl Fn(f64) -> String,
) -> Option<Figure> {
    let lengths = &results.analysis.scaling.lengths;
    let points = || lengths.iter().flat_map(|length| &length.points);
    let measured = || points().filter_map(|point| Some((point.concurrency, of(point)?)));
    let most = measured().map(|(_, value)| value).max_by(f64::total_cmp)?;
    let mut levels: Vec<usize> = measured().map(|(clients, _)| clients).collect();
    levels.sort_unstable();
    levels.dedup();
    let single = levels.len() == 1;
    if unit == "%" && single {
        return None;
    }
    let scale = Scale::log(*levels.first()? as f64, *levels.last()? as f64);
    let ticks = levels.iter().map(|&level| (level as f64, level.to_string()));
    let x = Axis::with_ticks(scale, "clients (logarithmic)", ticks);
    let y = Axis::new(Scale::linear(most * 1.08), unit, 5, rate_tick);
    let mut frame = Frame::new((420.0, 290.0), &format!("{title} against concurrency"), x, y);
    if unit == "%" && most >= 100.0 {
        frame.horizontal(100.0, "100 %: each client is as fast as one alone");
    }
    let all = results.lengths_run();
    for length in lengths {
        let index = all.iter().position(|&one| one == length.tokens).unwrap_or(0);
        let class = series_class(index, all.len());
        let name = format!("{} tokens", tokens(length.tokens));
        let value = |point: &ScalingPoint| Some((point.concurrency as f64, of(point)?));
        let line: Vec<(f64, f64)> = length.points.iter().filter_map(value).collect();
        frame.line(&class, &line, &name);
        for &(clients, value) in &line {
            let title = format!("{name}, C = {clients}: {}", print(value));
            frame.circle(&format!("dot {class}"), (clients, value), 3.5, &title);
            if single {
                let (x, y) = (frame.x(clients) + 9.0, frame.y(value) + 4.0);
                frame.out().label("note", "start", (x, y), format!("{name}: {}", print(value)));
            }
        }
    }
    let caption = match levels.as_slice() {
        [only] => format!("{title} at C = {only}, the only concurrency"),
        _ => title.to_owned(),
    };
    Some(frame.finish(caption))
}
