//! How many requests may be under way at once before p95 latency is beyond a target.
//!
//! In a closed loop latency grows about linearly with the clients once the server is busy (the
//! interactive response time law), so between two measured cells a straight line is drawn; beyond
//! the outermost one nothing is. The limit that is advised is where the upper ends of the p95
//! intervals cross the target; where their lower ends cross it is the end of its interval. The p95
//! is over all requests, so that a server cannot meet it by failing.

use crate::figures::estimate::{Estimate, Place};
use crate::format::{count, time, time_limit, tokens};
use crate::results::Results;
use crate::stats::Interval;

use super::Wanted;
use crate::results::recommendation::{AdviceFigure, Recommendation, Setting, Support, Topic, Unit};

/// What was found for one length.
pub(super) struct Limit<'a> {
    pub(super) tokens: usize,
    pub(super) target_ms: f64,
    target_from: String,
    /// Ascending by concurrency.
    pub(super) places: Vec<Place<'a>>,
    pub(super) found: Found,
}

/// Where the target is crossed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// At so many clients the target is still shown to be met.
    At {
        clients: usize,
        /// Most clients that the lower ends allow; none if they never cross within what was measured.
        high: Option<usize>,
        /// Why not more.
        until: Until,
    },
    /// Not even at the fewest clients.
    Nowhere { clients: usize },
    /// The fewest clients' cell is too small a sample.
    NotShown { clients: usize },
}

/// What ends the range in which the target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The line to the next measured cell crosses the target.
    Crossing { next: usize },
    /// In the next measured cell the p95 is never reached: too many fail.
    Failing { next: usize },
    /// The next measured cell is too small a sample.
    TooFew { next: usize },
    /// No more clients were measured.
    Measured,
}

/// The limit for each length that has a target.
pub(super) fn limits(results: &Results, wanted: Wanted) -> Vec<Limit<'_>> {
    let mut limits = Vec::new();
    for (tokens, places) in by_length(results) {
        let bars = results.plan.bars.iter().filter(|bar| bar.tokens == Some(tokens));
        let strictest = bars
            .filter_map(|bar| bar.latency_seconds_p95_max)
            .min_by(f64::total_cmp)
            .map(|seconds| (seconds * 1e3, "the plan's strictest bar at this length".to_owned()));
        let asked = wanted.p95_target_ms.map(|ms| (ms, "as asked".to_owned()));
        let Some((target_ms, target_from)) = asked.or(strictest) else { continue };
        let found = find(&places, target_ms);
        limits.push(Limit { tokens, target_ms, target_from, places, found });
    }
    limits
}

fn find(places: &[Place<'_>], target_ms: f64) -> Found {
    let points: Vec<Point> = places.iter().map(Point::of).collect();
    let Some(&Point { clients: fewest, estimate: first, .. }) = points.first() else {
        return Found::NotShown { clients: 0 };
    };
    match first.interval.high {
        Some(high) if high <= target_ms => {}
        Some(_) => return Found::Nowhere { clients: fewest },
        None if first.interval.low.is_some_and(|low| low > target_ms) => {
            return Found::Nowhere { clients: fewest };
        }
        None => return Found::NotShown { clients: fewest },
    }
    let (clients, until) = upper(&points, target_ms);
    let lows: Vec<(usize, f64)> = points
        .iter()
        .map_while(|point| Some((point.clients, point.estimate.interval.low?)))
        .collect();
    Found::At { clients, high: crossing(&lows, target_ms), until }
}

/// The p95 at one concurrency.
#[derive(Clone, Copy)]
struct Point {
    clients: usize,
    estimate: Estimate,
    /// Too many requests fail for one to be reached, and the sample shows no lower end either.
    fails: bool,
}

impl Point {
    fn of(place: &Place<'_>) -> Point {
        let estimate = place.p95_over_all_ms();
        let fails = place.p95_is_never_reached() && estimate.interval.low.is_none();
        Point { clients: place.concurrency, estimate, fails }
    }
}

/// Most clients with the upper end still within the target, whose fewest are.
fn upper(points: &[Point], target_ms: f64) -> (usize, Until) {
    let mut last: Option<(usize, f64)> = None;
    for &Point { clients: next, estimate, fails } in points {
        let clients = last.map_or(next, |(clients, _)| clients);
        match (estimate.interval.high, last) {
            (Some(high), _) if high <= target_ms => last = Some((next, high)),
            (Some(high), Some(from)) => {
                return (between(from, (next, high), target_ms), Until::Crossing { next });
            }
            (None, _) if fails => return (clients, Until::Failing { next }),
            (_, _) => return (clients, Until::TooFew { next }),
        }
    }
    (last.map_or(0, |(clients, _)| clients), Until::Measured)
}

/// Where the line through the points first crosses the target.
fn crossing(points: &[(usize, f64)], target_ms: f64) -> Option<usize> {
    let over = points.iter().position(|&(_, ms)| ms > target_ms)?;
    let from = points.get(over.checked_sub(1)?)?;
    Some(between(*from, points[over], target_ms))
}

fn between(from: (usize, f64), to: (usize, f64), target_ms: f64) -> usize {
    let share = (target_ms - from.1) / (to.1 - from.1);
    from.0 + (share * (to.0 - from.0) as f64) as usize
}

/// Measured places of the matrix: (tokens, ascending by concurrency).
fn by_length(results: &Results) -> Vec<(usize, Vec<Place<'_>>)> {
    let mut lengths: Vec<(usize, Vec<Place<'_>>)> = Vec::new();
    for place in results.places() {
        match lengths.last_mut() {
            Some((tokens, places)) if *tokens == place.tokens => places.push(place),
            _ => lengths.push((place.tokens, vec![place])),
        }
    }
    lengths
}

/// An advice for each length; the smallest limit is the one to set.
pub(super) fn advise(limits: &[Limit<'_>]) -> Vec<Recommendation> {
    if limits.is_empty() {
        return vec![Recommendation::missing(
            Topic::Concurrency,
            "No cell of a fixed length under a closed loop has a p95 target: give the plan a bar with \
             latency_seconds_p95_max, or --p95-target.",
        )];
    }
    let mut all: Vec<Recommendation> = limits.iter().map(Limit::advise).collect();
    // A limit that only the size of a sample ended would throttle a server for want of data.
    let every: Option<Vec<usize>> = limits.iter().map(Limit::settled).collect();
    let least = every.as_ref().and_then(|every| every.iter().copied().min());
    let strictest = limits.iter().position(|limit| limit.settled() == least);
    if let (Some(index), Some(least)) = (strictest, least) {
        let each: Vec<String> = limits
            .iter()
            .map(|limit| format!("{} tokens: {}", tokens(limit.tokens), limit.in_short()))
            .collect();
        let comment = format!("the smallest of the limits by length ({})", each.join("; "));
        all[index].settings.push(Setting::number("max_concurrent_requests", least as u64, comment));
    }
    all
}

impl Limit<'_> {
    /// Most clients that keep the target.
    pub(super) fn clients(&self) -> Option<usize> {
        match self.found {
            Found::At { clients, .. } => Some(clients),
            Found::Nowhere { .. } | Found::NotShown { .. } => None,
        }
    }

    /// The same, unless it is only the size of a sample that ends it.
    pub(super) fn settled(&self) -> Option<usize> {
        match self.found {
            Found::At { until: Until::TooFew { .. }, .. } => None,
            _ => self.clients(),
        }
    }

    fn in_short(&self) -> String {
        match self.clients() {
            Some(clients) => format!("{clients} for a p95 within {}", time_limit(self.target_ms)),
            None => format!("none shown for a p95 within {}", time_limit(self.target_ms)),
        }
    }

    fn advise(&self) -> Recommendation {
        let (length, target) = (count(self.tokens), time_limit(self.target_ms));
        let (support, advice) = match &self.found {
            Found::At { clients, until: Until::TooFew { next }, .. } => {
                let advice = format!(
                    "{clients} at once is shown to keep p95 latency of {length}-token requests within \
                     {target}; whether {next} is, the sample does not tell. Measure more before setting a \
                     limit."
                );
                (Support::Partly, advice)
            }
            Found::At { clients, until, .. } => {
                let support = match until {
                    Until::Measured | Until::TooFew { .. } => Support::Partly,
                    Until::Crossing { .. } | Until::Failing { .. } => Support::Shown,
                };
                let requests = if *clients == 1 { "request" } else { "requests" };
                let advice = format!(
                    "Let at most {clients} {requests} of {length} tokens be under way at once: p95 \
                     latency then stays within {target}."
                );
                (support, advice)
            }
            Found::Nowhere { clients } => {
                let advice = format!(
                    "No concurrency keeps p95 latency of {length}-token requests within {target}: \
                     already {} it is not. Use a faster device, shorter texts, or a later target.",
                    at(*clients)
                );
                (Support::Shown, advice)
            }
            Found::NotShown { .. } => (Support::Missing, "No advice.".to_owned()),
        };
        Recommendation {
            tokens: Some(self.tokens),
            figure: self.figure(),
            evidence: self.evidence(),
            missing: self.missing(),
            ..Recommendation::new(Topic::Concurrency, support, advice)
        }
    }

    fn figure(&self) -> Option<AdviceFigure> {
        let Found::At { clients, high, .. } = self.found else { return None };
        let basis = self.places.first()?.p95_over_all_ms().basis.label();
        let interval =
            Interval { low: Some(clients as f64), high: high.map(|clients| clients as f64) };
        Some(AdviceFigure { value: clients as f64, interval, unit: Unit::Requests, basis })
    }

    fn evidence(&self) -> Vec<String> {
        let mut evidence =
            vec![format!("The target is {} ({}).", time_limit(self.target_ms), self.target_from)];
        let measured: Vec<String> = self.places.iter().map(measured).collect();
        evidence.push(format!("p95 over all requests: {}.", measured.join("; ")));
        let until = match &self.found {
            Found::At { until, .. } => *until,
            Found::Nowhere { .. } | Found::NotShown { .. } => return evidence,
        };
        match until {
            Until::Crossing { next } => evidence.push(format!(
                "The limit is where the line between the upper ends of the intervals, up to C = {next}, \
                 crosses the target; its interval ends where that of the lower ends does."
            )),
            Until::Failing { next } => evidence.push(format!(
                "At C = {next} more than 5 % of the requests failed, so that no p95 is reached."
            )),
            Until::TooFew { .. } | Until::Measured => {}
        }
        evidence
    }

    fn missing(&self) -> Option<String> {
        match &self.found {
            Found::At { until: Until::Measured, clients, .. } => Some(format!(
                "C = {clients} is the most that was measured, and meets the target: the limit lies \
                 higher. Add a higher concurrency to the plan."
            )),
            Found::At { until: Until::TooFew { next }, .. } => Some(format!(
                "The p95 at C = {next} has no upper end: its sample is too small, or some of its runs have \
                 none. More batches there would show whether the limit lies higher."
            )),
            Found::NotShown { clients } => Some(format!(
                "The p95 {} has no upper end: the sample is too small (a p95 needs 100 batches), or too \
                 many requests failed for one to be reached.",
                at(*clients)
            )),
            Found::At { .. } | Found::Nowhere { .. } => None,
        }
    }
}

fn at(clients: usize) -> String {
    if clients == 1 { "alone (C = 1)".to_owned() } else { format!("at C = {clients}") }
}

/// `C = 50: 1.2 s (1.1 s to 1.3 s, within run)`.
fn measured(place: &Place<'_>) -> String {
    let Point { estimate, fails, .. } = Point::of(place);
    let end = |end: Option<f64>| end.map_or("?".to_owned(), time);
    let value = match estimate.value {
        Some(ms) => time(ms),
        None if fails => "not reached".to_owned(),
        None => "not shown".to_owned(),
    };
    let interval = match estimate.interval {
        Interval { low: None, high: None } => String::new(),
        Interval { low, high } => {
            format!(" ({} to {}, {})", end(low), end(high), estimate.basis.label())
        }
    };
    format!("C = {}: {value}{interval}", place.concurrency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::estimate::Basis;

    fn point(clients: usize, low: f64, high: Option<f64>) -> Point {
        let interval = Interval { low: Some(low), high };
        let estimate = Estimate { value: Some(low), interval, basis: Basis::WithinRun };
        Point { clients, estimate, fails: false }
    }

    #[test]
    fn the_line_is_drawn_between_measured_cells_only() {
        let cells = [point(1, 9.0, Some(10.0)), point(10, 90.0, Some(110.0))];
        assert_eq!(upper(&cells, 60.0), (5, Until::Crossing { next: 10 }));
        assert_eq!(crossing(&[(1, 9.0), (10, 90.0)], 60.0), Some(6));
        assert_eq!(upper(&cells, 110.0), (10, Until::Measured));
        assert_eq!(crossing(&[(1, 9.0), (10, 90.0)], 110.0), None);
    }

    #[test]
    fn a_cell_without_an_upper_end_ends_the_range() {
        let cells = [point(1, 9.0, Some(10.0)), point(10, 20.0, None), point(50, 30.0, Some(40.0))];
        assert_eq!(upper(&cells, 60.0), (1, Until::TooFew { next: 10 }));
        let none = Estimate { value: None, interval: Interval::default(), basis: Basis::WithinRun };
        let never = Point { clients: 10, estimate: none, fails: true };
        assert_eq!(upper(&[cells[0], never], 60.0), (1, Until::Failing { next: 10 }));
        // A single effective trial has no end either, and fails nothing.
        let unsure = Point { fails: false, ..never };
        assert_eq!(upper(&[cells[0], unsure], 60.0), (1, Until::TooFew { next: 10 }));
    }
}
