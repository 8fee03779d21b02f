//! What the records of one cell show of each stage: turns of the device, times of encoding, and the rest of a request.
//!
//! A turn is the time from the moment at which the device could have begun a batch until its rows had arrived: from the
//! end of the batch before it, or from the first of its requests that was tokenized, whichever is later. So a turn
//! includes what is done between two batches: answering, choosing, packing, copying. A turn that has no end after its
//! beginning is omitted.
//!
//! The stage `tokenize` of a request includes its wait for a thread, which the model predicts. So only requests that
//! found a free thread are observed, and beside each is kept how many others were being tokenized when it came.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::analysis::records::MeasuredCell;
use crate::analysis::stage::device_span_us;
use crate::load::{Phase, RequestRecord};

/// A batch on the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    pub(super) sequences: usize,
    pub(super) seconds: f64,
}

/// A text that was tokenized at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Encoding {
    /// Others that were being tokenized when it came.
    pub(super) others: usize,
    pub(super) seconds: f64,
}

/// The part of a latency that is neither tokenizing, nor the wait for a batch, nor the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rest {
    /// Sequences of the request's batch, all of which are answered together.
    pub(super) sequences: usize,
    pub(super) seconds: f64,
}

/// The stages of a cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ObservedCell {
    pub(super) tokens: usize,
    pub(super) turns: Vec<Turn>,
    pub(super) encodings: Vec<Encoding>,
    pub(super) rests: Vec<Rest>,
}

impl ObservedCell {
    /// Reads the records of a cell whose requests have this length.
    pub(super) fn new(ran: &MeasuredCell, tokens: usize, threads: Option<usize>) -> ObservedCell {
        let (turns, encodings) = (turns(ran), encodings(ran, threads));
        let rests = ran.measured().filter_map(rest).collect();
        ObservedCell { tokens, turns, encodings, rests }
    }
}

/// A batch, put together from its requests.
struct Batch {
    ready_us: u64,
    ended_us: u64,
    sequences: usize,
    is_measured: bool,
}

fn turns(ran: &MeasuredCell) -> Vec<Turn> {
    let mut by_id: HashMap<u64, Batch> = HashMap::new();
    for record in ran.records.iter().filter(|record| record.succeeded()) {
        let (Some(batch), Some((_, ended_us)), Some(ready_us)) =
            (record.batch, device_span_us(record), ready_us(record))
        else {
            continue;
        };
        let is_measured = record.phase == Phase::Measured;
        let first = Batch { ready_us, ended_us, sequences: batch.sequences, is_measured };
        let seen = by_id.entry(batch.id).or_insert(first);
        seen.ready_us = seen.ready_us.min(ready_us);
        seen.ended_us = seen.ended_us.max(ended_us);
        seen.is_measured |= is_measured;
    }
    let mut batches: Vec<Batch> = by_id.into_values().collect();
    batches.sort_by_key(|batch| (batch.ended_us, batch.ready_us));
    let mut free_us = 0;
    let mut turns = Vec::new();
    for batch in batches {
        let turn_us = batch.ended_us.saturating_sub(batch.ready_us.max(free_us));
        free_us = batch.ended_us;
        if batch.is_measured && turn_us > 0 {
            turns.push(Turn { sequences: batch.sequences, seconds: turn_us as f64 * 1e-6 });
        }
    }
    turns
}

/// Returns when a request waited for a batch.
fn ready_us(record: &RequestRecord) -> Option<u64> {
    Some(record.sent_us + record.stages?.tokenize_us)
}

fn encodings(ran: &MeasuredCell, threads: Option<usize>) -> Vec<Encoding> {
    let mut all: Vec<&RequestRecord> =
        ran.records.iter().copied().filter(|record| record.stages.is_some()).collect();
    all.sort_by_key(|record| record.sent_us);
    let mut ends: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut found = Vec::new();
    for record in all {
        let (Some(ready_us), Some(stages)) = (ready_us(record), record.stages) else { continue };
        while ends.peek().is_some_and(|end| end.0 <= record.sent_us) {
            ends.pop();
        }
        let others = ends.len();
        let is_at_once = threads.is_none_or(|threads| others < threads);
        if is_at_once && record.phase == Phase::Measured {
            found.push(Encoding { others, seconds: stages.tokenize_us as f64 * 1e-6 });
        }
        ends.push(Reverse(ready_us));
    }
    found
}

fn rest(record: &RequestRecord) -> Option<Rest> {
    let (stages, batch) = (record.stages?, record.batch?);
    let inside_us = stages.tokenize_us + stages.queue_us + stages.device_us();
    let seconds = record.latency_us().saturating_sub(inside_us) as f64 * 1e-6;
    record.succeeded().then_some(Rest { sequences: batch.sequences, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Cell, Status};
    use crate::plan::CellSpec;
    use crate::system::{BatchRef, StageTimes};

    /// A request of 10 tokens: when it was sent, its times to tokenize, in the queue and on the device, and its batch.
    fn record(phase: Phase, sent_us: u64, times: [u64; 3], batch: (u64, usize)) -> RequestRecord {
        let [tokenize_us, queue_us, device_us] = times;
        let inside_us = tokenize_us + queue_us + device_us;
        let stages = StageTimes {
            tokenize_us,
            queue_us,
            copy_us: Some(10),
            compute_us: device_us - 10,
            total_us: inside_us,
        };
        RequestRecord {
            cell: 0,
            client: 0,
            ordinal: 0,
            phase,
            tokens: 10,
            intended_us: sent_us,
            sent_us,
            ended_us: sent_us + inside_us + 50,
            failure: None,
            message: None,
            stages: Some(stages),
            batch: Some(BatchRef { id: batch.0, sequences: batch.1, tokens: 10 * batch.1 }),
        }
    }

    fn observed(records: &[RequestRecord], threads: Option<usize>) -> ObservedCell {
        let cell = Cell {
            index: 0,
            spec: CellSpec::matrix(10, 3),
            run: 0,
            repeats: None,
            sitting: 0,
            span_ms: None,
            status: Status::NotRun { reason: "its figures are not read".into() },
            memory: Vec::new(),
        };
        let records: Vec<&RequestRecord> = records.iter().collect();
        let ran = MeasuredCell { cell: &cell, of_group: records.clone(), records };
        ObservedCell::new(&ran, 10, threads)
    }

    #[test]
    fn stages_are_read_from_the_records() {
        let records = [
            // On the device from 1000 to 1100, in the warm-up.
            record(Phase::WarmUp, 500, [100, 400, 100], (1, 1)),
            // Ready at 1050; the device is free at 1100.
            record(Phase::Measured, 1000, [50, 70, 180], (2, 2)),
            record(Phase::Measured, 1010, [80, 30, 180], (2, 2)),
            // Ready at 1400, when the device has been free since 1300.
            record(Phase::Measured, 1020, [380, 0, 60], (3, 1)),
        ];
        let ObservedCell { turns, encodings, rests, .. } = observed(&records, None);
        let turn = |sequences, us: f64| Turn { sequences, seconds: us * 1e-6 };
        assert_eq!(turns, [turn(2, 200.0), turn(1, 60.0)], "with the time between two batches");
        let encoding = |others, us: f64| Encoding { others, seconds: us * 1e-6 };
        assert_eq!(encodings, [encoding(0, 50.0), encoding(1, 80.0), encoding(2, 380.0)]);
        let rest = |sequences| Rest { sequences, seconds: 50.0 * 1e-6 };
        assert_eq!(rests, [rest(2), rest(2), rest(1)]);
        let with_two_threads = observed(&records, Some(2)).encodings;
        assert_eq!(with_two_threads, encodings[..2], "the third waited for a thread");
    }
}
