//! The rule for input that cannot be used: exit code 2, one line on standard error that begins with
//! `bigbatch: ` and says what is wrong, no panic, no hanging.
//!
//! Each file holds tables of such inputs; all cases of a table run before it fails, and every one is
//! named. `says` is a piece of the message, so that a case cannot pass by failing for another reason.

mod checkpoint;
mod config;
#[path = "../../crates/validate/tests/mock/mod.rs"]
mod mock;
mod options;
mod outputs;
mod plans;
#[path = "../support/mod.rs"]
mod support;
mod targets;
mod texts;
mod weights;

use support::{Bigbatch, Done};

/// Collects the cases that break the rule.
#[derive(Default)]
struct Rule {
    broken: Vec<String>,
}

impl Rule {
    fn check(&mut self, what: &str, run: Bigbatch, says: &str) {
        let Done { code, stderr, .. } = run.run();
        let kept = code == Some(2)
            && stderr.starts_with("bigbatch: ")
            && stderr.ends_with('\n')
            && stderr.lines().count() == 1
            && !stderr.contains("panicked")
            && stderr.contains(says);
        if !kept {
            self.broken.push(format!("{what}: wanted '{says}', got code {code:?} and: {stderr}"));
        }
    }

    fn holds(self) {
        assert!(self.broken.is_empty(), "\n{}", self.broken.join("\n"));
    }
}
