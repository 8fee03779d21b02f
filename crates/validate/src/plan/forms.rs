//! The written forms of scenarios and cells: the keys of a plan's file and of `results.json`.
//!
//! A class is written as `[[scenario.class]]` if it has a name, else with its keys in its scenario. Which values these
//! keys may have is in `check.rs`.

use serde::{Deserialize, Serialize};

use super::scenario::{CellSpec, Class, LengthComponent, Lengths, Load, Scenario};
use crate::system::Priority;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioForm {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lengths: Option<Vec<LengthComponent>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, rename = "class", skip_serializing_if = "Vec::is_empty")]
    classes: Vec<ClassForm>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassForm {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lengths: Option<Vec<LengthComponent>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

/// The written form of a cell. It may be flattened into a larger table, so unknown keys are accepted.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CellSpecForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lengths: Option<Vec<LengthComponent>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    load: Option<Load>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

/// Reads lengths and load from the four keys of a plan or a report.
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
        _ if replay => {
            return Err(
                "a replay takes its lengths from its file; remove tokens and lengths".into()
            );
        }
        (Some(tokens), None) => Lengths::Fixed(tokens),
        (None, Some(parts)) => Lengths::Mix(parts),
        _ => return Err("give one of tokens (a fixed length) and lengths (a mixture)".into()),
    };
    Ok((lengths, load))
}

/// The keys `tokens`, `lengths`, `concurrency` and `load`.
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

impl TryFrom<ClassForm> for Class {
    type Error = String;

    fn try_from(form: ClassForm) -> Result<Class, String> {
        let ClassForm { name, tokens, lengths, concurrency, load, priority, timeout_ms } = form;
        let (lengths, load) = lengths_and_load(tokens, lengths, concurrency, load)
            .map_err(|fault| format!("class {name:?}: {fault}"))?;
        Ok(Class { name: Some(name), lengths, load, priority, timeout_ms })
    }
}

impl TryFrom<ScenarioForm> for Scenario {
    type Error = String;

    fn try_from(form: ScenarioForm) -> Result<Scenario, String> {
        let ScenarioForm {
            name,
            tokens,
            lengths,
            concurrency,
            load,
            priority,
            timeout_ms,
            classes,
        } = form;
        let own_keys = tokens.is_some() || lengths.is_some() || concurrency.is_some();
        let own_keys = own_keys || load.is_some() || priority.is_some() || timeout_ms.is_some();
        let classes = match (classes.is_empty(), own_keys) {
            (true, _) => {
                lengths_and_load(tokens, lengths, concurrency, load).map(|(lengths, load)| {
                    vec![Class { name: None, lengths, load, priority, timeout_ms }]
                })
            }
            (false, false) => classes.into_iter().map(Class::try_from).collect(),
            (false, true) => Err(
                "it has classes and a load of its own; move tokens, lengths, concurrency, load, \
                                  priority and timeout_ms into a [[scenario.class]]"
                    .into(),
            ),
        };
        let classes = classes.map_err(|fault: String| format!("scenario {name:?}: {fault}"))?;
        Ok(Scenario { name, classes })
    }
}

impl From<Class> for ClassForm {
    fn from(class: Class) -> ClassForm {
        let (tokens, lengths, concurrency, load) = split_keys(class.lengths, class.load);
        ClassForm {
            name: class.name.unwrap_or_default(),
            tokens,
            lengths,
            concurrency,
            load,
            priority: class.priority,
            timeout_ms: class.timeout_ms,
        }
    }
}

impl From<Scenario> for ScenarioForm {
    fn from(scenario: Scenario) -> ScenarioForm {
        let mut form = ScenarioForm {
            name: scenario.name,
            tokens: None,
            lengths: None,
            concurrency: None,
            load: None,
            priority: None,
            timeout_ms: None,
            classes: Vec::new(),
        };
        for class in scenario.classes {
            if class.name.is_some() {
                form.classes.push(class.into());
                continue;
            }
            (form.priority, form.timeout_ms) = (class.priority, class.timeout_ms);
            (form.tokens, form.lengths, form.concurrency, form.load) =
                split_keys(class.lengths, class.load);
        }
        form
    }
}

impl TryFrom<CellSpecForm> for CellSpec {
    type Error = String;

    fn try_from(form: CellSpecForm) -> Result<CellSpec, String> {
        let CellSpecForm { scenario, class, priority, timeout_ms, .. } = form;
        let (lengths, load) =
            lengths_and_load(form.tokens, form.lengths, form.concurrency, form.load)?;
        Ok(CellSpec { scenario, class, lengths, load, priority, timeout_ms })
    }
}

impl From<CellSpec> for CellSpecForm {
    fn from(spec: CellSpec) -> CellSpecForm {
        let CellSpec { scenario, class, lengths, load, priority, timeout_ms } = spec;
        let (tokens, lengths, concurrency, load) = split_keys(lengths, load);
        CellSpecForm { scenario, class, tokens, lengths, concurrency, load, priority, timeout_ms }
    }
}
