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
//!
//! [[bar]]
//! tokens = 1024
//! concurrency = 50
//! success_rate_min = 0.90
//! latency_seconds_p95_max = 2
//! ```
//!
//! A cell is one length at one concurrency. Its measured phase ends once it has `requests_min`
//! requests, `requests_per_client` for every client and, where the target tells its batches,
//! `batches_min` of them; or at `requests_max`, or `time_limit_seconds` after its start. Unknown
//! keys are refused, so that a misspelt bar cannot pass unnoticed.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Longest sequence a plan may ask for.
pub const TOKENS_MAX: usize = 1 << 20;
/// Most clients a plan may ask for.
pub const CONCURRENCY_MAX: usize = 10_000;
/// Most requests a plan may ask of one cell.
pub const REQUESTS_MAX: usize = 10_000_000;
/// Longest time a plan may name: one day.
pub const SECONDS_MAX: f64 = 86_400.0;
/// Most lengths, and most concurrencies, of a plan.
const LEVELS_MAX: usize = 64;

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
    /// Lengths in tokens, special tokens included.
    pub tokens: Vec<usize>,
    /// Closed-loop clients.
    pub concurrency: Vec<usize>,
    /// How one cell is run.
    #[serde(default)]
    pub cell: CellRules,
    /// Whether the first cell is run again at the end, to show drift.
    #[serde(default = "yes")]
    pub repeat_first: bool,
    /// What must hold.
    #[serde(default, rename = "bar", skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
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
    /// No more measured requests than this.
    pub requests_max: usize,
    /// The warm-up lasts until this many requests per client have ended.
    pub warmup_requests_per_client: usize,
    /// When a client gives up on a request.
    pub request_timeout_seconds: f64,
    /// From the start of the cell: no measured request is sent later than this.
    pub time_limit_seconds: f64,
    /// How long a client waits after a failure that did not say when to come back.
    pub failure_pause_seconds: f64,
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

/// One length at one concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CellSpec {
    /// Tokens of each request, special tokens included.
    pub tokens: usize,
    /// Clients in a closed loop.
    pub concurrency: usize,
}

/// What must hold in one cell. At least one of the two limits is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// The cell's length.
    pub tokens: usize,
    /// The cell's concurrency.
    pub concurrency: usize,
    /// Least share of requests that succeed, in 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate_min: Option<f64>,
    /// Most seconds of the 95th percentile of latency over successful requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds_p95_max: Option<f64>,
}

impl Bar {
    /// The cell it is about.
    pub fn cell(&self) -> CellSpec {
        CellSpec { tokens: self.tokens, concurrency: self.concurrency }
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
            cell: CellRules::default(),
            repeat_first: true,
            bars: Vec::new(),
        }
    }

    /// Reads and checks a plan file.
    pub fn load(path: &Path) -> Result<Plan, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::PlanUnreadable { path: path.to_owned(), source })?;
        Plan::parse(&text, &path.display().to_string())
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

    /// The cells of the matrix, by length and then concurrency.
    pub fn cells(&self) -> Vec<CellSpec> {
        let by_length = self.tokens.iter().flat_map(|&tokens| {
            self.concurrency.iter().map(move |&concurrency| CellSpec { tokens, concurrency })
        });
        by_length.collect()
    }

    /// Checks every value; `origin` is what the error calls the plan.
    pub fn check(&self, origin: &str) -> Result<(), Error> {
        let fault =
            self.check_lists().and_then(|()| self.check_rules()).and_then(|()| self.check_bars());
        fault.map_err(|message| Error::PlanValue { origin: origin.to_owned(), message })
    }

    fn check_lists(&self) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err("name is empty; give the plan a name".into());
        }
        check_levels("tokens", &self.tokens, TOKENS_MAX)?;
        check_levels("concurrency", &self.concurrency, CONCURRENCY_MAX)
    }

    fn check_rules(&self) -> Result<(), String> {
        let rules = &self.cell;
        check_count("cell.requests_min", rules.requests_min, 1, REQUESTS_MAX)?;
        check_count("cell.requests_per_client", rules.requests_per_client, 1, REQUESTS_MAX)?;
        check_count("cell.batches_min", rules.batches_min, 0, REQUESTS_MAX)?;
        check_count("cell.requests_max", rules.requests_max, 1, REQUESTS_MAX)?;
        check_count(
            "cell.warmup_requests_per_client",
            rules.warmup_requests_per_client,
            0,
            10_000,
        )?;
        check_seconds("cell.request_timeout_seconds", rules.request_timeout_seconds, 0.001)?;
        check_seconds("cell.time_limit_seconds", rules.time_limit_seconds, 0.001)?;
        check_seconds("cell.failure_pause_seconds", rules.failure_pause_seconds, 0.0)?;
        let most_clients = self.concurrency.iter().copied().max().unwrap_or(1);
        let needed = rules.requests_min.max(rules.requests_per_client.saturating_mul(most_clients));
        if rules.requests_max < needed {
            return Err(format!(
                "cell.requests_max = {} is below the {needed} requests that requests_min and \
                 requests_per_client ask for at concurrency {most_clients}; raise it or lower those",
                rules.requests_max
            ));
        }
        Ok(())
    }

    fn check_bars(&self) -> Result<(), String> {
        for (index, bar) in self.bars.iter().enumerate() {
            let which = format!(
                "bar {} ({} tokens, concurrency {})",
                index + 1,
                bar.tokens,
                bar.concurrency
            );
            if !self.cells().contains(&bar.cell()) {
                return Err(format!(
                    "{which} is about a cell that the plan does not run; add its length to tokens and \
                     its concurrency to concurrency, or remove the bar"
                ));
            }
            if self.bars[..index].iter().any(|earlier| earlier.cell() == bar.cell()) {
                return Err(format!(
                    "{which} repeats an earlier bar of the same cell; merge the two"
                ));
            }
            if bar.success_rate_min.is_none() && bar.latency_seconds_p95_max.is_none() {
                return Err(format!(
                    "{which} sets no limit; give success_rate_min or latency_seconds_p95_max"
                ));
            }
            if bar.success_rate_min.is_some_and(|rate| !(rate > 0.0 && rate <= 1.0)) {
                return Err(format!("{which}: success_rate_min must be above 0 and at most 1"));
            }
            if let Some(seconds) = bar.latency_seconds_p95_max {
                check_seconds(&format!("{which}: latency_seconds_p95_max"), seconds, 1e-6)?;
            }
        }
        Ok(())
    }
}

fn check_levels(key: &str, levels: &[usize], most: usize) -> Result<(), String> {
    if levels.is_empty() || levels.len() > LEVELS_MAX {
        return Err(format!("{key} has {} entries; give 1 to {LEVELS_MAX}", levels.len()));
    }
    for (index, &level) in levels.iter().enumerate() {
        check_count(key, level, 1, most)?;
        if levels[..index].contains(&level) {
            return Err(format!("{key} names {level} twice; remove one"));
        }
    }
    Ok(())
}

fn check_count(key: &str, value: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value} is out of range; give {least} to {most}"))
}

fn check_seconds(key: &str, value: f64, least: f64) -> Result<(), String> {
    if value >= least && value <= SECONDS_MAX {
        return Ok(());
    }
    Err(format!("{key} = {value} is out of range; give {least} to {SECONDS_MAX}"))
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
        assert_eq!(plan.cells()[1], CellSpec { tokens: 128, concurrency: 2 });
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
            ("[[bar]]\ntokens = 512\nconcurrency = 1\nsuccess_rate_min = 0.5", "does not run"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1", "sets no limit"),
            ("[[bar]]\ntokens = 128\nconcurrency = 1\nsuccess_rate_min = 1.5", "at most 1"),
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
        assert!(seen >= 3, "big-batch, quick and long-context");
    }
}
