//! What sentence-transformers' own files say about a checkpoint, read as release 6 reads them.
//!
//! | file | what |
//! |---|---|
//! | `module_list.rs` | `modules.json`: which modules run, and where their files are |
//! | `transformer.rs` | `sentence_bert_config.json`: the longest input, lower case |
//! | `pooling.rs`, `dense.rs`, `activation.rs` | the modules' `config.json` and weights |
//! | `root_config.rs` | `config_sentence_transformers.json`: prompts, dimensions, similarity, activation of scores |
//! | `embedding.rs` | from pooled rows to vectors |
//!
//! A key that would change an answer is computed or refused with its file. Two differences are meant: without
//! `modules.json`, where sentence-transformers reads none of the other files, those that are there are honoured, as
//! text-embeddings-inference does; and a Pooling module is never guessed.

mod activation;
mod dense;
mod embedding;
mod module_list;
mod pooling;
mod root_config;
mod transformer;

use serde_json::Value;

pub use self::activation::Activation;
pub use self::dense::Dense;
pub use self::embedding::{Embedding, Module, Similarity};
pub(crate) use self::embedding::{mean_without, to_unit_length};
use self::module_list::{FILE, ModuleEntry, ModuleKind, bad};
use self::pooling::PoolingSettings;
use self::root_config::{RootConfig, scoring};
pub(super) use self::transformer::TransformerSettings;
use super::config_file::{ConfigFile, SettingsFiles};
use super::modernbert::{Config, Head, Scoring};
use super::prompts::Prompts;
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::pooling::Pooling;

/// Where the pooling stands in a checkpoint without `modules.json`.
const POOLING_WITHOUT_MODULES: &str = "1_Pooling/config.json";

/// The settings of a checkpoint.
pub(super) struct SentenceTransformer {
    pub(super) transformer: TransformerSettings,
    pub(super) embedding: Embedding,
    pub(super) prompts: Prompts,
    /// Whether texts get a default prompt: those of embedders and of CrossEncoders.
    pub(super) takes_prompts: bool,
    /// How a CrossEncoder's logits become scores, if it states that.
    pub(super) scoring: Option<Scoring>,
}

impl SentenceTransformer {
    /// Reads all files; `pooling` overrides the checkpoint's.
    ///
    /// # Errors
    /// [`LoadError`] with the file and the key of what is missing, damaged or not computed.
    pub(super) fn read(
        checkpoint: &Checkpoint,
        config: &Config,
        labels: usize,
        pooling: Option<Pooling>,
    ) -> Result<SentenceTransformer, LoadError> {
        let embeds = matches!(config.head, Head::Base | Head::MaskedLm { .. });
        let scores_pairs = matches!(config.head, Head::Sequence { .. }) && labels == 1;
        let mut files = SettingsFiles { checkpoint, must_know: embeds || scores_pairs };
        let modules = module_list::read(&files)?;
        // sentence-transformers asks for the others if there are modules, or if it builds a CrossEncoder.
        files.must_know &= modules.is_some() || scores_pairs;
        let root = RootConfig::read(&files)?;
        let after = modules.as_deref().map(after_transformer).transpose()?;
        let transformer = TransformerSettings::read(&files, modules.is_some())?;
        let embedding = Embedding::mean(config.hidden_size);
        let mut settings = SentenceTransformer {
            transformer,
            embedding,
            prompts: Prompts::default(),
            takes_prompts: embeds,
            scoring: None,
        };
        match config.head {
            Head::Base | Head::MaskedLm { .. } => {
                root.check_embeds()?;
                settings.embedding = read_embedding(&files, config.hidden_size, after, pooling)?;
                settings.embedding.default_dimensions = root.truncate_dim()?;
                settings.embedding.similarity = root.similarity()?;
                settings.prompts = root.prompts();
            }
            Head::Sequence { .. } => {
                let own = if root.is_cross_encoder() {
                    refuse_modules(after.unwrap_or_default())?;
                    settings.prompts = root.prompts();
                    settings.takes_prompts = true;
                    root.scoring()?
                } else {
                    None
                };
                settings.scoring =
                    own.map_or_else(|| scoring_of_config(checkpoint), |s| Ok(Some(s)))?;
                if root.is_cross_encoder() && labels > 1 {
                    // The default of CrossEncoder; that of one label is the sigmoid anyway.
                    settings.scoring.get_or_insert(Scoring::None);
                }
            }
            Head::Token | Head::PairScorers => {}
        }
        Ok(settings)
    }
}

/// Returns the modules after the Transformer, which must be the first and in the checkpoint's own folder.
fn after_transformer(modules: &[ModuleEntry]) -> Result<&[ModuleEntry], LoadError> {
    let Some((first, rest)) = modules.split_first() else { return Err(bad("it names no module")) };
    if first.kind != ModuleKind::Transformer {
        return Err(bad(format!(
            "it begins with {}; it must begin with a Transformer",
            first.class
        )));
    }
    if !first.folder.is_empty() {
        return Err(bad(format!(
            "the Transformer is in {}, but is read from the folder of modules.json: move its files there and set \
             its path to \"\"",
            first.folder
        )));
    }
    match rest.iter().find(|module| module.kind == ModuleKind::Transformer) {
        None => Ok(rest),
        Some(_) => Err(bad("it has two Transformers; one is computed")),
    }
}

fn refuse_modules(after: &[ModuleEntry]) -> Result<(), LoadError> {
    match after.iter().find(|module| module.kind != ModuleKind::Dropout) {
        None => Ok(()),
        Some(module) => Err(bad(format!(
            "it has {} after the Transformer of a CrossEncoder, which is not computed",
            module.class
        ))),
    }
}

/// Reads the modules after the Transformer; `None` for a checkpoint without `modules.json`.
fn read_embedding(
    files: &SettingsFiles<'_>,
    hidden_size: usize,
    modules: Option<&[ModuleEntry]>,
    given: Option<Pooling>,
) -> Result<Embedding, LoadError> {
    let mut embedding = Embedding::mean(hidden_size);
    let pooled = |embedding: &mut Embedding, config: ConfigFile| {
        let settings = PoolingSettings::read(config, hidden_size, given)?;
        (embedding.pooling, embedding.include_prompt) = (settings.pooling, settings.include_prompt);
        Ok::<_, LoadError>(())
    };
    let Some(modules) = modules else {
        embedding.pooling = given.unwrap_or(embedding.pooling);
        if let Some(config) = ConfigFile::read(files, POOLING_WITHOUT_MODULES.into())? {
            pooled(&mut embedding, config)?;
        }
        return Ok(embedding);
    };
    let Some((first, rest)) =
        modules.split_first().filter(|(first, _)| first.kind == ModuleKind::Pooling)
    else {
        return Err(bad("no Pooling follows the Transformer; vectors of texts need one"));
    };
    match (ConfigFile::read(files, first.file("config.json"))?, given) {
        (Some(config), _) => pooled(&mut embedding, config)?,
        (None, Some(pooling)) => embedding.pooling = pooling,
        (None, None) => {
            let hint = "; copy the whole checkpoint, or state --pooling cls or --pooling mean";
            return Err(missing(first, hint));
        }
    }
    for module in rest {
        if let Some(module) = read_module(files, module, embedding.width)? {
            if let Module::Dense(dense) = &module {
                embedding.width = dense.outputs();
            }
            embedding.modules.push(module);
        }
    }
    Ok(embedding)
}

/// Reads a module after pooling of rows of `width` elements; `None` for one that does nothing at inference.
fn read_module(
    files: &SettingsFiles<'_>,
    module: &ModuleEntry,
    width: usize,
) -> Result<Option<Module>, LoadError> {
    let config = ConfigFile::read(files, module.file("config.json"))?;
    match (module.kind, config) {
        (ModuleKind::Dropout, _) => Ok(None),
        // Older releases write no file for it.
        (ModuleKind::Normalize, None) => Ok(Some(Module::Normalize)),
        (ModuleKind::Normalize, Some(mut config)) => {
            for key in ["module_input_name", "module_output_name"] {
                config.one_of(key, &["sentence_embedding"])?;
            }
            config.finish()?;
            Ok(Some(Module::Normalize))
        }
        (ModuleKind::Dense, Some(config)) => {
            let dense = Dense::read(files.checkpoint, &module.folder, config, width)?;
            Ok(Some(Module::Dense(dense)))
        }
        (ModuleKind::Dense, None) => Err(missing(module, "; copy the whole checkpoint")),
        (ModuleKind::Pooling | ModuleKind::Transformer, _) => {
            Err(bad("it has two Pooling modules; one is computed"))
        }
    }
}

fn missing(module: &ModuleEntry, hint: &str) -> LoadError {
    LoadError::Config {
        file: module.file("config.json"),
        reason: format!(
            "the file is missing, and {FILE} names it as that of {}{hint}",
            module.class
        ),
    }
}

/// Returns the scoring that `config.json` states, where releases before 6 of sentence-transformers wrote it.
fn scoring_of_config(checkpoint: &Checkpoint) -> Result<Option<Scoring>, LoadError> {
    const FILE: &str = "config.json";
    let bad = |reason: String| LoadError::Config { file: FILE.into(), reason };
    let config: Value = serde_json::from_slice(&checkpoint.require(FILE)?)
        .map_err(|error| bad(error.to_string()))?;
    let old = "sbert_ce_default_activation_function";
    let (key, value) = match config["sentence_transformers"].get("activation_fn") {
        Some(value) => ("sentence_transformers.activation_fn", value),
        None => (old, &config[old]),
    };
    match value {
        Value::Null => Ok(None),
        Value::String(path) => {
            scoring(path).map(Some).map_err(|reason| bad(format!("{key}{reason}")))
        }
        other => Err(bad(format!("{key} is {other}; it must be a string"))),
    }
}
