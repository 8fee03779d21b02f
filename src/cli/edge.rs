//! The targets of `validate --edge`, and printing of its findings. A target starts engines with the memory
//! budgets that the search requests, or wraps a running server. The search itself is in
//! `bigbatch_validate`.

use std::io;
use std::sync::Arc;

use bigbatch_engine::{Engine, EngineOptions, Model, TaskKind, units};
use bigbatch_validate::analysis::EdgeFindings;
use bigbatch_validate::analysis::edge::{Edge, EdgeAxis};
use bigbatch_validate::run::edge::{EdgeInstance, EdgePrediction, EdgeTarget, StartError};
use bigbatch_validate::system::{InProcess, Target};

use super::options::ModelOptions;
use super::say;

/// Starts engines in this process, for one model and device, with any memory budget.
pub(super) struct InProcessEdge {
    options: ModelOptions,
    task: TaskKind,
}

impl InProcessEdge {
    pub(super) fn new(options: &ModelOptions, task: TaskKind) -> InProcessEdge {
        InProcessEdge { options: options.clone(), task }
    }

    fn start_engine(&self, budget: u64) -> Result<(Engine, EngineOptions), String> {
        let mut device = self.options.device().map_err(|error| error.to_string())?;
        device.memory_budget_bytes = budget;
        let options = EngineOptions { device, ..EngineOptions::default() };
        let model: Model = self.options.load(self.task).map_err(|error| error.to_string())?;
        let engine = Engine::start(model, &options).map_err(|error| error.to_string())?;
        Ok((engine, options))
    }
}

impl EdgeTarget for InProcessEdge {
    fn start(&self, memory_budget_bytes: Option<u64>) -> Result<EdgeInstance, StartError> {
        let budget = memory_budget_bytes.unwrap_or(self.options.memory_budget_bytes());
        let (engine, options) =
            self.start_engine(budget).map_err(|message| StartError { message })?;
        let predicted = EdgePrediction {
            concurrency: Some(options.max_concurrent_requests as u64),
            tokens: Some(engine.max_tokens() as u64),
            memory_budget_bytes: Some(engine.memory_plan().least_budget_bytes),
        };
        let target = Arc::new(InProcess::new(engine, budget, env!("CARGO_PKG_VERSION")));
        Ok(EdgeInstance { target, predicted })
    }

    fn memory_budget_bytes(&self) -> Option<u64> {
        Some(self.options.memory_budget_bytes())
    }
}

/// A running server, whose memory budget cannot be changed.
pub(super) struct RunningEdge {
    target: Arc<dyn Target>,
}

impl RunningEdge {
    pub(super) fn new(target: Arc<dyn Target>) -> RunningEdge {
        RunningEdge { target }
    }
}

impl EdgeTarget for RunningEdge {
    fn start(&self, _: Option<u64>) -> Result<EdgeInstance, StartError> {
        let longest = self.target.describe().max_sequence_tokens;
        let predicted =
            EdgePrediction { tokens: longest.map(|n| n as u64), ..EdgePrediction::default() };
        Ok(EdgeInstance { target: self.target.clone(), predicted })
    }

    fn memory_budget_bytes(&self) -> Option<u64> {
        None
    }
}

/// Prints one line per axis, per kind of failure and per recovery.
pub(super) fn print_findings(found: &EdgeFindings) -> io::Result<()> {
    for edge in &found.axes {
        let value = |value: Option<u64>| match (edge.axis, value) {
            (_, None) => "-".to_owned(),
            (EdgeAxis::MemoryBudget, Some(bytes)) => units::bytes(bytes),
            (_, Some(count)) => count.to_string(),
        };
        let Edge { works, refused, predicted, agreement, .. } = edge;
        say!(
            "edge of {}: {} works, {} is refused, {} was predicted: {}{}",
            edge.axis.label(),
            value(*works),
            value(*refused),
            value(*predicted),
            agreement.label(),
            edge.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default()
        );
    }
    for failure in &found.failures {
        let start = failure.kind.is_none();
        let load = if start {
            String::new()
        } else {
            format!(" at {} concurrent requests of {} tokens", failure.concurrency, failure.tokens)
        };
        let budget = failure.memory_budget_bytes.map(units::bytes).unwrap_or_default();
        say!(
            "  {:.1} s: {}, {}{load}, budget {budget}: {}",
            failure.first_at_ms / 1e3,
            failure.label(),
            failure.count,
            failure.message
        );
    }
    for recovery in &found.recoveries {
        let (least, most) = recovery.ratio_interval.unwrap_or((f64::NAN, f64::NAN));
        say!(
            "after {}: {} (p50 {:.3} ms before, {:.3} ms after; ratio {least:.3} to {most:.3}, normal up to {}; \
             round {}, {:.1} s)",
            recovery.axis.label(),
            recovery.verdict.label(),
            recovery.before_ms_p50,
            recovery.after_ms_p50.unwrap_or(f64::NAN),
            recovery.ratio_normal_max,
            recovery.rounds,
            recovery.seconds
        );
    }
    Ok(())
}
