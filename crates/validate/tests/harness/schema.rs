//! `docs/results-schema.md` names every field that is written.

use std::collections::BTreeSet;

use bigbatch_validate::Report;
use bigbatch_validate::plan::{
    Arrival, EdgeRules, LengthComponent, LengthDist, Lengths, Load, Scenario,
};
use bigbatch_validate::system::Priority;
use serde_json::Value;

use crate::reports::report;

const PAGE: &str = include_str!("../../../../docs/results-schema.md");

/// Maps whose keys are data: what is inside them is a name of its own only below.
const KEYED_BY_DATA: [&str; 4] =
    ["details", "distinct_by_tokens", "prepared_by_scenario", "failures"];

fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                if !(KEYED_BY_DATA.contains(&key.as_str()) && value.is_object()) {
                    names(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

/// Words in backquotes, the parts of dotted ones too.
fn documented() -> BTreeSet<&'static str> {
    let quoted = PAGE.split('`').skip(1).step_by(2);
    quoted.flat_map(|words| words.split(['.', ' ', ':'])).collect()
}

/// Adds the fields that a short run does not write.
fn fill(report: &mut Report) {
    let results = &mut report.results;
    results.resumed_at = vec!["2026-01-01T00:00:00Z".into()];
    results.plan.edge = Some(EdgeRules::default());
    results.plan.scenarios = vec![
        scenario(Lengths::Fixed(64), Load::Closed { concurrency: 1 }),
        scenario(
            Lengths::Mix(vec![
                LengthComponent { weight: 1.0, lengths: LengthDist::Fixed(8) },
                LengthComponent {
                    weight: 1.0,
                    lengths: LengthDist::LogNormal { median: 8.0, sigma: 1.0, min: 1, max: 9 },
                },
                LengthComponent {
                    weight: 1.0,
                    lengths: LengthDist::Documents { path: "docs".into(), max: 9 },
                },
            ]),
            Load::Open {
                rate_per_second: 1.0,
                arrival: Arrival::Gamma { cv: 3.0 },
                seconds: Some(1.0),
            },
        ),
        scenario(Lengths::FromTrace, Load::Replay { file: "trace.csv".into(), speed: 1.0 }),
    ];
    let class = &mut results.plan.scenarios[0].classes[0];
    class.name = Some("one".into());
    (class.priority, class.timeout_ms) = (Some(Priority::Batch), Some(1));
    (results.cells[0].spec.class, results.cells[0].spec.timeout_ms) = (Some("one".into()), Some(1));
    let bar = &mut results.plan.bars[0];
    (bar.class, bar.baseline) = (Some("one".into()), Some("one".into()));
    (bar.latency_p50_ratio_max, bar.latency_p99_ratio_max) = (Some(2.0), Some(2.0));
    results.verdicts[0].baseline = Some("one".into());
    results.plan.overall.no_leak = true;
    results.plan.overall.tail_ratio_max = Some(3.0);
    results.plan.overall.fragmentation_max = Some(0.05);
    results.plan.overall.device_memory_bytes_max = Some(1);
    results.plan.bars[0].tail_ratio_max = Some(3.0);
    let read = results.cells.iter_mut().find(|cell| !cell.memory.is_empty());
    let cell = read.expect("one was run");
    (cell.sitting, cell.repeats) = (1, Some(0));
    let sample = &mut cell.memory[0].sample;
    (sample.device_used_bytes, sample.card_used_bytes) = (Some(1), Some(1));
    (sample.batches, sample.batches_in_flight) = (Some(1), Some(1));
    sample.requests_in_flight = Some(1);
    sample.arena.as_mut().expect("told").fragmentation_max = Some(0.0);
    let stages = report.requests.iter_mut().find_map(|record| record.stages.as_mut());
    stages.expect("told").copy_us = Some(1);
}

fn scenario(lengths: Lengths, load: Load) -> Scenario {
    Scenario::new("one", lengths, load)
}

/// Every word that a field may have for its value.
fn words() -> Vec<Value> {
    use bigbatch_validate::analysis::Stage;
    use bigbatch_validate::analysis::edge::{EdgeAxis, PredictionMatch, RecoveryVerdict};
    use bigbatch_validate::analysis::memory::{LeakVerdict, MemoryQuantity};
    use bigbatch_validate::load::Phase;
    use bigbatch_validate::preflight::{Severity, Subject};
    use bigbatch_validate::results::recommendation::{Support, Topic, Unit};
    use bigbatch_validate::stats::TrialUnit;
    use bigbatch_validate::system::FailureKind;
    use bigbatch_validate::verdict::{Criterion, Outcome};
    use bigbatch_validate::{BreakCause, MemoryPhase};

    let all = serde_json::json!([
        Stage::ALL,
        [
            PredictionMatch::Agrees,
            PredictionMatch::Short,
            PredictionMatch::Beyond,
            PredictionMatch::Unknown
        ],
        [EdgeAxis::Concurrency, EdgeAxis::Tokens, EdgeAxis::MemoryBudget],
        [RecoveryVerdict::Yes, RecoveryVerdict::No, RecoveryVerdict::Inconclusive],
        [LeakVerdict::Clean, LeakVerdict::Leak, LeakVerdict::Inconclusive],
        [
            MemoryQuantity::Device,
            MemoryQuantity::Card,
            MemoryQuantity::ArenaUsed,
            MemoryQuantity::Rss
        ],
        [Phase::WarmUp, Phase::Settling, Phase::Measured, Phase::CoolDown],
        [Severity::Ok, Severity::Warning, Severity::Problem],
        [
            Subject::Gpu,
            Subject::CardMemory,
            Subject::Driver,
            Subject::HostMemory,
            Subject::Disk,
            Subject::Processor
        ],
        [Support::Shown, Support::Partly, Support::Missing],
        [
            Topic::Concurrency,
            Topic::MemoryBudget,
            Topic::Replicas,
            Topic::Cleanup,
            Topic::TailLatency,
            Topic::ErrorHandling
        ],
        [
            Unit::Requests,
            Unit::Tokens,
            Unit::Bytes,
            Unit::RequestsPerSecond,
            Unit::Milliseconds,
            Unit::Ratio,
            Unit::Share
        ],
        [
            TrialUnit::Batches,
            TrialUnit::Rounds,
            TrialUnit::Runs,
            TrialUnit::Readings,
            TrialUnit::Plateaus
        ],
        [
            FailureKind::Timeout,
            FailureKind::DeadlineMissed,
            FailureKind::Refused,
            FailureKind::TooLong,
            FailureKind::OutOfMemory,
            FailureKind::Transport,
            FailureKind::Server,
            FailureKind::BadReply,
            FailureKind::WrongTokenCount
        ],
        [
            Criterion::SuccessRate,
            Criterion::LatencyP95,
            Criterion::TailRatio,
            Criterion::LatencyP50Ratio,
            Criterion::LatencyP99Ratio,
            Criterion::Fragmentation,
            Criterion::DeviceMemory,
            Criterion::Leak
        ],
        [Priority::Interactive, Priority::Batch],
        [Outcome::Pass, Outcome::NotShown, Outcome::NotRun, Outcome::Fail],
        [BreakCause::Failures, BreakCause::Latency],
        [MemoryPhase::Before, MemoryPhase::During, MemoryPhase::After],
        ["exactly", "at_least", "not_reached", "no_data", "found", "not_steady", "not_sought"],
        ["open", "ramp", "replay", "constant", "poisson", "gamma"],
    ]);
    let groups = all.as_array().cloned().unwrap_or_default();
    groups.iter().filter_map(Value::as_array).flatten().cloned().collect()
}

#[test]
fn every_value_that_is_a_word_is_on_the_page() {
    let documented = documented();
    let words = words();
    assert!(words.len() > 80, "{}", words.len());
    let absent: Vec<&Value> = words
        .iter()
        .filter(|word| !word.as_str().is_some_and(|word| documented.contains(word)))
        .collect();
    assert!(absent.is_empty(), "say in docs/results-schema.md what these mean: {absent:?}");
}

#[tokio::test(start_paused = true)]
async fn every_field_has_its_name_on_the_page() {
    let mut report = report("documented", "none").await;
    fill(&mut report);
    let mut found = BTreeSet::new();
    names(&serde_json::to_value(&report.results).expect("JSON"), &mut found);
    names(&serde_json::to_value(&report.requests).expect("JSON"), &mut found);
    assert!(found.len() > 120, "the sample is whole: {}", found.len());
    let documented = documented();
    let absent: Vec<&String> =
        found.iter().filter(|name| !documented.contains(name.as_str())).collect();
    assert_eq!(absent, [""; 0], "say in docs/results-schema.md what these hold");
    let version = format!("Schema version {};", report.results.schema_version);
    assert!(PAGE.contains(&version), "the page is of another version");
}
