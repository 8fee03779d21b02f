//! The p99 of each policy of `bench schedule` by length: one chart per trace, a line per policy.

use crate::format::time;
use crate::simulation::{LENGTH_CLASSES, Policy, PolicyFigures, ScheduleComparison, TraceFigures};

use super::frame::{Axis, Frame, Scale};
use super::parts::{Charts, Figure, series_class, time_tick};
use crate::report::policies::class_labels;

/// Returns one chart per trace.
pub(in crate::report) fn policies(comparison: &ScheduleComparison) -> Option<Charts> {
    let charts = comparison.traces.iter().filter_map(trace).collect();
    Charts::new(charts, "Policy:", Policy::ALL.map(Policy::label))
}

fn trace(trace: &TraceFigures) -> Option<Figure> {
    let all = trace.policies.iter().flat_map(|policy| policy.classes);
    let times: Vec<f64> = all.filter_map(|class| class.p99_ms).collect();
    let least = times.iter().copied().min_by(f64::total_cmp)?;
    let most = times.iter().copied().max_by(f64::total_cmp)?;
    let ticks = (0..).map(|class| f64::from(class) + 0.5).zip(class_labels());
    let across = Scale::linear(LENGTH_CLASSES.len() as f64 + 1.0);
    let x = Axis::with_ticks(across, "length, tokens", ticks);
    let y = Axis::new(Scale::log(least, most), "p99 (logarithmic)", 4, time_tick);
    let label = format!("p99 by length and policy, {}", trace.name);
    let mut frame = Frame::new((380.0, 280.0), &label, x, y);
    // The planner last, on top of the others.
    for (index, policy) in trace.policies.iter().enumerate().rev() {
        line(&mut frame, &series_class(index, trace.policies.len()), policy);
    }
    Some(frame.finish(trace.name.as_str()))
}

fn line(frame: &mut Frame, class: &str, policy: &PolicyFigures) {
    let at = |(index, ms): (usize, Option<f64>)| Some((index as f64 + 0.5, ms?));
    let p99s = policy.classes.iter().map(|class| class.p99_ms).enumerate();
    let points: Vec<(f64, f64)> = p99s.filter_map(at).collect();
    let name = policy.policy.label();
    frame.line(class, &points, name);
    for (&point, label) in points.iter().zip(class_labels()) {
        let title = format!("{name}, {label} tokens: p99 {}", time(point.1));
        frame.circle(&format!("dot {class}"), point, 4.0, &title);
    }
}
