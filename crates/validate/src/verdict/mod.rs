//! Verdicts: compares each limit of the plan with what was measured.
//!
//! A limit passes if the whole 95 % interval of its figure is within the limit, and fails if the whole
//! interval is beyond it. If the interval contains the limit, or the sample is too small for the figure,
//! the verdict is "not shown". A cell that was not run has the verdict "not run".
//!
//! For a cell with several runs, p95 and tail ratio are judged by their intervals over the runs; successes
//! are pooled. Ratios to a baseline are in `ratio.rs`. Limits over the whole run (`whole_run.rs`) follow those of the cells. Figures are not
//! computed here but in [`crate::figures`]; advice is in [`crate::recommend`].

mod ratio;
mod tail;
mod whole_run;

use serde::{Deserialize, Serialize};

pub(crate) use whole_run::{limits_tail_ratio, tail_ratios};

use crate::analysis::MemoryFindings;
use crate::figures::published::{percentile_over_runs, runs};
use crate::figures::{Cell, Figures, Status};
use crate::format::labelled;
use crate::plan::{Bar, CellSpec, Plan};
use crate::stats::{Interval, PercentileFigure, TrialUnit, Trials, interval::wilson};

labelled! {
    /// The outcome of a limit.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Outcome {
        /// The limit is met.
        Pass = "pass",
        /// The sample shows neither that the limit is met nor that it is missed.
        NotShown = "not shown",
        /// The cell was not run.
        NotRun = "not run",
        /// The limit is missed.
        Fail = "fail",
    }
}

labelled! {
    /// The quantity that a limit is for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Criterion {
        /// Share of successful requests, 0 to 1.
        SuccessRate = "success",
        /// 95th percentile of latency over the successes, in milliseconds.
        LatencyP95 = "p95 latency",
        /// p99 / p50 of latency over the successes.
        TailRatio = "p99 / p50",
        /// Median of latency over that of the baseline, both over the successes.
        LatencyP50Ratio = "p50 / baseline",
        /// p99 of latency over that of the baseline, both over the successes.
        LatencyP99Ratio = "p99 / baseline",
        /// Greatest fragmentation of the target's arena, 0 to 1.
        Fragmentation = "fragmentation",
        /// Greatest device memory of the target, in bytes.
        DeviceMemory = "device memory",
        /// Growth of memory in bytes per cell; the limit is the growth that counts as none for the quantity
        /// that is judged.
        Leak = "growth per cell",
    }
}

/// One limit with its figure and outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The cell; `None` for a limit over the whole run.
    #[serde(flatten)]
    pub spec: Option<CellSpec>,
    /// The quantity that is limited.
    pub criterion: Criterion,
    /// The cell that a ratio compares with, as reports name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The limit, in the criterion's unit.
    pub limit: f64,
    /// The figure, in the criterion's unit; `None` if it could not be computed.
    pub figure: Option<f64>,
    /// Whether the figure is a lower bound, because the sample supports no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// The 95 % interval of the figure.
    pub interval: Interval,
    /// The size of the sample behind the interval.
    pub trials: Option<Trials>,
    /// The outcome.
    pub outcome: Outcome,
    /// The cause in one clause, unless the figures show it; empty otherwise.
    pub reason: String,
}

impl Verdict {
    /// Creates the verdict of a limit whose cell was not run.
    fn not_run(spec: Option<CellSpec>, criterion: Criterion, limit: f64) -> Verdict {
        Verdict {
            spec,
            criterion,
            baseline: None,
            limit,
            figure: None,
            at_least: false,
            interval: Interval::default(),
            trials: None,
            outcome: Outcome::NotRun,
            reason: String::new(),
        }
    }
}

/// The numbers of verdicts by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conclusion {
    /// Limits met.
    pub passed: usize,
    /// Limits not met.
    pub failed: usize,
    /// Limits that are not shown to be met or missed.
    pub not_shown: usize,
    /// Limits of cells that were not run.
    pub not_run: usize,
}

impl Conclusion {
    /// Counts `verdicts`.
    pub fn of(verdicts: &[Verdict]) -> Conclusion {
        let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
        Conclusion {
            passed: count(Outcome::Pass),
            failed: count(Outcome::Fail),
            not_shown: count(Outcome::NotShown),
            not_run: count(Outcome::NotRun),
        }
    }

    /// Returns the number of all limits.
    pub fn total(&self) -> usize {
        self.passed + self.failed + self.not_shown + self.not_run
    }

    /// Returns the worst outcome; `None` if the plan has no limits.
    pub fn outcome(&self) -> Option<Outcome> {
        let order = [
            (self.failed, Outcome::Fail),
            (self.not_run, Outcome::NotRun),
            (self.not_shown, Outcome::NotShown),
            (self.passed, Outcome::Pass),
        ];
        order.into_iter().find(|(count, _)| *count > 0).map(|(_, outcome)| outcome)
    }
}

/// Judges every limit of the plan, in the plan's order. The repeat of the first cell is not judged.
pub(crate) fn judge(plan: &Plan, cells: &[Cell], memory: &MemoryFindings) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for bar in &plan.bars {
        let Some(spec) = plan.cell_of(bar) else { continue };
        let of_spec: Vec<&Cell> = runs(&spec, cells).collect();
        let own = limits(bar)
            .map(|(criterion, limit)| judge_cell(spec.clone(), criterion, limit, &of_spec));
        let mut of_bar: Vec<Verdict> = own.collect();
        if let Some(baseline) = plan.baseline_of(bar) {
            let of_baseline: Vec<&Cell> = runs(&baseline, cells).collect();
            of_bar.extend(ratio::judge(bar, &spec, &of_spec, &baseline, &of_baseline));
        }
        of_bar.iter_mut().for_each(|verdict| require_company(verdict, &of_spec, cells));
        verdicts.extend(of_bar);
    }
    verdicts.extend(whole_run::judge(plan, cells, memory));
    verdicts
}

/// The share of requests that must succeed at a load that is advised, where no bar limits it: below it, no p95 over
/// all requests exists, and a server could meet any latency by refusing requests.
const SUCCESS_RATE_MIN: f64 = 0.95;

/// Judges one load for the recommendations, by the rules of the plan's own limits, so that advice and verdicts cannot
/// disagree: the limits of its bars, with `p95_ms_max` as the limit on its p95, and [`SUCCESS_RATE_MIN`] where no bar
/// limits its successes.
pub(crate) fn judge_load(
    plan: &Plan,
    cells: &[Cell],
    spec: &CellSpec,
    p95_ms_max: f64,
) -> Vec<Verdict> {
    let bars = plan.bars.iter().filter(|bar| plan.cell_of(bar).as_ref() == Some(spec));
    let own: Vec<(Criterion, f64)> = bars.flat_map(limits).collect();
    let mut limits = vec![(Criterion::LatencyP95, p95_ms_max)];
    limits.extend(own.iter().filter(|(criterion, _)| *criterion != Criterion::LatencyP95));
    if own.iter().all(|(criterion, _)| *criterion != Criterion::SuccessRate) {
        limits.push((Criterion::SuccessRate, SUCCESS_RATE_MIN));
    }
    let runs: Vec<&Cell> = runs(spec, cells).collect();
    let judged = limits.into_iter();
    judged.map(|(criterion, limit)| judge_cell(spec.clone(), criterion, limit, &runs)).collect()
}

fn limits(bar: &Bar) -> impl Iterator<Item = (Criterion, f64)> {
    let success = bar.success_rate_min.map(|rate| (Criterion::SuccessRate, rate));
    let latency = bar.latency_seconds_p95_max.map(|seconds| (Criterion::LatencyP95, seconds * 1e3));
    let tail = bar.tail_ratio_max.map(|ratio| (Criterion::TailRatio, ratio));
    success.into_iter().chain(latency).chain(tail)
}

/// Judges one limit by the figures of a cell's runs.
fn judge_cell(spec: CellSpec, criterion: Criterion, limit: f64, runs: &[&Cell]) -> Verdict {
    let mut verdict = Verdict::not_run(Some(spec), criterion, limit);
    let measured: Vec<&Figures> = runs.iter().filter_map(|cell| cell.figures()).collect();
    match (measured.as_slice(), criterion) {
        ([], _) => verdict.reason = reason_not_run(runs),
        (figures, Criterion::SuccessRate) => judge_success(&mut verdict, figures),
        (figures, Criterion::TailRatio) => tail::judge(&mut verdict, figures),
        ([figures], _) => judge_latency(&mut verdict, figures),
        (figures, _) => judge_latency_over_runs(&mut verdict, figures),
    }
    require_all_runs(&mut verdict, runs);
    verdict
}

/// Takes back a pass of a class beside which another class was not answered once: it did not share the target.
fn require_company(verdict: &mut Verdict, runs: &[&Cell], cells: &[Cell]) {
    let beside =
        |run: &&Cell| cells.iter().find(|cell| cell.runs_beside(run) && cell.answered() == 0);
    if let (Outcome::Pass, Some(other)) = (verdict.outcome, runs.iter().find_map(beside)) {
        let name = other.spec.class.as_deref().unwrap_or_default();
        verdict.outcome = Outcome::NotShown;
        verdict.reason = format!("no request of the class {name:?} beside it was answered");
    }
}

/// Returns why none of the runs has figures.
fn reason_not_run(runs: &[&Cell]) -> String {
    match runs.first().map(|cell| &cell.status) {
        Some(Status::NotRun { reason }) => reason.clone(),
        _ => "the run ended before this cell".into(),
    }
}

/// Takes back a pass if some runs were not run.
fn require_all_runs(verdict: &mut Verdict, runs: &[&Cell]) {
    let lacking = runs.iter().filter(|cell| cell.figures().is_none()).count();
    if lacking > 0 && verdict.outcome == Outcome::Pass {
        verdict.outcome = Outcome::NotShown;
        let were = if lacking == 1 { "was" } else { "were" };
        verdict.reason = format!("{lacking} of {} runs {were} not run", runs.len());
    }
}

/// Judges an upper limit by the verdict's interval; `more` names the units that would narrow it.
fn judge_upper_limit(verdict: &mut Verdict, more: &str) {
    verdict.outcome = if verdict.interval.low.is_some_and(|low| low > verdict.limit) {
        Outcome::Fail
    } else if verdict.interval.high.is_some_and(|high| high <= verdict.limit) {
        Outcome::Pass
    } else {
        verdict.reason = format!("the interval contains the limit; more {more} would narrow it");
        Outcome::NotShown
    };
}

/// Judges the success rate, over the trials of all runs together.
fn judge_success(verdict: &mut Verdict, runs: &[&Figures]) {
    let sum = |of: fn(&Figures) -> usize| runs.iter().map(|figures| of(figures)).sum::<usize>();
    let (requests, trials) = (sum(|figures| figures.requests), sum(|figures| figures.trials.count));
    let successes = sum(|figures| figures.successes);
    verdict.trials = runs.first().map(|first| Trials { count: trials, unit: first.trials.unit });
    verdict.figure = (requests > 0).then(|| successes as f64 / requests as f64);
    verdict.interval = verdict.figure.and_then(|rate| wilson(rate, trials)).unwrap_or_default();
    if fails_unanswered(verdict, runs) {
        return;
    }
    let interval = verdict.interval;
    verdict.outcome = if interval.low >= Some(verdict.limit) {
        Outcome::Pass
    } else if interval.high < Some(verdict.limit) {
        Outcome::Fail
    } else {
        verdict.reason = "the interval contains the limit; more requests would narrow it".into();
        Outcome::NotShown
    };
}

/// Fails the limit if a run has no answered request, whatever the limit: a target that answers nothing meets none,
/// and a run without a measured request shows nothing else. Fails it too if the target sent clients away for the
/// rest of the cell: those that were left are not the load that the limit is about.
fn fails_unanswered(verdict: &mut Verdict, runs: &[&Figures]) -> bool {
    let one = if runs.len() > 1 { "in one run " } else { "" };
    verdict.reason = if let Some(run) = runs.iter().find(|figures| figures.successes == 0) {
        let what = if run.requests == 0 { "measured" } else { "answered" };
        format!("{one}no request was {what}")
    } else if let Some(run) = runs.iter().find(|figures| figures.stopped_clients > 0) {
        let clients = run.stopped_clients;
        format!(
            "{one}the target told {clients} clients to wait past the end (Retry-After), and only the others were measured"
        )
    } else {
        return false;
    };
    verdict.outcome = Outcome::Fail;
    true
}

fn judge_latency(verdict: &mut Verdict, figures: &Figures) {
    let p95 = &figures.latency.p95;
    let trials = figures.latency.trials;
    verdict.trials = Some(trials);
    verdict.figure = p95.nearest_rank_ms;
    verdict.interval = p95.interval_ms;
    if fails_unanswered(verdict, &[figures]) {
        return;
    }
    judge_upper_limit(verdict, "batches");
    if verdict.interval.high.is_none() && stays_within(figures, verdict.limit) {
        verdict.outcome = Outcome::Pass;
        verdict.reason = format!(
            "the interval has no upper end, but no latency of {} {} exceeds half of the limit",
            trials.count,
            trials.unit.label()
        );
    }
    if !matches!(p95.shown, PercentileFigure::Exactly { .. }) && verdict.outcome != Outcome::Fail {
        verdict.reason =
            format!("a p95 needs 100 {}, this cell has {}", trials.unit.label(), trials.count);
        verdict.outcome = Outcome::NotShown;
    }
}

/// Returns true if no latency exceeds half of the limit and there are enough trials to show from this that
/// 95 % stay within it. If neighbours hardly differ, few effective trials are left and the ranks have no
/// upper end, however far the limit. Effective trials measure dependence around the p95, not around a limit
/// that nothing comes near, so plain trials count here; nearer to the limit only effective trials do.
fn stays_within(figures: &Figures, limit_ms: f64) -> bool {
    let none_beyond = figures.latency.max_ms.is_some_and(|most| 2.0 * most <= limit_ms);
    let within = wilson(1.0, figures.latency.trials.count).and_then(|interval| interval.low);
    none_beyond && within.is_some_and(|least| least >= 0.95)
}

/// Judges a p95 with the run as the unit.
fn judge_latency_over_runs(verdict: &mut Verdict, runs: &[&Figures]) {
    verdict.trials = Some(Trials { count: runs.len(), unit: TrialUnit::Runs });
    if fails_unanswered(verdict, runs) {
        return;
    }
    let Some(over_runs) = percentile_over_runs(runs, |figures| &figures.latency.p95) else {
        verdict.reason = "not every run has the batches that a p95 needs".into();
        verdict.outcome = Outcome::NotShown;
        return;
    };
    verdict.figure = Some(over_runs.mean);
    verdict.interval = over_runs.interval;
    judge_upper_limit(verdict, "runs");
}
