//! The plan: what is run, how long, and what must hold. A TOML file, or a value made in code.
//!
//! ```toml
//! name = "example"
//! tokens = [1024]             # lengths, special tokens included
//! concurrency = [1, 50]       # clients that each wait for their answer before they send again
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
//! warmup_seconds = 5           # of an open loop
//! in_flight_max = 4096         # of an open loop
//!
//! [[bar]]
//! tokens = 1024
//! concurrency = 50
//! success_rate_min = 0.90
//! latency_seconds_p95_max = 2
//! tail_ratio_max = 3          # p99 over p50
//!
//! [overall]                   # what must hold over the whole run
//! tail_ratio_max = 3          # in every cell whose bar has none of its own, but ramps
//! fragmentation_max = 0.05    # 1 - largest free / free of the target's arena
//! device_memory_bytes_max = 42949672960
//! no_leak = true              # no memory that grows from cell to cell
//! ```
//!
//! A cell of the matrix is one length at one concurrency. `[[scenario]]` adds cells of other kinds,
//! each with a name:
//!
//! ```toml
//! [[scenario]]
//! name = "documents in bursts"
//! lengths = [                 # a mixture by weight (default 1); or: tokens = 1024
//!     { weight = 3, median = 400, sigma = 0.8, min = 16, max = 8192 },  # log-normal
//!     { weight = 1, tokens = 1024 },
//!     { weight = 1, documents = "docs", max = 8192 },  # as long as a person's own .txt files
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
//! `arrival` is `"constant"`, `"poisson"` (the default) or `{ gamma = { cv = 3 } }`; an open load
//! may have `seconds`, and a scenario may be a closed loop (`concurrency = 50`) of mixed lengths.
//! `repeats = 5` runs every cell five times, in random order over the whole run.
//!
//! The measured phase of a cell ends once it has `requests_min`
//! requests, `requests_per_client` for every client and, where the target tells its batches,
//! `batches_min` of them; or at `requests_max`, or `time_limit_seconds` after its start. An open load
//! with `seconds`, a ramp and a replay end by themselves, or at `time_limit_seconds`. Unknown
//! keys are refused, so that a misspelt bar cannot pass unnoticed.

pub(crate) mod check;
pub(crate) mod difference;
mod edge;
mod overall;
mod scenario;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// What the report calls it.
    pub name: String,
    /// One sentence for the report's reader.
    #[serde(default)]
    pub description: String,
    /// Seed of everything random: prompts and the order of cells.
    #[serde(default)]
    pub seed: u64,
    /// Lengths of the matrix in tokens, special tokens included.
    #[serde(default)]
    pub tokens: Vec<usize>,
    /// Closed-loop clients of the matrix.
    #[serde(default)]
    pub concurrency: Vec<usize>,
    /// How often every cell is run. The run is the independent unit of a published figure.
    #[serde(default = "once")]
    pub repeats: usize,
    /// How one cell is run.
    #[serde(default)]
    pub cell: CellRules,
    /// Whether the first cell is run again at the end, to show drift.
    #[serde(default = "yes")]
    pub repeat_first: bool,
    /// Cells beyond the matrix.
    #[serde(default, rename = "scenario", skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<Scenario>,
    /// What must hold.
    #[serde(default, rename = "bar", skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
    /// What must hold over the whole run.
    #[serde(default, skip_serializing_if = "Overall::is_empty")]
    pub overall: Overall,
    /// Where to look for the edges after the cells; absent: don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeRules>,
    /// The folder of the plan's file, where the relative paths in it start.
    #[serde(skip)]
    pub folder: PathBuf,
}

fn once() -> usize {
    1
}

fn yes() -> bool {
    true
}

/// How one cell is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CellRules {
    /// At least this many measured requests.
    pub requests_min: usize,
    /// At least this many measured requests for each client.
    pub requests_per_client: usize,
    /// At least this many batches among them, where the target tells (0: don't wait for batches).
    pub batches_min: usize,
    /// No more measured requests than this, of loads that end by counts; one that lasts a time (an open
    /// loop with seconds, a ramp) or a file sends what it says.
    pub requests_max: usize,
    /// The warm-up lasts until this many requests per client have ended.
    pub warmup_requests_per_client: usize,
    /// When a client gives up on a request.
    pub request_timeout_seconds: f64,
    /// From the start of the cell: no measured request is sent later than this.
    pub time_limit_seconds: f64,
    /// How long a client waits after a failure that did not say when to come back.
    pub failure_pause_seconds: f64,
    /// How long the warm-up of an open loop lasts, at its first rate.
    pub warmup_seconds: f64,
    /// Most requests that an open loop has under way at once. Beyond it a request waits, and its
    /// waiting counts as latency and as the generator's lag.
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
    /// When a client gives up on a request.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.request_timeout_seconds)
    }

    /// The cell's time limit.
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs_f64(self.time_limit_seconds)
    }

    /// How long the warm-up of an open loop lasts.
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_seconds)
    }

    /// The pause after a failure.
    pub fn failure_pause(&self) -> Duration {
        Duration::from_secs_f64(self.failure_pause_seconds)
    }

    /// Fewest measured requests of a cell with `clients` clients, before batches are considered.
    pub fn requests_wanted(&self, clients: usize) -> usize {
        self.requests_min
            .max(self.requests_per_client.saturating_mul(clients))
            .min(self.requests_max)
    }
}

/// What must hold in one cell: a cell of the matrix by `tokens` and `concurrency`, or a `scenario`.
/// At least one of the limits is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bar {
    /// The cell's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// The cell's concurrency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// The scenario's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// Least share of requests that succeed, in 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_rate_min: Option<f64>,
    /// Most seconds of the 95th percentile of latency over successful requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds_p95_max: Option<f64>,
    /// Most times the median that the 99th percentile may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_ratio_max: Option<f64>,
}

impl Bar {
    /// A bar on a cell of the matrix, with no limit yet.
    pub fn on(tokens: usize, concurrency: usize) -> Bar {
        Bar { tokens: Some(tokens), concurrency: Some(concurrency), ..Bar::default() }
    }

    /// A bar on a scenario, with no limit yet.
    pub fn on_scenario(name: impl Into<String>) -> Bar {
        Bar { scenario: Some(name.into()), ..Bar::default() }
    }

    fn label(&self) -> String {
        let tokens = self.tokens.map(|tokens| format!("{tokens} tokens"));
        let clients = self.concurrency.map(|clients| format!("concurrency {clients}"));
        let scenario = self.scenario.as_ref().map(|name| format!("scenario {name:?}"));
        [tokens, clients, scenario].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Plan {
    /// A plan over a matrix of lengths and concurrencies, with default rules and no bars.
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

    /// Reads and checks a plan file.
    pub fn load(path: &Path) -> Result<Plan, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::PlanUnreadable { path: path.to_owned(), source })?;
        let mut plan = Plan::parse(&text, &path.display().to_string())?;
        plan.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(plan)
    }

    /// Parses and checks a plan; `origin` is what errors call it.
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

    /// The cells of the matrix, by length and then concurrency, and then the scenarios.
    pub fn cells(&self) -> Vec<CellSpec> {
        let by_length = self.tokens.iter().flat_map(|&tokens| {
            self.concurrency.iter().map(move |&concurrency| CellSpec::matrix(tokens, concurrency))
        });
        by_length.chain(self.scenarios.iter().map(Scenario::cell)).collect()
    }

    /// The cell that `bar` is about; none if the plan has no such cell.
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

    /// Clients of the closed loop with the most of them; 1 if there is none.
    pub fn most_clients(&self) -> usize {
        self.cells().iter().filter_map(CellSpec::concurrency).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = \"small\"\ntokens = [128, 256]\nconcurrency = [1, 2]\n";

    fn complaint(extra: &str) -> String {
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
        let unknown = complaint("[cell]\nrequests_mim = 5\n");
        assert!(unknown.starts_with("p.toml:5: unknown field `requests_mim`"), "{unknown}");
        let wrong_type = complaint("seed = \"x\"\n");
        assert!(wrong_type.starts_with("p.toml:4: "), "{wrong_type}");
        let broken = complaint("[[bar]\n");
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
            ("[cell]\ntime_limit_seconds = 120", "cell.request_timeout_seconds = 120 leaves"),
            ("[cell]\nwarmup_requests_per_client = 5", "for 600.5 s of time_limit_seconds = 600"),
            ("[[bar]]\ntokens = 512\nconcurrency = 1\nsuccess_rate_min = 0.5", "does not run"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1", "sets no limit"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1\nsuccess_rate_min = 1.5", "at most 1"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1\nsuccess_rate_min = 1", "write what may fail"),
            (
                "[[bar]]\ntokens = 128\nconcurrency = 1\ntail_ratio_max = 0.5",
                "tail_ratio_max = 0.5",
            ),
            ("[overall]\ntail_ratio_max = 0", "overall.tail_ratio_max = 0 is out"),
            ("[overall]\nfragmentation_max = 5", "overall.fragmentation_max = 5 is out"),
            ("[overall]\ndevice_memory_bytes_max = 0", "give bytes above 0"),
            ("[overall]\nleak = false", "unknown field `leak`"),
        ];
        for (extra, expected) in cases {
            let text = complaint(extra);
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
            (format!("lengths = []\n{open}"), "0 parts"),
            (format!("lengths = [{{ median = 9 }}]\n{open}"), "either tokens, or median"),
            (format!("tokens = 8\n{}", open.replace('1', "0")), "load.rate_per_second = 0"),
            (format!("tokens = 8\n{}", open.replace("rate", "rat")), "unknown field"),
            ("tokens = 8\nload = { kind = \"replay\", file = \"x\" }".into(), "file says how long"),
        ];
        for (keys, expected) in cases {
            let text = complaint(&format!("[[scenario]]\nname = \"odd\"\n{keys}\n"));
            assert!(text.contains(expected), "{keys}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
        let bar = complaint("[[bar]]\nscenario = \"none\"\nsuccess_rate_min = 0.5\n");
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
