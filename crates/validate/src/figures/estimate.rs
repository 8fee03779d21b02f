//! A figure at one position of the matrix, with its interval: over the runs of a cell that ran more than once, else
//! within its only run.

use super::cell::{Cell, Figures};
use crate::stats::{Interval, Percentile};

/// The spread that an interval is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// Within one run.
    WithinRun,
    /// Over this number of runs.
    OverRuns(usize),
}

impl Basis {
    /// Returns the label beside an interval.
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
    /// The figure, over runs their geometric mean; `None` if it does not exist.
    pub(crate) value: Option<f64>,
    /// Its 95 % interval.
    pub(crate) interval: Interval,
    /// The basis of the interval.
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

/// Groups the cells of the matrix that ran by position, in the order of length and concurrency, without the repeat
/// that shows drift.
pub(crate) fn matrix_positions<'a>(
    cells: impl Iterator<Item = &'a Cell>,
) -> Vec<MatrixPosition<'a>> {
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

/// Returns `rate` over the answers per second of the same length at C = 1; `None` if that was not measured.
pub(crate) fn speedup(
    places: &[MatrixPosition<'_>],
    place: &MatrixPosition<'_>,
    rate: f64,
) -> Option<f64> {
    let alone = places.iter().find(|at| at.tokens == place.tokens && at.concurrency == 1)?;
    Some(rate / alone.requests_per_second().value.filter(|&alone| alone > 0.0)?)
}

impl MatrixPosition<'_> {
    /// Returns a percentile in milliseconds.
    pub(crate) fn percentile(&self, of: fn(&Figures) -> &Percentile) -> Estimate {
        self.estimate(|figures| of(figures).shown.exactly(), |figures| of(figures).interval_ms)
    }

    /// Returns the answers per second.
    pub(crate) fn requests_per_second(&self) -> Estimate {
        self.estimate(|figures| Some(figures.requests_per_second), |_| Interval::default())
    }

    /// Returns the tokens per second of the answers.
    pub(crate) fn tokens_per_second(&self) -> Estimate {
        self.estimate(|figures| Some(figures.tokens_per_second), |_| Interval::default())
    }

    /// Returns a figure from its value in each run and its interval within one. All of several runs must have it, so
    /// that no run stands for the others.
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
