//! The guardrails of the config file, `[[guardrail]]`, each also a `--guardrail`.

use serde::Deserialize;

/// One guardrail of the config file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// The name by which requests choose it: the `detector-id` of FMS.
    pub name: String,
    /// The served model that it asks: a classifier, or a token classifier.
    pub model: String,
    /// The labels that count; of a token classifier without `B-` and `I-`. All of its labels if empty.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Smallest score of a label that counts.
    #[serde(default = "default_threshold")]
    pub threshold: f32,
    /// What happens to a text with such a label.
    #[serde(default)]
    pub action: Action,
    /// Whether a text passes that could not be judged. Else its request is refused.
    #[serde(default)]
    pub fail_open: bool,
    /// Whether images and the arguments of tools pass, which no model here reads. Else they are blocked.
    #[serde(default)]
    pub pass_unscanned: bool,
    /// Tokens per window, special ones included; 512 if absent, or the model's longest input if that is less. In longer ones
    /// a sentence counts for less.
    pub window_tokens: Option<usize>,
    /// Tokens that a window shares with the one before; 128 if absent, or a quarter of a shorter window.
    pub window_overlap: Option<usize>,
}

fn default_threshold() -> f32 {
    0.5
}

/// Tokens per window by default.
const WINDOW: usize = 512;

/// Tokens that windows share by default: longer than any entity.
const OVERLAP: usize = 128;

/// What happens to a text with a label that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The request is blocked.
    #[default]
    Block,
    /// The label's name takes the place of what it marks.
    Mask,
}

impl Guardrail {
    /// Returns the tokens of a window, and those that it shares with the one before.
    pub(crate) fn window(&self, limit: usize) -> (usize, usize) {
        let tokens = self.window_tokens.unwrap_or(WINDOW.min(limit));
        (tokens, self.window_overlap.unwrap_or(OVERLAP.min(tokens / 4)))
    }

    /// Returns whether a label counts.
    pub(crate) fn counts(&self, label: &str) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|own| own == label)
    }
}
