//! The `[edge]` table of a plan: how far the search for edges goes.

use serde::{Deserialize, Serialize};

use super::check::{CONCURRENCY_MAX, TOKENS_MAX, check_count, check_number};

/// How far to go. A plan's `[edge]` table; every key is optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeRules {
    /// Tokens of a request of the normal load.
    pub tokens: usize,
    /// Requests of the normal load, one after another, before and after each axis.
    pub requests: usize,
    /// No more requests at once than this.
    pub concurrency_max: usize,
    /// No longer request than this, in tokens.
    pub tokens_max: usize,
    /// When a request is given up.
    pub request_timeout_seconds: f64,
    /// No probe starts later than this after the search began.
    pub time_limit_seconds: f64,
    /// How far an edge may be from its prediction, as a share of it.
    pub tolerance: f64,
    /// Latency up to this many times the one before is normal.
    pub ratio_normal_max: f64,
    /// How long rounds of the normal load go on after an axis, until one is normal.
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
    /// Checks every value; the error says which is wrong and what would be right.
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
