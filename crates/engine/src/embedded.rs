//! Models that are part of the program, so that everything runs with nothing to download.
//!
//! Small ones, trained for this project: what they are for, what they were trained on and how well they do
//! is in the README of each directory of `models/`, whose files these are. `random` is made when it is
//! asked for. The trained models have one tokenizer, held once, and their weights are packed by `build.rs`.

use std::borrow::Cow;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::ZlibDecoder;

use crate::checkpoint::Checkpoint;
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::model::{Init, InitHead, Preset};
use crate::task::TaskKind;

/// A model that is part of the program.
pub struct EmbeddedModel {
    /// What follows `embedded:`.
    pub name: &'static str,
    /// What it can be asked.
    pub tasks: &'static [TaskKind],
    /// What it is, in a line.
    pub about: &'static str,
    /// What it was trained on, and under which licences that is.
    pub data: &'static str,
    files: Option<Files>,
}

/// The files of `models/NAME`, but for the tokenizer.
struct Files {
    config: &'static [u8],
    /// Unpacked when they are first asked for.
    weights: LazyLock<Vec<u8>>,
}

macro_rules! files {
    ($name:literal) => {
        Some(Files {
            config: include_bytes!(concat!("../../../models/", $name, "/config.json")),
            weights: LazyLock::new(|| {
                unpacked(include_bytes!(concat!(env!("OUT_DIR"), "/", $name)))
            }),
        })
    };
}

/// All of them. A `static`: a `const` has its bytes in every crate that names it.
pub static MODELS: [EmbeddedModel; 5] = [
    EmbeddedModel {
        name: "jailbreak",
        tasks: &[TaskKind::Classify],
        about: "is a text a prompt injection, or does it hold one",
        data: "s-labs (MIT), neuralchemy (Apache-2.0), CLINC150 (CC BY 3.0)",
        files: files!("jailbreak"),
    },
    EmbeddedModel {
        name: "intent",
        tasks: &[TaskKind::Classify],
        about: "what a short request wants: 150 intents of ten domains, or none of them",
        data: "CLINC150 (CC BY 3.0), s-labs (MIT)",
        files: files!("intent"),
    },
    EmbeddedModel {
        name: "pii",
        tasks: &[TaskKind::Tag],
        about: "names, addresses, numbers and other personal data in a text",
        data: "made-up documents: templates and a grammar of ours, Faker (MIT), sentences of all sets",
        files: files!("pii"),
    },
    EmbeddedModel {
        name: "embed",
        tasks: &[TaskKind::Embed, TaskKind::FillMask],
        about: "vectors of sentences, near where the requests are alike; tokens for masked places",
        data: "CLINC150 (CC BY 3.0)",
        files: files!("embed"),
    },
    EmbeddedModel {
        name: "random",
        tasks: &[TaskKind::Classify, TaskKind::Tag, TaskKind::Embed, TaskKind::FillMask],
        about: "random weights: shows that everything runs, answers nothing",
        data: "none",
        files: None,
    },
];

static TRAINED_TOKENIZER: &[u8] = include_bytes!("../../../models/jailbreak/tokenizer.json");
static TRAINED_TOKENIZER_CONFIG: &[u8] =
    include_bytes!("../../../models/jailbreak/tokenizer_config.json");
static TOKENIZER: &[u8] = include_bytes!("../../../models/random/tokenizer.json");
static TOKENIZER_CONFIG: &[u8] = include_bytes!("../../../models/random/tokenizer_config.json");

/// The tokenizer that `model init` writes: `tokenizer.json` and `tokenizer_config.json`.
pub fn tokenizer_files() -> (&'static [u8], &'static [u8]) {
    (TOKENIZER, TOKENIZER_CONFIG)
}

/// What `embedded` alone means where this is asked.
pub fn default_name(task: TaskKind) -> &'static str {
    match task {
        TaskKind::Classify => "jailbreak",
        TaskKind::Tag => "pii",
        TaskKind::Embed | TaskKind::FillMask => "embed",
    }
}

/// Opens an embedded model. `task` chooses the head of `random`; the others have the one they were
/// trained with.
///
/// # Errors
/// [`LoadError::Source`] naming those that exist.
pub fn checkpoint(name: &str, task: TaskKind) -> Result<Checkpoint, LoadError> {
    let Some(model) = MODELS.iter().find(|model| model.name == name) else {
        let known: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
        return Err(LoadError::Source {
            given: format!("embedded:{name}"),
            reason: format!("embedded models are: {}", known.join(", ")),
        });
    };
    match &model.files {
        None => random(task),
        Some(Files { config, weights }) => {
            let files = [
                ("config.json", *config),
                ("model.safetensors", weights),
                ("tokenizer.json", TRAINED_TOKENIZER),
                ("tokenizer_config.json", TRAINED_TOKENIZER_CONFIG),
            ];
            let held = files.map(|(file, bytes)| (file.to_string(), Cow::Borrowed(bytes)));
            Ok(Checkpoint::memory(format!("embedded:{name}"), held.into()))
        }
    }
}

/// The way back of `build.rs`.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut apart = Vec::new();
    ZlibDecoder::new(packed).read_to_end(&mut apart).expect("build.rs packed it");
    let (even, odd) = apart.split_at(apart.len().div_ceil(2));
    (0..apart.len()).map(|i| if i % 2 == 0 { even[i / 2] } else { odd[i / 2] }).collect()
}

fn random(task: TaskKind) -> Result<Checkpoint, LoadError> {
    let labels = |names: &[&str]| names.iter().map(|&n| n.to_string()).collect();
    let head = match task {
        TaskKind::Embed | TaskKind::FillMask => InitHead::MaskedLm,
        TaskKind::Classify => InitHead::Sequence(labels(&["LABEL_0", "LABEL_1", "LABEL_2"])),
        TaskKind::Tag => InitHead::Token(labels(&["O", "B-RANDOM", "I-RANDOM"])),
    };
    let init = Init { preset: Preset::named("random")?, head, seed: 0, dtype: Dtype::F32 };
    init.checkpoint("embedded:random", Cow::Borrowed(TOKENIZER), Cow::Borrowed(TOKENIZER_CONFIG))
}
