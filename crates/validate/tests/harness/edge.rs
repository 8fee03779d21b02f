//! The search for edges, against a target whose limits are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bigbatch_validate::analysis::edge::{
    Edge, EdgeAxis, EdgeFindings, EdgeProbe, PredictionMatch, RecoveryVerdict,
};
use bigbatch_validate::load::Cancel;
use bigbatch_validate::plan::EdgeRules;
use bigbatch_validate::run::edge::{
    EdgeInstance, EdgePrediction, EdgeTarget, StartError, find_async,
};
use bigbatch_validate::system::{
    Failure, FailureKind, MemorySample, Prompt, Reply, ReplyFuture, Target, TargetInfo, Terms,
};

use crate::simulated::{PieceCounter, corpus};

const QUEUE: usize = 37;
const LONGEST: usize = 700;
const LEAST_BUDGET: u64 = 300 << 20;

/// The limits of the simulated target, and its predictions.
#[derive(Clone, Copy)]
struct Law {
    predicted: EdgePrediction,
    /// Milliseconds per answer after a burst of more requests than the queue takes.
    ms_after_overload: u64,
    can_restart: bool,
}

const RIGHT: Law = Law {
    predicted: EdgePrediction {
        concurrency: Some(QUEUE as u64),
        tokens: Some(LONGEST as u64),
        memory_budget_bytes: Some(LEAST_BUDGET),
    },
    ms_after_overload: 10,
    can_restart: true,
};

struct LimitedTarget {
    law: Law,
    in_flight: AtomicUsize,
    ms: AtomicU64,
}

impl Target for LimitedTarget {
    fn describe(&self) -> TargetInfo {
        TargetInfo::default()
    }
    fn send<'a>(&'a self, prompt: &'a Prompt, _: Terms) -> ReplyFuture<'a> {
        Box::pin(async move {
            if prompt.tokens() > LONGEST {
                return Err(Failure::new(FailureKind::TooLong, "it is too long"));
            }
            let taken = self.in_flight.fetch_add(1, Ordering::SeqCst);
            let full = taken >= QUEUE;
            if full {
                self.ms.store(self.law.ms_after_overload, Ordering::SeqCst);
            } else {
                tokio::time::sleep(Duration::from_millis(self.ms.load(Ordering::SeqCst))).await;
            }
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            if full {
                return Err(Failure::new(FailureKind::Refused, "the queue is full"));
            }
            Ok(Reply::default())
        })
    }
    fn memory(&self) -> MemorySample {
        MemorySample::default()
    }
}

impl EdgeTarget for Law {
    fn start(&self, memory_budget_bytes: Option<u64>) -> Result<EdgeInstance, StartError> {
        if memory_budget_bytes.is_some_and(|bytes| bytes < LEAST_BUDGET) {
            return Err(StartError { message: "the budget is too small".into() });
        }
        let target = LimitedTarget { law: *self, in_flight: AtomicUsize::new(0), ms: 10.into() };
        Ok(EdgeInstance { target: Arc::new(target), predicted: self.predicted })
    }
    fn memory_budget_bytes(&self) -> Option<u64> {
        self.can_restart.then_some(2 << 30)
    }
}

async fn found(law: Law) -> EdgeFindings {
    let rules =
        EdgeRules { tokens: 16, concurrency_max: 300, tokens_max: 2000, ..EdgeRules::default() };
    find_async(&rules, &law, &PieceCounter, &corpus(), &Cancel::new()).await.expect("it starts")
}

fn axis(found: &EdgeFindings, axis: EdgeAxis) -> &Edge {
    found.axes.iter().find(|edge| edge.axis == axis).expect("it was searched")
}

#[tokio::test(start_paused = true)]
async fn every_edge_is_found_where_it_is_and_agrees_with_a_right_prediction() {
    let found = found(RIGHT).await;
    let concurrency = axis(&found, EdgeAxis::Concurrency);
    assert_eq!((concurrency.works, concurrency.refused), (Some(37), Some(38)));
    let tokens = axis(&found, EdgeAxis::Tokens);
    assert_eq!((tokens.works, tokens.refused), (Some(700), Some(701)));
    let budget = axis(&found, EdgeAxis::MemoryBudget);
    let (works, refused) = (budget.works.expect("some"), budget.refused.expect("some"));
    assert!(refused < LEAST_BUDGET && LEAST_BUDGET <= works, "{budget:?}");
    assert!(works - refused <= works / 200 + 1, "within half a percent: {budget:?}");
    for edge in &found.axes {
        assert_eq!(edge.agreement, PredictionMatch::Agrees, "{edge:?}");
        assert!(edge.difference_percent.is_some_and(|percent| percent.abs() <= 0.5), "{edge:?}");
    }

    let too_many = |probe: &&EdgeProbe| probe.value > 37;
    for probe in concurrency.probes.iter().filter(too_many) {
        assert_eq!(probe.failed, probe.requests - QUEUE, "each request has its own fate");
        let failure = found.failures.iter().find(|failure| failure.value == probe.value);
        let failure = failure.expect("it is kept");
        assert_eq!(failure.kind, Some(FailureKind::Refused));
        assert_eq!((failure.count, failure.concurrency), (probe.failed, probe.requests));
        assert_eq!(failure.message, "the queue is full");
    }
    let start = found.failures.iter().find(|failure| failure.kind.is_none()).expect("a start");
    assert_eq!((start.axis, start.label()), (EdgeAxis::MemoryBudget, "refused to start"));
    assert!(start.memory_budget_bytes.is_some_and(|bytes| bytes < LEAST_BUDGET));
    let verdicts: Vec<_> =
        found.recoveries.iter().map(|r| (r.verdict, r.requests, r.rounds)).collect();
    assert_eq!(verdicts, [(RecoveryVerdict::Yes, 30, 1); 3]);
}

#[tokio::test(start_paused = true)]
async fn wrong_predictions_and_a_target_that_stays_slow_are_reported() {
    let predicted = EdgePrediction {
        concurrency: Some(64),
        tokens: Some(512),
        memory_budget_bytes: Some(LEAST_BUDGET / 2),
    };
    let found = found(Law { predicted, ms_after_overload: 20, ..RIGHT }).await;
    let agreement = |of| axis(&found, of).agreement;
    assert_eq!(agreement(EdgeAxis::Concurrency), PredictionMatch::Short, "37 of 64");
    assert_eq!(agreement(EdgeAxis::Tokens), PredictionMatch::Beyond, "700 against 512");
    assert_eq!(agreement(EdgeAxis::MemoryBudget), PredictionMatch::Short, "it needs twice as much");
    let [overload, _, restarted] = &found.recoveries[..] else { panic!("three") };
    assert_eq!(overload.verdict, RecoveryVerdict::No);
    assert!(overload.rounds > 1 && overload.seconds >= 10.0, "it was given time: {overload:?}");
    assert!(overload.ratio.is_some_and(|ratio| (ratio - 2.0).abs() < 0.01), "{overload:?}");
    assert_eq!(restarted.verdict, RecoveryVerdict::Yes, "a fresh one is as fast as ever");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_restarted_is_searched_upwards_only() {
    let law = Law { can_restart: false, predicted: EdgePrediction::default(), ..RIGHT };
    let found = found(law).await;
    let axes: Vec<EdgeAxis> = found.axes.iter().map(|edge| edge.axis).collect();
    assert_eq!(axes, [EdgeAxis::Concurrency, EdgeAxis::Tokens]);
    assert!(found.axes.iter().all(|edge| edge.agreement == PredictionMatch::Unknown));
}
