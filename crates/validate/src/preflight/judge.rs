//! Judges the facts about a machine: a pure function, so that a full disk can be a test. The facts are
//! read in `inspect.rs`.

use bigbatch_engine::CudaDevice;
use bigbatch_engine::units::bytes;

use super::{ComputeLocation, Finding, OpenFiles, Severity, Subject};
use crate::plan::{Load, Plan};
use crate::workload::Trace;
use Severity::{Ok as Fine, Problem, Warning};

const MIB: u64 = 1 << 20;
/// Disk per request: a line of the journal (measured: 300 to 350 bytes) and a compressed record.
const RECORD_DISK_BYTES: u64 = 400;
/// Memory per record, the vector's spare capacity included.
const RECORD_MEMORY_BYTES: u64 = 400;
/// Disk for the reports, whose size does not grow with the run.
const REPORT_BYTES: u64 = 16 * MIB;
/// Memory below which a process that starts a thread pool and reads a corpus is likely to be killed.
const HOST_LEAST_BYTES: u64 = 256 * MIB;
/// Used memory up to which a card counts as idle; an idle card may report hundreds of MiB.
const CARD_IDLE_BYTES: u64 = 1024 * MIB;
/// The oldest compute capability that the kernels support: Ampere.
const CAPABILITY_LEAST: (u32, u32) = (8, 0);

/// The facts about a machine and a plan from which findings are made.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineFacts {
    /// The machine that the generator runs on.
    pub host: Host,
    /// (free, total) bytes of the report's file system, if they could be read.
    pub disk: Option<(u64, u64)>,
    /// Requests that the plan sends.
    pub needs: RequestCounts,
    /// The limit on open files and the plan's connections.
    pub open_files: OpenFiles,
    /// Where the target computes.
    pub computes: ComputeLocation,
}

/// A machine's memory and processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    /// Memory available without swapping.
    pub free_bytes: Option<u64>,
    /// Total memory.
    pub total_bytes: Option<u64>,
    /// Threads that may run at once.
    pub threads: usize,
    /// Processors of the whole machine, to which `load` refers.
    pub processors: usize,
    /// Mean number of running and waiting processes in the last minute.
    pub load: Option<f64>,
}

/// The number of requests that a plan sends, warm-ups included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCounts {
    /// Lower bound for loads that end by counts; the expected number for others.
    pub requests_min: u64,
    /// Approximate upper bound.
    pub requests_max: u64,
}

impl RequestCounts {
    /// Counts the requests of a plan, the repeat of its first cell included, whichever cell that is.
    pub fn for_plan(plan: &Plan) -> RequestCounts {
        let cells: Vec<(u64, u64)> =
            plan.cells().iter().map(|cell| counts(plan, &cell.load)).collect();
        let runs = plan.repeats as u64;
        let least = || cells.iter().map(|(least, _)| least);
        let most = || cells.iter().map(|(_, most)| most);
        let again = u64::from(plan.repeat_first);
        RequestCounts {
            requests_min: runs * least().sum::<u64>() + again * least().min().unwrap_or(&0),
            requests_max: runs * most().sum::<u64>() + again * most().max().unwrap_or(&0),
        }
    }

    fn disk(requests: u64) -> u64 {
        REPORT_BYTES + requests.saturating_mul(RECORD_DISK_BYTES)
    }
}

/// Returns the fewest and the most requests of one run of a cell, warm-up included.
fn counts(plan: &Plan, load: &Load) -> (u64, u64) {
    let rules = &plan.cell;
    let limit = rules.requests_max as u64;
    let arrivals = |rate_per_second: f64, seconds: f64| (rate_per_second * seconds) as u64;
    let warm_up = |rate_per_second| arrivals(rate_per_second, rules.warmup_seconds);
    match load {
        &Load::Closed { concurrency } => {
            let warm_up = (rules.warmup_requests_per_client * concurrency) as u64;
            let cool_down = concurrency as u64;
            (warm_up + rules.requests_wanted(concurrency) as u64, warm_up + limit + cool_down)
        }
        &Load::Open { rate_per_second, seconds, .. } => {
            let warm_up = warm_up(rate_per_second);
            let wanted = seconds.map_or(rules.requests_wanted(1) as u64, |seconds| {
                arrivals(rate_per_second, seconds)
            });
            (warm_up + wanted, warm_up + if seconds.is_some() { wanted } else { limit })
        }
        &Load::Ramp { from_per_second, to_per_second, seconds, .. } => {
            let mean_per_second = (from_per_second + to_per_second) / 2.0;
            let all = warm_up(from_per_second) + arrivals(mean_per_second, seconds);
            (all, all)
        }
        // A fault of the file is an error when the prompts are prepared.
        Load::Replay { file, .. } => match Trace::load(&plan.folder.join(file)) {
            Ok(trace) => {
                let all = warm_up(trace.rate_per_second()) + trace.lines().len() as u64;
                (all, all)
            }
            Err(_) => (0, limit),
        },
    }
}

/// Judges a machine: the card, its memory and its driver, if the target computes on one, then host memory,
/// disk and processor.
pub fn judge(seen: &MachineFacts) -> Vec<Finding> {
    let mut findings = match &seen.computes {
        ComputeLocation::Remote => vec![open_files(seen.open_files)],
        ComputeLocation::Host { .. } => {
            vec![finding(Subject::Gpu, Fine, "none used: the engine runs on the CPU")]
        }
        ComputeLocation::Card { budget_bytes, card } => card_findings(*budget_bytes, card),
    };
    findings.extend([host_memory(seen), disk(seen), processor(&seen.host)]);
    findings
}

fn finding(subject: Subject, judgement: Severity, found: impl Into<String>) -> Finding {
    Finding {
        subject,
        judgement,
        found: found.into(),
        free_bytes: None,
        total_bytes: None,
        needed_bytes: None,
        advice: None,
    }
}

/// Judges the limit on open files. A load that exceeds it is measured up to the limit only: its cells are not run.
fn open_files(files: OpenFiles) -> Finding {
    let OpenFiles { limit, needed } = files;
    let found = match limit {
        Some(limit) => format!("at most {limit}; the heaviest load needs up to {needed}"),
        None => format!("no limit; the heaviest load needs up to {needed}"),
    };
    if limit.is_none_or(|limit| limit >= needed) {
        return finding(Subject::OpenFiles, Fine, found);
    }
    let advice = "raise the hard limit (`ulimit -Hn`), or lower the concurrency: a cell that runs out of open files is \
                  not measured";
    Finding { advice: Some(advice.into()), ..finding(Subject::OpenFiles, Warning, found) }
}

fn card_findings(budget_bytes: u64, card: &Result<CudaDevice, String>) -> Vec<Finding> {
    let card = match card {
        Ok(card) => card,
        Err(reason) => {
            let advice = "give --device cpu, or run `bigbatch doctor`";
            let none = finding(Subject::Gpu, Problem, reason);
            return vec![Finding { advice: Some(advice.into()), ..none }];
        }
    };
    let (major, minor) = card.capability;
    let found = format!("{}, compute capability {major}.{minor}", card.name);
    let gpu = if card.capability < CAPABILITY_LEAST {
        let advice = "compute capability 8.0 (Ampere) or newer is required: give another --device, or --device cpu";
        Finding { advice: Some(advice.into()), ..finding(Subject::Gpu, Problem, found) }
    } else {
        finding(Subject::Gpu, Fine, found)
    };
    let driver = card.driver_version.as_deref().unwrap_or("of unknown version");
    let (cuda_major, cuda_minor) = card.cuda_version;
    let driver = format!("driver {driver}, for CUDA up to {cuda_major}.{cuda_minor}");
    vec![gpu, card_memory(budget_bytes, card), finding(Subject::Driver, Fine, driver)]
}

fn card_memory(budget_bytes: u64, card: &CudaDevice) -> Finding {
    let total = card.memory_bytes;
    let (judgement, found, advice) = match card.free_bytes {
        None => (
            Warning,
            format!("{} in total; free memory is unknown", bytes(total)),
            Some("install the driver's libnvidia-ml, which reports it".to_owned()),
        ),
        Some(free) => {
            let found = format!("{} of {} free", bytes(free), bytes(total));
            let used = total.saturating_sub(free);
            let advice = if free < budget_bytes {
                Some(format!(
                    "the memory budget of {} does not fit: end other programs on the card (see `nvidia-smi`), or lower --memory-budget",
                    bytes(budget_bytes)
                ))
            } else if used > CARD_IDLE_BYTES {
                Some(
                    "other programs use the card's memory and may use its time: see `nvidia-smi`"
                        .into(),
                )
            } else {
                None
            };
            let judgement = match (free < budget_bytes, &advice) {
                (true, _) => Problem,
                (false, Some(_)) => Warning,
                (false, None) => Fine,
            };
            (judgement, found, advice)
        }
    };
    Finding {
        free_bytes: card.free_bytes,
        total_bytes: Some(total),
        needed_bytes: Some(budget_bytes),
        advice,
        ..finding(Subject::CardMemory, judgement, found)
    }
}

fn host_memory(seen: &MachineFacts) -> Finding {
    let Host { free_bytes, total_bytes, .. } = seen.host;
    let budget_bytes = match seen.computes {
        ComputeLocation::Host { budget_bytes } => budget_bytes,
        ComputeLocation::Card { .. } | ComputeLocation::Remote => 0,
    };
    let records = seen.needs.requests_max.saturating_mul(RECORD_MEMORY_BYTES);
    let needed = HOST_LEAST_BYTES.saturating_add(budget_bytes).saturating_add(records);
    let (judgement, found, advice) = match free_bytes {
        None => (Warning, "free memory is unknown".to_owned(), None),
        Some(free) => {
            let of = total_bytes.map_or(String::new(), |total| format!(" of {}", bytes(total)));
            let found = format!("{}{of} free", bytes(free));
            let lack = format!("the run may need {}", bytes(needed));
            if free < HOST_LEAST_BYTES {
                (Problem, found, Some(format!("{lack}: end other programs")))
            } else if free < needed {
                let lower = if budget_bytes > 0 { ", or lower --memory-budget" } else { "" };
                (Warning, found, Some(format!("{lack}: end other programs{lower}")))
            } else {
                (Fine, found, None)
            }
        }
    };
    Finding {
        free_bytes,
        total_bytes,
        needed_bytes: Some(needed),
        advice,
        ..finding(Subject::HostMemory, judgement, found)
    }
}

fn disk(seen: &MachineFacts) -> Finding {
    let least = RequestCounts::disk(seen.needs.requests_min);
    let most = RequestCounts::disk(seen.needs.requests_max);
    let (judgement, found, advice) = match seen.disk {
        None => (Warning, "free space is unknown".to_owned(), None),
        Some((free, _)) => {
            let found = format!("{} free", bytes(free));
            let needs = |needed| {
                let needed = bytes(needed);
                Some(format!("the results may need {needed}: free space, or give another --out"))
            };
            if free < least {
                (Problem, found, needs(least))
            } else if free < most {
                (Warning, found, needs(most))
            } else {
                (Fine, found, None)
            }
        }
    };
    Finding {
        free_bytes: seen.disk.map(|(free, _)| free),
        total_bytes: seen.disk.map(|(_, total)| total),
        needed_bytes: Some(most),
        advice,
        ..finding(Subject::Disk, judgement, found)
    }
}

/// Judges the processor. Other work on half of the processors is enough to distort latencies.
fn processor(host: &Host) -> Finding {
    let load = host.load.map_or(String::new(), |load| format!(", load {load:.1} before the run"));
    let found = format!("{} threads{load}", host.threads);
    let advice = if host.load.is_some_and(|load| load > host.processors as f64 / 2.0) {
        Some(
            "other programs use the processor: end them, or latencies will exceed the target's own",
        )
    } else if host.threads == 1 {
        Some("the generator shares its only thread with other work: run it on more processors")
    } else {
        None
    };
    let judgement = if advice.is_some() { Warning } else { Fine };
    Finding { advice: advice.map(str::to_owned), ..finding(Subject::Processor, judgement, found) }
}
