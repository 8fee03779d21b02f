//! Models that are part of the program, so that everything runs with nothing to download.

use std::borrow::Cow;

use crate::backend::Dtype;
use crate::error::LoadError;
use crate::model::{Checkpoint, Init, InitHead, Preset};
use crate::task::TaskKind;

/// What `embedded` alone means.
pub const DEFAULT: &str = "random";

/// Names and what they are, for `model list`.
pub const MODELS: [(&str, &str); 1] = [(
    "random",
    "random weights, any task, 32768 tokens: shows that everything runs, answers nothing",
)];

const TOKENIZER: &[u8] = include_bytes!("../../../models/random/tokenizer.json");
const TOKENIZER_CONFIG: &[u8] = include_bytes!("../../../models/random/tokenizer_config.json");

/// The tokenizer that `model init` writes: `tokenizer.json` and `tokenizer_config.json`.
pub fn tokenizer_files() -> (&'static [u8], &'static [u8]) {
    (TOKENIZER, TOKENIZER_CONFIG)
}

/// Opens an embedded model with the head that a task needs.
///
/// # Errors
/// [`LoadError::Source`] naming those that exist.
pub fn checkpoint(name: &str, task: TaskKind) -> Result<Checkpoint, LoadError> {
    if name != "random" {
        let known: Vec<&str> = MODELS.iter().map(|(name, _)| *name).collect();
        return Err(LoadError::Source {
            given: format!("embedded:{name}"),
            reason: format!("embedded models are: {}", known.join(", ")),
        });
    }
    let labels = |names: &[&str]| names.iter().map(|&n| n.to_string()).collect();
    let head = match task {
        TaskKind::Embed | TaskKind::FillMask => InitHead::MaskedLm,
        TaskKind::Classify => InitHead::Sequence(labels(&["LABEL_0", "LABEL_1", "LABEL_2"])),
        TaskKind::Tag => InitHead::Token(labels(&["O", "B-RANDOM", "I-RANDOM"])),
    };
    let init = Init { preset: Preset::named("random")?, head, seed: 0, dtype: Dtype::F32 };
    init.checkpoint("embedded:random", Cow::Borrowed(TOKENIZER), Cow::Borrowed(TOKENIZER_CONFIG))
}
