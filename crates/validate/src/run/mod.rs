//! The run of a plan: prepares the prompts, runs every cell in random order, computes figures and verdicts.
//!
//! `prepare.rs` reads the plan's files and cuts prompts, `order.rs` has the order of the cells, `journal.rs` keeps finished cells on disk,
//! `telemetry.rs` reads memory beside the load, `status.rs` says what became of a cell, `progress.rs` prints. How the requests of a cell are sent
//! is in [`crate::load`]; the figures of its records are computed in [`crate::figures`]. Reports are written by
//! [`crate::report`]. The search for limits is a run of its own kind: [`edge`].

pub mod edge;
mod journal;
mod order;
mod prepare;
mod progress;
mod status;
mod telemetry;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bigbatch_engine::catch_panic;
use tokio::runtime::{Builder, Runtime};

use self::journal::{Journal, JournalContents, RunIdentity};
use self::order::{PlannedGroup, repeat_of_first, shuffle_groups};
use self::prepare::PromptPools;
use self::status::cell_status;
use self::telemetry::{Sampler, read_when_idle, thin};
use crate::analysis::analyse;
use crate::error::Error;
use crate::figures::Cell;
use crate::figures::generator::{CpuMeter, GeneratorReadings, LOAD_THREADS};
use crate::figures::published::published;
use crate::format::utc;
use crate::load::cell::{CellLoad, LoadOutput, LoadSetting, StartSource, run_loads};
use crate::load::records::PackedRecords;
use crate::load::{Cancel, Clock, LoadProgress, Pacing, RequestRecord, Schedule, SendRules};
use crate::plan::{CellSpec, Load, Plan};
use crate::preflight::Finding;
use crate::preflight::machine::Machine;
use crate::recommend::{Goal, recommend};
use crate::results::{Drift, Report, Results, SCHEMA_VERSION};
use crate::system::{MemoryPhase, MemoryPoint, MemorySample, Target, TargetInfo, TokenCounter};
use crate::verdict::{Conclusion, judge};
use crate::workload::Corpus;

pub use progress::Terminal;

/// Options of a run beside its plan.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The prose from which prompts are cut.
    pub corpus: Corpus,
    /// The flag that stops the run early.
    pub cancel: Cancel,
    /// Interval of memory readings under load.
    pub memory_interval: Duration,
    /// File for finished cells, from which the run can be resumed.
    pub journal: Option<PathBuf>,
    /// Whether to resume from the journal and run only the missing cells; else the journal is replaced.
    pub resume: bool,
    /// The goal of the recommendations.
    pub goal: Goal,
    /// Findings about the machine, for the report.
    pub preflight: Vec<Finding>,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            corpus: Corpus::embedded(),
            cancel: Cancel::new(),
            memory_interval: Duration::from_millis(100),
            journal: None,
            resume: false,
            goal: Goal::default(),
            preflight: Vec::new(),
        }
    }
}

/// An event of a run, for its progress display.
#[derive(Debug)]
pub enum Event<'a> {
    /// Preflight has judged the machine.
    Preflight {
        /// All findings.
        findings: &'a [Finding],
    },
    /// Cutting the prompts begins.
    Preparing {
        /// The fixed lengths, in tokens.
        tokens: &'a [usize],
        /// Number of scenarios with mixed or replayed lengths.
        scenarios: usize,
    },
    /// Cells finished in an earlier sitting were read from the journal and are not run again.
    Resumed {
        /// Number of cells.
        cells: usize,
    },
    /// A finished cell could not be written to the journal. It is written with the next cell.
    JournalFailed {
        /// The operating system's error, in one line.
        reason: &'a str,
    },
    /// A cell begins, or the classes of a scenario, which run at the same time.
    CellsStarted {
        /// Position of the first in the run's order, from 0.
        index: usize,
        /// Number of all cells.
        of: usize,
        /// Lengths and load of each cell.
        specs: &'a [CellSpec],
    },
    /// A cell is running, or the classes of a scenario; sent about five times per second.
    CellsProgressed {
        /// Position of the first in the run's order, from 0.
        index: usize,
        /// Requests, failures and latency so far, with each cell.
        progress: &'a [(&'a CellSpec, LoadProgress)],
        /// The latest reading of the target's memory.
        memory: MemorySample,
    },
    /// A cell has ended or was not run.
    CellFinished {
        /// The cell with its figures, or the reason why it was not run.
        cell: &'a Cell,
    },
}

/// Receives the events of a run.
pub trait Progress: Sync {
    /// Handles one event. Called from the run's thread, so it must return soon.
    fn event(&self, event: Event<'_>);
}

/// Ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// Runs a plan against a target on a new runtime. Blocks until the run is done.
///
/// # Errors
/// Those of [`run_async`], or [`Error::Runtime`].
pub fn run(
    plan: &Plan,
    target: Arc<dyn Target>,
    tokens: &dyn TokenCounter,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    runtime()?.block_on(run_async(plan, target, tokens, options, progress))
}

/// Starts a runtime as [`run`] uses it, for targets whose connections must outlive one call.
///
/// # Errors
/// [`Error::Runtime`] if its threads cannot be started.
pub fn runtime() -> Result<Runtime, Error> {
    let build = || {
        Builder::new_multi_thread()
            .worker_threads(LOAD_THREADS)
            .thread_name("validate-load")
            .enable_all()
            .build()
    };
    // tokio panics where the system has no thread for a worker.
    catch_panic(build)
        .unwrap_or_else(|message| Err(std::io::Error::other(message)))
        .map_err(Error::Runtime)
}

/// Runs a plan against a target on the caller's runtime, whose timer must be enabled. Prompts are cut on
/// the calling thread before the load's first await.
///
/// # Errors
/// An invalid plan, an unreadable file that it names, prompts that cannot be cut, or a journal that cannot
/// be used. All come before any load; failures under load are records.
pub async fn run_async(
    plan: &Plan,
    target: Arc<dyn Target>,
    tokens: &dyn TokenCounter,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    plan.check(&plan.name)?;
    let started_at =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let info = target.describe();
    let pools = PromptPools::prepare(plan, &info, tokens, options, progress)?;
    let prompts = pools.summary(options.corpus.origin());
    let now = utc(started_at);
    let (journal, mut contents) = open_journal(plan, &info, &pools, options, now)?;
    // All errors have been returned by now, so each is the only line on standard error.
    progress.event(Event::Preflight { findings: &options.preflight });
    if !contents.cells.is_empty() {
        progress.event(Event::Resumed { cells: contents.cells.len() });
    }

    let clock = Clock::start(ended_us(&contents));
    let pacing = Pacing::for_current_runtime();
    let earlier = std::mem::take(&mut contents.cells);
    let sitting = contents.resumed_at.len();
    let run = Run { plan, target, info, options, progress, clock, pools, pacing, sitting };
    let (cells, requests) = run.run_cells(earlier, journal).await?;
    let mut info = run.info;
    info.details.extend(target_memory_fault(&*run.target));

    let analysis = analyse(&cells, &requests, &info);
    let verdicts = judge(plan, &cells, &analysis.memory);
    let mut results = Results {
        schema_version: SCHEMA_VERSION,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: contents.started_at,
        resumed_at: contents.resumed_at,
        duration_seconds: run.clock.now_us() as f64 / 1e6,
        interrupted: options.cancel.is_cancelled(),
        conclusion: Conclusion::of(&verdicts),
        plan: plan.clone(),
        target: info,
        machine: Machine::read(),
        preflight: options.preflight.clone(),
        prompts,
        verdicts,
        published: published(plan, &cells),
        drift: drift(&cells),
        analysis,
        cells,
        recommendations: Vec::new(),
    };
    results.recommendations = recommend(&results, options.goal);
    Ok(Report { results, requests })
}

/// Returns the entry of the target's details that says why its memory is not known, if it says so.
fn target_memory_fault(target: &dyn Target) -> Option<(String, String)> {
    target.memory_fault().map(|fault| (TargetInfo::MEMORY_FAULT.to_owned(), fault))
}

/// Opens the run's journal, if it has one, and returns the cells that it already holds.
fn open_journal(
    plan: &Plan,
    target: &TargetInfo,
    pools: &PromptPools,
    options: &RunOptions,
    now: String,
) -> Result<(Option<Journal>, JournalContents), Error> {
    let nothing = |started_at| JournalContents { started_at, ..JournalContents::default() };
    let Some(path) = &options.journal else { return Ok((None, nothing(now))) };
    let identity = RunIdentity::new(plan, target, pools.digest(&options.corpus));
    if options.resume {
        let (journal, contents) = Journal::resume(path, identity, &now)?;
        return Ok((Some(journal), contents));
    }
    Ok((Some(Journal::begin(path, identity, &now)?), nothing(now)))
}

/// Returns the end of the last finished cell, in microseconds since the start of the run.
fn ended_us(contents: &JournalContents) -> u64 {
    let ends = contents.cells.values().filter_map(|(cell, _)| cell.span_ms);
    ends.fold(0.0, |latest: f64, (_, end)| latest.max(end * 1e3)) as u64
}

struct Run<'a> {
    plan: &'a Plan,
    target: Arc<dyn Target>,
    info: TargetInfo,
    options: &'a RunOptions,
    progress: &'a dyn Progress,
    clock: Clock,
    pools: PromptPools,
    pacing: Pacing,
    sitting: usize,
}

impl Run<'_> {
    /// Runs all cells in random order, and at the end repeats the first that could be run. Cells in
    /// `earlier` are taken from there; the others are written to `journal` as they end.
    ///
    /// # Errors
    /// [`Error::Records`].
    async fn run_cells(
        &self,
        mut earlier: BTreeMap<usize, (Cell, Vec<RequestRecord>)>,
        mut journal: Option<Journal>,
    ) -> Result<(Vec<Cell>, Vec<RequestRecord>), Error> {
        let order = shuffle_groups(self.plan);
        let repeated = order.first().filter(|_| self.plan.repeat_first);
        let of = order.iter().chain(repeated).map(|(specs, _)| specs.len()).sum();
        let mut cells: Vec<Cell> = Vec::with_capacity(of);
        let mut requests = PackedRecords::default();
        for place in 0..order.len() + usize::from(self.plan.repeat_first) {
            let index = cells.len();
            let planned = match order.get(place) {
                Some((specs, run)) => {
                    PlannedGroup { index, specs: specs.clone(), run: *run, repeats: None }
                }
                None => match repeat_of_first(self.plan, &cells) {
                    Some(repeat) => repeat,
                    None => break,
                },
            };
            let indices = index..index + planned.specs.len();
            let kept: Vec<_> = indices.filter_map(|index| earlier.remove(&index)).collect();
            // A group of which only some cells were written is run again.
            let ran = if kept.len() == planned.specs.len() {
                kept
            } else {
                let specs = &planned.specs;
                self.progress.event(Event::CellsStarted { index, of, specs });
                let ran = self.run_group(planned).await;
                for (cell, records) in &ran {
                    self.progress.event(Event::CellFinished { cell });
                    self.append_to_journal(&mut journal, cell, records);
                }
                ran
            };
            for (cell, records) in ran {
                cells.push(cell);
                requests.push(&records).map_err(Error::Records)?;
            }
        }
        Ok((cells, requests.unpack().map_err(Error::Records)?))
    }

    /// Writes a cell to the journal, unless an interruption left it unfinished.
    fn append_to_journal(
        &self,
        journal: &mut Option<Journal>,
        cell: &Cell,
        records: &[RequestRecord],
    ) {
        if cell.figures().is_none() && self.options.cancel.is_cancelled() {
            return;
        }
        if let Some(Err(fault)) = journal.as_mut().map(|journal| journal.append_cell(cell, records))
        {
            self.progress.event(Event::JournalFailed { reason: &fault.to_string() });
        }
    }

    /// Runs the cells of a group at the same time. If one of them cannot be run, none is: the load would not be the
    /// plan's.
    async fn run_group(&self, planned: PlannedGroup) -> Vec<(Cell, Vec<RequestRecord>)> {
        let loads = if self.options.cancel.is_cancelled() {
            Err("interrupted before it started".to_owned())
        } else {
            let specs = planned.specs.iter().enumerate();
            specs.map(|(class, spec)| self.prepare_load(planned.index + class, spec)).collect()
        };
        let loads: Vec<CellLoad> = match loads {
            Ok(loads) => loads,
            Err(reason) => {
                let cells = planned.cells(self.sitting, &reason).into_iter();
                return cells.map(|cell| (cell, Vec::new())).collect();
            }
        };
        let mut memory = vec![read_when_idle(&*self.target, self.clock, MemoryPhase::Before).await];
        let from = self.clock.now_us();
        let (outputs, generator) = self.run_loads(&planned, loads, &mut memory).await;
        memory.push(read_when_idle(&*self.target, self.clock, MemoryPhase::After).await);
        let span_ms = Some((from as f64 / 1e3, self.clock.now_us() as f64 / 1e3));
        let limit_seconds = self.plan.cell.time_limit_seconds;
        let mut cells = planned.cells(self.sitting, "");
        let mut ran = Vec::with_capacity(cells.len());
        for (cell, output) in cells.iter_mut().zip(outputs) {
            let (status, records) =
                cell_status(&cell.spec, limit_seconds, output, generator.clone());
            (cell.status, cell.span_ms) = (status, span_ms);
            // Readings are of the whole group, and counted once.
            cell.memory = std::mem::take(&mut memory);
            ran.push(records);
        }
        let not_run = cells.iter().find(|cell| cell.figures().is_none());
        if let Some(status) = not_run.map(|cell| cell.status.clone()) {
            cells.iter_mut().for_each(|cell| cell.status = status.clone());
        }
        cells.into_iter().zip(ran).collect()
    }

    /// Sends the requests of a group, and adds the readings of memory meanwhile.
    async fn run_loads(
        &self,
        planned: &PlannedGroup,
        loads: Vec<CellLoad>,
        memory: &mut Vec<MemoryPoint>,
    ) -> (Vec<LoadOutput>, GeneratorReadings) {
        let index = planned.index;
        let every = self.options.memory_interval;
        let cpu = CpuMeter::start();
        let sampler = Sampler::start(Arc::clone(&self.target), self.clock, every);
        let report_progress = |progress: &[LoadProgress]| {
            let memory = sampler.latest();
            let progress: Vec<_> = planned.specs.iter().zip(progress.iter().copied()).collect();
            let progress = progress.as_slice();
            self.progress.event(Event::CellsProgressed { index, progress, memory });
        };
        let setting = LoadSetting {
            rules: &self.plan.cell,
            target: &self.target,
            clock: self.clock,
            pacing: self.pacing,
            cancel: &self.options.cancel,
        };
        let outputs = run_loads(loads, setting, &report_progress).await;
        let telemetry = sampler.stop().await;
        let generator = GeneratorReadings {
            lateness_us: telemetry.lateness_us,
            cpu_cores: cpu.cores(),
            shared_with_target: self.target.shares_process(),
        };
        memory.extend(thin(telemetry.memory, readings_max(self.plan)));
        (outputs, generator)
    }

    /// Prepares the cell's load; the error is the reason why the cell cannot be run.
    fn prepare_load(&self, index: usize, spec: &CellSpec) -> Result<CellLoad, String> {
        let rules = &self.plan.cell;
        let (pool, trace) = self.pools.for_cell(spec)?;
        let seed = self.plan.seed ^ (index as u64 + 1).rotate_left(48);
        let schedule = Schedule::new(&spec.load, trace, rules.warmup(), seed);
        let (starts, prompts) = match (&spec.load, schedule) {
            (Load::Closed { concurrency }, _) => {
                (StartSource::Closed { clients: *concurrency }, pool.shuffled_order(seed))
            }
            (Load::Replay { .. }, Some(schedule)) => {
                let prompts = pool.file_order(schedule.warm_up_arrivals());
                (StartSource::Open(Box::new(schedule)), prompts)
            }
            (_, Some(schedule)) => {
                (StartSource::Open(Box::new(schedule)), pool.shuffled_order(seed))
            }
            (_, None) => return Err("its trace is missing".into()),
        };
        let rules = SendRules {
            timeout: rules.request_timeout(),
            deadline: spec.deadline(),
            priority: spec.priority,
        };
        Ok(CellLoad { index, starts, prompts, rules })
    }
}

/// Memory readings under load that the results keep, over all cells, so that a plan of many cells does not
/// make a file of many megabytes.
const READINGS_MAX: usize = 1500;

/// Returns the readings under load that the results keep per cell.
fn readings_max(plan: &Plan) -> usize {
    let cells = plan.cells().len() * plan.repeats + 1;
    (READINGS_MAX / cells).max(16)
}

fn drift(cells: &[Cell]) -> Option<Drift> {
    let last = cells.iter().find(|cell| cell.repeats.is_some())?;
    let first = cells.get(last.repeats?)?;
    let (last_figures, first_figures) = (last.figures()?, first.figures()?);
    let ratio =
        |last: Option<f64>, first: Option<f64>| Some(last? / first.filter(|&first| first > 0.0)?);
    Some(Drift {
        spec: last.spec.clone(),
        latency_p50_ratio: ratio(
            last_figures.latency.p50.nearest_rank_ms,
            first_figures.latency.p50.nearest_rank_ms,
        ),
        tokens_per_second_ratio: ratio(
            Some(last_figures.tokens_per_second),
            Some(first_figures.tokens_per_second),
        ),
    })
}
