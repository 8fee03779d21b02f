//! Reads `config.json` as `transformers` 5.17 reads it, and rejects what this engine does not compute.
//!
//! Both layouts are understood: the old one (`global_rope_theta`, `local_rope_theta`, `rope_scaling`,
//! `global_attn_every_n_layers`) and the new one (`rope_parameters` per layer type, `layer_types`).
//! Unknown keys are ignored, as upstream does; unknown *values* of known keys are not. The test
//! `crates/engine/tests/config_keys.rs` says for each key that upstream reads what is done with it here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::head::{Head, Scoring};
use super::rope::{self, Rope, RopeOverride};
use crate::backend::{Activation, RopeTable};
use crate::error::LoadError;
use crate::pooling::Pooling;

/// Which keys a layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// All tokens of the sequence.
    Full,
    /// Tokens at most `local_attention / 2` away, inclusive.
    Sliding,
}

/// A validated configuration. All sizes are positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated MLP.
    pub intermediate_size: usize,
    /// Attention heads; `hidden_size / num_attention_heads` is even.
    pub num_attention_heads: usize,
    /// The kind of each layer, in order.
    pub layers: Vec<LayerKind>,
    /// Sliding layers see keys at most this far away, inclusive (`local_attention / 2`).
    pub window: usize,
    /// Added to the variance in every norm.
    pub norm_eps: f32,
    /// Norms have a bias.
    pub norm_bias: bool,
    /// `Wqkv` and `attn.Wo` have a bias.
    pub attention_bias: bool,
    /// `mlp.Wi` and `mlp.Wo` have a bias.
    pub mlp_bias: bool,
    /// The prediction head's dense layer has a bias.
    pub classifier_bias: bool,
    /// Rotary parameters of full-attention layers.
    pub rope_full: Rope,
    /// Rotary parameters of sliding layers.
    pub rope_sliding: Rope,
    /// The longest sequence, in tokens, special ones included.
    pub max_tokens: usize,
    /// Of the gated MLP.
    pub hidden_activation: Activation,
    /// Of the prediction head.
    pub classifier_activation: Activation,
    /// The head after the encoder.
    pub head: Head,
    /// `id2label`, by id; of a classifier, empty when the config names none.
    pub labels: BTreeMap<usize, String>,
}

impl Config {
    /// Returns the elements of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Returns the share of the layers that run when the encoder stops after so many; 1 for `None`, which is all.
    pub fn depth(&self, layers: Option<usize>) -> f64 {
        let all = self.layers.len();
        layers.map_or(1.0, |layers| layers.min(all) as f64 / all as f64)
    }

    /// Tabulates the rotations of both layer kinds for positions 0 to `positions - 1`, in the order of the
    /// [`RopeId`](crate::backend::RopeId)s that the forward pass uses.
    pub fn rope_tables(&self, positions: usize) -> [RopeTable; 2] {
        [&self.rope_full, &self.rope_sliding].map(|rope| rope.table(self.head_dim(), positions))
    }

    /// Reads `config.json`, and `training_config.json` if the checkpoint has one.
    ///
    /// # Errors
    /// [`LoadError::Config`] with the key, its value and what is accepted.
    pub fn parse(
        config_json: &[u8],
        training_config_json: Option<&[u8]>,
        rope_override: RopeOverride,
    ) -> Result<Config, LoadError> {
        let mut json = serde_json::Deserializer::from_slice(config_json);
        let raw: RawConfig =
            serde_path_to_error::deserialize(&mut json).map_err(|e| bad(e.to_string()))?;
        json.end().map_err(|e| bad(e.to_string()))?;
        let training = match training_config_json {
            Some(json) => serde_json::from_slice(json).map_err(|e| LoadError::Config {
                file: "training_config.json".into(),
                reason: e.to_string(),
            })?,
            None => rope::TrainingConfig::default(),
        };
        raw.validate(&training, rope_override)
    }
}

fn bad(reason: impl Into<String>) -> LoadError {
    LoadError::Config { file: "config.json".into(), reason: reason.into() }
}

/// The keys that matter, with upstream's defaults; integers are signed so that a negative one is named.
#[derive(Debug, Deserialize)]
pub(super) struct RawConfig {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    #[serde(default = "defaults::vocab_size")]
    vocab_size: i64,
    #[serde(default = "defaults::hidden_size")]
    hidden_size: i64,
    #[serde(default = "defaults::intermediate_size")]
    intermediate_size: i64,
    #[serde(default = "defaults::num_hidden_layers")]
    num_hidden_layers: i64,
    #[serde(default = "defaults::num_attention_heads")]
    num_attention_heads: i64,
    #[serde(default = "defaults::max_position_embeddings")]
    pub(super) max_position_embeddings: i64,
    #[serde(default = "defaults::local_attention")]
    local_attention: i64,
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<i64>>,
    #[serde(default = "defaults::global_attn_every_n_layers")]
    global_attn_every_n_layers: i64,
    layer_types: Option<Vec<String>>,
    #[serde(default = "defaults::gelu")]
    hidden_activation: String,
    #[serde(default = "defaults::gelu")]
    classifier_activation: String,
    #[serde(default = "defaults::norm_eps")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    classifier_bias: bool,
    #[serde(default = "defaults::default_true")]
    decoder_bias: bool,
    #[serde(default = "defaults::default_true")]
    tie_word_embeddings: bool,
    #[serde(default = "defaults::cls")]
    classifier_pooling: String,
    problem_type: Option<String>,
    id2label: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    num_labels: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) global_rope_theta: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) local_rope_theta: Option<Option<f64>>,
    head_dim: Option<i64>,
    pub(super) rope_scaling: Option<BTreeMap<String, Value>>,
    pub(super) rope_parameters: Option<BTreeMap<String, Value>>,
    quantization_config: Option<Value>,
    per_layer_config: Option<Value>,
    fusion_config: Option<Value>,
    transformers_weights: Option<Value>,
    configuration_files: Option<Value>,
}

/// Distinguishes a key that is null from one that is absent.
fn present<'de, T, D>(value: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Option::deserialize(value).map(Some)
}

mod defaults {
    pub(super) fn vocab_size() -> i64 {
        50368
    }
    pub(super) fn hidden_size() -> i64 {
        768
    }
    pub(super) fn intermediate_size() -> i64 {
        1152
    }
    pub(super) fn num_hidden_layers() -> i64 {
        22
    }
    pub(super) fn num_attention_heads() -> i64 {
        12
    }
    pub(super) fn max_position_embeddings() -> i64 {
        8192
    }
    pub(super) fn local_attention() -> i64 {
        128
    }
    pub(super) fn global_attn_every_n_layers() -> i64 {
        3
    }
    pub(super) fn gelu() -> String {
        "gelu".into()
    }
    pub(super) fn norm_eps() -> f64 {
        1e-5
    }
    pub(super) fn cls() -> String {
        "cls".into()
    }
    pub(super) fn default_true() -> bool {
        true
    }
}

/// Bounds of each size: far above any published model, far below anything that overflows.
const MAX_VOCAB: i64 = 1 << 21;
const MAX_WIDTH: i64 = 1 << 16;
const MAX_LAYERS: i64 = 1 << 10;
const MAX_POSITIONS: i64 = 1 << 20;

impl RawConfig {
    fn validate(
        self,
        training: &rope::TrainingConfig,
        rope_override: RopeOverride,
    ) -> Result<Config, LoadError> {
        self.check_model_type()?;
        self.check_uncomputed_keys()?;
        let hidden_size = size("hidden_size", self.hidden_size, MAX_WIDTH)?;
        let num_attention_heads = size("num_attention_heads", self.num_attention_heads, MAX_WIDTH)?;
        if !hidden_size.is_multiple_of(num_attention_heads)
            || !(hidden_size / num_attention_heads).is_multiple_of(2)
        {
            return Err(bad(format!(
                "hidden_size {hidden_size} does not divide into {num_attention_heads} heads of even size"
            )));
        }
        let head_dim = hidden_size / num_attention_heads;
        if self.head_dim.is_some_and(|given| given != head_dim as i64) {
            return Err(bad(format!(
                "head_dim differs from hidden_size / num_attention_heads = {head_dim}"
            )));
        }
        let norm_eps = self.norm_eps;
        if !(norm_eps > 0.0 && norm_eps < 1.0) {
            return Err(bad(format!("norm_eps is {norm_eps}; it must lie between 0 and 1")));
        }
        let max_positions =
            size("max_position_embeddings", self.max_position_embeddings, MAX_POSITIONS)?;
        let ropes = rope::resolve(&self, training, rope_override, max_positions)
            .map_err(|(file, reason)| LoadError::Config { file: file.into(), reason })?;
        let head = self.head()?;
        Ok(Config {
            vocab_size: size("vocab_size", self.vocab_size, MAX_VOCAB)?,
            hidden_size,
            intermediate_size: size("intermediate_size", self.intermediate_size, MAX_WIDTH)?,
            num_attention_heads,
            layers: self.layer_kinds()?,
            window: self.window()?,
            norm_eps: norm_eps as f32,
            norm_bias: self.norm_bias,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            classifier_bias: self.classifier_bias,
            rope_full: ropes.full,
            rope_sliding: ropes.sliding,
            max_tokens: ropes.max_tokens,
            hidden_activation: activation("hidden_activation", &self.hidden_activation)?,
            classifier_activation: activation(
                "classifier_activation",
                &self.classifier_activation,
            )?,
            labels: match head {
                Head::Base | Head::MaskedLm { .. } | Head::PairScorers => BTreeMap::new(),
                Head::Sequence { .. } | Head::Token => self.labels()?,
            },
            head,
        })
    }

    fn check_model_type(&self) -> Result<(), LoadError> {
        const RUNS: &str = "bigbatch runs ModernBERT only (model_type modernbert)";
        match self.model_type.as_deref() {
            Some("modernbert") => Ok(()),
            Some(other) => Err(bad(format!("model_type is {other}; {RUNS}"))),
            None => Err(bad(format!("it has no model_type; {RUNS}"))),
        }
    }

    /// Rejects keys by which upstream would compute something else, or read other weights.
    fn check_uncomputed_keys(&self) -> Result<(), LoadError> {
        let is_set = |value: &&Value| value.as_object().is_none_or(|keys| !keys.is_empty());
        if let Some(config) = self.quantization_config.as_ref().filter(is_set) {
            let method = config["quant_method"].as_str().unwrap_or("unknown");
            return Err(bad(format!(
                "quantization_config: the weights are quantized ({method}), which is not computed; use the \
                 model that they were made from, in f32, f16 or bf16"
            )));
        }
        let others = [
            ("per_layer_config", &self.per_layer_config),
            ("fusion_config", &self.fusion_config),
            ("transformers_weights", &self.transformers_weights),
            ("configuration_files", &self.configuration_files),
        ];
        match others.iter().find(|(_, value)| value.as_ref().is_some_and(|v| is_set(&v))) {
            None => Ok(()),
            Some((key, _)) => {
                Err(bad(format!("{key} is not supported; remove it if it is not needed")))
            }
        }
    }

    /// Returns how far sliding layers see. Upstream, `sliding_window` is half of `local_attention` and overrides
    /// it.
    fn window(&self) -> Result<usize, LoadError> {
        match self.sliding_window {
            None => Ok(size("local_attention", self.local_attention, MAX_POSITIONS)? / 2),
            Some(Some(window)) => size("sliding_window", window, MAX_POSITIONS / 2),
            Some(None) => Err(bad(
                "sliding_window is null; it must be a number, or absent where local_attention says it",
            )),
        }
    }

    fn layer_kinds(&self) -> Result<Vec<LayerKind>, LoadError> {
        let count = size("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        let Some(names) = &self.layer_types else {
            let every =
                size("global_attn_every_n_layers", self.global_attn_every_n_layers, MAX_LAYERS)?;
            let kind = |i: usize| {
                if i.is_multiple_of(every) { LayerKind::Full } else { LayerKind::Sliding }
            };
            return Ok((0..count).map(kind).collect());
        };
        if names.len() != count {
            return Err(bad(format!(
                "layer_types names {} layers, num_hidden_layers is {count}",
                names.len()
            )));
        }
        let kind = |name: &String| match name.as_str() {
            "full_attention" => Ok(LayerKind::Full),
            "sliding_attention" => Ok(LayerKind::Sliding),
            other => Err(bad(format!(
                "layer_types has '{other}'; known are full_attention and sliding_attention"
            ))),
        };
        names.iter().map(kind).collect()
    }

    fn head(&self) -> Result<Head, LoadError> {
        let names = self.architectures.as_deref().unwrap_or_default();
        let [name] = names else {
            return Err(bad(format!("architectures is {names:?}; exactly one is needed")));
        };
        match name.as_str() {
            "ModernBertModel" => Ok(Head::Base),
            "ModernBertForMaskedLM" => Ok(Head::MaskedLm {
                decoder_bias: self.decoder_bias,
                tied: self.tie_word_embeddings,
            }),
            "ModernBertForSequenceClassification" => {
                Ok(Head::Sequence { pooling: self.pooling()?, scoring: self.scoring()? })
            }
            "ModernBertForTokenClassification" => Ok(Head::Token),
            other => Err(bad(format!(
                "architecture '{other}' is not known; known are ModernBertModel, \
                 ModernBertForMaskedLM, ModernBertForSequenceClassification and \
                 ModernBertForTokenClassification"
            ))),
        }
    }

    fn pooling(&self) -> Result<Pooling, LoadError> {
        match self.classifier_pooling.as_str() {
            "cls" => Ok(Pooling::Cls),
            "mean" => Ok(Pooling::Mean),
            other => Err(bad(format!("classifier_pooling is '{other}'; known are cls and mean"))),
        }
    }

    fn scoring(&self) -> Result<Scoring, LoadError> {
        match self.problem_type.as_deref() {
            None | Some("single_label_classification") => Ok(Scoring::Softmax),
            Some("multi_label_classification") => Ok(Scoring::Sigmoid),
            Some("regression") => Ok(Scoring::None),
            Some(other) => Err(bad(format!(
                "problem_type '{other}' is not known; known are single_label_classification, \
                 multi_label_classification and regression"
            ))),
        }
    }

    fn labels(&self) -> Result<BTreeMap<usize, String>, LoadError> {
        let count = match self.num_labels {
            None => None,
            Some(count) => Some(size("num_labels", count.unwrap_or(0), MAX_WIDTH)?),
        };
        let Some(map) = &self.id2label else {
            let generic = |id| (id, format!("LABEL_{id}"));
            return Ok((0..count.unwrap_or(0)).map(generic).collect());
        };
        if let Some(count) = count.filter(|&count| count != map.len()) {
            return Err(bad(format!(
                "num_labels is {count}, id2label names {} labels; remove one of the two",
                map.len()
            )));
        }
        let mut labels = BTreeMap::new();
        for (id, label) in map {
            let index: usize = id
                .parse()
                .map_err(|_| bad(format!("id2label has the key '{id}', which is not an index")))?;
            labels.insert(index, label.clone());
        }
        if labels.keys().enumerate().any(|(expected, &index)| expected != index) {
            return Err(bad("id2label's keys are not 0, 1, 2, ... without gaps"));
        }
        Ok(labels)
    }
}

fn activation(key: &str, name: &str) -> Result<Activation, LoadError> {
    Activation::named(name).ok_or_else(|| {
        let known: Vec<&str> = Activation::names().collect();
        bad(format!("{key} is '{name}'; known are {}", known.join(", ")))
    })
}

fn size(key: &str, value: i64, max: i64) -> Result<usize, LoadError> {
    if (1..=max).contains(&value) {
        Ok(value as usize)
    } else {
        Err(bad(format!("{key} is {value}; it must lie between 1 and {max}")))
    }
}
