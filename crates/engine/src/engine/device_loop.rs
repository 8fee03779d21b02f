//! The device thread: take a batch, pack it, run it, answer it.
//!
//! An asynchronous device (a GPU) is given the next batch while it still works on the last one, so that it
//! never waits for packing, copying and answering. But only if that batch is full already: one with room is
//! better formed late, when more requests have arrived. A device that can pause runs long batches in slices, and in between
//! short requests that wait: see [`super::short_batches`]. Each batch is a `tracing` event before the device
//! starts it and another when it has ended, so that a batch that hangs is the last line of the log.

use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::request::{BatchInfo, Response, Timings, TokenizedRequest};
use super::shared::Shared;
use super::short_batches::ShortBatches;
use crate::batch::passing::{next_full_peers, next_peers};
use crate::batch::schedule::QueuedRequest;
use crate::batch::size::BatchSize;
use crate::batch::{OutputRows, PackedBatch, Sequence};
use crate::device::{Device, DeviceBatch};
use crate::error::{DeviceError, RequestError};
use crate::model::Model;

/// Runs until the queue is closed and empty, or the device is lost.
pub(super) fn device_loop(shared: &Shared, mut device: Device) {
    // However the loop ends, a panic included: no caller waits for an answer that cannot come.
    let _guard = QueueGuard(shared);
    let turns = device.turns();
    let choose = |waiting: &[QueuedRequest], several_flows: bool| {
        next_peers(waiting, several_flows, shared.limits, &shared.cost_model(), turns)
    };
    // A batch in slices is about to end when the next one is chosen.
    let choose_ahead = |waiting: &[QueuedRequest], several_flows: bool, any: bool| {
        let costs = shared.cost_model();
        let full = next_full_peers(waiting, several_flows, shared.limits, &costs, turns);
        full.or_else(|| (any && !waiting.is_empty()).then(|| choose(waiting, several_flows)))
    };
    let mut before = Predecessor { batch: None, free: End::now(), lost: false };
    loop {
        let requests = match &before.batch {
            None => match shared.queue.take_batch(choose) {
                Some(requests) => Some(requests),
                None => return,
            },
            Some(batch) if device.is_asynchronous() => {
                let any = batch.in_slices;
                shared.queue.try_take_batch(|waiting, several| choose_ahead(waiting, several, any))
            }
            Some(_) => None,
        };
        let batch = requests
            .map(|requests| InFlightBatch::start(shared, &mut device, requests, &mut before));
        before.finish(shared, &mut device);
        let lost = before.lost;
        before.batch = batch;
        if lost {
            return before.finish(shared, &mut device);
        }
    }
}

/// The batch that the device was given before another one, until it is answered.
struct Predecessor {
    batch: Option<InFlightBatch>,
    /// The end of the batch before it.
    free: End,
    lost: bool,
}

impl Predecessor {
    /// Waits for the batch and answers its requests, if that has not been done yet.
    fn finish(&mut self, shared: &Shared, device: &mut Device) {
        if let Some(batch) = self.batch.take() {
            let (end, lost) = batch.finish(shared, device, self.free);
            self.free = end;
            self.lost |= lost;
        }
    }
}

/// Upper limit on the time in which a batch that was done already is found so.
const WAITED: Duration = Duration::from_micros(50);

/// When the device was done with a batch, as the host knows it.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    /// The host waited for it. Else the device was done at some time before.
    is_seen: bool,
}

impl End {
    fn now() -> End {
        End { at: Instant::now(), is_seen: true }
    }
}

/// Waits for a batch.
fn wait(
    device: &mut Device,
    batch: Result<DeviceBatch, DeviceError>,
) -> (Result<OutputRows, DeviceError>, End) {
    let since = Instant::now();
    let result = batch.and_then(|batch| device.finish_batch(batch));
    let at = Instant::now();
    (result, End { at, is_seen: !device.is_asynchronous() || at - since > WAITED })
}

/// Abandons the queue when dropped.
struct QueueGuard<'a>(&'a Shared);

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

/// The short batches that ran while a long one paused.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passed {
    /// Work that was done.
    pub(super) nanoseconds: u64,
    pub(super) time: Duration,
}

/// A batch that was handed to the device, and the requests that wait for its rows.
pub(super) struct InFlightBatch {
    requests: Vec<TokenizedRequest>,
    info: BatchInfo,
    size: BatchSize,
    started: Instant,
    in_slices: bool,
    passed: Passed,
    device_batch: Result<DeviceBatch, DeviceError>,
}

impl InFlightBatch {
    /// Hands a batch to the device. If it runs in slices, the batch before it is answered meanwhile.
    fn start(
        shared: &Shared,
        device: &mut Device,
        requests: Vec<TokenizedRequest>,
        before: &mut Predecessor,
    ) -> InFlightBatch {
        let started = Instant::now();
        let batch = PackedBatch::pack(requests.iter().map(TokenizedRequest::sequence));
        let (info, size) = (announce(shared, &batch), device.batch_size(&batch));
        let predicted = predict(shared, size);
        shared.watch.batch_started(&batch, predicted);
        let mut short = ShortBatches::new(shared, device, &requests);
        let device_batch = match &mut short {
            None => device.start_batch(&batch),
            Some(short) => device.start_batch_in_slices(&batch, &mut |device| {
                before.finish(shared, device);
                if requests.iter().all(|request| request.reply.is_closed()) {
                    return ControlFlow::Break(());
                }
                short.run(device);
                ControlFlow::Continue(())
            }),
        };
        let in_slices = short.is_some();
        let passed = short.map_or(Passed::default(), |mut short| {
            short.finish(device);
            short.passed
        });
        InFlightBatch { requests, info, size, started, in_slices, passed, device_batch }
    }

    /// Hands a batch to the device while another one pauses.
    pub(super) fn start_short(
        shared: &Shared,
        device: &mut Device,
        requests: Vec<TokenizedRequest>,
    ) -> InFlightBatch {
        let started = Instant::now();
        let batch = PackedBatch::pack(requests.iter().map(TokenizedRequest::sequence));
        let (info, size) = (announce(shared, &batch), device.batch_size(&batch));
        let (device_batch, passed) = (device.start_batch(&batch), Passed::default());
        InFlightBatch { requests, info, size, started, in_slices: false, passed, device_batch }
    }

    /// Returns when it was handed to the device.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Waits for the batch and answers its requests; returns its end and true if the device is lost. The turn of a
    /// batch that was started ahead began with the end of the one before it.
    fn finish(self, shared: &Shared, device: &mut Device, before: End) -> (End, bool) {
        let InFlightBatch { requests, info, size, started, passed, device_batch, .. } = self;
        let copy = device_batch.as_ref().map_or(Duration::ZERO, |batch| batch.copy_in);
        let (result, end) = wait(device, device_batch);
        shared.on_device.fetch_sub(1, Ordering::Relaxed);
        let is_ahead = started < before.at;
        let turn = started.max(before.at);
        *shared.arena.lock().unwrap_or_else(PoisonError::into_inner) = device.arena();
        let lost = |error: &DeviceError| error.is_fatal().then(|| error.to_string());
        let elapsed = end.at.saturating_duration_since(turn);
        let own_time = elapsed.saturating_sub(passed.time);
        if let Err(DeviceError::GivenUp { .. }) = &result {
            shared.watch.batch_given_up();
        } else {
            let outcome = result.as_ref().map(|_| ()).map_err(lost);
            shared.watch.batch_finished(own_time, outcome);
        }
        log_end(info, elapsed, result.as_ref().err());
        // What passed was done, and a part of a batch that was given up: a machine that answers nobody in time has to
        // learn how slow it is.
        let own = match &result {
            Ok(_) => predicted_nanoseconds(shared, size),
            Err(DeviceError::GivenUp { launched, launches, .. }) => {
                predicted_nanoseconds(shared, size) / *launches as u64 * *launched as u64
            }
            Err(_) => 0,
        };
        if result.is_ok() || passed.nanoseconds + own > 0 {
            let first = requests.iter().map(|request| request.admitted).min();
            shared.backlog.record_batch(passed.nanoseconds + own, first.unwrap_or(turn));
        }
        let copy = if is_ahead { Duration::ZERO } else { copy };
        if result.is_ok() && end.is_seen && (before.is_seen || !is_ahead) {
            record_cost(shared, size, own_time);
        }
        let lost = result.as_ref().is_err_and(DeviceError::is_fatal);
        answer_all(shared, requests, result, DeviceTimes { turn, copy, done: end.at }, info);
        (end, lost)
    }

    /// Waits for a batch that ran while another one paused, since `turn`, and answers its requests. A failure is that of
    /// its requests alone. Returns the nanoseconds of work that were done.
    pub(super) fn finish_short(self, shared: &Shared, device: &mut Device, turn: Instant) -> u64 {
        let InFlightBatch { requests, info, size, device_batch, .. } = self;
        let result = device_batch.and_then(|batch| device.finish_batch(batch));
        shared.on_device.fetch_sub(1, Ordering::Relaxed);
        let elapsed = turn.elapsed();
        shared.watch.short_batch_finished(info.sequences, info.tokens, elapsed, result.is_err());
        log_end(info, elapsed, result.as_ref().err());
        // An asynchronous device may have begun it later, and been done earlier, than the host knows.
        if result.is_ok() && !device.is_asynchronous() {
            record_cost(shared, size, elapsed);
        }
        let done = predicted_nanoseconds(shared, size);
        let times = DeviceTimes { turn, copy: Duration::ZERO, done: Instant::now() };
        answer_all(shared, requests, result, times, info);
        done
    }
}

/// Returns the nanoseconds of device time that requests were predicted to take.
pub(super) fn work(requests: &[TokenizedRequest]) -> u64 {
    requests.iter().map(|request| request.slot.work.nanoseconds()).sum()
}

/// Predicts the seconds of a batch; `None` before any has run.
fn predict(shared: &Shared, size: BatchSize) -> Option<f64> {
    let fit = shared.fit();
    (fit.count() > 0).then(|| fit.model().predict(size))
}

/// Predicts the nanoseconds of a batch, with what does not depend on its requests: what the pace is measured by.
fn predicted_nanoseconds(shared: &Shared, size: BatchSize) -> u64 {
    (shared.cost_model().predict(size) * 1e9) as u64
}

fn record_cost(shared: &Shared, size: BatchSize, time: Duration) {
    shared.fit().record(size, time.as_secs_f64());
}

/// Numbers a batch and logs that the device starts it.
fn announce(shared: &Shared, batch: &PackedBatch) -> BatchInfo {
    let id = shared.batches.fetch_add(1, Ordering::Relaxed);
    let info = BatchInfo { id, sequences: batch.sequences(), tokens: batch.tokens() };
    shared.on_device.fetch_add(1, Ordering::Relaxed);
    let BatchInfo { id: batch, sequences, tokens } = info;
    tracing::debug!(batch, sequences, tokens, "batch started");
    info
}

/// Logs the end of a batch that [`announce`] logged.
fn log_end(info: BatchInfo, elapsed: Duration, error: Option<&DeviceError>) {
    let BatchInfo { id: batch, sequences, tokens } = info;
    let device_ms = elapsed.as_secs_f64() * 1e3;
    match error {
        None => tracing::debug!(batch, sequences, tokens, device_ms, "batch done"),
        Some(error) => {
            tracing::debug!(batch, sequences, tokens, device_ms, %error, "batch failed");
        }
    }
}

fn answer_all(
    shared: &Shared,
    requests: Vec<TokenizedRequest>,
    result: Result<OutputRows, DeviceError>,
    times: DeviceTimes,
    info: BatchInfo,
) {
    let model = &shared.model;
    match result {
        Ok(rows) => {
            let sequences = requests.iter().map(TokenizedRequest::sequence);
            let own_rows = model.row_layout().split(sequences, &rows);
            for (request, rows) in requests.into_iter().zip(own_rows) {
                request.answer(model, rows, times, info);
            }
        }
        Err(error) => {
            let kind =
                if error.is_fatal() { RequestError::DeviceLost } else { RequestError::Device };
            requests.into_iter().for_each(|request| request.fail(kind(error.to_string())));
        }
    }
}

impl TokenizedRequest {
    fn sequence(&self) -> Sequence<'_> {
        Sequence { token_ids: &self.tokens.ids, wants: &self.rows }
    }

    fn answer(self, model: &Model, rows: &[f32], times: DeviceTimes, batch: BatchInfo) {
        let answer = match self.task.answer(model, &self.text, &self.tokens, rows) {
            Ok(answer) => answer,
            Err(error) => return self.fail(error),
        };
        if self.slot.is_late(Instant::now()) {
            return self.fail(RequestError::DeadlinePassed);
        }
        let timings = Timings {
            tokenize: self.tokenized - self.admitted,
            queue: times.turn - self.tokenized,
            copy: times.copy,
            compute: (times.done - times.turn).saturating_sub(times.copy),
            total: self.admitted.elapsed(),
        };
        let (tokens, input_tokens) = (self.tokens.ids.len(), self.tokens.given());
        // The slot is free before the caller can know, so that its next request finds one.
        drop(self.slot);
        let _ = self.reply.send(Ok(Response { tokens, input_tokens, answer, timings, batch }));
    }

    fn fail(self, error: RequestError) {
        drop(self.slot);
        let _ = self.reply.send(Err(error));
    }
}

/// When a batch's turn on the device began, how long it took to copy its inputs, and when its rows had arrived.
#[derive(Clone, Copy)]
struct DeviceTimes {
    turn: Instant,
    copy: Duration,
    done: Instant,
}

#[cfg(test)]
mod tests;
