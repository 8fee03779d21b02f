//! The search for edges: raises concurrency and length, and lowers the memory budget, until requests
//! fail; compares these edges with their predictions; and checks that the normal load is as fast after
//! each axis as before.
//!
//! Along each axis the search doubles (or halves) from the normal load until a request fails, then halves
//! the gap. A probe of a concurrency sends that many requests at once; of a length, one request; of a
//! budget, it starts the target and sends one request of the longest length that the target reports.
//! Every failure is recorded with its kind, its time and its load.
//!
//! The caller starts targets, through [`EdgeTarget`]. A target that cannot be restarted, such as one
//! behind a URL, keeps its budget, and only concurrency and length are searched.
//!
//! This is not a measurement of speed: the load that a system bears within a latency is found by the
//! plan's cells. The findings are compared and judged in [`crate::analysis::edge`].

mod recovery;
mod search;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use self::search::AxisSearch;
use crate::analysis::edge::{
    Edge, EdgeAxis, EdgeFailure, EdgeFindings, EdgeProbe, Recovery, RecoveryVerdict,
};
use crate::error::Error;
use crate::load::{Attempt, Cancel, Clock, SendRules, send};
use crate::plan::EdgeRules;
use crate::system::{FailureKind, Prompt, Target, TokenCounter};
use crate::workload::{Corpus, Workload};

/// Starts the target whose edges are searched.
pub trait EdgeTarget {
    /// Starts the target with `memory_budget_bytes`, or with its own budget if it cannot be set. Blocks
    /// until it serves. The previous instance has been dropped.
    ///
    /// # Errors
    /// The target's message if it did not start.
    fn start(&self, memory_budget_bytes: Option<u64>) -> Result<EdgeInstance, StartError>;

    /// Returns the budget of a normal run, in bytes; `None` if it cannot be set.
    fn memory_budget_bytes(&self) -> Option<u64>;
}

/// A running target, with its predicted edges.
pub struct EdgeInstance {
    /// The target.
    pub target: Arc<dyn Target>,
    /// The edges that its limits predict.
    pub predicted: EdgePrediction,
}

/// The last values that are predicted to work; `None` if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdgePrediction {
    /// Most requests at once.
    pub concurrency: Option<u64>,
    /// Longest request, in tokens.
    pub tokens: Option<u64>,
    /// Smallest memory budget, in bytes.
    pub memory_budget_bytes: Option<u64>,
}

/// The error of a target that did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    /// The target's message, in one line.
    pub message: String,
}

/// Resolution of the search for a budget, as a share of the budget.
const BUDGET_RESOLUTION: f64 = 0.005;
/// Smallest budget that is tried, in bytes.
const LEAST_BUDGET_BYTES: u64 = 1 << 20;

/// Searches all edges on a new runtime. Blocks until the search is done or cancelled.
///
/// # Errors
/// Invalid rules, a corpus from which no prompt of the normal length can be cut, or a target that does not
/// start with the budget of a normal run.
pub fn find(
    rules: &EdgeRules,
    edge: &dyn EdgeTarget,
    tokens: &dyn TokenCounter,
    corpus: &Corpus,
    cancel: &Cancel,
) -> Result<EdgeFindings, Error> {
    let runtime = crate::run::runtime()?;
    runtime.block_on(find_async(rules, edge, tokens, corpus, cancel))
}

/// Searches all edges on the caller's runtime.
///
/// # Errors
/// Those of [`find`].
pub async fn find_async(
    rules: &EdgeRules,
    edge: &dyn EdgeTarget,
    tokens: &dyn TokenCounter,
    corpus: &Corpus,
    cancel: &Cancel,
) -> Result<EdgeFindings, Error> {
    rules.check().map_err(|message| Error::PlanValue { origin: "edge".into(), message })?;
    let workload = Workload::new(corpus, tokens, rules.tokens_max)?;
    let normal = cut_prompt(&workload, rules.tokens)?;
    let clock = Clock::start(0);
    let mut search = EdgeSearch {
        rules,
        edge,
        workload,
        normal,
        clock,
        cancel,
        budget_bytes: edge.memory_budget_bytes(),
        findings: EdgeFindings::default(),
    };
    search.search_axes().await?;
    Ok(search.findings)
}

fn cut_prompt(workload: &Workload<'_>, tokens: usize) -> Result<Prompt, Error> {
    // `prompts` returns at least one prompt, or an error.
    let mut prompts = workload.prompts(tokens, 0, 1)?;
    Ok(prompts.swap_remove(0))
}

struct EdgeSearch<'a> {
    rules: &'a EdgeRules,
    edge: &'a dyn EdgeTarget,
    workload: Workload<'a>,
    normal: Prompt,
    clock: Clock,
    cancel: &'a Cancel,
    budget_bytes: Option<u64>,
    findings: EdgeFindings,
}

impl EdgeSearch<'_> {
    async fn search_axes(&mut self) -> Result<(), Error> {
        let mut instance = self.start()?;
        let predicted = instance.predicted;
        // The first requests after a start are slower than normal.
        self.send_one_by_one(&instance).await;
        let (before, _) = self.send_one_by_one(&instance).await;
        for axis in [EdgeAxis::Concurrency, EdgeAxis::Tokens] {
            self.search_upwards(axis, &instance).await;
            self.measure_recovery(axis, &before, &instance).await;
        }
        if let Some(budget) = self.budget_bytes {
            drop(instance);
            self.search_budgets(budget, predicted.memory_budget_bytes).await;
            instance = self.start()?;
            self.measure_recovery(EdgeAxis::MemoryBudget, &before, &instance).await;
        }
        Ok(())
    }

    fn start(&self) -> Result<EdgeInstance, Error> {
        self.edge.start(self.budget_bytes).map_err(|refused| Error::EdgeStart(refused.message))
    }

    /// Returns the reason to stop the search early, if any.
    fn stop_reason(&self) -> Option<String> {
        if self.cancel.is_cancelled() {
            return Some("interrupted".into());
        }
        let limit = self.rules.time_limit_seconds;
        let late = self.clock.now_us() as f64 > limit * 1e6;
        late.then(|| format!("stopped at the time limit of {limit} s"))
    }

    async fn search_upwards(&mut self, axis: EdgeAxis, instance: &EdgeInstance) {
        let (from, limit, predicted) = match axis {
            EdgeAxis::Tokens => {
                (self.rules.tokens, self.rules.tokens_max, instance.predicted.tokens)
            }
            _ => (1, self.rules.concurrency_max, instance.predicted.concurrency),
        };
        // The search assumes that the normal load works.
        let mut search = AxisSearch::new(from as u64, limit.max(from) as u64, 0.0);
        let mut probes = Vec::new();
        let mut note = None;
        while let Some(value) = search.next() {
            note = self.stop_reason();
            if note.is_some() {
                break;
            }
            let sent = match axis {
                EdgeAxis::Tokens => {
                    cut_prompt(&self.workload, value as usize).map(|prompt| (prompt, 1))
                }
                _ => Ok((self.normal.clone(), value as usize)),
            };
            let (prompt, at_once) = match sent {
                Ok(sent) => sent,
                Err(error) => {
                    note = Some(error.to_string());
                    break;
                }
            };
            let probe = self.probe_at_once(axis, value, instance, prompt, at_once).await;
            note = self.generator_failure(axis, value);
            if note.is_some() {
                break;
            }
            search.record(value, probe.works);
            probes.push(probe);
        }
        let mut edge = Edge::new(axis, probes, predicted, self.rules.tolerance);
        edge.note = note.or_else(|| {
            edge.refused.is_none().then(|| format!("nothing was refused up to {limit}"))
        });
        self.findings.axes.push(edge);
    }

    async fn search_budgets(&mut self, budget: u64, predicted: Option<u64>) {
        let mut search = AxisSearch::new(budget, LEAST_BUDGET_BYTES.min(budget), BUDGET_RESOLUTION);
        let mut probes = Vec::new();
        let mut note = None;
        while let Some(value) = search.next() {
            note = self.stop_reason();
            if note.is_some() {
                break;
            }
            let probe = self.probe_budget(value).await;
            search.record(value, probe.works);
            probes.push(probe);
        }
        self.budget_bytes = Some(budget);
        let mut edge = Edge::new(EdgeAxis::MemoryBudget, probes, predicted, self.rules.tolerance);
        edge.note = note;
        self.findings.axes.push(edge);
    }

    /// Starts the target with a budget and sends one request of the longest length that it then reports.
    async fn probe_budget(&mut self, value: u64) -> EdgeProbe {
        self.budget_bytes = Some(value);
        let at_ms = self.clock.now_us() as f64 / 1e3;
        let axis = EdgeAxis::MemoryBudget;
        match self.edge.start(Some(value)) {
            Ok(instance) => {
                let longest = instance.predicted.tokens.map_or(self.rules.tokens, |tokens| {
                    (tokens as usize).min(self.rules.tokens_max)
                });
                let longest = cut_prompt(&self.workload, longest);
                let prompt = longest.unwrap_or_else(|_| self.normal.clone());
                self.probe_at_once(axis, value, &instance, prompt, 1).await
            }
            Err(StartError { message }) => {
                self.findings.failures.push(EdgeFailure {
                    axis,
                    value,
                    first_at_ms: at_ms,
                    last_at_ms: self.clock.now_us() as f64 / 1e3,
                    kind: None,
                    count: 1,
                    concurrency: 0,
                    tokens: 0,
                    memory_budget_bytes: Some(value),
                    message,
                });
                EdgeProbe { value, requests: 0, failed: 0, works: false }
            }
        }
    }

    /// Sends `count` requests at once, waits for all, and records the failures by kind.
    async fn probe_at_once(
        &mut self,
        axis: EdgeAxis,
        value: u64,
        instance: &EdgeInstance,
        prompt: Prompt,
        count: usize,
    ) -> EdgeProbe {
        let rules = SendRules::timeout(Duration::from_secs_f64(self.rules.request_timeout_seconds));
        let mut sending = JoinSet::new();
        for _ in 0..count {
            let (target, prompt) = (Arc::clone(&instance.target), prompt.clone());
            sending.spawn(async move { send(&*target, &prompt, Instant::now(), &rules).await });
        }
        let mut failures: BTreeMap<FailureKind, EdgeFailure> = BTreeMap::new();
        let mut failed = 0;
        for Attempt { ended, outcome, .. } in sending.join_all().await {
            let Err(failure) = outcome else { continue };
            failed += 1;
            let at_ms = self.clock.at(ended) as f64 / 1e3;
            let entry = failures.entry(failure.kind).or_insert_with(|| EdgeFailure {
                axis,
                value,
                first_at_ms: at_ms,
                last_at_ms: at_ms,
                kind: Some(failure.kind),
                count: 0,
                concurrency: count,
                tokens: prompt.tokens(),
                memory_budget_bytes: self.budget_bytes,
                message: failure.message,
            });
            entry.count += 1;
            entry.first_at_ms = entry.first_at_ms.min(at_ms);
            entry.last_at_ms = entry.last_at_ms.max(at_ms);
        }
        self.findings.failures.extend(failures.into_values());
        EdgeProbe { value, requests: count, failed, works: failed == 0 }
    }

    /// Returns why a probe says nothing about the target: the generator could not send it.
    fn generator_failure(&self, axis: EdgeAxis, value: u64) -> Option<String> {
        let own = |failure: &&EdgeFailure| {
            (failure.axis, failure.value) == (axis, value)
                && failure.kind == Some(FailureKind::Generator)
        };
        let message = &self.findings.failures.iter().find(own)?.message;
        Some(format!("stopped at {value}: the load generator failed, not the target ({message})"))
    }

    /// Sends one round of the normal load; returns latencies in milliseconds and the number of failures.
    async fn send_one_by_one(&self, instance: &EdgeInstance) -> (Vec<f64>, usize) {
        let rules = SendRules::timeout(Duration::from_secs_f64(self.rules.request_timeout_seconds));
        let (mut latencies, mut failed) = (Vec::new(), 0);
        for _ in 0..self.rules.requests {
            let intended = Instant::now();
            let sent = send(&*instance.target, &self.normal, intended, &rules).await;
            match sent.outcome {
                Ok(_) => latencies.push((sent.ended - intended).as_secs_f64() * 1e3),
                Err(_) => failed += 1,
            }
        }
        (latencies, failed)
    }

    /// Sends rounds of the normal load until one is as fast as before, or `recovery_seconds` have passed.
    async fn measure_recovery(&mut self, axis: EdgeAxis, before: &[f64], instance: &EdgeInstance) {
        let normal = self.rules.ratio_normal_max;
        let (started, mut rounds) = (Instant::now(), 0);
        let recovery = loop {
            let (after, failed) = self.send_one_by_one(instance).await;
            rounds += 1;
            let seconds = started.elapsed().as_secs_f64();
            let round = recovery::compare(axis, before, &after, failed, normal);
            let recovered = round.verdict == RecoveryVerdict::Yes;
            if recovered || seconds >= self.rules.recovery_seconds || self.stop_reason().is_some() {
                break Recovery { rounds, seconds, ..round };
            }
        };
        self.findings.recoveries.push(recovery);
    }
}
