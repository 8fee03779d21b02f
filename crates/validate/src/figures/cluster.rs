//! Groups requests that share their fate into clusters, in order of time: batches if the target reports them, else
//! stretches of consecutive answers.

use std::collections::HashMap;

use crate::load::RequestRecord;
use crate::stats::Clusters;

/// Returns the clusters of `records`, with their latencies.
///
/// A batch takes the place of its first answer. A request without a batch, such as one that was
/// refused, belongs to the batch answered before it. If the target reports no batches, a stretch has as many
/// answers as requests were in flight on average: the time in which each of them is answered once.
pub(crate) fn clusters(records: &[&RequestRecord]) -> Clusters {
    clusters_by(records, RequestRecord::latency_us)
}

/// Returns the clusters with another measure of time than the latency, in microseconds.
pub(crate) fn clusters_by(
    records: &[&RequestRecord],
    time_us: impl Fn(&RequestRecord) -> u64,
) -> Clusters {
    let mut by_end: Vec<&RequestRecord> = records.to_vec();
    by_end.sort_by_key(|record| (record.ended_us, record.ordinal));
    let latency = |record: &RequestRecord| record.succeeded().then(|| time_us(record));
    if by_end.iter().all(|record| record.batch.is_none()) {
        let stretch = in_flight_mean(&by_end).round().max(1.0) as usize;
        return Clusters::from_consecutive(by_end.into_iter().map(latency), stretch);
    }
    let mut places = HashMap::new();
    let mut latest = 0;
    let mut placed: Vec<(usize, &RequestRecord)> = Vec::with_capacity(by_end.len());
    for record in by_end {
        if let Some(batch) = record.batch {
            let next = places.len();
            latest = *places.entry(batch.id).or_insert(next);
        }
        placed.push((latest, record));
    }
    placed.sort_by_key(|(place, _)| *place);
    let mut clusters = Clusters::new();
    for one in placed.chunk_by(|(place, _), (next, _)| place == next) {
        clusters.begin();
        one.iter().for_each(|(_, record)| clusters.push(latency(record)));
    }
    clusters
}

/// Returns the mean number of requests in flight, by Little's law: the sum of their times over the time they span.
pub(crate) fn in_flight_mean(records: &[&RequestRecord]) -> f64 {
    let from = records.iter().map(|record| record.intended_us).min().unwrap_or(0);
    let to = records.iter().map(|record| record.ended_us).max().unwrap_or(0);
    let sum: u64 = records.iter().map(|record| record.latency_us()).sum();
    sum as f64 / (to - from).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Phase;
    use crate::system::{BatchRef, FailureKind};

    fn record(from_us: u64, to_us: u64, batch: Option<u64>, failed: bool) -> RequestRecord {
        RequestRecord {
            cell: 0,
            client: 0,
            ordinal: from_us,
            phase: Phase::Measured,
            tokens: 8,
            intended_us: from_us,
            sent_us: from_us,
            ended_us: to_us,
            failure: failed.then_some(FailureKind::Refused),
            message: None,
            stages: None,
            batch: batch.map(|id| BatchRef { id, sequences: 2, tokens: 16 }),
        }
    }

    #[test]
    fn batches_are_in_order_of_their_answers_and_failures_go_with_them() {
        let records = [
            record(0, 100, Some(8), false),
            record(5, 50, Some(9), false),
            record(1, 101, Some(8), false),
            record(60, 70, None, true),
        ];
        let records: Vec<&RequestRecord> = records.iter().collect();
        let mut expected = Clusters::new();
        for cluster in [&[Some(45), None][..], &[Some(100), Some(100)]] {
            expected.begin();
            cluster.iter().for_each(|&latency| expected.push(latency));
        }
        assert_eq!(clusters(&records), expected);
    }

    #[test]
    fn without_batches_a_stretch_is_one_round() {
        // Three clients that never pause.
        let records: Vec<RequestRecord> =
            (0..300).map(|n| record(n / 3 * 100, n / 3 * 100 + 100, None, false)).collect();
        let records: Vec<&RequestRecord> = records.iter().collect();
        assert_eq!(clusters(&records).count(), 100);
        assert_eq!(clusters(&[]).count(), 0);
    }
}
