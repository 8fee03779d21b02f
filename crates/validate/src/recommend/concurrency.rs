//! The concurrency limit: the highest measured concurrency that keeps the limits of the plan, with all lower ones.
//!
//! A concurrency keeps its limits if the verdicts on them pass ([`judge_load`]): the rule of the report's verdicts is
//! the rule of this advice. Its limit on the p95 is the goal of the user, else that of its own bar, else that of the
//! nearest bar at the same length. Nothing is interpolated: what happens between two measured concurrencies is not
//! known.

use crate::figures::estimate::MatrixPosition;
use crate::format::{count, percent, percent_limit, rate, time, time_limit, tokens};
use crate::results::Results;
use crate::stats::Interval;
use crate::verdict::{Criterion, Outcome, Verdict, judge_load};

use super::Goal;
use crate::results::recommendation::{AdviceFigure, Recommendation, Setting, Support, Topic, Unit};

/// A measured concurrency, judged.
struct Judged<'a> {
    position: MatrixPosition<'a>,
    /// The limit on its p95, and where the limit comes from.
    target_ms: f64,
    target_source: String,
    /// Whether the limit is meant for this concurrency, not taken from a bar at another.
    is_own_target: bool,
    /// The first limit that is not shown to be kept; `None` if all are.
    obstacle: Option<Verdict>,
}

/// The limit for one length.
struct Limit<'a> {
    tokens: usize,
    /// The highest concurrency that keeps its limits, with all lower ones.
    highest: Option<Judged<'a>>,
    /// The first concurrency that does not.
    next: Option<Judged<'a>>,
    /// The highest concurrency above it that keeps limits of its own.
    beyond: Option<usize>,
}

/// Returns one recommendation per length that has a target; the smallest limit becomes the setting.
pub(super) fn advise(results: &Results, goal: Goal) -> Vec<Recommendation> {
    let limits = limits(results, goal);
    if limits.is_empty() {
        return vec![Recommendation::missing(
            Topic::Concurrency,
            "No cell of a fixed length under a closed loop has a p95 target: give the plan a bar with \
             latency_seconds_p95_max, or pass --p95-target.",
        )];
    }
    let with_capacity = |limit: &Limit<'_>| {
        let mut advice = limit.advise();
        advice.evidence.extend(capacity_evidence(results, limit.tokens));
        advice
    };
    let mut all: Vec<Recommendation> = limits.iter().map(with_capacity).collect();
    // A limit that ends at a small sample would throttle a server for want of data.
    let clients: Option<Vec<usize>> = limits.iter().map(Limit::shown_clients).collect();
    let smallest = clients.iter().flatten().enumerate().min_by_key(|(_, clients)| **clients);
    if let Some((index, &clients)) = smallest {
        let short =
            |limit: &Limit<'_>| format!("{} tokens: {}", tokens(limit.tokens), limit.clients());
        let each: Vec<String> = limits.iter().map(short).collect();
        let comment = format!("The smallest limit over all lengths ({}).", each.join("; "));
        let setting = Setting::number("max_concurrent_requests", clients as u64, comment);
        all[index].settings.push(setting);
    }
    all
}

/// Returns what a capacity model that was published says about a length; the limit does not depend on it.
fn capacity_evidence(results: &Results, length: usize) -> Option<String> {
    let model = results.analysis.capacity.as_ref()?.model.as_ref()?;
    let found = model.lengths.iter().find(|found| found.tokens == length)?;
    let point = found.saturation.as_ref().or(found.points.last())?;
    let (clients, rate) = (point.concurrency, rate(point.requests_per_second));
    let p50 = time(point.latency_ms_p50);
    Some(match found.saturation {
        Some(_) => format!(
            "By the capacity model, throughput is saturated from C = {clients} on: {rate} requests/s with a median latency \
             of {p50}; more clients mainly wait longer."
        ),
        None => format!(
            "By the capacity model, throughput still grows at C = {clients}: {rate} requests/s with a median latency of {p50}."
        ),
    })
}

fn limits(results: &Results, goal: Goal) -> Vec<Limit<'_>> {
    let positions = results.matrix_positions();
    let by_length = positions.chunk_by(|one, next| one.tokens == next.tokens);
    by_length.filter_map(|same| limit_of_length(results, goal, same)).collect()
}

/// Finds the limit for the concurrencies of one length; `None` without a limit on their p95.
fn limit_of_length<'a>(
    results: &Results,
    goal: Goal,
    same: &[MatrixPosition<'a>],
) -> Option<Limit<'a>> {
    let judged: Option<Vec<Judged<'a>>> =
        same.iter().map(|position| judge(results, goal, position.clone())).collect();
    let mut judged = judged?.into_iter().peekable();
    let mut highest = None;
    while let Some(kept) = judged.next_if(|one| one.obstacle.is_none()) {
        highest = Some(kept);
    }
    let next = judged.next();
    let beyond = judged.rfind(|one| one.is_own_target && one.obstacle.is_none());
    let beyond = beyond.map(|one| one.position.concurrency);
    Some(Limit { tokens: same.first()?.tokens, highest, next, beyond })
}

/// Judges one concurrency; `None` if there is no limit on its p95.
fn judge<'a>(results: &Results, goal: Goal, position: MatrixPosition<'a>) -> Option<Judged<'a>> {
    let requested = goal.p95_target_ms.map(|ms| (ms, position.concurrency));
    let of_plan = || plan_limit(results, position.tokens, position.concurrency);
    let (target_ms, of_concurrency) = requested.or_else(of_plan)?;
    let is_own_target = of_concurrency == position.concurrency;
    let target_source = match (goal.p95_target_ms, is_own_target) {
        (Some(_), _) => "as requested".to_owned(),
        (None, true) => "the plan's limit".to_owned(),
        (None, false) => format!("the plan's limit at C = {of_concurrency}"),
    };
    let spec = &position.cells.first()?.0.spec;
    let verdicts = judge_load(&results.plan, &results.cells, spec, target_ms);
    // What is missed says more than what is not shown.
    let obstacles = verdicts.into_iter().filter(|verdict| verdict.outcome != Outcome::Pass);
    let obstacle = obstacles.min_by_key(|verdict| verdict.outcome != Outcome::Fail);
    Some(Judged { position, target_ms, target_source, is_own_target, obstacle })
}

/// Returns the plan's limit on the p95 of a concurrency in milliseconds, and the concurrency of the bar that it is
/// from: its own, else the next higher with one, else the next lower.
fn plan_limit(results: &Results, tokens: usize, concurrency: usize) -> Option<(f64, usize)> {
    let bars = results.plan.bars.iter().filter(|bar| bar.tokens == Some(tokens));
    let limits =
        bars.filter_map(|bar| Some((bar.latency_seconds_p95_max? * 1e3, bar.concurrency?)));
    limits.min_by(|(one_limit, one), (other_limit, other)| {
        let rank = |at: usize| (at < concurrency, at.abs_diff(concurrency));
        rank(*one).cmp(&rank(*other)).then(one_limit.total_cmp(other_limit))
    })
}

impl Judged<'_> {
    /// Returns whether one of its limits is shown to be missed.
    fn is_missed(&self) -> bool {
        self.obstacle.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::Fail)
    }

    /// Returns the limit that is not kept, with its figure.
    fn describe_obstacle(&self) -> String {
        let Some(verdict) = &self.obstacle else { return String::new() };
        let unit = |figure: f64| match verdict.criterion {
            Criterion::SuccessRate => percent(figure),
            Criterion::LatencyP95 => time(figure),
            _ => format!("{figure:.2}"),
        };
        let limit = match verdict.criterion {
            Criterion::SuccessRate => format!("at least {}", percent_limit(verdict.limit)),
            Criterion::LatencyP95 => format!("at most {}", time_limit(verdict.limit)),
            _ => format!("at most {}", verdict.limit),
        };
        let figure = verdict.figure.map_or("unknown".to_owned(), unit);
        let label = verdict.criterion.label();
        let reason = match verdict.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        format!("its {label} is {figure}, the limit {limit}{reason}")
    }

    /// Prints `1.2 s at C = 50 (1.1 s to 1.3 s, within run; limit 2 s, the plan's limit)`.
    fn p95(&self) -> String {
        let estimate = self.position.percentile(|figures| &figures.latency.p95);
        let value = estimate.value.map_or("not shown".to_owned(), time);
        let interval = match estimate.interval {
            Interval { low: None, high: None } => String::new(),
            Interval { low, high } => {
                let [low, high] = [low, high].map(|end| end.map_or("?".to_owned(), time));
                format!("{low} to {high}, {}; ", estimate.basis.label())
            }
        };
        let (target, source) = (time_limit(self.target_ms), &self.target_source);
        format!("{value} at C = {} ({interval}limit {target}, {source})", self.position.concurrency)
    }
}

impl Limit<'_> {
    fn clients(&self) -> usize {
        self.highest.as_ref().map_or(0, |highest| highest.position.concurrency)
    }

    /// Returns the limit, unless only the size of a sample ends it.
    fn shown_clients(&self) -> Option<usize> {
        let ends_early = self.next.as_ref().is_some_and(|next| !next.is_missed());
        self.highest.as_ref().filter(|_| !ends_early).map(|highest| highest.position.concurrency)
    }

    fn advise(&self) -> Recommendation {
        let missed = self.next.as_ref().filter(|next| next.is_missed());
        let (support, mut advice) = self.headline(missed);
        if let (Some(beyond), Some(next), true) =
            (self.beyond, &self.next, support != Support::Missing)
        {
            let next = next.position.concurrency;
            advice += &format!(
                " C = {beyond} keeps its own limits, but a limit there would also allow C = {next}, which is not shown \
                 to keep its."
            );
        }
        let mut recommendation = Recommendation::new(Topic::Concurrency, support, advice);
        recommendation.tokens = Some(self.tokens);
        recommendation.missing = self.missing();
        let compared: Vec<String> =
            self.highest.iter().chain(&self.next).map(Judged::p95).collect();
        recommendation.evidence = vec![format!("p95 latency: {}.", compared.join(", "))];
        recommendation.evidence.extend(missed.map(|next| {
            format!(
                "C = {} misses a limit: {}.",
                next.position.concurrency,
                next.describe_obstacle()
            )
        }));
        recommendation.figure = self.highest.as_ref().map(|highest| AdviceFigure {
            value: highest.position.concurrency as f64,
            interval: Interval {
                low: Some(highest.position.concurrency as f64),
                high: missed.map(|next| next.position.concurrency as f64),
            },
            unit: Unit::Requests,
            basis: highest.position.percentile(|figures| &figures.latency.p95).basis.label(),
        });
        recommendation
    }

    fn headline(&self, missed: Option<&Judged<'_>>) -> (Support, String) {
        let length = count(self.tokens);
        match (&self.highest, missed) {
            (None, Some(first)) if self.beyond.is_some() => (
                Support::Shown,
                format!(
                    "No limit on {length}-token requests in flight is advised: C = {} does not keep p95 latency \
                     within {} with nearly all requests answered.",
                    first.position.concurrency,
                    time_limit(first.target_ms)
                ),
            ),
            (None, Some(first)) => (
                Support::Shown,
                format!(
                    "No measured concurrency keeps the limits on {length}-token requests; C = {} does not keep p95 \
                     latency within {} with nearly all requests answered. Use a faster device, shorter texts, or a \
                     longer target.",
                    first.position.concurrency,
                    time_limit(first.target_ms)
                ),
            ),
            (None, None) => (Support::Missing, "No advice.".to_owned()),
            (Some(highest), Some(_)) => (
                Support::Shown,
                format!(
                    "Limit {length}-token requests to {} in flight: the highest measured concurrency that keeps p95 \
                     latency within {}.",
                    highest.position.concurrency,
                    time_limit(highest.target_ms)
                ),
            ),
            (Some(highest), None) => (
                Support::Partly,
                format!(
                    "{} in flight is shown to keep p95 latency of {length}-token requests within {}; the limit may be \
                     higher.",
                    highest.position.concurrency,
                    time_limit(highest.target_ms)
                ),
            ),
        }
    }

    /// Returns what a plan would have to measure for a firmer limit.
    fn missing(&self) -> Option<String> {
        match &self.next {
            None => Some(format!(
                "C = {} is the highest concurrency that was measured, and it keeps its limits. Add a higher \
                 concurrency to the plan.",
                self.clients()
            )),
            Some(next) if !next.is_missed() => Some(format!(
                "C = {} is not shown to keep its limits: {}. Measure more requests there.",
                next.position.concurrency,
                next.describe_obstacle()
            )),
            Some(_) => None,
        }
    }
}
