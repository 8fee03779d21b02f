//! Models that are linked into a program, so that it runs with nothing to download.
//!
//! They are small and were trained for this project as demonstrations. The directories beside `src/` hold
//! their files; the README in each says what the model is for, what it was trained on and how well it does.
//! `random` has no weights in the repository: they are drawn when it is opened.
//!
//! This crate runs nothing: it makes [`Checkpoint`]s for `bigbatch-engine`, which does not depend on it. A
//! program that opens whatever its user names calls [`resolve`]; `python/train/README.md` trains the models
//! again.
//!
//! ```
//! use bigbatch_engine::{HubOptions, TaskKind};
//!
//! let hub = HubOptions::default();
//! let checkpoint = bigbatch_models::resolve("embedded:pii", TaskKind::Tag, &hub)?;
//! assert_eq!(checkpoint.name(), "embedded:pii");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;
use std::io::Read;
use std::sync::LazyLock;

use bigbatch_engine::{Checkpoint, Dtype, HubOptions, Init, InitHead, LoadError, Preset, TaskKind};
use flate2::read::ZlibDecoder;

/// One model of this crate, as `bigbatch model list` describes it.
pub struct EmbeddedModel {
    /// The NAME of `embedded:NAME`.
    pub name: &'static str,
    /// The tasks it answers; the first is the one it was trained for.
    pub tasks: &'static [TaskKind],
    /// One line for a list.
    pub about: &'static str,
    /// Training sets and their licences.
    pub data: &'static str,
    files: Option<Files>,
}

/// The files that a trained model does not share with the others.
struct Files {
    config: &'static [u8],
    /// Decompressed at the first use.
    weights: LazyLock<Vec<u8>>,
}

macro_rules! files {
    ($name:literal) => {
        Some(Files {
            config: include_bytes!(concat!("../", $name, "/config.json")),
            weights: LazyLock::new(|| {
                join_halves(&inflate(include_bytes!(concat!(env!("OUT_DIR"), "/", $name))))
            }),
        })
    };
}

/// All models. A `static`, because a `const` would copy the weights into every crate that names it.
pub static MODELS: [EmbeddedModel; 6] = [
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
        data: "generated documents: our templates and grammar, Faker (MIT), sentences of all sets",
        files: files!("pii"),
    },
    EmbeddedModel {
        name: "embed",
        tasks: &[TaskKind::Embed, TaskKind::FillMask],
        about: "vectors of sentences, close where the requests are alike; tokens for masked positions",
        data: "CLINC150 (CC BY 3.0), WordNet, documentation, our sentences and facts",
        files: files!("embed"),
    },
    EmbeddedModel {
        name: "rerank",
        tasks: &[TaskKind::Classify],
        about: "how well does a passage answer a query: one score per pair",
        data: "titles and passages of documentation, WordNet, CLINC150 (CC BY 3.0), our sentences",
        files: files!("rerank"),
    },
    EmbeddedModel {
        name: "random",
        tasks: &[TaskKind::Classify, TaskKind::Tag, TaskKind::Embed, TaskKind::FillMask],
        about: "random weights: shows that everything runs; its answers mean nothing",
        data: "none",
        files: None,
    },
];

/// The tokenizer of every trained model, so it is linked once.
static TRAINED_TOKENIZER: LazyLock<Vec<u8>> =
    LazyLock::new(|| inflate(include_bytes!(concat!(env!("OUT_DIR"), "/tokenizer-trained"))));
static TRAINED_TOKENIZER_CONFIG: &[u8] = include_bytes!("../jailbreak/tokenizer_config.json");
static RANDOM_TOKENIZER: LazyLock<Vec<u8>> =
    LazyLock::new(|| inflate(include_bytes!(concat!(env!("OUT_DIR"), "/tokenizer-random"))));
static RANDOM_TOKENIZER_CONFIG: &[u8] = include_bytes!("../random/tokenizer_config.json");

/// Resolves SOURCE as the command line does: `embedded[:NAME]`, else a directory or a Hub id as
/// [`Checkpoint::resolve`] reads them.
///
/// `task` chooses the model of `embedded` without a name, and the head of `embedded:random`.
///
/// # Errors
/// As [`checkpoint`] and [`Checkpoint::resolve`]; a source of no known form is a [`LoadError::Source`] that
/// names all forms.
pub fn resolve(source: &str, task: TaskKind, hub: &HubOptions) -> Result<Checkpoint, LoadError> {
    match embedded_name(source, task) {
        Some(_) if hub.revision.is_some() => Err(LoadError::Source {
            given: source.into(),
            reason: "an embedded model has no revisions; remove --revision, or REVISION from the environment".into(),
        }),
        Some(name) => checkpoint(name, task),
        None => Checkpoint::resolve(source, hub).map_err(with_embedded),
    }
}

/// Resolves SOURCE as [`resolve`] does, for its tokenizer alone: only tokenizer files are fetched from the
/// Hub, and a directory needs no weights.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_tokenizer(source: &str) -> Result<Checkpoint, LoadError> {
    // All trained models share one tokenizer, so any task will do.
    match embedded_name(source, TaskKind::Embed) {
        Some(name) => checkpoint(name, TaskKind::Embed),
        None => {
            let hub = HubOptions::default();
            Checkpoint::resolve_tokenizer(source, &hub).map_err(with_embedded)
        }
    }
}

/// Returns NAME of `embedded:NAME` or the default model of `embedded`; `None` for any other source.
fn embedded_name(source: &str, task: TaskKind) -> Option<&str> {
    match source.strip_prefix("embedded")? {
        "" => Some(match task {
            TaskKind::Classify => "jailbreak",
            TaskKind::Tag => "pii",
            TaskKind::Embed | TaskKind::FillMask => "embed",
        }),
        rest => rest.strip_prefix(':').filter(|name| !name.is_empty()),
    }
}

/// Adds `embedded[:NAME]` to the forms of a source that the engine knows, and the likely slip.
fn with_embedded(error: LoadError) -> LoadError {
    let LoadError::UnknownSource { given } = error else { return error };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let name = given.split('@').next().unwrap_or_default();
    let hint = if MODELS.iter().any(|model| model.name == name) {
        format!("; did you mean embedded:{name}?")
    } else if !given.is_empty() && !given.starts_with('.') && given.chars().all(plain) {
        format!(
            "; a model of the Hub needs its owner, https://huggingface.co/models?search={name} shows who that is"
        )
    } else {
        String::new()
    };
    let reason = format!(
        "there is no such directory, and it is neither a Hub id (OWNER/NAME or OWNER/NAME@REVISION) nor \
         embedded[:NAME]{hint}"
    );
    LoadError::Source { given, reason }
}

/// Returns the `tokenizer.json` and `tokenizer_config.json` that `model init` writes by default: those of
/// `random`.
pub fn tokenizer_files() -> (&'static [u8], &'static [u8]) {
    (&RANDOM_TOKENIZER, RANDOM_TOKENIZER_CONFIG)
}

/// Opens the model called `name`.
///
/// `task` chooses the head of `random`; a trained model has the head it was trained with.
///
/// # Errors
/// [`LoadError::Source`] listing the names, if there is no such model.
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
                ("tokenizer.json", &TRAINED_TOKENIZER),
                ("tokenizer_config.json", TRAINED_TOKENIZER_CONFIG),
            ];
            let held = files.map(|(file, bytes)| (file.to_string(), Cow::Borrowed(bytes)));
            Ok(Checkpoint::memory(format!("embedded:{name}"), held.into()))
        }
    }
}

/// Reverses the compression of `build.rs`.
fn inflate(compressed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(compressed).read_to_end(&mut bytes).expect("build.rs compressed it");
    bytes
}

/// Reverses the order of bytes that `build.rs` gives to weights.
fn join_halves(halves: &[u8]) -> Vec<u8> {
    let (even, odd) = halves.split_at(halves.len().div_ceil(2));
    (0..halves.len()).map(|i| if i % 2 == 0 { even[i / 2] } else { odd[i / 2] }).collect()
}

fn random(task: TaskKind) -> Result<Checkpoint, LoadError> {
    let labels = |names: &[&str]| names.iter().map(|&n| n.to_string()).collect();
    let head = match task {
        TaskKind::Embed | TaskKind::FillMask => InitHead::MaskedLm,
        TaskKind::Classify => InitHead::Sequence(labels(&["LABEL_0", "LABEL_1", "LABEL_2"])),
        TaskKind::Tag => InitHead::Token(labels(&["O", "B-RANDOM", "I-RANDOM"])),
    };
    let init = Init { preset: Preset::named("random")?, head, seed: 0, dtype: Dtype::F32 };
    let (tokenizer, tokenizer_config) = tokenizer_files();
    init.checkpoint("embedded:random", Cow::Borrowed(tokenizer), Cow::Borrowed(tokenizer_config))
}
