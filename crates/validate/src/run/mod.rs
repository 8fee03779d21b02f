//! The run: prompts first, then every cell in random order, then figures and verdicts.

pub mod edge;
mod journal;
mod prepare;
mod progress;
mod telemetry;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::{Builder, Runtime};

use self::journal::{Identity, Journal, Kept};
use self::prepare::Pools;
use self::telemetry::{Sampler, idle_reading, thinned};
use crate::analysis::analyse;
use crate::error::Error;
use crate::figures::compute::{About, figures};
use crate::figures::generator::{CpuMeter, LOAD_THREADS, Seen};
use crate::figures::published::published;
use crate::figures::steady::{Steady, settle};
use crate::figures::{Cell, Status};
use crate::format::utc;
use crate::load::cell::{self, Driven, Ended, Traffic};
use crate::load::{Cancel, Clock, Pacing, Progressed, RequestRecord, Schedule};
use crate::plan::{CellSpec, Load, Plan};
use crate::preflight::Finding;
use crate::preflight::machine::Machine;
use crate::recommend::{Wanted, recommend};
use crate::results::{Drift, Report, Results, SCHEMA_VERSION};
use crate::system::{MemorySample, Moment, Target, TargetInfo, TokenCounter};
use crate::verdict::{Conclusion, judge};
use crate::workload::Corpus;

pub use progress::Terminal;

/// What a run may be told besides its plan.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where prompts are cut from.
    pub corpus: Corpus,
    /// Raised to stop the run early.
    pub cancel: Cancel,
    /// How often memory is read during a cell.
    pub memory_interval: Duration,
    /// Where finished cells are kept as the run goes on, if anywhere.
    pub journal: Option<PathBuf>,
    /// Whether to go on with the cells that the journal lacks; else it is begun anew.
    pub resume: bool,
    /// What advice is asked for.
    pub wanted: Wanted,
    /// What was found of the machine, for the report.
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
            wanted: Wanted::default(),
            preflight: Vec::new(),
        }
    }
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// What preflight found of the machine.
    Preflight {
        /// All of it.
        findings: &'a [Finding],
    },
    /// Prompts are being cut.
    Preparing {
        /// Their fixed lengths in tokens.
        tokens: &'a [usize],
        /// Scenarios of mixed or replayed lengths besides.
        scenarios: usize,
    },
    /// Cells that an earlier sitting finished are taken over.
    Resumed {
        /// How many.
        cells: usize,
    },
    /// A finished cell could not be written to the journal; it is kept in memory.
    JournalFailed {
        /// Why, in one line.
        reason: &'a str,
    },
    /// A cell begins.
    CellStarted {
        /// Its place in the order, from 0.
        index: usize,
        /// Cells in all.
        of: usize,
        /// Its lengths and load.
        spec: &'a CellSpec,
    },
    /// A cell goes on; told about five times a second.
    CellProgressed {
        /// Its place in the order, from 0.
        index: usize,
        /// How far it has come.
        progressed: Progressed,
        /// The latest reading of the target's memory.
        memory: MemorySample,
    },
    /// A cell has ended or was not run.
    CellFinished {
        /// What came of it.
        cell: &'a Cell,
    },
}

/// Hears what a run tells. How it is shown is the program's matter.
pub trait Progress: Sync {
    /// Called from the run's own thread; must return soon.
    fn event(&self, event: Event<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// Runs a plan against a target, on a runtime of its own. Blocks until it is done.
pub fn run(
    plan: &Plan,
    target: Arc<dyn Target>,
    tokens: &dyn TokenCounter,
    options: &RunOptions,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    runtime()?.block_on(run_async(plan, target, tokens, options, progress))
}

/// A runtime as [`run`] makes it, for targets whose connections must outlive one call.
pub fn runtime() -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(LOAD_THREADS)
        .thread_name("validate-load")
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}

/// Runs a plan against a target on the caller's runtime, which needs its timer enabled. Prompts
/// are cut on the calling thread before the first await of the load.
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
    let pools = Pools::prepare(plan, &info, tokens, options, progress)?;
    let prompts = pools.summary(options.corpus.origin());
    let now = utc(started_at);
    let (journal, mut kept) = journal(plan, &info, &pools, options, now)?;
    // Whatever is wrong with what was given has been said by now, and in one line.
    progress.event(Event::Preflight { findings: &options.preflight });
    if !kept.cells.is_empty() {
        progress.event(Event::Resumed { cells: kept.cells.len() });
    }

    let clock = Clock::start(ended_us(&kept));
    let pacing = Pacing::of_this_runtime();
    let earlier = std::mem::take(&mut kept.cells);
    let sitting = kept.resumed_at.len();
    let run = Run { plan, target, info, options, progress, clock, pools, pacing, sitting };
    let (cells, requests) = run.cells(earlier, journal).await;

    let analysis = analyse(&cells, &requests);
    let verdicts = judge(plan, &cells, &analysis.memory);
    let mut results = Results {
        schema_version: SCHEMA_VERSION,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: kept.begun_at,
        resumed_at: kept.resumed_at,
        duration_seconds: run.clock.now_us() as f64 / 1e6,
        interrupted: options.cancel.is_cancelled(),
        conclusion: Conclusion::of(&verdicts),
        plan: plan.clone(),
        target: run.info,
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
    results.recommendations = recommend(&results, options.wanted);
    Ok(Report { results, requests })
}

/// The run's journal, and what it already holds.
fn journal(
    plan: &Plan,
    target: &TargetInfo,
    pools: &Pools,
    options: &RunOptions,
    now: String,
) -> Result<(Option<Journal>, Kept), Error> {
    let nothing = |begun_at| Kept { begun_at, ..Kept::default() };
    let Some(path) = &options.journal else { return Ok((None, nothing(now))) };
    let identity = Identity::new(plan, target, pools.digest(&options.corpus));
    if options.resume {
        let (journal, kept) = Journal::resume(path, identity, &now)?;
        return Ok((Some(journal), kept));
    }
    Ok((Some(Journal::begin(path, identity, &now)?), nothing(now)))
}

/// When the last cell that is kept ended, in microseconds since the start of the run.
fn ended_us(kept: &Kept) -> u64 {
    let ends = kept.cells.values().filter_map(|(cell, _)| cell.span_ms);
    ends.fold(0.0, |latest: f64, (_, end)| latest.max(end * 1e3)) as u64
}

/// One cell in the order run.
struct Place {
    index: usize,
    spec: CellSpec,
    run: usize,
    repeats: Option<usize>,
}

struct Run<'a> {
    plan: &'a Plan,
    target: Arc<dyn Target>,
    info: TargetInfo,
    options: &'a RunOptions,
    progress: &'a dyn Progress,
    clock: Clock,
    pools: Pools,
    pacing: Pacing,
    sitting: usize,
}

impl Run<'_> {
    /// All cells in random order, and at the end the first of them that could be run again.
    /// Those in `earlier` were run before; the others go to `journal` as they end.
    async fn cells(
        &self,
        mut earlier: BTreeMap<usize, (Cell, Vec<RequestRecord>)>,
        mut journal: Option<Journal>,
    ) -> (Vec<Cell>, Vec<RequestRecord>) {
        let order = order(self.plan);
        let of = order.len() + usize::from(self.plan.repeat_first);
        let mut cells: Vec<Cell> = Vec::with_capacity(of);
        let mut requests = Vec::new();
        for index in 0..of {
            let place = match order.get(index) {
                Some((spec, run)) => Place { index, spec: spec.clone(), run: *run, repeats: None },
                None => match cells.iter().find(|cell| cell.figures().is_some()) {
                    Some(first) => {
                        let (spec, run) = (first.spec.clone(), self.plan.repeats);
                        Place { index, spec, run, repeats: Some(first.index) }
                    }
                    None => break,
                },
            };
            if let Some((cell, records)) = earlier.remove(&index) {
                cells.push(cell);
                requests.extend(records);
                continue;
            }
            self.progress.event(Event::CellStarted { index, of, spec: &place.spec });
            let (cell, records) = self.cell(place).await;
            self.progress.event(Event::CellFinished { cell: &cell });
            self.keep(&mut journal, &cell, &records);
            cells.push(cell);
            requests.extend(records);
        }
        (cells, requests)
    }

    /// Writes a cell to the journal, unless it was left unfinished by an interruption.
    fn keep(&self, journal: &mut Option<Journal>, cell: &Cell, records: &[RequestRecord]) {
        if cell.figures().is_none() && self.options.cancel.is_cancelled() {
            return;
        }
        if let Some(Err(fault)) = journal.as_mut().map(|journal| journal.keep(cell, records)) {
            self.progress.event(Event::JournalFailed { reason: &fault.to_string() });
        }
    }

    async fn cell(&self, place: Place) -> (Cell, Vec<RequestRecord>) {
        let Place { index, spec, run, repeats } = place;
        let mut cell = Cell {
            index,
            spec,
            run,
            repeats,
            sitting: self.sitting,
            span_ms: None,
            status: Status::NotRun { reason: String::new() },
            memory: Vec::new(),
        };
        let ready = if self.options.cancel.is_cancelled() {
            Err("interrupted before it started".to_owned())
        } else {
            self.ready(index, &cell.spec)
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(reason) => {
                cell.status = Status::NotRun { reason };
                return (cell, Vec::new());
            }
        };

        cell.memory.push(idle_reading(&*self.target, self.clock, Moment::Before).await);
        let from = self.clock.now_us();
        let every = self.options.memory_interval;
        let cpu = CpuMeter::start();
        let sampler = Sampler::start(Arc::clone(&self.target), self.clock, every);
        let progressed = |progressed| {
            let memory = sampler.latest();
            self.progress.event(Event::CellProgressed { index, progressed, memory });
        };
        let cancel = &self.options.cancel;
        let driven = cell::drive(ready, &self.target, self.clock, cancel, &progressed).await;
        let observed = sampler.stop().await;
        let generator = Seen {
            lateness_us: observed.lateness_us,
            cpu_cores: cpu.cores(),
            shared_with_target: self.target.shares_process(),
        };
        cell.memory.extend(thinned(observed.memory, readings_max(self.plan)));
        cell.memory.push(idle_reading(&*self.target, self.clock, Moment::After).await);
        cell.span_ms = Some((from as f64 / 1e3, self.clock.now_us() as f64 / 1e3));
        let (status, records) = self.status(&cell.spec, driven, generator);
        cell.status = status;
        (cell, records)
    }

    /// What the cell needs to run, or why it cannot be.
    fn ready(&self, index: usize, spec: &CellSpec) -> Result<cell::Cell<'_>, String> {
        let rules = &self.plan.cell;
        let (pool, trace) = self.pools.of(spec)?;
        let seed = self.plan.seed ^ (index as u64 + 1).rotate_left(48);
        let schedule = Schedule::new(&spec.load, trace, rules.warmup(), seed);
        let (traffic, dealer) = match (&spec.load, schedule) {
            (Load::Closed { concurrency }, _) => {
                (Traffic::Closed { clients: *concurrency }, pool.dealer(seed))
            }
            (Load::Replay { .. }, Some(schedule)) => {
                let dealer = pool.dealer_in_order(schedule.warm_up_arrivals());
                (Traffic::Open(Box::new(schedule)), dealer)
            }
            (_, Some(schedule)) => (Traffic::Open(Box::new(schedule)), pool.dealer(seed)),
            (_, None) => return Err("its trace is missing".into()),
        };
        Ok(cell::Cell { index, traffic, rules, dealer, pacing: self.pacing })
    }

    /// What came of a cell, and its records.
    fn status(
        &self,
        spec: &CellSpec,
        driven: Driven,
        generator: Seen,
    ) -> (Status, Vec<RequestRecord>) {
        let limit = self.plan.cell.time_limit_seconds;
        let Driven { mut records, measured_us, ended } = driven;
        let reason = match (ended, measured_us) {
            (Ended::Cancelled, _) => "interrupted while it ran".to_owned(),
            (Ended::NeverWarm, _) | (_, None) => {
                format!("its warm-up was not over when its time limit of {limit} s was")
            }
            (ended, Some(mut measured_us)) => {
                let steady = settled(&spec.load, &mut records, &mut measured_us);
                let about = About {
                    spec,
                    measured_us,
                    cut_by_time_limit: ended == Ended::TimeLimit,
                    steady,
                    generator,
                };
                let figures = Box::new(figures(&records, about));
                return (Status::Run { figures }, records);
            }
        };
        (Status::NotRun { reason }, records)
    }
}

/// Finds the steady part of a load that is meant to have one.
fn settled(load: &Load, records: &mut [RequestRecord], measured_us: &mut (u64, u64)) -> Steady {
    match load {
        Load::Ramp { .. } => Steady::NotSought { reason: "the rate of a ramp rises".into() },
        Load::Replay { .. } => {
            Steady::NotSought { reason: "the rate of a replay is as the file says".into() }
        }
        Load::Open { .. } => settle(records, measured_us, false),
        Load::Closed { .. } => settle(records, measured_us, true),
    }
}

/// Every cell as often as the plan repeats it, in random order over the whole run, so that a drift
/// of the machine falls on all cells alike.
fn order(plan: &Plan) -> Vec<(CellSpec, usize)> {
    let runs = |spec: CellSpec| (0..plan.repeats).map(move |run| (spec.clone(), run));
    let mut cells: Vec<_> = plan.cells().into_iter().flat_map(runs).collect();
    fastrand::Rng::with_seed(plan.seed).shuffle(&mut cells);
    cells
}

/// Memory readings under load that the results keep of all cells together, so that a plan of many
/// cells does not make a file of many megabytes.
const READINGS_MAX: usize = 1500;

/// Readings under load that the results keep of each cell.
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
