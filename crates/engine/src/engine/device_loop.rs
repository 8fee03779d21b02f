//! The device thread: take a batch, pack it, run it, answer it.
//!
//! A device that runs behind its caller (a GPU) is given the next batch while it still works on the last
//! one, so that it never waits for packing, copying and answering. But only where that batch is full
//! already: one with room is better formed late, when more requests have come.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{BatchInfo, Ready, Response, Shared, Timings};
use crate::batch::schedule::{self, Waiting};
use crate::batch::{PackedBatch, Rows, Sequence};
use crate::device::{Device, Running};
use crate::error::{DeviceError, RequestError};
use crate::model::{Head, Model};

/// Runs until the queue is closed and empty, or the device is lost.
pub(super) fn device_loop(shared: &Shared, mut device: Device) {
    // However it ends, a panic included: nobody waits for an answer that cannot come.
    let _abandoned = Abandon(shared);
    let waiting = |ready: &[Ready]| ready.iter().map(Ready::waiting).collect::<Vec<Waiting>>();
    let choose = |ready: &[Ready]| schedule::next_batch(&waiting(ready), shared.limits);
    let choose_full = |ready: &[Ready]| schedule::next_full_batch(&waiting(ready), shared.limits);
    let mut free_since = Instant::now();
    let mut ahead = None;
    loop {
        let started = match ahead.take() {
            Some(started) => started,
            None => match shared.queue.take_batch(choose) {
                Some(requests) => Started::new(shared, &mut device, requests),
                None => return,
            },
        };
        if device.runs_behind() {
            let full = shared.queue.try_take_batch(choose_full);
            ahead = full.map(|requests| Started::new(shared, &mut device, requests));
        }
        let lost = started.finish(shared, &mut device, free_since);
        free_since = Instant::now();
        if lost {
            let _ = ahead.map(|started| started.finish(shared, &mut device, free_since));
            return;
        }
    }
}

struct Abandon<'a>(&'a Shared);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

/// A batch that the device was given, and whose requests wait for it.
struct Started {
    requests: Vec<Ready>,
    info: BatchInfo,
    at: Instant,
    running: Result<Running, DeviceError>,
}

impl Started {
    fn new(shared: &Shared, device: &mut Device, requests: Vec<Ready>) -> Started {
        let at = Instant::now();
        let batch = PackedBatch::pack(requests.iter().map(Ready::sequence));
        shared.on_device.fetch_add(1, Ordering::Relaxed);
        shared.watch.given(&shared.model.config, &batch);
        let running = device.start_batch(&batch);
        let id = shared.batches.fetch_add(1, Ordering::Relaxed);
        let info = BatchInfo { id, sequences: batch.sequences(), tokens: batch.tokens() };
        Started { requests, info, at, running }
    }

    /// Waits for the batch and answers its requests; true if the device is lost. A batch that was started
    /// ahead had its turn only when the one before it was done, at `free_since`.
    fn finish(self, shared: &Shared, device: &mut Device, free_since: Instant) -> bool {
        let Started { requests, info, at, running } = self;
        let copy = running.as_ref().map_or(Duration::ZERO, |running| running.copy_in);
        let result = running.and_then(|running| device.finish_batch(running));
        shared.on_device.fetch_sub(1, Ordering::Relaxed);
        let started = at.max(free_since);
        *shared.arena.lock().unwrap_or_else(PoisonError::into_inner) = device.arena();
        let lost = |error: &DeviceError| error.is_fatal().then(|| error.to_string());
        let ended = result.as_ref().map(|_| ()).map_err(lost);
        shared.watch.done(started.elapsed(), ended);
        match result {
            Ok(rows) => {
                let copy = if at < free_since { Duration::ZERO } else { copy };
                let compute = started.elapsed().saturating_sub(copy);
                let on_device = OnDevice { started, copy, compute };
                let (pooled, logits, hidden) =
                    (&rows.pooled[..], &rows.logits[..], &rows.hidden[..]);
                let mut rows =
                    Cursor { model: &shared.model, pooled, logits, hidden, begun: false };
                for request in requests {
                    let own = rows.take(&request);
                    request.answer(&shared.model, own, on_device, info);
                }
                false
            }
            Err(error) => {
                let lost = error.is_fatal();
                let kind = if lost { RequestError::DeviceLost } else { RequestError::Device };
                for request in requests {
                    request.fail(kind(error.to_string()));
                }
                lost
            }
        }
    }
}

impl Ready {
    fn waiting(&self) -> Waiting {
        let masks = if let Rows::At(places) = &self.rows { places.len() } else { 0 };
        Waiting { tokens: self.tokens.ids.len(), masks }
    }

    fn sequence(&self) -> Sequence<'_> {
        Sequence { token_ids: &self.tokens.ids, wants: &self.rows }
    }

    fn answer(self, model: &Model, rows: &[f32], on_device: OnDevice, batch: BatchInfo) {
        let answer = match self.task.answer(model, &self.text, &self.tokens, rows) {
            Ok(answer) => answer,
            Err(error) => return self.fail(error),
        };
        let timings = Timings {
            tokenize: self.tokenized - self.admitted,
            queue: on_device.started - self.tokenized,
            copy: on_device.copy,
            compute: on_device.compute,
            total: self.admitted.elapsed(),
        };
        let (tokens, truncated) = (self.tokens.ids.len(), self.tokens.truncated);
        // The place is free before the caller can know, so that its next request finds room.
        drop(self.place);
        let _ = self.reply.send(Ok(Response { tokens, truncated, answer, timings, batch }));
    }

    fn fail(self, error: RequestError) {
        drop(self.place);
        let _ = self.reply.send(Err(error));
    }
}

/// When a batch's turn came, and how long its parts took.
#[derive(Clone, Copy)]
struct OnDevice {
    started: Instant,
    copy: Duration,
    compute: Duration,
}

/// Deals a batch's rows out in the order they were packed.
struct Cursor<'a> {
    model: &'a Model,
    pooled: &'a [f32],
    logits: &'a [f32],
    hidden: &'a [f32],
    /// Whether the first request came that reads `hidden`, which begins with its rows.
    begun: bool,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, request: &Ready) -> &'a [f32] {
        let config = &self.model.config;
        let tokens = request.tokens.ids.len();
        self.begun |= request.rows == Rows::Hidden;
        let passed = if self.begun { tokens * config.hidden_size } else { 0 };
        let (own, rest) = self.hidden.split_at(passed.min(self.hidden.len()));
        self.hidden = rest;
        let outputs = self.model.architecture.head.as_ref().map_or(0, |head| head.outputs);
        let (from, count) = match (&request.rows, &config.head) {
            (Rows::Pooled(_), Head::Base | Head::MaskedLm { .. }) => {
                (&mut self.pooled, config.hidden_size)
            }
            (Rows::Pooled(_), _) => (&mut self.logits, outputs),
            (Rows::At(places), _) => (&mut self.logits, places.len() * outputs),
            (Rows::All, _) => (&mut self.logits, tokens * outputs),
            (Rows::Hidden, _) => return own,
        };
        let (own, rest) = from.split_at(count);
        *from = rest;
        own
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::backend::{ArenaUsage, Backend, Ceilings, Fetch, Op, View};
    use crate::engine::{Engine, EngineOptions, Request};
    use crate::model::{InitHead, RopeOverride, smallest};
    use crate::task::{Answer, Task};
    use crate::text::tokenize::{Input, Truncate};

    /// A host backend that says it runs behind, and tells what it is asked to do. Its first `begin` waits
    /// until it may go on.
    struct Behind {
        host: Box<dyn Backend>,
        events: mpsc::Sender<&'static str>,
        go_on: Option<mpsc::Receiver<()>>,
        fail: bool,
    }

    impl Backend for Behind {
        fn begin(&mut self, batch: &PackedBatch) -> Result<(), DeviceError> {
            self.events.send("begin").expect("the test listens");
            if let Some(go_on) = self.go_on.take() {
                go_on.recv().expect("the test tells");
            }
            self.host.begin(batch)
        }
        fn launch(&mut self, op: &Op) -> Result<(), DeviceError> {
            self.host.launch(op)
        }
        fn fetch(&mut self, view: &View) -> Result<Fetch, DeviceError> {
            self.host.fetch(view)
        }
        fn collect(&mut self, fetch: Fetch) -> Result<Vec<f32>, DeviceError> {
            self.events.send("collect").expect("the test listens");
            if self.fail {
                return Err(DeviceError::Poisoned {
                    device: "test".into(),
                    call: "collect",
                    reason: "planted".into(),
                });
            }
            self.host.collect(fetch)
        }
        fn runs_behind(&self) -> bool {
            true
        }
        fn write(&mut self, view: &View, rows: &[f32]) -> Result<(), DeviceError> {
            self.host.write(view, rows)
        }
        fn arena(&self) -> ArenaUsage {
            self.host.arena()
        }
        fn time(&mut self, ops: &[Op], repeats: usize) -> Result<Vec<f64>, DeviceError> {
            self.host.time(ops, repeats)
        }
        fn ceilings(&mut self) -> Result<Ceilings, DeviceError> {
            self.host.ceilings()
        }
    }

    fn model() -> Model {
        Model::load(&smallest(InitHead::MaskedLm), RopeOverride::Checkpoint).expect("loads")
    }

    fn request(words: usize) -> Request {
        let input = Input::Text("word ".repeat(words));
        let task = Task::Embed { pooling: None, normalize: true, dimensions: None };
        Request { input, task, truncate: Truncate::No }
    }

    /// An engine for two sequences a batch, what it is asked, and the leave to finish its first batch.
    fn engine(fail: bool) -> (Engine, mpsc::Receiver<&'static str>, mpsc::Sender<()>) {
        let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
        options.device.max_batch_sequences = 2;
        options.device.threads = 1;
        let model = model();
        let device = Device::start(&model, &options.device).expect("starts");
        let (events, seen) = mpsc::channel();
        let (leave, go_on) = mpsc::channel();
        let device =
            device.map_backend(|host| Box::new(Behind { host, events, go_on: Some(go_on), fail }));
        (Engine::over(device, model, &options).expect("starts"), seen, leave)
    }

    fn embedding(answer: Answer) -> Vec<f32> {
        match answer {
            Answer::Embedding(row) => row,
            other => panic!("{other:?}"),
        }
    }

    /// Six requests, the first alone on the device, the others ready for a batch when this returns.
    fn submit(
        engine: &Engine,
        seen: &mpsc::Receiver<&'static str>,
        leave: &mpsc::Sender<()>,
    ) -> Vec<crate::engine::Pending> {
        let mut pending = vec![engine.submit(request(1)).expect("admitted")];
        assert_eq!(seen.recv(), Ok("begin"));
        pending.extend((2..=6).map(|words| engine.submit(request(words)).expect("admitted")));
        // The one tokenizer thread goes in order: when this one is refused, those before it are ready.
        let last = Request { input: Input::Ids(vec![u32::MAX]), ..request(1) };
        last_error(engine.submit(last).expect("admitted"));
        leave.send(()).expect("the device waits");
        pending
    }

    fn last_error(pending: crate::engine::Pending) -> RequestError {
        pending.wait().expect_err("refused")
    }

    #[test]
    fn a_full_batch_starts_before_the_last_one_is_done_and_no_other_does() {
        let (engine, seen, leave) = engine(false);
        let answers: Vec<_> = submit(&engine, &seen, &leave)
            .into_iter()
            .map(|pending| embedding(pending.wait().expect("answered").answer))
            .collect();
        drop(engine);
        let order: Vec<_> = seen.into_iter().collect();
        // After the first: 2 and 3 ahead of it, 4 and 5 ahead of those; 6 is no full batch and waits.
        let expected = ["begin", "collect", "begin", "collect", "collect", "begin", "collect"];
        assert_eq!(order, expected);
        let alone = Engine::start(model(), &EngineOptions::default()).expect("starts");
        for (words, answer) in (1..).zip(answers) {
            let expected =
                alone.submit(request(words)).expect("admitted").wait().expect("answered");
            assert_eq!(answer, embedding(expected.answer), "{words} words");
        }
    }

    #[test]
    fn a_lost_device_answers_what_was_started_ahead() {
        let (engine, seen, leave) = engine(true);
        for pending in submit(&engine, &seen, &leave) {
            let error = last_error(pending);
            assert!(
                matches!(error, RequestError::DeviceLost(_) | RequestError::Stopped),
                "{error}"
            );
        }
    }

    #[test]
    fn a_thread_that_ends_early_leaves_nobody_waiting() {
        let (engine, seen, leave) = engine(false);
        engine.on_batch(|_| panic!("planted"));
        for pending in submit(&engine, &seen, &leave) {
            assert!(matches!(last_error(pending), RequestError::Stopped));
        }
        assert!(matches!(engine.submit(request(1)), Err(RequestError::Stopped)));
    }
}
