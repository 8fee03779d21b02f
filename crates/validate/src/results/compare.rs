//! Compares two systems over repeated runs of the same cells, with the run as the unit.
//!
//! For each cell and metric the ratio of the geometric means over runs is bounded by Welch's (1947) t
//! interval on the logarithms. A regression is a ratio that is shown to lie beyond a margin: the
//! one-sided tests at 2.5 % are corrected for the number of cells and metrics by Holm's (1979) method,
//! so that all of them together raise a false alarm in at most 2.5 % of comparisons. Non-inferior means
//! that every interval lies within the margin. Anything else is inconclusive, and so is a cell or a metric that only
//! one side has. The smallest detectable change is reported, so that "inconclusive" is not read as "equal".
//!
//! A latency that the second system no longer reaches, because too many of its requests fail, has no
//! ratio. There the shares of failures are compared, by the same test and under the same correction.
//!
//! A single run on a side does not show how much runs differ. The ratio then has an interval
//! from the spread within the runs (the two intervals joined by MOVER on the logarithm, Zou and Donner
//! 2008), labelled so, and the outcome stays inconclusive.
//!
//! Runs of the two systems should alternate, so that a drift of the machine affects both; the comparison records
//! whether they did.

use serde::{Deserialize, Serialize};

use super::Results;
use crate::figures::{Cell, Figures};
use crate::format::labelled;
use crate::plan::difference::describe_first_difference;
use crate::plan::{CellSpec, Overall, Plan};
use crate::stats::repeats::{RUNS_PUBLISHED, mean_over_runs};
use crate::stats::student::critical;
use crate::stats::{Interval, PercentileFigure, Spread, Welch};

/// Level of each one-sided test.
const TAIL: f64 = 0.025;
/// Power at which the smallest detectable change is computed.
const POWER: f64 = 0.8;

/// A comparison of two systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Change that is tolerated, as a share: 0.02 for 2 %.
    pub margin: f64,
    /// The worst outcome of all changes; non-inferior only if all are.
    pub outcome: ComparisonOutcome,
    /// Whether every cell has enough runs on both sides to publish it.
    pub publishable: bool,
    /// Whether the runs of the two systems alternate, judged by the starts of their results.
    pub interleaved: bool,
    /// One per cell and metric that either side has; empty if no cell was run on both sides.
    pub changes: Vec<Change>,
    /// Differences in machine or plan between the sides, each a clause.
    pub differences: Vec<String>,
}

/// The outcome of a comparison or of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonOutcome {
    /// Shown to be no worse than the margin allows.
    NonInferior,
    /// Neither is shown.
    Inconclusive,
    /// Shown to be worse than the margin allows.
    Regression,
}

labelled! {
    /// A compared figure.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Metric {
        /// Median latency over all requests, a failure being one that never ends.
        LatencyP50 = "p50 of latency",
        /// Its 95th percentile.
        LatencyP95 = "p95 of latency",
        /// Tokens per second.
        TokensPerSecond = "tokens per second",
    }
}

impl Metric {
    const ALL: [Metric; 3] = [Metric::LatencyP50, Metric::LatencyP95, Metric::TokensPerSecond];

    /// Returns a figure that is worse the larger it is: infinite if too many requests failed to reach it, `None` if the
    /// sample is too small.
    fn cost(self, figures: &Figures) -> Option<f64> {
        let latency = |spread: &Spread, of: fn(&Spread) -> PercentileFigure| match of(spread) {
            PercentileFigure::NotReached => Some(f64::INFINITY),
            shown => shown.exactly().filter(|&ms| ms > 0.0),
        };
        match self {
            Metric::LatencyP50 => latency(&figures.latency_over_all, |spread| spread.p50.shown),
            Metric::LatencyP95 => latency(&figures.latency_over_all, |spread| spread.p95.shown),
            Metric::TokensPerSecond => Some(1.0 / figures.tokens_per_second),
        }
    }

    /// Returns the interval of that figure within its run; a throughput has none.
    fn within_run(self, figures: &Figures) -> Interval {
        match self {
            Metric::LatencyP50 => figures.latency_over_all.p50.interval_ms,
            Metric::LatencyP95 => figures.latency_over_all.p95.interval_ms,
            Metric::TokensPerSecond => Interval::default(),
        }
    }
}

/// One metric of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The cell in words.
    pub cell: String,
    /// The metric.
    pub metric: Metric,
    /// The cost after over the cost before.
    #[serde(flatten)]
    pub cost: CostRatio,
    /// The outcome.
    pub outcome: ComparisonOutcome,
}

/// The cost of the second system over that of the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CostRatio {
    /// Runs of the first and of the second system.
    pub runs: (usize, usize),
    /// Cost of the second over that of the first: 1.05 is 5 % slower, whatever the metric. Absent where
    /// a run has no finite figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Its 95 % interval.
    pub interval: Interval,
    /// Whether a side has a single run, so that the interval excludes the difference between runs.
    pub within_run: bool,
    /// One-sided p of "the ratio is within the margin", or of "no larger share of requests fails" where
    /// only the second system fails too many for the latency to be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// The smallest true ratio that would have been called a regression in four of five comparisons,
    /// before the correction for several cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detectable_ratio: Option<f64>,
}

impl CostRatio {
    /// Creates a ratio that shows nothing.
    fn unknown(runs: (usize, usize)) -> CostRatio {
        CostRatio {
            runs,
            ratio: None,
            interval: Interval::default(),
            within_run: false,
            p: None,
            detectable_ratio: None,
        }
    }
}

/// Compares the costs (the larger the worse) of repeated runs of two systems.
pub fn compare_runs(before: &[f64], after: &[f64], margin: f64) -> CostRatio {
    let none = CostRatio::unknown((before.len(), after.len()));
    let Some(welch) = Welch::of_logarithms(before, after) else { return none };
    let (ratio, interval) = welch.ratio();
    let seen = (critical(TAIL, welch.degrees) + critical(1.0 - POWER, welch.degrees)) * welch.error;
    CostRatio {
        ratio: Some(ratio),
        interval,
        p: Some(welch.p((1.0 + margin).ln())),
        detectable_ratio: Some((1.0 + margin) * seen.exp()),
        ..none
    }
}

/// Tests whether a larger share of the second system's requests fails, with the run as the unit: for a latency
/// that only the second system fails too many requests to reach.
fn compare_failures(before: &[&Figures], after: &[&Figures]) -> CostRatio {
    let shares = |runs: &[&Figures]| -> Vec<f64> {
        runs.iter().filter_map(|run| Some(1.0 - run.success_rate()?)).collect()
    };
    let (first, second) = (shares(before), shares(after));
    let p = (first.len().min(second.len()) >= 2).then(|| Welch::of(&first, &second).p(0.0));
    CostRatio { p, ..CostRatio::unknown((before.len(), after.len())) }
}

/// Compares costs where a side has a single run: each side's cost with its interval, joined by MOVER. The
/// ratio has no p, so it shows nothing.
fn compare_single(metric: Metric, before: &[&Figures], after: &[&Figures]) -> Option<CostRatio> {
    let side = |runs: &[&Figures]| -> Option<(f64, Interval)> {
        let costs: Vec<f64> = runs.iter().map(|run| metric.cost(run)).collect::<Option<_>>()?;
        match (mean_over_runs(&costs), runs) {
            (Some(over), _) => Some((over.mean, over.interval)),
            (None, [run]) => Some((costs[0], metric.within_run(run))),
            (None, _) => None,
        }
    };
    let ((first, of_first), (second, of_second)) = (side(before)?, side(after)?);
    let ratio = second / first;
    if !(ratio > 0.0 && ratio.is_finite()) {
        return None;
    }
    let apart = |one: f64, end: Option<f64>| end.map(|end| (end / one).ln().powi(2));
    let joined = |one: Option<f64>, other: Option<f64>| Some((one? + other?).sqrt());
    let down = joined(apart(first, of_first.high), apart(second, of_second.low));
    let up = joined(apart(second, of_second.high), apart(first, of_first.low));
    Some(CostRatio {
        ratio: Some(ratio),
        interval: Interval {
            low: down.map(|down| ratio * (-down).exp()),
            high: up.map(|up| ratio * up.exp()),
        },
        within_run: true,
        ..CostRatio::unknown((before.len(), after.len()))
    })
}

/// Returns which of several hypotheses with these p are rejected together at `level`, by Holm's method.
fn holm(p: &[Option<f64>], level: f64) -> Vec<bool> {
    let mut order: Vec<(f64, usize)> =
        p.iter().enumerate().filter_map(|(index, p)| Some(((*p)?, index))).collect();
    order.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut rejected = vec![false; p.len()];
    for (done, &(p, index)) in order.iter().enumerate() {
        if p > level / (order.len() - done) as f64 {
            break;
        }
        rejected[index] = true;
    }
    rejected
}

/// Compares the runs of two systems, `margin` (0.02 for 2 %) being tolerated. Each side is one
/// or more results; every run of a cell in them counts, but for the repeat that shows drift.
pub fn compare(before: &[&Results], after: &[&Results], margin: f64) -> Comparison {
    let mut found = Vec::new();
    let mut in_common = false;
    for (spec, label) in specs(before, after) {
        let (before_runs, after_runs) = (runs(before, &spec), runs(after, &spec));
        in_common |= !before_runs.is_empty() && !after_runs.is_empty();
        for metric in Metric::ALL {
            let cost = compare_cell(metric, &before_runs, &after_runs, margin);
            found.extend(cost.map(|cost| (label.clone(), metric, cost)));
        }
    }
    if !in_common {
        found.clear();
    }
    let p: Vec<Option<f64>> = found.iter().map(|(_, _, cost)| cost.p).collect();
    let changes: Vec<Change> = found
        .into_iter()
        .zip(holm(&p, TAIL))
        .map(|((cell, metric, cost), rejected)| {
            let inside =
                !cost.within_run && cost.interval.high.is_some_and(|high| high <= 1.0 + margin);
            let outcome = match (rejected, inside) {
                (true, _) => ComparisonOutcome::Regression,
                (false, true) => ComparisonOutcome::NonInferior,
                (false, false) => ComparisonOutcome::Inconclusive,
            };
            Change { cell, metric, cost, outcome }
        })
        .collect();
    let enough = |change: &Change| change.cost.runs.0.min(change.cost.runs.1) >= RUNS_PUBLISHED;
    Comparison {
        margin,
        outcome: changes.iter().map(|c| c.outcome).max().unwrap_or(ComparisonOutcome::Inconclusive),
        publishable: !changes.is_empty() && changes.iter().all(enough),
        interleaved: interleaved(before, after),
        differences: differences(before, after),
        changes,
    }
}

/// Compares one metric of one cell; `None` if no run on either side has it. If some run lacks it, nothing
/// is shown, and `runs` counts the others.
fn compare_cell(
    metric: Metric,
    before: &[&Figures],
    after: &[&Figures],
    margin: f64,
) -> Option<CostRatio> {
    let costs_of = |runs: &[&Figures]| -> Vec<f64> {
        runs.iter().filter_map(|run| metric.cost(run)).collect()
    };
    let (first, second) = (costs_of(before), costs_of(after));
    let unknown = CostRatio::unknown((first.len(), second.len()));
    if first.is_empty() && second.is_empty() {
        return None;
    }
    if first.is_empty() || second.is_empty() || unknown.runs != (before.len(), after.len()) {
        return Some(unknown);
    }
    if first.len().min(second.len()) < 2 {
        return Some(compare_single(metric, before, after).unwrap_or(unknown));
    }
    let broke = unreached(&second) && !unreached(&first);
    Some(if broke {
        compare_failures(before, after)
    } else {
        compare_runs(&first, &second, margin)
    })
}

/// Returns whether most runs did not reach the figure, because too many of their requests failed.
fn unreached(costs: &[f64]) -> bool {
    2 * costs.iter().filter(|cost| cost.is_infinite()).count() > costs.len()
}

/// Returns the figures of a cell's runs, without the repeat that shows drift.
fn runs<'a>(side: &[&'a Results], spec: &CellSpec) -> Vec<&'a Figures> {
    let cells = side.iter().flat_map(|results| &results.cells);
    let runs = cells.filter(|cell| cell.repeats.is_none() && cell.spec == *spec);
    runs.filter_map(Cell::figures).collect()
}

/// Lists the cells of either side, each once, in the order of the first results.
fn specs(before: &[&Results], after: &[&Results]) -> Vec<(CellSpec, String)> {
    let mut specs: Vec<(CellSpec, String)> = Vec::new();
    for cell in before.iter().chain(after).flat_map(|results| &results.cells) {
        if !specs.iter().any(|(spec, _)| *spec == cell.spec) {
            specs.push((cell.spec.clone(), cell.spec.label()));
        }
    }
    specs
}

/// Returns whether a run of one system began between runs of the other. Starts are in ISO 8601, all UTC, so
/// their order is that of their text.
fn interleaved(before: &[&Results], after: &[&Results]) -> bool {
    let starts = |side: &[&Results]| {
        let starts = side.iter().map(|results| results.started_at.clone());
        Some((starts.clone().min()?, starts.max()?))
    };
    match (starts(before), starts(after)) {
        (Some((first, last)), Some((other_first, other_last))) => {
            first < other_last && other_first < last
        }
        _ => false,
    }
}

/// Lists the differences in machine and plan between the two sides.
fn differences(before: &[&Results], after: &[&Results]) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, of: &dyn Fn(&Results) -> String| {
        let mut seen: Vec<String> = before.iter().chain(after).map(|results| of(results)).collect();
        seen.sort();
        seen.dedup();
        if seen.len() > 1 {
            let named =
                |value: &String| if value.is_empty() { "unknown".into() } else { value.clone() };
            let seen: Vec<String> = seen.iter().map(named).collect();
            found.push(format!("{what} differs: {}", seen.join(" and ")));
        }
    };
    check("the device", &|results| results.target.device.clone());
    check("the generator's processor", &|results| results.machine.cpu.clone());
    if let [first, ..] = before {
        let mut all = before.iter().chain(after);
        found.extend(all.find_map(|other| {
            let fields = (load_of(&first.plan), load_of(&other.plan));
            Some(format!("the plan differs: {}", describe_first_difference(&fields.0, &fields.1)?))
        }));
    }
    found
}

/// Returns the parts of a plan that decide the load, without its name and its limits.
fn load_of(plan: &Plan) -> Plan {
    Plan {
        name: String::new(),
        description: String::new(),
        repeats: 1,
        repeat_first: false,
        bars: Vec::new(),
        overall: Overall::default(),
        edge: None,
        ..plan.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_welchs() {
        // Logarithms 0 to 4 and 1, 2, 3: means 2 and 2, variances 2.5 and 1.
        let exp = |logs: &[f64]| logs.iter().map(|log| log.exp()).collect::<Vec<f64>>();
        let cost = compare_runs(&exp(&[0.0, 1.0, 2.0, 3.0, 4.0]), &exp(&[1.0, 2.0, 3.0]), 0.0);
        // Standard error sqrt(1/2 + 1/3); 5.88 degrees of freedom, of which 5 are counted.
        let half = 2.570_58 * (5.0f64 / 6.0).sqrt();
        assert!((cost.ratio.expect("ratio") - 1.0).abs() < 1e-9);
        assert!((cost.interval.high.expect("high").ln() - half).abs() < 1e-4, "{cost:?}");
        assert!((cost.p.expect("p") - 0.5).abs() < 1e-9);
    }

    #[test]
    fn holm_stops_at_the_first_that_is_not_rejected() {
        let p = [Some(0.01), Some(0.04), None, Some(0.03), Some(0.005)];
        assert_eq!(holm(&p, 0.05), [true, false, false, false, true]);
        assert_eq!(holm(&[Some(0.02)], 0.025), [true]);
    }

    #[test]
    fn too_few_runs_show_nothing() {
        let cost = compare_runs(&[1.0, 1.0], &[2.0], 0.02);
        assert_eq!((cost.ratio, cost.p, cost.detectable_ratio), (None, None, None));
        let same = compare_runs(&[1.0, 1.0], &[1.5, 1.5], 0.02);
        assert_eq!((same.p, same.interval.low), (Some(0.0), same.ratio));
    }
}
