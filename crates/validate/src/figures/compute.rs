//! Computes the figures of a cell from its raw records.

use std::collections::{BTreeMap, HashMap};

use super::cell::{BatchMean, Figures, StageMeans};
use super::cluster::{clusters, clusters_by, in_flight_mean};
use super::generator::{Generator, GeneratorReadings};
use super::ramp::ramp;
use super::steady::Steady;
use crate::load::{Phase, RequestRecord};
use crate::plan::CellSpec;
use crate::stats::{Latencies, Trials};
use crate::system::BatchRef;

/// Points of a distribution that the results keep.
const DISTRIBUTION_POINTS: usize = 200;

/// The facts about a cell that its records do not hold.
pub(crate) struct CellContext<'a> {
    pub(crate) spec: &'a CellSpec,
    /// Its measured phase.
    pub(crate) measured_us: (u64, u64),
    pub(crate) cut_by_time_limit: bool,
    /// See [`Figures::note`].
    pub(crate) note: Option<String>,
    pub(crate) stopped_clients: usize,
    pub(crate) steady: Steady,
    pub(crate) generator: GeneratorReadings,
}

/// Computes the figures of a cell.
pub(crate) fn figures(records: &[RequestRecord], context: CellContext<'_>) -> Figures {
    let CellContext {
        spec,
        measured_us,
        cut_by_time_limit,
        note,
        stopped_clients,
        steady,
        generator,
    } = context;
    let measured: Vec<&RequestRecord> =
        records.iter().filter(|record| record.phase == Phase::Measured).collect();
    let successes: Vec<&RequestRecord> =
        measured.iter().copied().filter(|record| record.succeeded()).collect();
    let mut failures = BTreeMap::new();
    for kind in measured.iter().filter_map(|record| record.failure) {
        *failures.entry(kind).or_insert(0) += 1;
    }
    let batches = batches(&successes);
    let over_all = Latencies::new(clusters(&measured));
    let from_sending =
        Latencies::new(clusters_by(&measured, |record| record.ended_us - record.sent_us));
    let clients = spec.concurrency().unwrap_or_else(|| in_flight_mean(&measured).ceil() as usize);
    let trials = Trials::new(measured.len(), clients, batches.len());
    let trials_of_successes = Trials::new(successes.len(), clients, batches.len());
    let seconds = (measured_us.1 - measured_us.0) as f64 / 1e6;
    let (answered, tokens) = match successes.as_slice() {
        // Without a measured answer, those to the warm-up are no throughput of this load.
        [] => (0, 0),
        _ => answered_within(records, measured_us),
    };
    let rate = |count: usize| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let latency = Latencies::new(clusters(&successes)).spread(trials_of_successes);
    let lags_us = measured.iter().map(|record| record.lag_us()).collect();
    Figures {
        measured_seconds: seconds,
        cut_by_time_limit,
        note,
        stopped_clients,
        requests: measured.len(),
        successes: successes.len(),
        failures,
        trials,
        latency,
        latency_over_all: over_all.spread(trials),
        distribution: over_all.distribution(DISTRIBUTION_POINTS),
        latency_over_all_from_sending: from_sending.spread(trials),
        distribution_from_sending: from_sending.distribution(DISTRIBUTION_POINTS),
        offered_per_second: rate(measured.len()),
        requests_per_second: rate(answered),
        tokens_per_second: rate(tokens),
        stages_ms_mean: stage_means(&successes),
        batch_mean: batch_mean(&batches),
        steady,
        ramp: ramp(&spec.load, records, measured_us.0),
        generator: Generator::judge(lags_us, latency.p50.nearest_rank_ms, generator),
    }
}

/// Counts the answers, and their tokens, that arrived in the measured phase, whenever their requests were sent: in a
/// steady state as many requests enter the phase from the warm-up as leave it for the cool-down.
fn answered_within(records: &[RequestRecord], (from, to): (u64, u64)) -> (usize, usize) {
    let within = |record: &&RequestRecord| {
        record.succeeded() && record.ended_us > from && record.ended_us <= to
    };
    records
        .iter()
        .filter(within)
        .fold((0, 0), |(answers, tokens), record| (answers + 1, tokens + record.tokens))
}

fn batches(records: &[&RequestRecord]) -> HashMap<u64, BatchRef> {
    records.iter().filter_map(|record| record.batch).map(|batch| (batch.id, batch)).collect()
}

fn batch_mean(batches: &HashMap<u64, BatchRef>) -> Option<BatchMean> {
    let count = batches.len() as f64;
    let mean =
        |size: fn(&BatchRef) -> usize| batches.values().map(size).sum::<usize>() as f64 / count;
    (!batches.is_empty()).then(|| BatchMean {
        sequences: mean(|batch| batch.sequences),
        tokens: mean(|batch| batch.tokens),
    })
}

fn stage_means(successes: &[&RequestRecord]) -> Option<StageMeans> {
    let reported: Vec<_> =
        successes.iter().filter_map(|record| Some((record.stages?, record.latency_us()))).collect();
    if reported.is_empty() {
        return None;
    }
    let mean = |sum: u64| sum as f64 / reported.len() as f64 / 1e3;
    let tokenize = mean(reported.iter().map(|(stages, _)| stages.tokenize_us).sum());
    let queue = mean(reported.iter().map(|(stages, _)| stages.queue_us).sum());
    let compute = mean(reported.iter().map(|(stages, _)| stages.device_us()).sum());
    let latency = mean(reported.iter().map(|(_, latency)| latency).sum());
    let other = (latency - tokenize - queue - compute).max(0.0);
    Some(StageMeans { tokenize, queue, compute, other })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TrialUnit;
    use crate::system::{FailureKind, StageTimes};

    fn record(phase: Phase, from_ms: u64, to_ms: u64, batch: Option<u64>) -> RequestRecord {
        RequestRecord {
            cell: 0,
            client: 0,
            ordinal: from_ms,
            phase,
            tokens: 10,
            intended_us: from_ms * 1000,
            sent_us: from_ms * 1000 + 500,
            ended_us: to_ms * 1000,
            failure: batch.is_none().then_some(FailureKind::Refused),
            message: None,
            stages: Some(StageTimes {
                tokenize_us: 1000,
                queue_us: 2000,
                copy_us: Some(500),
                compute_us: 3500,
                total_us: 7000,
            }),
            batch: batch.map(|id| BatchRef { id, sequences: 2, tokens: 20 }),
        }
    }

    fn context(spec: &CellSpec) -> CellContext<'_> {
        CellContext {
            spec,
            measured_us: (20_000, 60_000),
            cut_by_time_limit: false,
            note: None,
            stopped_clients: 0,
            steady: Steady::NotSought { reason: String::new() },
            generator: GeneratorReadings {
                lateness_us: vec![0, 3000],
                ..GeneratorReadings::default()
            },
        }
    }

    #[test]
    fn a_load_without_a_measured_answer_has_no_throughput() {
        let records =
            [record(Phase::WarmUp, 0, 30, Some(1)), record(Phase::Measured, 30, 31, None)];
        let figures = figures(&records, context(&CellSpec::matrix(10, 2)));
        assert_eq!((figures.requests, figures.successes), (1, 0));
        assert_eq!((figures.requests_per_second, figures.tokens_per_second), (0.0, 0.0));
    }

    #[test]
    fn figures_of_a_handful_of_records() {
        let records = [
            record(Phase::WarmUp, 0, 20, Some(0)),
            record(Phase::WarmUp, 0, 30, Some(1)),
            record(Phase::Measured, 20, 30, Some(1)),
            record(Phase::Measured, 30, 50, Some(2)),
            record(Phase::Measured, 30, 60, Some(2)),
            record(Phase::Measured, 50, 51, None),
            record(Phase::CoolDown, 60, 70, Some(3)),
        ];
        let figures = figures(&records, context(&CellSpec::matrix(10, 2)));
        assert_eq!((figures.requests, figures.successes), (4, 3));
        assert_eq!(figures.failures, BTreeMap::from([(FailureKind::Refused, 1)]));
        assert_eq!(figures.trials, Trials { count: 2, unit: TrialUnit::Batches });
        assert_eq!(figures.latency.mean_ms, Some(20.0));
        assert_eq!(figures.latency_over_all.count, 4);
        // The warm-up request that ended within the phase counts as throughput, not as latency.
        assert_eq!(figures.requests_per_second, 4.0 / 0.04);
        assert_eq!(figures.tokens_per_second, 40.0 / 0.04);
        assert_eq!(figures.batch_mean, Some(BatchMean { sequences: 2.0, tokens: 20.0 }));
        let stages = figures.stages_ms_mean.expect("reported");
        assert_eq!(
            (stages.tokenize, stages.queue, stages.compute, stages.other),
            (1.0, 2.0, 4.0, 13.0)
        );
        // Half a millisecond went by before each was sent.
        let from_sending = figures.latency_over_all_from_sending;
        assert_eq!((from_sending.count, from_sending.mean_ms), (4, Some(19.5)));
        assert_eq!(figures.offered_per_second, 100.0);
        assert_eq!(figures.generator.lag_ms_max, 0.5);
        assert_eq!(figures.generator.timer_late_ms_max, 3.0);
    }
}
