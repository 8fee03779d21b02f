//! The bars of a plan: the limits on single cells, `[[bar]]` in the file. Limits over the whole run are in
//! `overall.rs`; both are judged in [`crate::verdict`].

use serde::{Deserialize, Serialize};

/// The limits on one cell, which is named by `tokens` and `concurrency`, or by `scenario` and, if it has classes,
/// `class`. A valid bar has at least one limit. `[[bar]]` in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bar {
    /// Length of a cell of the matrix, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Clients of a cell of the matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Name of the scenario, for cells outside the matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// Name of the class, for a scenario that has classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Name of the scenario that the limits on ratios compare with: its only class, or the class of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// Lower limit on the share of requests that succeed, above 0 and below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_rate_min: Option<f64>,
    /// Upper limit on the p95 of latency over successful requests, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds_p95_max: Option<f64>,
    /// Upper limit on p99 / p50 of latency over successful requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_ratio_max: Option<f64>,
    /// Upper limit on the median of latency over that of the baseline, over successful requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p50_ratio_max: Option<f64>,
    /// Upper limit on the p99 of latency over that of the baseline, over successful requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_p99_ratio_max: Option<f64>,
}

impl Bar {
    /// Creates a bar without limits on a cell of the matrix.
    pub fn on(tokens: usize, concurrency: usize) -> Bar {
        Bar { tokens: Some(tokens), concurrency: Some(concurrency), ..Bar::default() }
    }

    /// Creates a bar without limits on a scenario.
    pub fn on_scenario(name: impl Into<String>) -> Bar {
        Bar { scenario: Some(name.into()), ..Bar::default() }
    }

    /// Creates a bar without limits on a class of a scenario.
    pub fn on_class(scenario: impl Into<String>, class: impl Into<String>) -> Bar {
        Bar { class: Some(class.into()), ..Bar::on_scenario(scenario) }
    }

    /// Names the cell in errors: `128 tokens, concurrency 1`.
    pub(super) fn label(&self) -> String {
        let tokens = self.tokens.map(|tokens| format!("{tokens} tokens"));
        let clients = self.concurrency.map(|clients| format!("concurrency {clients}"));
        let scenario = self.scenario.as_ref().map(|name| format!("scenario {name:?}"));
        let class = self.class.as_ref().map(|name| format!("class {name:?}"));
        [tokens, clients, scenario, class].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
