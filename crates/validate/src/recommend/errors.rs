//! How clients should react to each kind of failure that the run showed.

use std::collections::BTreeMap;

use crate::figures::Cell;
use crate::format::{count, percent, percent_up};
use crate::results::Results;
use crate::stats::interval::wilson;
use crate::system::FailureKind;

use crate::results::recommendation::{Recommendation, Setting, Support, Topic};

pub(super) fn advise(results: &Results) -> Recommendation {
    let mut kinds: BTreeMap<FailureKind, usize> = BTreeMap::new();
    let (mut requests, mut trials) = (0, 0);
    for figures in results.cells.iter().filter_map(Cell::figures) {
        requests += figures.requests;
        trials += figures.trials.count;
        for (&kind, &n) in &figures.failures {
            *kinds.entry(kind).or_insert(0) += n;
        }
    }
    if requests == 0 {
        return Recommendation::missing(Topic::ErrorHandling, "No request was measured.");
    }
    let mut recommendation = if kinds.is_empty() {
        advise_without_failures(results, requests, trials)
    } else {
        let advice: Vec<&str> = kinds.keys().map(|&kind| reaction_to(kind)).collect();
        Recommendation::new(Topic::ErrorHandling, Support::Shown, advice.join(" "))
    };
    for (kind, &n) in &kinds {
        let (n, share, all) = (count(n), percent(n as f64 / requests as f64), count(requests));
        recommendation.evidence.push(format!("{}: {n} of {all} requests ({share}).", kind.label()));
    }
    for recovery in results.analysis.edge.iter().flat_map(|edge| &edge.recoveries) {
        recommendation.evidence.push(format!(
            "After the search for the limit of {}: {}.",
            recovery.axis.label(),
            recovery.verdict.label()
        ));
    }
    if let Some(&n) = kinds.get(&FailureKind::TooLong) {
        let comment =
            format!("{} requests were too long; they are rejected, not truncated.", count(n));
        recommendation.settings.push(Setting::switch("auto_truncate", false, comment));
    }
    recommendation
}

fn advise_without_failures(results: &Results, requests: usize, trials: usize) -> Recommendation {
    let mut recommendation = Recommendation::new(
        Topic::ErrorHandling,
        Support::Shown,
        "Retry a failed request at most twice: after a random pause whose upper bound doubles with each attempt, and \
         never before the time in Retry-After.",
    );
    let bound = wilson(0.0, trials).and_then(|interval| interval.high);
    let bound = bound.map(|high| {
        let high = percent_up(high);
        format!(": the failure rate is at most {high} (95 %, {} trials)", count(trials))
    });
    recommendation.evidence.push(format!(
        "None of {} requests failed{}.",
        count(requests),
        bound.unwrap_or_default()
    ));
    if results.analysis.edge.is_none() {
        recommendation.support = Support::Partly;
        let missing = "The run did not show how the target fails: which errors it returns under overload or without \
                       memory, and whether it recovers. validate --edge shows this.";
        recommendation.missing = Some(missing.into());
    }
    recommendation
}

/// Returns how a client should react to a kind of failure.
fn reaction_to(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Refused => {
            "Refused (busy): retry at most three times, after the time in Retry-After, else after a random pause of up \
             to the median latency that doubles with each attempt; a refusal costs the server little."
        }
        FailureKind::Timeout => {
            "Timeout: retry at most once, after a pause, because the server may still compute the first attempt. If \
             timeouts persist, lower the concurrency limit."
        }
        FailureKind::DeadlineMissed => {
            "Deadline missed: don't retry what nobody waits for; give such requests more time, or send less at once."
        }
        FailureKind::OutOfMemory => {
            "Out of memory: retry with half of the inputs per request; before the next start lower max_batch_tokens or \
             raise the memory budget."
        }
        FailureKind::TooLong => "Too long: don't retry; shorten the text or request truncation.",
        FailureKind::Transport => {
            "Transport: open a new connection and retry after a random pause that doubles; embeddings and \
             classes have no side effects, so a repeated request is safe."
        }
        FailureKind::Server => {
            "Server error: retry once after a pause, then alert an operator; load is not the cause."
        }
        FailureKind::BadReply => {
            "Bad reply: don't retry; the server's format is not the one that the client expects."
        }
        FailureKind::WrongTokenCount => {
            "Wrong token count: don't retry; the server tokenises or truncates texts differently."
        }
        FailureKind::Generator => {
            "Load generator: the failure is this machine's; raise its limit on open files (`ulimit -n`) and measure \
             again."
        }
    }
}
