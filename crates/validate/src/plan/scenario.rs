//! What one cell puts on the target: how long its texts are, and when they are sent.
//!
//! A cell of the matrix is one fixed length under one closed loop, and that is all its written form
//! says: `{"tokens": 1024, "concurrency": 50}`. Every other cell is a scenario with a name; where
//! its length is fixed or its loop closed it still says so with the same two keys.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::format;

/// When requests are sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Load {
    /// Clients that each wait for their answer before they send again.
    Closed {
        /// How many.
        concurrency: usize,
    },
    /// Requests arrive at a rate, whether or not earlier ones have been answered.
    Open {
        /// Mean arrivals in a second.
        rate_per_second: f64,
        /// How they are spread.
        #[serde(default)]
        arrival: Arrival,
        /// How long the measured phase lasts; without it, until the cell has the requests and
        /// batches that the plan asks of every cell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// An open loop whose rate rises linearly.
    Ramp {
        /// Rate at the start of the measured phase, and throughout the warm-up.
        from_per_second: f64,
        /// Rate at its end.
        to_per_second: f64,
        /// How long it takes.
        seconds: f64,
        /// How arrivals are spread around the rate.
        #[serde(default)]
        arrival: Arrival,
        /// A p95 of latency beyond this counts as broken; without it, three times the p95 of the
        /// ramp's first tenth.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latency_seconds_p95_max: Option<f64>,
        /// A share of failed requests beyond this counts as broken.
        #[serde(default = "one_percent")]
        failure_rate_max: f64,
    },
    /// Arrivals and lengths from a file of `seconds,tokens` lines.
    Replay {
        /// The file; a relative path starts at the plan's folder.
        file: PathBuf,
        /// 2 sends everything in half the time.
        #[serde(default = "one")]
        speed: f64,
    },
}

/// How the arrivals of an open loop are spread around its rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrival {
    /// Evenly.
    Constant,
    /// Independently of each other: exponential gaps.
    #[default]
    Poisson,
    /// In bursts (`cv` above 1) or more evenly than chance (below 1): gamma-distributed gaps.
    Gamma {
        /// Standard deviation of a gap over its mean; 1 is Poisson.
        cv: f64,
    },
}

/// How many tokens requests have, special tokens included.
#[derive(Debug, Clone, PartialEq)]
pub enum Lengths {
    /// All the same.
    Fixed(usize),
    /// Drawn anew for each request: one of these by weight, then a length from it.
    Mix(Vec<LengthComponent>),
    /// Each line of the load's own file says.
    FromTrace,
}

/// One part of a mixture of lengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LengthComponentForm", into = "LengthComponentForm")]
pub struct LengthComponent {
    /// How often it is drawn, relative to the others.
    pub weight: f64,
    /// What is drawn from it.
    pub lengths: LengthDist,
}

/// A distribution of lengths.
#[derive(Debug, Clone, PartialEq)]
pub enum LengthDist {
    /// Always this many tokens.
    Fixed(usize),
    /// Log-normal, cut off at both ends by drawing again.
    LogNormal {
        /// Median of the uncut distribution, in tokens.
        median: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Shortest.
        min: usize,
        /// Longest.
        max: usize,
    },
    /// The token counts of a person's own documents, each as likely as another.
    Documents {
        /// A directory of `.txt` files, a document each, or a file with a document a line; a
        /// relative path starts at the plan's folder.
        path: PathBuf,
        /// Longer documents count as this long.
        max: usize,
    },
}

/// What one cell puts on the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CellSpecForm", into = "CellSpecForm")]
pub struct CellSpec {
    /// The scenario's name; none for a cell of the matrix.
    pub scenario: Option<String>,
    /// How long its texts are.
    pub lengths: Lengths,
    /// When they are sent.
    pub load: Load,
}

impl CellSpec {
    /// A cell of the matrix.
    pub fn matrix(tokens: usize, concurrency: usize) -> CellSpec {
        CellSpec {
            scenario: None,
            lengths: Lengths::Fixed(tokens),
            load: Load::Closed { concurrency },
        }
    }

    /// Tokens of each request, where they are all the same.
    pub fn tokens(&self) -> Option<usize> {
        match self.lengths {
            Lengths::Fixed(tokens) => Some(tokens),
            Lengths::Mix(_) | Lengths::FromTrace => None,
        }
    }

    /// Clients, in a closed loop.
    pub fn concurrency(&self) -> Option<usize> {
        match self.load {
            Load::Closed { concurrency } => Some(concurrency),
            _ => None,
        }
    }

    /// Length and clients of a cell of the matrix; none for a scenario.
    pub fn matrix_position(&self) -> Option<(usize, usize)> {
        let matrix_position = (self.tokens()?, self.concurrency()?);
        self.scenario.is_none().then_some(matrix_position)
    }

    /// A short name for charts and sentences: length × clients, or the scenario's name.
    pub(crate) fn name(&self) -> String {
        match self.matrix_position() {
            Some((length, clients)) => format!("{} × {clients}", format::tokens(length)),
            None => self.label(),
        }
    }

    /// What a person calls it: the scenario's name, or length and clients.
    pub fn label(&self) -> String {
        match &self.scenario {
            Some(name) => name.clone(),
            None => format!("{} tokens, C={}", self.lengths.label(), self.load.label()),
        }
    }
}

impl Lengths {
    /// In a few words: `1024`, or what the mixture is.
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
    /// In a few words: `50` for a closed loop of 50 clients, else the kind and its rate.
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

/// `[[scenario]]` in a plan: a name, one of `tokens` and `lengths` (neither for a replay), and one
/// of `concurrency` and `load`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScenarioForm", into = "ScenarioForm")]
pub struct Scenario {
    /// What the report calls it; different for each scenario of a plan.
    pub name: String,
    /// How long its texts are.
    pub lengths: Lengths,
    /// When they are sent.
    pub load: Load,
}

impl Scenario {
    /// The cell that it makes.
    pub fn cell(&self) -> CellSpec {
        CellSpec {
            scenario: Some(self.name.clone()),
            lengths: self.lengths.clone(),
            load: self.load.clone(),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioForm {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lengths: Option<Vec<LengthComponent>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
}

/// The written form of a cell, of which several keys may stand in a larger table.
#[derive(Clone, Serialize, Deserialize)]
struct CellSpecForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lengths: Option<Vec<LengthComponent>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
}

/// Lengths and load from the keys that a plan or a report gives.
fn lengths_and_load(
    tokens: Option<usize>,
    lengths: Option<Vec<LengthComponent>>,
    concurrency: Option<usize>,
    load: Option<Load>,
) -> Result<(Lengths, Load), String> {
    let load = match (concurrency, load) {
        (Some(concurrency), None) => Load::Closed { concurrency },
        (None, Some(load)) => load,
        _ => return Err("give one of concurrency (a closed loop) and load".into()),
    };
    let replay = matches!(load, Load::Replay { .. });
    let lengths = match (tokens, lengths) {
        (None, None) if replay => Lengths::FromTrace,
        _ if replay => return Err("a replay's file says how long its texts are".into()),
        (Some(tokens), None) => Lengths::Fixed(tokens),
        (None, Some(parts)) => Lengths::Mix(parts),
        _ => return Err("give one of tokens (a fixed length) and lengths (a mixture)".into()),
    };
    Ok((lengths, load))
}

/// The keys for lengths and load.
type LengthLoadKeys = (Option<usize>, Option<Vec<LengthComponent>>, Option<usize>, Option<Load>);

fn split_keys(lengths: Lengths, load: Load) -> LengthLoadKeys {
    let (tokens, parts) = match lengths {
        Lengths::Fixed(tokens) => (Some(tokens), None),
        Lengths::Mix(parts) => (None, Some(parts)),
        Lengths::FromTrace => (None, None),
    };
    match load {
        Load::Closed { concurrency } => (tokens, parts, Some(concurrency), None),
        load => (tokens, parts, None, Some(load)),
    }
}

impl TryFrom<ScenarioForm> for Scenario {
    type Error = String;

    fn try_from(form: ScenarioForm) -> Result<Scenario, String> {
        let (lengths, load) =
            lengths_and_load(form.tokens, form.lengths, form.concurrency, form.load)
                .map_err(|fault| format!("scenario {:?}: {fault}", form.name))?;
        Ok(Scenario { name: form.name, lengths, load })
    }
}

impl From<Scenario> for ScenarioForm {
    fn from(scenario: Scenario) -> ScenarioForm {
        let (tokens, lengths, concurrency, load) = split_keys(scenario.lengths, scenario.load);
        ScenarioForm { name: scenario.name, tokens, lengths, concurrency, load }
    }
}

impl TryFrom<CellSpecForm> for CellSpec {
    type Error = String;

    fn try_from(form: CellSpecForm) -> Result<CellSpec, String> {
        let (lengths, load) =
            lengths_and_load(form.tokens, form.lengths, form.concurrency, form.load)?;
        Ok(CellSpec { scenario: form.scenario, lengths, load })
    }
}

impl From<CellSpec> for CellSpecForm {
    fn from(spec: CellSpec) -> CellSpecForm {
        let (tokens, lengths, concurrency, load) = split_keys(spec.lengths, spec.load);
        CellSpecForm { scenario: spec.scenario, tokens, lengths, concurrency, load }
    }
}

/// One part of a mixture as written: `tokens`, or `median` with `sigma`, `min` and `max`, or
/// `documents`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LengthComponentForm {
    #[serde(default = "one")]
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
                return Err("a part of lengths has either tokens, or median, sigma, min and max, \
                            or documents and max"
                    .into());
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

fn one() -> f64 {
    1.0
}

fn one_percent() -> f64 {
    0.01
}
