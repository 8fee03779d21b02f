//! Preflight: each judgement, on simulated machines.

use bigbatch_engine::CudaDevice;
use bigbatch_validate::Plan;
use bigbatch_validate::plan::{Arrival, Lengths, Load, Scenario};
use bigbatch_validate::preflight::Severity::{Ok as Fine, Problem, Warning};
use bigbatch_validate::preflight::Subject::{CardMemory, Disk, Driver, Gpu, HostMemory, Processor};
use bigbatch_validate::preflight::{
    ComputeLocation, Finding, Host, MachineFacts, OpenFiles, RequestCounts, Severity, Subject,
    judge, refuse,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn card() -> CudaDevice {
    CudaDevice {
        name: "a card".into(),
        capability: (9, 0),
        memory_bytes: 80 * GIB,
        // What an idle one reads.
        free_bytes: Some(80 * GIB - 500 * MIB),
        cuda_version: (13, 0),
        driver_version: Some("580.1".into()),
    }
}

fn on(card: Result<CudaDevice, String>) -> ComputeLocation {
    ComputeLocation::Card { budget_bytes: 2 * GIB, card }
}

fn seen() -> MachineFacts {
    MachineFacts {
        host: Host {
            free_bytes: Some(60 * GIB),
            total_bytes: Some(64 * GIB),
            threads: 16,
            processors: 16,
            load: Some(0.5),
        },
        disk: Some((50 * GIB, 100 * GIB)),
        needs: RequestCounts { requests_min: 1000, requests_max: 1_000_000 },
        open_files: OpenFiles { limit: Some(4096), needed: 164 },
        computes: on(Ok(card())),
    }
}

/// Judges the machine of [`seen`] after a change.
fn judged(change: impl FnOnce(&mut MachineFacts)) -> Vec<Finding> {
    let mut seen = seen();
    change(&mut seen);
    judge(&seen)
}

fn of(findings: &[Finding], subject: Subject) -> &Finding {
    findings.iter().find(|finding| finding.subject == subject).expect("it was judged")
}

#[test]
fn a_machine_that_has_all_is_ok() {
    let findings = judged(|_| {});
    let subjects: Vec<Subject> = findings.iter().map(|finding| finding.subject).collect();
    assert_eq!(subjects, [Gpu, CardMemory, Driver, HostMemory, Disk, Processor]);
    assert!(findings.iter().all(|finding| finding.judgement == Fine), "{findings:?}");
    assert!(findings.iter().all(|finding| finding.advice.is_none()), "{findings:?}");
    refuse(&findings).expect("nothing is wrong");
    let line = findings[1].line();
    assert_eq!(line, "preflight ok       card memory: 79.5 GiB of 80 GiB free");
    assert_eq!(findings[2].found, "driver 580.1, for CUDA up to 13.0");
}

#[test]
fn each_lack_is_found_by_itself() {
    type Change = fn(&mut MachineFacts);
    let with_card = |change: fn(&mut CudaDevice)| {
        let mut card = card();
        change(&mut card);
        on(Ok(card))
    };
    let cards: [(Subject, Severity, ComputeLocation); 5] = [
        (Gpu, Problem, on(Err("device cuda:0 is not available".into()))),
        (Gpu, Problem, with_card(|card| card.capability = (7, 5))),
        (CardMemory, Problem, with_card(|card| card.free_bytes = Some(2 * GIB - 1))),
        (CardMemory, Warning, with_card(|card| card.free_bytes = Some(70 * GIB))),
        (CardMemory, Warning, with_card(|card| card.free_bytes = None)),
    ];
    let changes: [(Subject, Severity, Change); 9] = [
        (HostMemory, Problem, |seen| seen.host.free_bytes = Some(200 * MIB)),
        (HostMemory, Warning, |seen| seen.host.free_bytes = Some(300 * MIB)),
        (HostMemory, Warning, |seen| seen.host.free_bytes = None),
        (Disk, Problem, |seen| seen.disk = Some((10 * MIB, GIB))),
        (Disk, Warning, |seen| seen.disk = Some((100 * MIB, GIB))),
        (Disk, Warning, |seen| seen.disk = None),
        (Processor, Warning, |seen| seen.host.load = Some(9.0)),
        (Processor, Warning, |seen| seen.host.threads = 1),
        // The load of a container's host says nothing of its few processors alone.
        (Processor, Fine, |seen| (seen.host.threads, seen.host.load) = (2, Some(6.0))),
    ];
    let mut all: Vec<(Subject, Severity, Vec<Finding>)> = Vec::new();
    for (subject, judgement, computes) in cards {
        all.push((subject, judgement, judged(|seen| seen.computes = computes)));
    }
    all.extend(changes.map(|(subject, judgement, change)| (subject, judgement, judged(change))));
    for (subject, judgement, findings) in all {
        assert_eq!(of(&findings, subject).judgement, judgement, "{findings:?}");
        let others = findings.iter().filter(|finding| finding.subject != subject);
        assert!(others.clone().all(|finding| finding.judgement == Fine), "{findings:?}");
        assert_eq!(refuse(&findings).is_err(), judgement == Problem, "{findings:?}");
    }
}

#[test]
fn a_refusal_is_one_line_with_what_to_do() {
    let findings = judged(|seen| {
        seen.disk = Some((10 * MIB, GIB));
        seen.computes = on(Ok(CudaDevice { free_bytes: Some(GIB), ..card() }));
    });
    let refusal = refuse(&findings).expect_err("there are two problems").to_string();
    assert_eq!(
        refusal,
        "preflight stopped the run: card memory: 1 GiB of 80 GiB free; the memory budget of 2 GiB does not \
         fit: end other programs on the card (see `nvidia-smi`), or lower --memory-budget; disk: 10 MiB free; \
         the results may need 16.4 MiB: free space, or give another --out"
    );
}

#[test]
fn a_budget_is_held_against_the_memory_that_it_is_of() {
    let free = |computes: ComputeLocation| {
        let findings = judged(|seen| {
            seen.computes = computes;
            seen.host.free_bytes = Some(3 * GIB);
        });
        of(&findings, HostMemory).judgement
    };
    assert_eq!(free(ComputeLocation::Host { budget_bytes: GIB }), Fine);
    assert_eq!(free(ComputeLocation::Host { budget_bytes: 3 * GIB }), Warning);
    assert_eq!(free(on(Ok(card()))), Fine);
    let elsewhere = judged(|seen| seen.computes = ComputeLocation::Remote);
    let subjects: Vec<Subject> = elsewhere.iter().map(|finding| finding.subject).collect();
    assert_eq!(
        subjects,
        [Subject::OpenFiles, HostMemory, Disk, Processor],
        "the generator's side alone"
    );
}

#[test]
fn a_plan_needs_what_its_cells_send() {
    let mut plan = Plan::matrix("needs", &[64, 128], &[1, 50]);
    (plan.cell.requests_min, plan.cell.requests_per_client) = (100, 4);
    (plan.cell.requests_max, plan.cell.warmup_requests_per_client) = (1000, 2);
    plan.repeats = 3;
    // Of each length: 100 + 2 and 200 + 100 requests at least; 1000 + 2 + 1 and 1000 + 100 + 50 at most.
    // One of them runs again at the end.
    let needs = RequestCounts::for_plan(&plan);
    assert_eq!((needs.requests_min, needs.requests_max), (3 * 2 * 402 + 102, 3 * 2 * 2153 + 1150));
    plan.repeat_first = false;
    assert_eq!(
        RequestCounts::for_plan(&plan),
        RequestCounts { requests_min: 3 * 2 * 402, requests_max: 3 * 2 * 2153 }
    );
    (plan.repeats, plan.cell.warmup_seconds) = (1, 2.0);
    (plan.tokens, plan.concurrency) = (Vec::new(), Vec::new());
    let load = Load::Ramp {
        from_per_second: 10.0,
        to_per_second: 30.0,
        seconds: 10.0,
        arrival: Arrival::Constant,
        latency_seconds_p95_max: None,
        failure_rate_max: 0.01,
    };
    plan.scenarios = vec![Scenario::new("ramp", Lengths::Fixed(64), load)];
    assert_eq!(
        RequestCounts::for_plan(&plan),
        RequestCounts { requests_min: 220, requests_max: 220 }
    );

    // What lasts a time or a file isn't ended by a count.
    plan.cell.requests_max = 100;
    assert_eq!(
        RequestCounts::for_plan(&plan),
        RequestCounts { requests_min: 220, requests_max: 220 }
    );
    let seconds = Some(10.0);
    plan.scenarios[0].classes[0].load =
        Load::Open { rate_per_second: 50.0, arrival: Arrival::Constant, seconds };
    assert_eq!(
        RequestCounts::for_plan(&plan),
        RequestCounts { requests_min: 600, requests_max: 600 }
    );
    plan.folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let lines: String = (0..301).map(|n| format!("{},64\n", f64::from(n) / 10.0)).collect();
    std::fs::write(plan.folder.join("needs.csv"), lines).expect("writable");
    plan.scenarios[0].classes[0].lengths = Lengths::FromTrace;
    plan.scenarios[0].classes[0].load = Load::Replay { file: "needs.csv".into(), speed: 1.0 };
    assert_eq!(
        RequestCounts::for_plan(&plan),
        RequestCounts { requests_min: 321, requests_max: 321 }
    );
}

#[test]
fn the_connections_of_the_heaviest_load_are_compared_with_the_limit_on_open_files() {
    for (limit, needed, expected) in [
        (Some(4096), 164, Fine),
        (Some(164), 164, Fine),
        (None, 1 << 20, Fine),
        (Some(163), 164, Warning),
    ] {
        let findings = judged(|seen| {
            seen.computes = ComputeLocation::Remote;
            seen.open_files = OpenFiles { limit, needed };
        });
        let found = of(&findings, Subject::OpenFiles);
        assert_eq!(found.judgement, expected, "{found:?}");
        assert!(found.found.contains(&needed.to_string()), "{found:?}");
        assert_eq!(found.advice.is_some(), expected == Warning, "{found:?}");
    }
}
