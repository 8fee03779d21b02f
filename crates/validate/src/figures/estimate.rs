//! One figure of one place of the matrix, with its interval and what that interval means: over the
//! runs of the place where it ran more than once, else within its only run.

use super::cell::{Cell, Figures};
use crate::stats::{Interval, Percentile, PercentileFigure};

/// Where an interval comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// From the spread within one run.
    WithinRun,
    /// From the spread over so many runs.
    OverRuns(usize),
}

impl Basis {
    /// The label that goes beside the interval.
    pub(crate) fn label(self) -> String {
        match self {
            Basis::WithinRun => "within run".into(),
            Basis::OverRuns(runs) => format!("over {runs} runs"),
        }
    }
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// None if it does not exist; the geometric mean over runs.
    pub(crate) value: Option<f64>,
    /// Its 95 % interval.
    pub(crate) interval: Interval,
    /// What the interval means.
    pub(crate) basis: Basis,
}

/// All runs of one length at one concurrency.
#[derive(Debug, Clone)]
pub(crate) struct MatrixPosition<'a> {
    pub(crate) tokens: usize,
    pub(crate) concurrency: usize,
    /// The cells that ran, at least one.
    pub(crate) cells: Vec<(&'a Cell, &'a Figures)>,
}

/// The cells of the matrix that ran, all runs of a place together, without the repeat that shows drift; by
/// length and concurrency.
pub(crate) fn matrix_positions<'a>(cells: impl Iterator<Item = &'a Cell>) -> Vec<MatrixPosition<'a>> {
    let mut ran: Vec<((usize, usize), &Cell, &Figures)> = cells
        .filter(|cell| cell.repeats.is_none())
        .filter_map(|cell| Some((cell.spec.matrix_position()?, cell, cell.figures()?)))
        .collect();
    ran.sort_by_key(|(place, cell, _)| (*place, cell.run));
    let mut places: Vec<MatrixPosition<'_>> = Vec::new();
    for ((tokens, concurrency), cell, figures) in ran {
        match places.last_mut() {
            Some(place) if (place.tokens, place.concurrency) == (tokens, concurrency) => {
                place.cells.push((cell, figures));
            }
            _ => places.push(MatrixPosition { tokens, concurrency, cells: vec![(cell, figures)] }),
        }
    }
    places
}

/// Answers per second over those of the same length at C = 1, at a place of `places` where this rate is
/// reached; none where C = 1 was not measured.
pub(crate) fn speedup(
    places: &[MatrixPosition<'_>],
    place: &MatrixPosition<'_>,
    rate: f64,
) -> Option<f64> {
    let alone = places.iter().find(|at| at.tokens == place.tokens && at.concurrency == 1)?;
    Some(rate / alone.requests_per_second().value.filter(|&alone| alone > 0.0)?)
}

impl MatrixPosition<'_> {
    /// The p95 over all requests; a request that failed is one that is never answered.
    pub(crate) fn p95_over_all_ms(&self) -> Estimate {
        self.percentile(|figures| &figures.latency_over_all.p95)
    }

    /// Whether so many requests fail in every run that the p95 over all falls on one that is never answered.
    pub(crate) fn p95_is_never_reached(&self) -> bool {
        let never =
            |figures: &Figures| figures.latency_over_all.p95.shown == PercentileFigure::NotReached;
        self.cells.iter().all(|(_, figures)| never(figures))
    }

    /// A percentile in milliseconds.
    pub(crate) fn percentile(&self, of: fn(&Figures) -> &Percentile) -> Estimate {
        self.estimate(|figures| of(figures).shown.exactly(), |figures| of(figures).interval_ms)
    }

    /// Answers per second.
    pub(crate) fn requests_per_second(&self) -> Estimate {
        self.estimate(|figures| Some(figures.requests_per_second), |_| Interval::default())
    }

    /// Their tokens per second.
    pub(crate) fn tokens_per_second(&self) -> Estimate {
        self.estimate(|figures| Some(figures.tokens_per_second), |_| Interval::default())
    }

    /// Any figure: its value in each run, and its interval within one. Of several runs all must have it: one
    /// alone would stand for the others.
    pub(crate) fn estimate(
        &self,
        of: impl Fn(&Figures) -> Option<f64>,
        within: impl Fn(&Figures) -> Interval,
    ) -> Estimate {
        if let [(_, figures)] = self.cells[..] {
            let (value, interval) = (of(figures), within(figures));
            return Estimate { value, interval, basis: Basis::WithinRun };
        }
        let values: Option<Vec<f64>> = self.cells.iter().map(|(_, figures)| of(figures)).collect();
        let over = values.as_deref().and_then(crate::stats::mean_over_runs);
        Estimate {
            value: over.map(|over| over.mean),
            interval: over.map(|over| over.interval).unwrap_or_default(),
            basis: Basis::OverRuns(self.cells.len()),
        }
    }
}
