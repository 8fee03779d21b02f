//! Invalid input ends in exit code 2 and one line on standard error that starts with `bigbatch: ` and names the
//! problem, without a panic or a hang.
//!
//! Each file has tables of such inputs. All cases of a table run before the test fails, and the failure lists
//! every case that broke the rule. `says` is a part of the expected message, so that a case cannot pass by
//! failing for another reason.

mod checkpoint;
mod config;
mod formats;
#[path = "../../crates/validate/tests/mock/mod.rs"]
mod mock;
mod options;
mod outputs;
mod plans;
mod sentence_transformers;
#[path = "../support/mod.rs"]
mod support;
mod targets;
mod texts;
mod tokenizers;
mod weights;

use support::{Bigbatch, RunOutput};

/// Checks cases against the rule, and collects those that break it.
#[derive(Default)]
struct Rule {
    broken: Vec<String>,
}

impl Rule {
    /// Runs a command that must fail with a message that contains `says`.
    fn check(&mut self, what: &str, run: Bigbatch, says: &str) {
        let RunOutput { code, stderr, .. } = run.run();
        let holds = code == Some(2)
            && stderr.starts_with("bigbatch: ")
            && stderr.ends_with('\n')
            && stderr.lines().count() == 1
            && !stderr.contains("panicked")
            && stderr.contains(says);
        if !holds {
            self.broken.push(format!("{what}: expected '{says}', got code {code:?} and: {stderr}"));
        }
    }

    /// Fails the test if a case broke the rule.
    fn assert_held(self) {
        assert!(self.broken.is_empty(), "\n{}", self.broken.join("\n"));
    }
}
