//! The model: a checkpoint that was read and checked, and the forward pass that it asks for.
//!
//! [`Model::load`] reads every file of a checkpoint. The one family of models is [`modernbert`]: configuration,
//! tensors, activations, operations. What is around it for vectors of texts is in `sentence_transformers`; `exits.rs`,
//! `matryoshka.rs` and `pair_scorers.rs` read models that may stop before their last layer, `operating_point.rs` the
//! thresholds of a classifier. Nothing here runs: devices differ below, in [`crate::backend`], and
//! [`crate::device`] brings the two together.

mod config_file;
mod exits;
mod matryoshka;
pub mod modernbert;
mod operating_point;
mod pair_scorers;
mod prompts;
mod sentence_transformers;

pub use exits::Exits;
use matryoshka::Matryoshka;
use modernbert::forward;
pub use modernbert::forward::Program;
#[cfg(test)]
pub(crate) use modernbert::smallest;
pub use modernbert::{
    Architecture, Config, Head, Init, InitHead, LayerKind, PRESETS, Preset, Rope, RopeOverride,
    Scaling, Scoring, Workspace, attention_flops, forward_flops,
};
pub use operating_point::OperatingPoint;
pub use pair_scorers::PairScorers;
pub use prompts::{DefaultPrompt, Prompts, prompted};
pub use sentence_transformers::{Activation, Dense, Embedding, Module, Similarity};
pub(crate) use sentence_transformers::{mean_without, to_unit_length};

use crate::batch::{PackedBatch, RowLayout};
use crate::checkpoint::{Checkpoint, Weights, hints, no_source};
use crate::error::LoadError;
use crate::pooling::Pooling;
use crate::text::tag_scheme::TagScheme;
use crate::text::tokenize::Tokenizer;
use sentence_transformers::SentenceTransformer;

/// A loaded checkpoint, checked but not yet on a device.
pub struct Model {
    /// The name that messages use: the path, or the Hub id.
    pub name: String,
    /// The validated `config.json`.
    pub config: Config,
    /// Which tensors each part of the model uses.
    pub architecture: Architecture,
    /// The tensors, in their files.
    pub weights: Weights,
    /// From `tokenizer.json`.
    pub tokenizer: Tokenizer,
    /// Name of each output of the classifier; empty for base and masked-LM models.
    pub labels: Vec<String>,
    /// What the labels say about entities.
    pub(crate) tags: TagScheme,
    /// The longest input that the positions allow; `config.max_tokens` is less where the checkpoint or
    /// `--max-seq-length` sets a limit.
    pub max_positions: usize,
    /// How hidden states become vectors.
    pub embedding: Embedding,
    /// Prompts for texts that are embedded, or of a CrossEncoder for the first or only text of an input.
    pub prompts: Prompts,
    /// Where the encoder may stop, and the widths that its vectors may be cut to.
    pub exits: Exits,
    /// The scorers of a reranker that has one per exit.
    pub pair_scorers: Option<PairScorers>,
    /// The thresholds that a classifier was calibrated with.
    pub operating_point: Option<OperatingPoint>,
    /// SHA-256 of `operating_point.json`, in hexadecimal.
    pub operating_point_sha256: Option<String>,
    /// SHA-256 of the names and the SHA-256 of all files that were loaded, in hexadecimal, if [`LoadOptions::hash`] asks
    /// for it. Any byte that is loaded changes it.
    pub sha256: Option<String>,
}

/// What the caller decides about a checkpoint. A [`RopeOverride`] alone converts to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The rotary scaling.
    pub rope: RopeOverride,
    /// The longest input in tokens, in place of the checkpoint's own limit.
    pub max_seq_length: Option<usize>,
    /// The pooling of vectors, in place of the checkpoint's; without effect on classifiers.
    pub pooling: Option<Pooling>,
    /// The default prompt of vectors, in place of the checkpoint's; without effect on classifiers.
    pub default_prompt: Option<DefaultPrompt>,
    /// Computes [`Model::sha256`], which reads all files once more.
    pub hash: bool,
}

impl From<RopeOverride> for LoadOptions {
    fn from(rope: RopeOverride) -> LoadOptions {
        LoadOptions { rope, ..LoadOptions::default() }
    }
}

impl Model {
    /// Lists the operations of the forward pass of `batch` over the regions of `workspace`, which must hold it.
    pub fn program(&self, workspace: &Workspace, batch: &PackedBatch) -> Program {
        forward::program(&self.config, &self.architecture, workspace, batch)
    }

    /// Returns the sizes that memory and speed depend on: `22 layers of 768, 8192 tokens`.
    pub fn shape(&self) -> String {
        let Config { layers, hidden_size, max_tokens, .. } = &self.config;
        format!("{} layers of {hidden_size}, {max_tokens} tokens", layers.len())
    }

    /// Reads and checks every file of a checkpoint.
    ///
    /// # Errors
    /// [`LoadError`] with the file and what is wrong with it.
    pub fn load(
        checkpoint: &Checkpoint,
        options: impl Into<LoadOptions>,
    ) -> Result<Model, LoadError> {
        let options = options.into();
        checkpoint.forget_reads();
        refuse_adapter(checkpoint)?;
        let training = checkpoint.read_if_known("training_config.json")?;
        let mut config =
            Config::parse(&checkpoint.require("config.json")?, training.as_deref(), options.rope)?;
        let weights = Weights::open(checkpoint)?;
        let (trained, pair_scorers) = settle_head(checkpoint, &mut config, &weights)?;
        let labels = labels(&config, &weights, checkpoint.name())?;
        if let Head::Sequence { scoring: scoring @ Scoring::Softmax, .. } = &mut config.head
            && labels.len() == 1
        {
            *scoring = Scoring::Sigmoid;
        }
        let mut architecture = Architecture::new(&config, labels.len());
        architecture.check(&weights, checkpoint.name())?;
        let mut tokenizer = Tokenizer::open(checkpoint)?;
        tokenizer.check(config.vocab_size, checkpoint.name())?;
        let SentenceTransformer { transformer, embedding, mut prompts, takes_prompts, scoring } =
            SentenceTransformer::read(checkpoint, &config, labels.len(), options.pooling)?;
        if transformer.do_lower_case {
            tokenizer.lower_case().map_err(|reason| LoadError::Tokenizer {
                model: checkpoint.name().into(),
                reason,
            })?;
        }
        if let Some(given) = &options.default_prompt
            && takes_prompts
        {
            prompts.set_default(given)?;
        }
        if let (Some(given), Head::Sequence { scoring, .. }) = (scoring, &mut config.head) {
            *scoring = given;
        }
        let (exits, exit_norm) = match &pair_scorers {
            Some(scorers) => (scorers.all_exits(), true),
            None => Exits::of_embedder(checkpoint, &config, trained, &embedding)?,
        };
        architecture.exit_norm = exit_norm;
        let special_tokens = tokenizer.frame_tokens();
        let (operating_point, operating_point_sha256) =
            OperatingPoint::read(checkpoint, &config, &labels, special_tokens)?.unzip();
        let max_positions = config.max_tokens;
        let of_calibration = operating_point.as_ref().and_then(OperatingPoint::max_input_tokens);
        let own = of_calibration.or(transformer.max_seq_length);
        config.max_tokens = input_limit(max_positions, options.max_seq_length, own)?;
        let tags = TagScheme::read(&labels);
        let sha256 = options.hash.then(|| checkpoint.digest_of_reads()).transpose()?;
        Ok(Model {
            name: checkpoint.name().into(),
            config,
            architecture,
            weights,
            tokenizer,
            labels,
            max_positions,
            tags,
            embedding,
            prompts,
            exits,
            pair_scorers,
            operating_point,
            operating_point_sha256,
            sha256,
        })
    }

    /// Returns how logits become scores. Each token of a token classifier has a softmax of its own.
    pub fn scoring(&self) -> Scoring {
        match self.config.head {
            Head::Sequence { scoring, .. } => scoring,
            Head::PairScorers => Scoring::Sigmoid,
            _ => Scoring::Softmax,
        }
    }

    /// Returns the names that the entities of a token classifier may have, each once; none for other models.
    pub fn entity_names(&self) -> Vec<&str> {
        match (&self.config.head, &self.operating_point) {
            (Head::Token, Some(OperatingPoint::Grounded { positive, .. })) => {
                vec![&self.labels[*positive]]
            }
            (Head::Token, _) => self.tags.names(),
            _ => Vec::new(),
        }
    }

    /// Returns whether the model labels a text only beside the context that it should follow from
    /// ([`Input::InContext`](crate::Input::InContext)).
    pub fn is_grounded(&self) -> bool {
        matches!(self.operating_point, Some(OperatingPoint::Grounded { .. }))
    }

    /// Returns the shape of the rows that the model returns for a batch.
    pub fn row_layout(&self) -> RowLayout {
        self.architecture.row_layout(&self.config)
    }

    /// Returns the number of elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.architecture.tensors.iter().map(|spec| spec.elements() as u64).sum()
    }
}

/// Decides what `config.json` leaves open about the head by the files beside it: whether a decoder is the embedding, and
/// whether a base model is a reranker with scorers, which are returned with its trained exits.
fn settle_head(
    checkpoint: &Checkpoint,
    config: &mut Config,
    weights: &Weights,
) -> Result<(Option<Matryoshka>, Option<PairScorers>), LoadError> {
    match &mut config.head {
        Head::MaskedLm { tied, .. } => {
            // As upstream: a decoder that differs from the embedding is used, whatever the config says.
            *tied &= !weights.has_decoder_of_its_own()?;
        }
        Head::Base => {
            let trained = Matryoshka::read(checkpoint, config)?;
            let scorers = PairScorers::read(checkpoint, config, trained.as_ref())?;
            if scorers.is_some() {
                config.head = Head::PairScorers;
            }
            return Ok((trained, scorers));
        }
        Head::Sequence { .. } | Head::Token | Head::PairScorers => {}
    }
    Ok((None, None))
}

/// Returns the longest input: the caller's, else the checkpoint's where the positions allow it.
fn input_limit(
    max_positions: usize,
    given: Option<usize>,
    own: Option<usize>,
) -> Result<usize, LoadError> {
    match given {
        Some(given) if given > max_positions => Err(LoadError::Option {
            option: "--max-seq-length",
            reason: format!("it is {given}; the model has {max_positions} positions"),
        }),
        Some(given) => Ok(given),
        None => Ok(own.map_or(max_positions, |own| own.min(max_positions))),
    }
}

/// Refuses an adapter beside the weights, which `transformers` would apply to them.
fn refuse_adapter(checkpoint: &Checkpoint) -> Result<(), LoadError> {
    match checkpoint.read_if_known("adapter_config.json")? {
        None => Ok(()),
        Some(json) => Err(no_source(checkpoint.name(), &hints::adapter(Some(&json)))),
    }
}

fn labels(config: &Config, weights: &Weights, model: &str) -> Result<Vec<String>, LoadError> {
    match config.head {
        Head::Sequence { .. } | Head::Token => {}
        Head::PairScorers => return Ok(vec![pair_scorers::LABEL.into()]),
        Head::Base | Head::MaskedLm { .. } => return Ok(Vec::new()),
    }
    let bad = |reason: String| LoadError::Weights { model: model.into(), reason };
    let rows = weights
        .rows_of("classifier.weight")
        .ok_or_else(|| bad("tensor classifier.weight is missing".into()))?;
    if rows == 0 {
        return Err(bad("tensor classifier.weight has no rows".into()));
    }
    if config.labels.is_empty() {
        return Ok((0..rows).map(|i| format!("LABEL_{i}")).collect());
    }
    if config.labels.len() != rows {
        return Err(bad(format!(
            "classifier.weight has {rows} rows, config.json names {} labels (id2label, or num_labels)",
            config.labels.len()
        )));
    }
    Ok(config.labels.values().cloned().collect())
}
