//! The plan: what is run, for how long, and what must hold, as a TOML file or a value built in code.
//!
//! A plan is data: it runs nothing ([`run`](mod@crate::run)) and judges nothing ([`crate::verdict`]). The files
//! that it names are read when the prompts are prepared. `check.rs` has the range of every value,
//! `scenario.rs` the cells, `edge.rs` the search for edges. An example:
//!
//! ```toml
//! name = "example"
//! tokens = [1024]             # lengths, special tokens included
//! concurrency = [1, 50]       # clients of a closed loop: each waits for its answer, then sends again
//!
//! [cell]                      # every key is optional; these are the defaults
//! requests_min = 100
//! requests_per_client = 4
//! batches_min = 100
//! requests_max = 20000
//! warmup_requests_per_client = 1
//! request_timeout_seconds = 120
//! time_limit_seconds = 600
//! failure_pause_seconds = 0.1
//! warmup_seconds = 5           # open loops only
//! in_flight_max = 4096         # open loops only
//!
//! [[bar]]
//! tokens = 1024
//! concurrency = 50
//! success_rate_min = 0.90
//! latency_seconds_p95_max = 2
//! tail_ratio_max = 3          # p99 over p50
//!
//! [overall]                   # limits over the whole run
//! tail_ratio_max = 3          # in every cell except ramps and those whose bar has its own
//! fragmentation_max = 0.05    # 1 - largest free / free of the target's arena
//! device_memory_bytes_max = 42949672960
//! no_leak = true              # memory must not grow from cell to cell
//! ```
//!
//! A cell of the matrix is one length at one concurrency. `[[scenario]]` adds named cells of other kinds:
//!
//! ```toml
//! [[scenario]]
//! name = "documents in bursts"
//! lengths = [                 # a mixture by weight (default 1); or: tokens = 1024
//!     { weight = 3, median = 400, sigma = 0.8, min = 16, max = 8192 },  # log-normal
//!     { weight = 1, tokens = 1024 },
//!     { weight = 1, documents = "docs", max = 8192 },  # the lengths of your own .txt files
//! ]
//! load = { kind = "open", rate_per_second = 20, arrival = { gamma = { cv = 3 } } }
//!
//! [[scenario]]
//! name = "how much is too much"
//! tokens = 512
//! load = { kind = "ramp", from_per_second = 1, to_per_second = 200, seconds = 120 }
//!
//! [[scenario]]
//! name = "yesterday evening"  # a file of `seconds,tokens` lines
//! load = { kind = "replay", file = "trace.csv", speed = 1 }
//!
//! [[bar]]
//! scenario = "documents in bursts"
//! success_rate_min = 0.99
//! ```
//!
//! A scenario may have several classes of traffic, which run at the same time and have figures and bars of their own:
//!
//! ```toml
//! [[scenario]]
//! name = "short beside long"
//!
//! [[scenario.class]]
//! name = "short"
//! tokens = 256
//! load = { kind = "open", rate_per_second = 700, seconds = 60 }
//! priority = "interactive"    # or "batch"; optional, sent with each request
//! timeout_ms = 500            # a deadline, optional, sent with each request
//!
//! [[scenario.class]]
//! name = "long"
//! tokens = 32768
//! concurrency = 1             # one is always in flight
//!
//! [[bar]]
//! scenario = "short beside long"
//! class = "short"
//! baseline = "short alone"    # another scenario
//! latency_p99_ratio_max = 2.0 # p99 over that of the baseline; also latency_p50_ratio_max
//! ```
//!
//! `arrival` is `"constant"`, `"poisson"` (the default) or `{ gamma = { cv = 3 } }`. An open load
//! may have `seconds`. A scenario may also be a closed loop (`concurrency = 50`) of mixed lengths.
//! `repeats = 5` runs every cell five times, in random order over the whole run.
//!
//! The measured phase of a cell ends once it has `requests_min` requests, `requests_per_client` of
//! every client and, if the target reports its batches, `batches_min` batches. It ends early at
//! `requests_max`, or `time_limit_seconds` after the cell's start. An open load with `seconds`, a ramp
//! and a replay have an end of their own; `time_limit_seconds` cuts them too. Classes have one measured phase: it
//! lasts the `seconds` of the class that has them, else until every class has its counts, and ends early when one
//! reaches `requests_max`. Unknown keys are rejected, so that a misspelt bar cannot pass unnoticed.

mod bar;
pub(crate) mod check;
pub(crate) mod difference;
mod edge;
mod forms;
mod overall;
mod scenario;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bar::Bar;
pub use check::{
    CONCURRENCY_MAX, IN_FLIGHT_MAX, RATE_MAX, REPEATS_MAX, REQUESTS_MAX, SECONDS_MAX, TOKENS_MAX,
};
pub use edge::EdgeRules;
pub use overall::Overall;
pub use scenario::{
    Arrival, CellSpec, Class, LengthComponent, LengthDist, Lengths, Load, Scenario,
};

use crate::error::Error;

/// A test plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the plan in reports.
    pub name: String,
    /// Purpose of the plan in one sentence, printed in the report.
    #[serde(default)]
    pub description: String,
    /// Seed of the choice of prompts, the arrivals and the order of cells.
    #[serde(default)]
    pub seed: u64,
    /// Lengths of the matrix in tokens, special tokens included.
    #[serde(default)]
    pub tokens: Vec<usize>,
    /// Closed-loop clients of the matrix.
    #[serde(default)]
    pub concurrency: Vec<usize>,
    /// Runs of every cell. Published figures are intervals over these runs.
    #[serde(default = "once")]
    pub repeats: usize,
    /// How long each cell runs.
    #[serde(default)]
    pub cell: CellRules,
    /// Whether the first cell is repeated at the end, to show drift of the machine.
    #[serde(default = "default_true")]
    pub repeat_first: bool,
    /// Named cells beside the matrix.
    #[serde(default, rename = "scenario", skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<Scenario>,
    /// Limits on single cells.
    #[serde(default, rename = "bar", skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
    /// Limits over the whole run.
    #[serde(default, skip_serializing_if = "Overall::is_empty")]
    pub overall: Overall,
    /// The search for edges after the cells; none is made without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeRules>,
    /// Folder of the plan's file; relative paths in the plan start here.
    #[serde(skip)]
    pub folder: PathBuf,
}

fn once() -> usize {
    1
}

fn default_true() -> bool {
    true
}

/// How long a cell runs, and when its requests are given up. `[cell]` in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CellRules {
    /// Fewest measured requests of a cell.
    pub requests_min: usize,
    /// Fewest measured requests per client of a closed loop.
    pub requests_per_client: usize,
    /// Fewest batches among the measured requests, if the target reports batches; 0 waits for none.
    pub batches_min: usize,
    /// Most measured requests of a load that ends by counts. An open loop with `seconds`, a ramp and a
    /// replay ignore it.
    pub requests_max: usize,
    /// Requests per client whose completion ends the warm-up of a closed loop.
    pub warmup_requests_per_client: usize,
    /// Time from a request's intended start after which it counts as a timeout.
    pub request_timeout_seconds: f64,
    /// Time from the start of the cell after which no measured request is sent.
    pub time_limit_seconds: f64,
    /// Pause of a client after a failure that has no `Retry-After`.
    pub failure_pause_seconds: f64,
    /// Length of the warm-up of an open loop, at its first rate.
    pub warmup_seconds: f64,
    /// Most requests that an open loop has in flight. Beyond it a request waits; the wait counts as
    /// latency and as the generator's lag.
    pub in_flight_max: usize,
}

impl Default for CellRules {
    fn default() -> Self {
        CellRules {
            requests_min: 100,
            requests_per_client: 4,
            batches_min: 100,
            requests_max: 20_000,
            warmup_requests_per_client: 1,
            request_timeout_seconds: 120.0,
            time_limit_seconds: 600.0,
            failure_pause_seconds: 0.1,
            warmup_seconds: 5.0,
            in_flight_max: 4096,
        }
    }
}

impl CellRules {
    /// Returns [`CellRules::request_timeout_seconds`] as a duration.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.request_timeout_seconds)
    }

    /// Returns [`CellRules::time_limit_seconds`] as a duration.
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs_f64(self.time_limit_seconds)
    }

    /// Returns [`CellRules::warmup_seconds`] as a duration.
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_seconds)
    }

    /// Returns [`CellRules::failure_pause_seconds`] as a duration.
    pub fn failure_pause(&self) -> Duration {
        Duration::from_secs_f64(self.failure_pause_seconds)
    }

    /// Returns the fewest measured requests of a cell with `clients` clients, regardless of batches.
    pub fn requests_wanted(&self, clients: usize) -> usize {
        self.requests_min
            .max(self.requests_per_client.saturating_mul(clients))
            .min(self.requests_max)
    }
}

/// The plans of `plans/`, by name.
pub(crate) const BUILT_IN: [(&str, &str); 6] = [
    ("quick", include_str!("../../../../plans/quick.toml")),
    ("big-batch", include_str!("../../../../plans/big-batch.toml")),
    ("long-context", include_str!("../../../../plans/long-context.toml")),
    ("open-loop", include_str!("../../../../plans/open-loop.toml")),
    ("mixed", include_str!("../../../../plans/mixed.toml")),
    ("mixed-cpu", include_str!("../../../../plans/mixed-cpu.toml")),
];

impl Plan {
    /// Creates a plan over a matrix of lengths (tokens) and concurrencies, with default rules and no bars.
    pub fn matrix(name: impl Into<String>, tokens: &[usize], concurrency: &[usize]) -> Plan {
        Plan {
            name: name.into(),
            description: String::new(),
            seed: 0,
            tokens: tokens.to_vec(),
            concurrency: concurrency.to_vec(),
            repeats: 1,
            cell: CellRules::default(),
            repeat_first: true,
            scenarios: Vec::new(),
            edge: None,
            overall: Overall::default(),
            bars: Vec::new(),
            folder: PathBuf::new(),
        }
    }

    /// Reads and checks a plan: a built-in one by its name (`quick`, `big-batch`, `long-context`, `open-loop`,
    /// `mixed`, `mixed-cpu`), else a file. A file with such a name is `./quick`.
    ///
    /// # Errors
    /// [`Error::PlanUnreadable`], or those of [`Plan::parse`].
    pub fn load(path: &Path) -> Result<Plan, Error> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| path.as_os_str() == *name) {
            return Plan::parse(text, name);
        }
        let text = std::fs::read_to_string(path).map_err(|source| {
            let built_in = BUILT_IN.map(|(name, _)| name).join(", ");
            Error::PlanUnreadable { path: path.to_owned(), source, built_in }
        })?;
        let mut plan = Plan::parse(&text, &path.display().to_string())?;
        plan.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(plan)
    }

    /// Parses and checks a plan; errors name it `origin`.
    ///
    /// # Errors
    /// [`Error::PlanSyntax`] with the line of the first fault, or [`Error::PlanValue`].
    pub fn parse(text: &str, origin: &str) -> Result<Plan, Error> {
        let plan: Plan = toml::from_str(text).map_err(|fault| {
            let start = fault.span().map_or(0, |span| span.start.min(text.len()));
            Error::PlanSyntax {
                origin: origin.to_owned(),
                line: 1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count(),
                message: fault.message().lines().collect::<Vec<_>>().join("; "),
            }
        })?;
        plan.check(origin)?;
        Ok(plan)
    }

    /// Returns the cells that run one after another, each with those that run at the same time: the cells of the
    /// matrix, by length and then by concurrency, followed by the scenarios with their classes.
    pub fn groups(&self) -> Vec<Vec<CellSpec>> {
        let by_length = self.tokens.iter().flat_map(|&tokens| {
            let cell = move |&concurrency| vec![CellSpec::matrix(tokens, concurrency)];
            self.concurrency.iter().map(cell)
        });
        by_length.chain(self.scenarios.iter().map(Scenario::cells)).collect()
    }

    /// Returns all cells, in the order of [`Plan::groups`].
    pub fn cells(&self) -> Vec<CellSpec> {
        self.groups().into_iter().flatten().collect()
    }

    /// Returns the cell that `bar` limits, or `None` if the plan has no such cell.
    pub fn cell_of(&self, bar: &Bar) -> Option<CellSpec> {
        let of_bar = (bar.tokens, bar.concurrency, &bar.scenario, &bar.class);
        let about = |cell: &CellSpec| match cell.matrix_position() {
            Some((tokens, concurrency)) => {
                of_bar == (Some(tokens), Some(concurrency), &None, &None)
            }
            None => of_bar == (None, None, &cell.scenario, &cell.class),
        };
        self.cells().into_iter().find(about)
    }

    /// Returns the cell that the ratios of `bar` compare with: the only class of its baseline, or the one named as the
    /// bar's. `None` if the plan has no such cell.
    pub fn baseline_of(&self, bar: &Bar) -> Option<CellSpec> {
        let baseline = bar.baseline.as_ref()?;
        let cells = self.scenarios.iter().find(|scenario| scenario.name == *baseline)?.cells();
        match cells.as_slice() {
            [only] => Some(only.clone()),
            several => several.iter().find(|cell| cell.class == bar.class).cloned(),
        }
    }

    /// Returns the clients of the largest closed loop, or 1 if there is none.
    pub fn most_clients(&self) -> usize {
        self.cells().iter().filter_map(CellSpec::concurrency).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests;
