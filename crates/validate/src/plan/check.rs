//! Range checks of every value of a plan, before any load. A fault is one line with the key, its value
//! and what is accepted.
//!
//! Checks here need no file and no target. Whether the files that a plan names can be read is checked
//! when the prompts are prepared ([`run`](mod@crate::run)); whether the machine can bear the run, in
//! [`crate::preflight`].

use super::{Arrival, Bar, Class, LengthComponent, LengthDist, Lengths, Load, Plan, Scenario};
use crate::error::Error;

/// Longest sequence of a plan, in tokens.
pub const TOKENS_MAX: usize = 1 << 20;
/// Most clients of one closed loop.
pub const CONCURRENCY_MAX: usize = 10_000;
/// Most requests of one cell.
pub const REQUESTS_MAX: usize = 10_000_000;
/// Longest time in a plan, in seconds: one day.
pub const SECONDS_MAX: f64 = 86_400.0;
/// Highest rate of an open loop, in requests per second.
pub const RATE_MAX: f64 = 1e6;
/// Most requests that an open loop may have in flight.
pub const IN_FLIGHT_MAX: usize = 100_000;
/// Most runs of each cell.
pub const REPEATS_MAX: usize = 100;
/// Longest deadline of a request, in milliseconds: one day, the longest that `bigbatch serve` accepts.
const TIMEOUT_MS_MAX: usize = 86_400_000;
/// Most lengths, concurrencies, scenarios, classes of a scenario, and components of a mixture.
const LEVELS_MAX: usize = 64;

impl Plan {
    /// Checks every value of the plan; errors name the plan `origin`.
    ///
    /// # Errors
    /// [`Error::PlanValue`] for the first value that is out of range or contradicts another.
    pub fn check(&self, origin: &str) -> Result<(), Error> {
        let fault =
            self.check_lists().and_then(|()| self.check_rules()).and_then(|()| self.check_bars());
        fault.map_err(|message| Error::PlanValue { origin: origin.to_owned(), message })
    }

    fn check_lists(&self) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err("name is empty; give the plan a name for its reports".into());
        }
        check_count("repeats", self.repeats, 1, REPEATS_MAX)?;
        let matrix = !self.tokens.is_empty() || !self.concurrency.is_empty();
        if matrix || self.scenarios.is_empty() {
            check_levels("tokens", &self.tokens, TOKENS_MAX)?;
            check_levels("concurrency", &self.concurrency, CONCURRENCY_MAX)?;
        }
        if self.scenarios.len() > LEVELS_MAX {
            let found = self.scenarios.len();
            return Err(format!("the plan has {found} scenarios; give at most {LEVELS_MAX}"));
        }
        for (index, scenario) in self.scenarios.iter().enumerate() {
            let which = format!("scenario {:?}", scenario.name);
            if scenario.name.trim().is_empty() {
                return Err(format!("scenario {} has no name; give it a unique name", index + 1));
            }
            if self.scenarios[..index].iter().any(|earlier| earlier.name == scenario.name) {
                return Err(format!("{which} appears twice; rename one of them"));
            }
            self.check_classes(scenario).map_err(|fault| format!("{which}: {fault}"))?;
        }
        Ok(())
    }

    fn check_classes(&self, scenario: &Scenario) -> Result<(), String> {
        let classes = &scenario.classes;
        if classes.is_empty() || classes.len() > LEVELS_MAX {
            return Err(format!("it has {} classes; give 1 to {LEVELS_MAX}", classes.len()));
        }
        for (index, class) in classes.iter().enumerate() {
            let Some(name) = &class.name else {
                if classes.len() > 1 {
                    return Err(format!("class {} has no name; give it a unique name", index + 1));
                }
                self.check_class(class)?;
                continue;
            };
            if name.trim().is_empty() {
                return Err(format!("class {} has no name; give it a unique name", index + 1));
            }
            if classes[..index].iter().any(|earlier| earlier.name == class.name) {
                return Err(format!("class {name:?} appears twice; rename one of them"));
            }
            self.check_class(class).map_err(|fault| format!("class {name:?}: {fault}"))?;
            if classes.len() > 1 && matches!(class.load, Load::Ramp { .. } | Load::Replay { .. }) {
                return Err(format!(
                    "class {name:?} is a ramp or a replay, whose end would be that of the other classes; give it \
                     kind = \"open\" or concurrency"
                ));
            }
        }
        let seconds = |class: &Class| match class.load {
            Load::Open { seconds, .. } => seconds,
            _ => None,
        };
        let mut ends = classes.iter().filter_map(seconds);
        let first = ends.next();
        if let Some(other) = ends.find(|&other| Some(other) != first) {
            return Err(format!(
                "its classes have load.seconds = {} and {other}, but one measured phase; give one length",
                first.unwrap_or_default()
            ));
        }
        Ok(())
    }

    fn check_class(&self, class: &Class) -> Result<(), String> {
        check_load(&class.lengths, &class.load)?;
        let Some(timeout_ms) = class.timeout_ms else { return Ok(()) };
        let timeout_ms = usize::try_from(timeout_ms).unwrap_or(usize::MAX);
        check_count("timeout_ms", timeout_ms, 1, TIMEOUT_MS_MAX)?;
        let seconds = self.cell.request_timeout_seconds;
        if timeout_ms as f64 > seconds * 1e3 {
            return Err(format!(
                "timeout_ms = {timeout_ms} comes after cell.request_timeout_seconds = {seconds}, at which every request \
                 is given up; lower the one or raise the other"
            ));
        }
        Ok(())
    }

    fn check_rules(&self) -> Result<(), String> {
        if let Some(edge) = &self.edge {
            edge.check()?;
        }
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
        check_seconds("cell.warmup_seconds", rules.warmup_seconds, 0.0)?;
        check_count("cell.in_flight_max", rules.in_flight_max, 1, IN_FLIGHT_MAX)?;
        self.check_warm_up()?;
        let most_clients = self.most_clients();
        let needed = rules.requests_min.max(rules.requests_per_client.saturating_mul(most_clients));
        if rules.requests_max < needed {
            return Err(format!(
                "cell.requests_max = {} is below the {needed} requests that requests_min and \
                 requests_per_client require at concurrency {most_clients}; raise requests_max or lower those",
                rules.requests_max
            ));
        }
        Ok(())
    }

    /// Rejects a plan under which a hanging target is never measured: if every request of a closed loop's
    /// warm-up timed out and took the whole time limit, the cell would be "not run" instead of failing.
    fn check_warm_up(&self) -> Result<(), String> {
        let rules = &self.cell;
        let closed = self.cells().iter().any(|cell| cell.concurrency().is_some());
        let longest_seconds = rules.warmup_requests_per_client as f64
            * (rules.request_timeout_seconds + rules.failure_pause_seconds);
        if !closed || longest_seconds < rules.time_limit_seconds {
            return Ok(());
        }
        Err(format!(
            "cell.request_timeout_seconds = {} keeps a target that hangs in its warm-up for {longest_seconds} s \
             of time_limit_seconds = {}, so nothing would be measured; lower request_timeout_seconds or \
             warmup_requests_per_client, or raise time_limit_seconds",
            rules.request_timeout_seconds, rules.time_limit_seconds
        ))
    }

    fn check_bars(&self) -> Result<(), String> {
        self.overall.check()?;
        for (index, bar) in self.bars.iter().enumerate() {
            let which = format!("bar {} ({})", index + 1, bar.label());
            let Some(cell) = self.cell_of(bar) else {
                return Err(format!("{which} {}", self.no_cell(bar)));
            };
            if self.bars[..index].iter().any(|earlier| self.cell_of(earlier) == Some(cell.clone()))
            {
                return Err(format!(
                    "{which} is for the same cell as an earlier bar; merge the two"
                ));
            }
            check_limits(bar).map_err(|fault| format!("{which}{fault}"))?;
            self.check_baseline(bar).map_err(|fault| format!("{which}: {fault}"))?;
        }
        Ok(())
    }

    /// Rejects a ratio without a baseline, a baseline without a ratio, and one that names no single other cell.
    fn check_baseline(&self, bar: &Bar) -> Result<(), String> {
        let ratio = bar.latency_p50_ratio_max.or(bar.latency_p99_ratio_max).is_some();
        let Some(baseline) = &bar.baseline else {
            return match ratio {
                true => Err(
                    "a limit on a ratio needs baseline, the name of the scenario to compare with"
                        .into(),
                ),
                false => Ok(()),
            };
        };
        if !ratio {
            return Err(format!(
                "baseline = {baseline:?} without a limit on a ratio; give latency_p50_ratio_max or \
                 latency_p99_ratio_max, or remove baseline"
            ));
        }
        let Some(cell) = self.baseline_of(bar) else {
            let known = self.scenarios.iter().any(|scenario| scenario.name == *baseline);
            let fault = if known {
                "has several classes, none of them named as the bar's class"
            } else {
                "is not a scenario of the plan"
            };
            return Err(format!(
                "baseline = {baseline:?} {fault}; name a scenario with the load alone"
            ));
        };
        if self.cell_of(bar) == Some(cell) {
            return Err(format!(
                "baseline = {baseline:?} is the bar's own cell; name another scenario"
            ));
        }
        Ok(())
    }

    /// The end of the sentence for a bar that matches no cell.
    fn no_cell(&self, bar: &Bar) -> String {
        let scenario =
            |name: &String| self.scenarios.iter().find(|scenario| scenario.name == *name);
        match (bar.tokens, bar.concurrency, &bar.scenario) {
            (Some(_), Some(_), None) if bar.class.is_none() => {
                "is for a cell that the plan does not run; add its length to tokens and its \
                 concurrency to concurrency, or remove the bar"
                    .into()
            }
            (None, None, Some(name)) => match scenario(name) {
                None => "is for a scenario that the plan does not have; add the scenario, or remove the bar".into(),
                Some(scenario) => {
                    let names = scenario.classes.iter().filter_map(|class| class.name.as_ref());
                    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
                    match (names.is_empty(), &bar.class) {
                        (true, _) => "names a class, and the scenario has none; remove class".into(),
                        (false, None) => format!("does not name its class; give class, one of {}", names.join(", ")),
                        (false, Some(_)) => {
                            format!("is for a class that the scenario does not have; give one of {}", names.join(", "))
                        }
                    }
                }
            },
            _ => "does not name its cell; give tokens and concurrency, or scenario and its class".into(),
        }
    }
}

/// Checks the values of a bar's limits, of which it has at least one; a fault continues the bar's name.
fn check_limits(bar: &Bar) -> Result<(), String> {
    let ratio = bar.latency_p50_ratio_max.or(bar.latency_p99_ratio_max);
    let latency = bar.latency_seconds_p95_max.or(bar.tail_ratio_max).or(ratio);
    if bar.success_rate_min.or(latency).is_none() {
        return Err(
            " sets no limit; give success_rate_min, latency_seconds_p95_max, tail_ratio_max, \
                    latency_p50_ratio_max or latency_p99_ratio_max"
                .into(),
        );
    }
    check_tail_ratio(": tail_ratio_max", bar.tail_ratio_max)?;
    for (key, ratio) in [
        (": latency_p50_ratio_max", bar.latency_p50_ratio_max),
        (": latency_p99_ratio_max", bar.latency_p99_ratio_max),
    ] {
        ratio.map_or(Ok(()), |ratio| check_number(key, ratio, 1e-3, 1e6))?;
    }
    if bar.success_rate_min.is_some_and(|rate| !(rate > 0.0 && rate <= 1.0)) {
        return Err(
            ": success_rate_min is out of range; give a share above 0 and at most 1, such as 0.99"
                .into(),
        );
    }
    if bar.success_rate_min == Some(1.0) {
        return Err(": success_rate_min = 1 cannot be shown by any number of requests; state the \
                    share that may fail: 0.999 allows one in a thousand"
            .into());
    }
    match bar.latency_seconds_p95_max {
        Some(seconds) => check_seconds(": latency_seconds_p95_max", seconds, 1e-6),
        None => Ok(()),
    }
}

/// Checks a limit on p99 / p50, whose least value is 1: a p99 is never below the median.
pub(super) fn check_tail_ratio(key: &str, ratio: Option<f64>) -> Result<(), String> {
    ratio.map_or(Ok(()), |ratio| check_number(key, ratio, 1.0, 1e6))
}

fn check_load(lengths: &Lengths, load: &Load) -> Result<(), String> {
    match lengths {
        Lengths::Fixed(tokens) => check_count("tokens", *tokens, 1, TOKENS_MAX)?,
        Lengths::FromTrace => {}
        Lengths::Mix(parts) => {
            if parts.is_empty() || parts.len() > LEVELS_MAX {
                let found = parts.len();
                return Err(format!("lengths has {found} components; give 1 to {LEVELS_MAX}"));
            }
            parts.iter().try_for_each(check_component)?;
        }
    }
    match *load {
        Load::Closed { concurrency } => check_count("concurrency", concurrency, 1, CONCURRENCY_MAX),
        Load::Open { rate_per_second, arrival, seconds } => {
            check_rate("load.rate_per_second", rate_per_second)?;
            check_seconds("load.seconds", seconds.unwrap_or(1.0), 0.001)?;
            check_arrival(arrival)
        }
        Load::Ramp {
            from_per_second,
            to_per_second,
            seconds,
            arrival,
            latency_seconds_p95_max,
            failure_rate_max,
        } => {
            check_rate("load.from_per_second", from_per_second)?;
            check_rate("load.to_per_second", to_per_second)?;
            check_seconds("load.seconds", seconds, 1.0)?;
            let latency = latency_seconds_p95_max.unwrap_or(1.0);
            check_seconds("load.latency_seconds_p95_max", latency, 1e-6)?;
            check_number("load.failure_rate_max", failure_rate_max, 0.0, 1.0)?;
            check_arrival(arrival)
        }
        Load::Replay { speed, .. } => check_number("load.speed", speed, 1e-3, 1e3),
    }
}

fn check_component(part: &LengthComponent) -> Result<(), String> {
    check_number("weight", part.weight, 1e-9, 1e9)?;
    match &part.lengths {
        LengthDist::Fixed(tokens) => check_count("tokens", *tokens, 1, TOKENS_MAX),
        LengthDist::Documents { max, .. } => check_count("max", *max, 1, TOKENS_MAX),
        &LengthDist::LogNormal { median, sigma, min, max } => {
            check_count("min", min, 1, TOKENS_MAX)?;
            check_count("max", max, min, TOKENS_MAX)?;
            // A median within the ends keeps the number of draws that are thrown away small.
            check_number("median", median, min as f64, max as f64)?;
            check_number("sigma", sigma, 0.0, 4.0)
        }
    }
}

fn check_arrival(arrival: Arrival) -> Result<(), String> {
    match arrival {
        Arrival::Constant | Arrival::Poisson => Ok(()),
        Arrival::Gamma { cv } => check_number("load.arrival.gamma.cv", cv, 0.05, 20.0),
    }
}

fn check_rate(key: &str, value: f64) -> Result<(), String> {
    check_number(key, value, 1e-3, RATE_MAX)
}

pub(crate) fn check_number(key: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value} is out of range; give {least} to {most}"))
}

fn check_levels(key: &str, levels: &[usize], most: usize) -> Result<(), String> {
    if levels.is_empty() || levels.len() > LEVELS_MAX {
        return Err(format!("{key} has {} entries; give 1 to {LEVELS_MAX}", levels.len()));
    }
    for (index, &level) in levels.iter().enumerate() {
        check_count(key, level, 1, most)?;
        if levels[..index].contains(&level) {
            return Err(format!("{key} lists {level} twice; remove one"));
        }
    }
    Ok(())
}

pub(crate) fn check_count(
    key: &str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value} is out of range; give {least} to {most}"))
}

fn check_seconds(key: &str, value: f64, least: f64) -> Result<(), String> {
    check_number(key, value, least, SECONDS_MAX)
}
