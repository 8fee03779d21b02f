//! The plan's `[edge]` table: the normal load and the bounds of the search for edges ([`crate::run::edge`]).

use serde::{Deserialize, Serialize};

use super::check::{CONCURRENCY_MAX, TOKENS_MAX, check_count, check_number};

/// The normal load of the search for edges, and its bounds. Every key is optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeRules {
    /// Tokens per request of the normal load.
    pub tokens: usize,
    /// Requests of the normal load, sent one after another before and after each axis.
    pub requests: usize,
    /// Most requests sent at once.
    pub concurrency_max: usize,
    /// Longest request, in tokens.
    pub tokens_max: usize,
    /// Time after which a request counts as a timeout.
    pub request_timeout_seconds: f64,
    /// Time from the start of the search after which no probe starts.
    pub time_limit_seconds: f64,
    /// Largest difference of an edge from its prediction that still agrees, as a share of the prediction.
    pub tolerance: f64,
    /// Largest ratio of latency after an axis to latency before it that counts as recovered.
    pub ratio_normal_max: f64,
    /// Longest time after an axis in which rounds of the normal load are sent until one is normal.
    pub recovery_seconds: f64,
}

impl Default for EdgeRules {
    fn default() -> Self {
        EdgeRules {
            tokens: 256,
            requests: 30,
            concurrency_max: 2048,
            tokens_max: 65_536,
            request_timeout_seconds: 120.0,
            time_limit_seconds: 600.0,
            tolerance: 0.05,
            ratio_normal_max: 1.25,
            recovery_seconds: 10.0,
        }
    }
}

impl EdgeRules {
    /// Checks every value; the error names the key, its value and the accepted range.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (key, value, most) in [
            ("edge.tokens", self.tokens, self.tokens_max),
            ("edge.tokens_max", self.tokens_max, TOKENS_MAX),
            ("edge.requests", self.requests, 10_000),
            ("edge.concurrency_max", self.concurrency_max, CONCURRENCY_MAX),
        ] {
            check_count(key, value, 1, most)?;
        }
        for (key, value, least, most) in [
            ("edge.request_timeout_seconds", self.request_timeout_seconds, 0.001, 86_400.0),
            ("edge.time_limit_seconds", self.time_limit_seconds, 0.001, 86_400.0),
            ("edge.tolerance", self.tolerance, 0.0, 1.0),
            ("edge.ratio_normal_max", self.ratio_normal_max, 1.0, 100.0),
            ("edge.recovery_seconds", self.recovery_seconds, 0.0, 86_400.0),
        ] {
            check_number(key, value, least, most)?;
        }
        Ok(())
    }
}
