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
//! `arrival` is `"constant"`, `"poisson"` (the default) or `{ gamma = { cv = 3 } }`. An open load
//! may have `seconds`. A scenario may also be a closed loop (`concurrency = 50`) of mixed lengths.
//! `repeats = 5` runs every cell five times, in random order over the whole run.
//!
//! The measured phase of a cell ends once it has `requests_min` requests, `requests_per_client` of
//! every client and, if the target reports its batches, `batches_min` batches. It ends early at
//! `requests_max`, or `time_limit_seconds` after the cell's start. An open load with `seconds`, a ramp
//! and a replay have an end of their own; `time_limit_seconds` cuts them too. Unknown keys are
//! rejected, so that a misspelt bar cannot pass unnoticed.

mod bar;
pub(crate) mod check;
pub(crate) mod difference;
mod edge;
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
pub use scenario::{Arrival, CellSpec, LengthComponent, LengthDist, Lengths, Load, Scenario};

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
pub(crate) const BUILT_IN: [(&str, &str); 4] = [
    ("quick", include_str!("../../../../plans/quick.toml")),
    ("big-batch", include_str!("../../../../plans/big-batch.toml")),
    ("long-context", include_str!("../../../../plans/long-context.toml")),
    ("open-loop", include_str!("../../../../plans/open-loop.toml")),
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

    /// Reads and checks a plan: a built-in one by its name (`quick`, `big-batch`, `long-context`, `open-loop`), else
    /// a file. A file with such a name is `./quick`.
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

    /// Returns the cells of the matrix, by length and then by concurrency, followed by the scenarios.
    pub fn cells(&self) -> Vec<CellSpec> {
        let by_length = self.tokens.iter().flat_map(|&tokens| {
            self.concurrency.iter().map(move |&concurrency| CellSpec::matrix(tokens, concurrency))
        });
        by_length.chain(self.scenarios.iter().map(Scenario::cell)).collect()
    }

    /// Returns the cell that `bar` limits, or `None` if the plan has no such cell.
    pub fn cell_of(&self, bar: &Bar) -> Option<CellSpec> {
        let about = |cell: &CellSpec| match cell.matrix_position() {
            Some((tokens, concurrency)) => {
                (bar.tokens, bar.concurrency, &bar.scenario)
                    == (Some(tokens), Some(concurrency), &None)
            }
            None => (bar.tokens, bar.concurrency, &bar.scenario) == (None, None, &cell.scenario),
        };
        self.cells().into_iter().find(about)
    }

    /// Returns the clients of the largest closed loop, or 1 if there is none.
    pub fn most_clients(&self) -> usize {
        self.cells().iter().filter_map(CellSpec::concurrency).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = \"small\"\ntokens = [128, 256]\nconcurrency = [1, 2]\n";

    fn parse_error(extra: &str) -> String {
        Plan::parse(&format!("{SMALL}{extra}"), "p.toml")
            .expect_err("the plan is wrong")
            .to_string()
    }

    #[test]
    fn a_small_plan_gets_the_documented_defaults() {
        let plan = Plan::parse(SMALL, "p.toml").expect("valid");
        assert_eq!(plan, Plan::matrix("small", &[128, 256], &[1, 2]));
        assert_eq!(plan.cell.request_timeout(), Duration::from_secs(120));
        assert_eq!(plan.cells().len(), 4);
        assert_eq!(plan.cells()[1], CellSpec::matrix(128, 2));
    }

    #[test]
    fn errors_are_one_line_that_names_file_line_and_key() {
        let unknown = parse_error("[cell]\nrequests_mim = 5\n");
        assert!(unknown.starts_with("p.toml:5: unknown field `requests_mim`"), "{unknown}");
        let wrong_type = parse_error("seed = \"x\"\n");
        assert!(wrong_type.starts_with("p.toml:4: "), "{wrong_type}");
        let broken = parse_error("[[bar]\n");
        for text in [&unknown, &wrong_type, &broken] {
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn senseless_values_are_refused() {
        let cases = [
            ("[cell]\nrequests_min = 0", "cell.requests_min = 0 is out of range"),
            ("[cell]\nrequest_timeout_seconds = 0", "cell.request_timeout_seconds = 0"),
            ("[cell]\ntime_limit_seconds = nan", "cell.time_limit_seconds = NaN"),
            ("[cell]\nrequests_max = 99", "is below the 100 requests"),
            ("[cell]\ntime_limit_seconds = 120", "cell.request_timeout_seconds = 120 keeps"),
            ("[cell]\nwarmup_requests_per_client = 5", "for 600.5 s of time_limit_seconds = 600"),
            ("[[bar]]\ntokens = 512\nconcurrency = 1\nsuccess_rate_min = 0.5", "does not run"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1", "sets no limit"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1\nsuccess_rate_min = 1.5", "at most 1"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1\nsuccess_rate_min = 1", "share that may fail"),
            (
                "[[bar]]\ntokens = 128\nconcurrency = 1\ntail_ratio_max = 0.5",
                "tail_ratio_max = 0.5",
            ),
            ("[overall]\ntail_ratio_max = 0", "overall.tail_ratio_max = 0 is out"),
            ("[overall]\nfragmentation_max = 5", "overall.fragmentation_max = 5 is out"),
            ("[overall]\ndevice_memory_bytes_max = 0", "give a number of bytes above 0"),
            ("[overall]\nleak = false", "unknown field `leak`"),
        ];
        for (extra, expected) in cases {
            let text = parse_error(extra);
            assert!(text.contains(expected), "{extra}: {text}");
        }
    }

    #[test]
    fn lists_hold_no_zeros_and_no_duplicates() {
        for (tokens, expected) in
            [("[]", "0 entries"), ("[0]", "= 0 is out"), ("[8, 8]", "8 twice")]
        {
            let text = format!("name = \"x\"\ntokens = {tokens}\nconcurrency = [1]\n");
            let error = Plan::parse(&text, "p.toml").expect_err("refused").to_string();
            assert!(error.contains(expected), "{tokens}: {error}");
        }
    }

    const SCENARIOS: &str = r#"
name = "scenarios"
repeats = 5
[[scenario]]
name = "documents"
lengths = [
    { weight = 3, median = 400, sigma = 0.8, min = 16, max = 8192 },
    { weight = 1, tokens = 1024 },
    { documents = "docs", max = 4096 },
]
load = { kind = "open", rate_per_second = 20, arrival = { gamma = { cv = 3 } } }
[[scenario]]
name = "rising"
tokens = 512
load = { kind = "ramp", from_per_second = 1, to_per_second = 50, seconds = 60 }
[[scenario]]
name = "yesterday"
load = { kind = "replay", file = "trace.csv" }
[[scenario]]
name = "mixed clients"
lengths = [{ tokens = 64 }, { tokens = 512 }]
concurrency = 8
[[bar]]
scenario = "documents"
success_rate_min = 0.99
"#;

    #[test]
    fn scenarios_are_cells_beside_the_matrix_and_survive_being_written() {
        let plan = Plan::parse(SCENARIOS, "p.toml").expect("valid");
        let cells = plan.cells();
        assert_eq!(cells.len(), 4);
        assert_eq!(plan.cell_of(&plan.bars[0]), Some(cells[0].clone()));
        let rising = Load::Ramp {
            from_per_second: 1.0,
            to_per_second: 50.0,
            seconds: 60.0,
            arrival: Arrival::Poisson,
            latency_seconds_p95_max: None,
            failure_rate_max: 0.01,
        };
        assert_eq!((cells[1].tokens(), &cells[1].load), (Some(512), &rising));
        assert_eq!((&cells[2].lengths, cells[3].concurrency()), (&Lengths::FromTrace, Some(8)));
        assert!(cells.iter().all(|cell| cell.matrix_position().is_none()), "none is of the matrix");
        let json = serde_json::to_string(&plan).expect("a plan is JSON");
        assert_eq!(serde_json::from_str::<Plan>(&json).expect("reads back"), plan);
        for cell in cells {
            let json = serde_json::to_string(&cell).expect("a cell is JSON");
            assert_eq!(serde_json::from_str::<CellSpec>(&json).expect("reads back"), cell);
        }
    }

    #[test]
    fn a_cell_of_the_matrix_is_written_as_its_two_numbers() {
        let json = serde_json::to_string(&CellSpec::matrix(1024, 50)).expect("JSON");
        assert_eq!(json, r#"{"tokens":1024,"concurrency":50}"#);
    }

    #[test]
    fn senseless_scenarios_are_refused_by_name() {
        let open = "load = { kind = \"open\", rate_per_second = 1 }";
        let cases = [
            ("tokens = 8".into(), "one of concurrency"),
            (format!("tokens = 8\nconcurrency = 2\n{open}"), "one of concurrency"),
            (open.into(), "one of tokens"),
            (format!("lengths = []\n{open}"), "0 components"),
            (format!("lengths = [{{ median = 9 }}]\n{open}"), "either tokens, or median"),
            (format!("tokens = 8\n{}", open.replace('1', "0")), "load.rate_per_second = 0"),
            (format!("tokens = 8\n{}", open.replace("rate", "rat")), "unknown field"),
            (
                "tokens = 8\nload = { kind = \"replay\", file = \"x\" }".into(),
                "takes its lengths from its file",
            ),
        ];
        for (keys, expected) in cases {
            let text = parse_error(&format!("[[scenario]]\nname = \"odd\"\n{keys}\n"));
            assert!(text.contains(expected), "{keys}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let bar = parse_error("[[bar]]\nscenario = \"none\"\nsuccess_rate_min = 0.5\n");
        assert!(bar.contains("a scenario that the plan does not have"), "{bar}");
    }

    #[test]
    fn the_plans_of_the_repository_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("plans/").flatten() {
            let plan = Plan::load(&entry.path()).expect("valid");
            assert_eq!(
                entry.path().file_stem().and_then(|stem| stem.to_str()),
                Some(plan.name.as_str())
            );
            seen += 1;
        }
        assert!(seen >= 4, "big-batch, quick, long-context and open-loop");
    }
}
