//! The cells of a plan: how long their texts are, and when they are sent.
//!
//! A cell of the matrix is one fixed length under one closed loop and is written as these two numbers:
//! `{"tokens": 1024, "concurrency": 50}`. Every other cell is a class of a scenario; a fixed length
//! or a closed loop of it is written with the same two keys. A scenario is one or more classes that run at the same
//! time; the only class of a scenario needs no name. The `...Form` types are those
//! written forms; those of scenarios and cells are in `forms.rs`. How a load becomes requests is in [`crate::load`],
//! how lengths become texts in [`crate::workload`].

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::forms::{CellSpecForm, ScenarioForm};
use crate::format;
use crate::system::Priority;

/// When requests are sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Load {
    /// A closed loop: each client waits for its answer before it sends again.
    Closed {
        /// Number of clients.
        concurrency: usize,
    },
    /// An open loop: requests arrive at a rate, whether or not earlier ones have been answered.
    Open {
        /// Mean arrivals per second.
        rate_per_second: f64,
        /// Distribution of the gaps between arrivals.
        #[serde(default)]
        arrival: Arrival,
        /// Length of the measured phase. Without it the phase ends when the cell has the requests and
        /// batches that [`CellRules`](super::CellRules) require.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// An open loop whose rate rises linearly.
    Ramp {
        /// Rate at the start of the measured phase and during the warm-up.
        from_per_second: f64,
        /// Rate at the end of the measured phase.
        to_per_second: f64,
        /// Length of the measured phase.
        seconds: f64,
        /// Distribution of the gaps between arrivals.
        #[serde(default)]
        arrival: Arrival,
        /// Upper limit on the p95 of latency; the ramp breaks beyond it. The default is three times
        /// the p95 of the ramp's first tenth.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latency_seconds_p95_max: Option<f64>,
        /// Upper limit on the share of failed requests; the ramp breaks beyond it.
        #[serde(default = "default_failure_rate")]
        failure_rate_max: f64,
    },
    /// Arrivals and lengths from a file of `seconds,tokens` lines ([`Trace`](crate::workload::Trace)).
    Replay {
        /// The file. A relative path starts at the plan's folder.
        file: PathBuf,
        /// Factor on the file's speed: 2 sends everything in half the time.
        #[serde(default = "default_factor")]
        speed: f64,
    },
}

/// Distribution of the gaps between the arrivals of an open loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrival {
    /// Equal gaps.
    Constant,
    /// Exponential gaps: arrivals are independent.
    #[default]
    Poisson,
    /// Gamma-distributed gaps: bursts for `cv` above 1, more even than Poisson below 1.
    Gamma {
        /// Coefficient of variation of the gaps: standard deviation over mean; 1 is Poisson.
        cv: f64,
    },
}

/// Tokens per request, special tokens included.
#[derive(Debug, Clone, PartialEq)]
pub enum Lengths {
    /// Every request has this many.
    Fixed(usize),
    /// Drawn for each request: a component by its weight, then a length from the component.
    Mix(Vec<LengthComponent>),
    /// Taken from each line of the replay's file.
    FromTrace,
}

/// One component of a mixture of lengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LengthComponentForm", into = "LengthComponentForm")]
pub struct LengthComponent {
    /// Weight relative to the other components.
    pub weight: f64,
    /// Distribution of the component's lengths.
    pub lengths: LengthDist,
}

/// A distribution of lengths.
#[derive(Debug, Clone, PartialEq)]
pub enum LengthDist {
    /// Always this many tokens.
    Fixed(usize),
    /// Log-normal, truncated at both ends by drawing again.
    LogNormal {
        /// Median before truncation, in tokens.
        median: f64,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
        /// Shortest length, in tokens.
        min: usize,
        /// Longest length, in tokens.
        max: usize,
    },
    /// The token counts of the user's own documents, each equally likely.
    Documents {
        /// A directory of `.txt` files, one document each, or a file with one document per line. A
        /// relative path starts at the plan's folder.
        path: PathBuf,
        /// Length in tokens to which longer documents are counted.
        max: usize,
    },
}

/// One cell: the lengths of its texts, its load, and the terms of its requests. The cells of one scenario are its
/// classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CellSpecForm", into = "CellSpecForm")]
pub struct CellSpec {
    /// The scenario's name; `None` for a cell of the matrix.
    pub scenario: Option<String>,
    /// The class's name, if it has one.
    pub class: Option<String>,
    /// Tokens per request.
    pub lengths: Lengths,
    /// When requests are sent.
    pub load: Load,
    /// The priority that requests state.
    pub priority: Option<Priority>,
    /// Milliseconds from the intended start after which an answer is of no use. Requests state it as their deadline,
    /// and the client gives up then.
    pub timeout_ms: Option<u64>,
}

impl CellSpec {
    /// Creates a cell of the matrix: `tokens` per request, `concurrency` clients.
    pub fn matrix(tokens: usize, concurrency: usize) -> CellSpec {
        CellSpec {
            scenario: None,
            class: None,
            lengths: Lengths::Fixed(tokens),
            load: Load::Closed { concurrency },
            priority: None,
            timeout_ms: None,
        }
    }

    /// Returns true if both are of the same class of the same scenario.
    pub(crate) fn is_named_as(&self, other: &CellSpec) -> bool {
        (&self.scenario, &self.class) == (&other.scenario, &other.class)
    }

    /// Returns [`CellSpec::timeout_ms`] as a duration.
    pub fn deadline(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// Returns the tokens per request if they are all the same.
    pub fn tokens(&self) -> Option<usize> {
        match self.lengths {
            Lengths::Fixed(tokens) => Some(tokens),
            Lengths::Mix(_) | Lengths::FromTrace => None,
        }
    }

    /// Returns the clients of a closed loop.
    pub fn concurrency(&self) -> Option<usize> {
        match self.load {
            Load::Closed { concurrency } => Some(concurrency),
            _ => None,
        }
    }

    /// Returns tokens and clients of a cell of the matrix, or `None` for a scenario.
    pub fn matrix_position(&self) -> Option<(usize, usize)> {
        let position = (self.tokens()?, self.concurrency()?);
        self.scenario.is_none().then_some(position)
    }

    /// Names the cell briefly for charts and sentences: `1K × 50`, or the scenario's name.
    pub(crate) fn name(&self) -> String {
        match self.matrix_position() {
            Some((length, clients)) => format!("{} × {clients}", format::tokens(length)),
            None => self.label(),
        }
    }

    /// Names the cell for people: the scenario's name, `SCENARIO / CLASS`, or `1024 tokens, C=50`.
    pub fn label(&self) -> String {
        match (&self.scenario, &self.class) {
            (Some(name), None) => name.clone(),
            (Some(name), Some(class)) => format!("{name} / {class}"),
            (None, _) => format!("{} tokens, C={}", self.lengths.label(), self.load.label()),
        }
    }
}

impl Lengths {
    /// Describes the lengths: `1024`, or the components of the mixture.
    pub fn label(&self) -> String {
        match self {
            Lengths::Fixed(tokens) => tokens.to_string(),
            Lengths::FromTrace => "as in the file".into(),
            Lengths::Mix(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| part.lengths.label()).collect();
                parts.join(" or ")
            }
        }
    }
}

impl LengthDist {
    fn label(&self) -> String {
        match self {
            LengthDist::Fixed(tokens) => tokens.to_string(),
            LengthDist::LogNormal { median, min, max, .. } => {
                format!("around {median} ({min} to {max})")
            }
            LengthDist::Documents { path, .. } => format!("documents of {}", path.display()),
        }
    }
}

impl Load {
    /// Describes the load: `50` for a closed loop of 50 clients, else its kind and rate.
    pub fn label(&self) -> String {
        match self {
            Load::Closed { concurrency } => concurrency.to_string(),
            Load::Open { rate_per_second, arrival, .. } => {
                format!("{rate_per_second}/s {}", arrival.label())
            }
            Load::Ramp { from_per_second, to_per_second, .. } => {
                format!("ramp {from_per_second} to {to_per_second}/s")
            }
            Load::Replay { file, .. } => format!("replay of {}", file.display()),
        }
    }
}

impl Arrival {
    fn label(self) -> String {
        match self {
            Arrival::Constant => "constant".into(),
            Arrival::Poisson => "Poisson".into(),
            Arrival::Gamma { cv } => format!("gamma, cv {cv}"),
        }
    }
}

/// A `[[scenario]]` of the file: a name, and its classes as `[[scenario.class]]`. The keys of an only class may stand
/// in the scenario itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScenarioForm", into = "ScenarioForm")]
pub struct Scenario {
    /// Name in reports; unique within a plan.
    pub name: String,
    /// Loads that run at the same time; at least one.
    pub classes: Vec<Class>,
}

/// One class of a scenario's traffic: one of `tokens` and `lengths` (neither for a replay), one of `concurrency` and
/// `load`, and the terms of its requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Name in reports and bars, unique within the scenario; `None` for keys that stand in the scenario itself.
    pub name: Option<String>,
    /// Tokens per request.
    pub lengths: Lengths,
    /// When requests are sent.
    pub load: Load,
    /// See [`CellSpec::priority`].
    pub priority: Option<Priority>,
    /// See [`CellSpec::timeout_ms`].
    pub timeout_ms: Option<u64>,
}

impl Scenario {
    /// Creates a scenario of one class without terms.
    pub fn new(name: impl Into<String>, lengths: Lengths, load: Load) -> Scenario {
        let class = Class { name: None, lengths, load, priority: None, timeout_ms: None };
        Scenario { name: name.into(), classes: vec![class] }
    }

    /// Returns a cell per class.
    pub fn cells(&self) -> Vec<CellSpec> {
        let cell = |class: &Class| CellSpec {
            scenario: Some(self.name.clone()),
            class: class.name.clone(),
            lengths: class.lengths.clone(),
            load: class.load.clone(),
            priority: class.priority,
            timeout_ms: class.timeout_ms,
        };
        self.classes.iter().map(cell).collect()
    }
}

/// The written form of a component: `tokens`, or `median` with `sigma`, `min` and `max`, or
/// `documents` with `max`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LengthComponentForm {
    #[serde(default = "default_factor")]
    weight: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sigma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<PathBuf>,
}

const NO_KEYS: LengthComponentForm = LengthComponentForm {
    weight: 1.0,
    tokens: None,
    median: None,
    sigma: None,
    min: None,
    max: None,
    documents: None,
};

impl TryFrom<LengthComponentForm> for LengthComponent {
    type Error = String;

    fn try_from(form: LengthComponentForm) -> Result<LengthComponent, String> {
        let weight = form.weight;
        let lengths = match form {
            LengthComponentForm {
                tokens: Some(tokens),
                median: None,
                sigma: None,
                min: None,
                max: None,
                documents: None,
                ..
            } => LengthDist::Fixed(tokens),
            LengthComponentForm {
                tokens: None,
                median: Some(median),
                sigma: Some(sigma),
                min: Some(min),
                max: Some(max),
                documents: None,
                ..
            } => LengthDist::LogNormal { median, sigma, min, max },
            LengthComponentForm {
                tokens: None,
                median: None,
                sigma: None,
                min: None,
                max: Some(max),
                documents: Some(path),
                ..
            } => LengthDist::Documents { path, max },
            _ => {
                return Err(
                    "a component of lengths has either tokens, or median, sigma, min and max, \
                            or documents and max"
                        .into(),
                );
            }
        };
        Ok(LengthComponent { weight, lengths })
    }
}

impl From<LengthComponent> for LengthComponentForm {
    fn from(part: LengthComponent) -> LengthComponentForm {
        let weight = part.weight;
        match part.lengths {
            LengthDist::Fixed(tokens) => {
                LengthComponentForm { weight, tokens: Some(tokens), ..NO_KEYS }
            }
            LengthDist::LogNormal { median, sigma, min, max } => LengthComponentForm {
                weight,
                median: Some(median),
                sigma: Some(sigma),
                min: Some(min),
                max: Some(max),
                ..NO_KEYS
            },
            LengthDist::Documents { path, max } => {
                LengthComponentForm { weight, documents: Some(path), max: Some(max), ..NO_KEYS }
            }
        }
    }
}

fn default_factor() -> f64 {
    1.0
}

fn default_failure_rate() -> f64 {
    0.01
}
