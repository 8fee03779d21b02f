//! The status of a cell after its load: its figures, or the reason why it has none.
//!
//! A cell that the target answered nothing in was run, and misses its limits; a cell that the plan or the load
//! generator kept from a measurement was not. Figures are computed in [`crate::figures`], verdicts in
//! [`crate::verdict`].

use std::collections::BTreeMap;

use crate::figures::Status;
use crate::figures::compute::{CellContext, figures};
use crate::figures::generator::GeneratorReadings;
use crate::figures::steady::{Steady, settle};
use crate::format::count;
use crate::load::cell::{EndReason, LoadOutput};
use crate::load::{Phase, RequestRecord};
use crate::plan::{CellSpec, Load};
use crate::system::FailureKind;

/// Computes the cell's figures, or states why it has none; returns them with its records.
pub(super) fn cell_status(
    spec: &CellSpec,
    time_limit_seconds: f64,
    output: LoadOutput,
    generator: GeneratorReadings,
) -> (Status, Vec<RequestRecord>) {
    if let Some(reason) = reason_not_run(spec, time_limit_seconds, &output) {
        return (Status::NotRun { reason }, output.records);
    }
    let note = note(spec, time_limit_seconds, &output);
    let LoadOutput { mut records, measured_us, end_reason, stopped_clients } = output;
    let end_us = records.iter().map(|record| record.ended_us).max().unwrap_or(0);
    let mut measured_us = measured_us.unwrap_or((end_us, end_us));
    let steady = find_steady_part(&spec.load, &mut records, &mut measured_us);
    let context = CellContext {
        spec,
        measured_us,
        cut_by_time_limit: end_reason == EndReason::TimeLimit,
        note,
        stopped_clients,
        steady,
        generator,
    };
    let figures = Box::new(figures(&records, context));
    (Status::Run { figures }, records)
}

/// Returns why a cell counts as not run; `None` if it has figures.
fn reason_not_run(spec: &CellSpec, limit_seconds: f64, output: &LoadOutput) -> Option<String> {
    if output.end_reason == EndReason::Cancelled {
        return Some("interrupted while it ran".into());
    }
    if let Some(reason) = generator_failure(&output.records) {
        return Some(reason);
    }
    let closed = spec.concurrency().is_some();
    let answered = output.records.iter().any(RequestRecord::succeeded);
    match output.measured_us {
        None if !closed || (answered && output.end_reason == EndReason::NeverWarm) => {
            Some(format!("its warm-up did not end within its time limit of {limit_seconds} s"))
        }
        Some(_) if !closed && measured(&output.records) == 0 => Some(
            "no request was scheduled within its measured phase; raise its rate or its seconds"
                .into(),
        ),
        _ => None,
    }
}

/// Returns how the generator itself failed, if it did: the load was then not that of the plan, and its failures
/// say nothing about the target.
fn generator_failure(records: &[RequestRecord]) -> Option<String> {
    let own = |record: &&RequestRecord| record.failure == Some(FailureKind::Generator);
    let failed = records.iter().filter(own).count();
    let message = records.iter().find(own)?.message.as_deref().unwrap_or_default();
    Some(format!(
        "the load generator failed, not the target: {} of {} requests could not be sent ({message}); raise this \
         machine's limit (`ulimit -n` for open files), or lower the concurrency",
        count(failed),
        count(records.len())
    ))
}

fn measured(records: &[RequestRecord]) -> usize {
    records.iter().filter(|record| record.phase == Phase::Measured).count()
}

/// Returns why the cell has no measured request, or why clients stopped early.
fn note(spec: &CellSpec, limit_seconds: f64, output: &LoadOutput) -> Option<String> {
    let mut clauses = Vec::new();
    if measured(&output.records) == 0 {
        let mut failures: BTreeMap<FailureKind, usize> = BTreeMap::new();
        for kind in output.records.iter().filter_map(|record| record.failure) {
            *failures.entry(kind).or_insert(0) += 1;
        }
        let failures: Vec<String> =
            failures.iter().map(|(kind, n)| format!("{} {}", count(*n), kind.label())).collect();
        let failures = if failures.is_empty() { "none ended".into() } else { failures.join(", ") };
        clauses.push(format!("no request was measured (in the warm-up: {failures})"));
    }
    if output.stopped_clients > 0 {
        clauses.push(format!(
            "the target told {} of {} clients to wait past the cell's time limit of {limit_seconds} s (Retry-After)",
            count(output.stopped_clients),
            count(spec.concurrency().unwrap_or(output.stopped_clients))
        ));
    }
    (!clauses.is_empty()).then(|| clauses.join(": "))
}

/// Finds the steady part of a load that is meant to have one; ramps and replays are not.
fn find_steady_part(
    load: &Load,
    records: &mut [RequestRecord],
    measured_us: &mut (u64, u64),
) -> Steady {
    match load {
        Load::Ramp { .. } => Steady::NotSought { reason: "the rate of a ramp rises".into() },
        Load::Replay { .. } => {
            Steady::NotSought { reason: "the rate of a replay follows its file".into() }
        }
        Load::Open { .. } => settle(records, measured_us, false),
        Load::Closed { .. } => settle(records, measured_us, true),
    }
}
