//! Checkpoints of random weights: for benchmarks, parity tests and machines without a network.
//!
//! [`super::package`] adds the files of the small presets that are whole packages. Weights are drawn as `transformers` initialises ModernBERT (truncated normals), then sharpened: query and key rows
//! times 2.5, the matrices into the residual stream times 4. With the plain distributions attention is so
//! flat that a model without positions or without the window looks right in any comparison.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Value, json};

use super::architecture::{Architecture, Role};
use super::config::Config;
use super::draw::{CUTOFF, Draw, INITIALIZER_RANGE};
use super::package::{self, Package};
use super::rope::RopeOverride;
use crate::checkpoint::{Checkpoint, NewDirectory, TensorSpec};
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::text::tokenize::Tokenizer;

/// The sizes of a published or a tiny model, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// `modernbert-base-32k`.
    pub name: &'static str,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    max_tokens: usize,
    package: Option<Package>,
}

/// The values of `model init --preset`.
pub const PRESETS: [Preset; 9] = [
    Preset {
        name: "modernbert-base-32k",
        vocab_size: 50368,
        hidden_size: 768,
        intermediate_size: 1152,
        num_hidden_layers: 22,
        max_tokens: 32768,
        package: None,
    },
    Preset {
        name: "modernbert-base",
        vocab_size: 50368,
        hidden_size: 768,
        intermediate_size: 1152,
        num_hidden_layers: 22,
        max_tokens: 8192,
        package: None,
    },
    Preset {
        name: "modernbert-large",
        vocab_size: 50368,
        hidden_size: 1024,
        intermediate_size: 2624,
        num_hidden_layers: 28,
        max_tokens: 8192,
        package: None,
    },
    Preset {
        name: "random",
        vocab_size: 4096,
        hidden_size: 128,
        intermediate_size: 192,
        num_hidden_layers: 6,
        max_tokens: 32768,
        package: None,
    },
    small("random-scores", Package::Scores),
    small("random-grounded", Package::Grounded),
    small("random-tags", Package::Tags),
    small("random-exits", Package::Exits),
    small("random-reranker-exits", Package::RerankerExits),
];

/// Returns a small preset that is a whole package.
const fn small(name: &'static str, package: Package) -> Preset {
    Preset {
        name,
        vocab_size: package::VOCAB_SIZE,
        hidden_size: 128,
        intermediate_size: 192,
        num_hidden_layers: 6,
        max_tokens: 32768,
        package: Some(package),
    }
}

/// The context that scaled models were trained at before they were stretched.
const ORIGINAL_MAX_TOKENS: usize = 8192;

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Preset { name, hidden_size, num_hidden_layers, max_tokens, .. } = self;
        write!(f, "{name:<22} {num_hidden_layers} layers of {hidden_size}, {max_tokens} tokens")
    }
}

/// The head to initialise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitHead {
    /// Hidden states only.
    Base,
    /// Tied decoder.
    MaskedLm,
    /// Sequence classification with these labels.
    Sequence(Vec<String>),
    /// Token classification with these labels.
    Token(Vec<String>),
}

/// A new checkpoint with random weights.
#[derive(Debug, Clone)]
pub struct Init {
    /// Sizes.
    pub preset: Preset,
    /// Head.
    pub head: InitHead,
    /// The same seed gives the same weights.
    pub seed: u64,
    /// Stored element type.
    pub dtype: Dtype,
}

impl Preset {
    /// Returns the preset of this name.
    ///
    /// # Errors
    /// [`LoadError::Option`] with the known names if there is none.
    pub fn named(name: &str) -> Result<Preset, LoadError> {
        PRESETS.into_iter().find(|preset| preset.name == name).ok_or_else(|| LoadError::Option {
            option: "--preset",
            reason: format!(
                "'{name}' is not known; known are {}",
                PRESETS.map(|preset| preset.name).join(", ")
            ),
        })
    }

    /// Returns the head of a preset that is a whole package; `None` if the head is the caller's choice.
    pub fn head(&self) -> Option<InitHead> {
        self.package.map(Package::head)
    }

    /// Returns `tokenizer.json` and `tokenizer_config.json` of a preset that is a whole package; `None` if the tokenizer
    /// is the caller's choice.
    pub fn tokenizer_files(&self) -> Option<[&'static [u8]; 2]> {
        self.package.map(|_| [package::TOKENIZER, package::TOKENIZER_CONFIG])
    }
}

impl Init {
    /// Returns `config.json` in the layout of published checkpoints.
    pub fn config_json(&self) -> Value {
        let Preset {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            max_tokens,
            ..
        } = self.preset;
        let mut config = json!({
            "architectures": [match self.head {
                InitHead::Base => "ModernBertModel",
                InitHead::MaskedLm => "ModernBertForMaskedLM",
                InitHead::Sequence(_) => "ModernBertForSequenceClassification",
                InitHead::Token(_) => "ModernBertForTokenClassification",
            }],
            "model_type": "modernbert",
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "intermediate_size": intermediate_size,
            "num_hidden_layers": num_hidden_layers,
            "num_attention_heads": hidden_size / 64,
            "max_position_embeddings": max_tokens,
            "global_attn_every_n_layers": 3,
            "local_attention": 128,
            "global_rope_theta": 160_000.0,
            "local_rope_theta": 10_000.0,
            "norm_eps": 1e-5,
            "norm_bias": false,
            "attention_bias": false,
            "mlp_bias": false,
            "decoder_bias": true,
            "classifier_bias": false,
            "classifier_pooling": "mean",
            "classifier_activation": "gelu",
            "hidden_activation": "gelu",
            "initializer_range": INITIALIZER_RANGE,
            "initializer_cutoff_factor": CUTOFF,
            "tie_word_embeddings": true,
            "pad_token_id": 0,
            "torch_dtype": match self.dtype {
                Dtype::F32 => "float32",
                Dtype::Bf16 => "bfloat16",
                Dtype::F16 => "float16",
            },
        });
        if max_tokens > ORIGINAL_MAX_TOKENS {
            config["rope_scaling"] = json!({
                "rope_type": "yarn",
                "factor": max_tokens as f64 / ORIGINAL_MAX_TOKENS as f64,
                "original_max_position_embeddings": ORIGINAL_MAX_TOKENS,
            });
        }
        if let InitHead::Sequence(labels) | InitHead::Token(labels) = &self.head {
            let ids = labels.iter().enumerate();
            config["id2label"] = ids.clone().map(|(i, l)| (i.to_string(), json!(l))).collect();
            config["label2id"] = ids.map(|(i, l)| (l.clone(), json!(i))).collect();
        }
        if let (Some(package), Some(config)) = (self.preset.package, config.as_object_mut()) {
            config.extend(package.config_keys());
        }
        config
    }

    /// Returns the files of a preset that is a package, beside its config, weights and tokenizer.
    fn package_files(&self) -> Result<Vec<(&'static str, Vec<u8>)>, LoadError> {
        let Preset { hidden_size, num_hidden_layers, package, .. } = self.preset;
        match package {
            None => Ok(Vec::new()),
            Some(package) => package.files(num_hidden_layers, hidden_size, self.seed),
        }
    }

    /// Makes config and weights in memory, beside this tokenizer.
    ///
    /// # Errors
    /// [`LoadError::Config`] only if a preset contradicts itself.
    pub fn checkpoint(
        &self,
        name: impl Into<String>,
        tokenizer_json: Cow<'static, [u8]>,
        tokenizer_config_json: Cow<'static, [u8]>,
    ) -> Result<Checkpoint, LoadError> {
        let name = name.into();
        let config = self.config_json().to_string().into_bytes();
        let weights = safetensors::serialize(self.tensors(&config)?, None).map_err(|e| {
            LoadError::Weights { model: name.clone(), reason: format!("cannot be laid out: {e:?}") }
        })?;
        let mut files = vec![
            ("config.json".to_string(), Cow::Owned(config)),
            ("model.safetensors".to_string(), Cow::Owned(weights)),
            ("tokenizer.json".to_string(), tokenizer_json),
            ("tokenizer_config.json".to_string(), tokenizer_config_json),
        ];
        let own = self.package_files()?.into_iter();
        files.extend(own.map(|(name, bytes)| (name.to_string(), Cow::Owned(bytes))));
        Ok(Checkpoint::memory(name, files))
    }

    /// Writes a directory that `transformers` can read. Weights are drawn as they are written. The directory appears
    /// when it is complete; with `replace` it takes the place of another checkpoint.
    ///
    /// # Errors
    /// [`LoadError::Write`] naming the file, or the directory if it holds files that are not to be replaced.
    pub fn write(
        &self,
        dir: &Path,
        tokenizer_json: &[u8],
        tokenizer_config_json: &[u8],
        replace: bool,
    ) -> Result<(), LoadError> {
        let put = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes)
                .map_err(|source| LoadError::Write { path: path.to_path_buf(), source })
        };
        self.check_tokenizer(tokenizer_json, tokenizer_config_json)?;
        let new = NewDirectory::begin(dir, replace)?;
        let dir = new.path();
        let config = self.config_json();
        let pretty = format!("{config:#}\n");
        put(&dir.join("config.json"), pretty.as_bytes())?;
        put(&dir.join("tokenizer.json"), tokenizer_json)?;
        put(&dir.join("tokenizer_config.json"), tokenizer_config_json)?;
        for (name, bytes) in self.package_files()? {
            let path = dir.join(name);
            let folder = path.parent().unwrap_or(dir).to_path_buf();
            std::fs::create_dir_all(&folder)
                .map_err(|source| LoadError::Write { path: folder, source })?;
            put(&path, &bytes)?;
        }
        let path = dir.join("model.safetensors");
        let metadata = Some([("format".to_string(), "pt".to_string())].into());
        let weights = self.tensors(pretty.as_bytes())?;
        safetensors::serialize_to_file(weights, metadata, &path)
            .map_err(|error| std::io::Error::other(format!("{error:?}")))
            // The library writes a private file; a checkpoint is as readable as its config.
            .and_then(|()| std::fs::metadata(dir.join("config.json")))
            .and_then(|config| std::fs::set_permissions(&path, config.permissions()))
            .map_err(|source| LoadError::Write { path, source })?;
        new.finish()
    }

    /// Checks the tokenizer before anything is written.
    fn check_tokenizer(&self, json: &[u8], config_json: &[u8]) -> Result<(), LoadError> {
        let held = |name: &str, bytes: &[u8]| (name.to_string(), Cow::Owned(bytes.to_vec()));
        let files = vec![held("tokenizer.json", json), held("tokenizer_config.json", config_json)];
        let name = "the new checkpoint";
        Tokenizer::open(&Checkpoint::memory(name, files))?.check(self.preset.vocab_size, name)
    }

    fn tensors(&self, config_json: &[u8]) -> Result<Vec<(String, Draw)>, LoadError> {
        let config = Config::parse(config_json, None, RopeOverride::Checkpoint)?;
        let architecture = Architecture::new(&config, config.labels.len());
        // Base models are stored bare, the others below `model.`, as transformers does.
        let stored_name = |name: &str| {
            let head = ["head.", "decoder.", "classifier."].iter().any(|p| name.starts_with(p));
            if head || self.head == InitHead::Base { name.into() } else { format!("model.{name}") }
        };
        let draw = |(index, (spec, role)): (usize, (TensorSpec, Role))| {
            let name = stored_name(&spec.name);
            let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index as u64);
            let (dtype, layers) = (self.dtype, self.preset.num_hidden_layers);
            (name, Draw { spec, role, seed, dtype, layers })
        };
        let Architecture { tensors, roles, .. } = architecture;
        Ok(tensors.into_iter().zip(roles).enumerate().map(draw).collect())
    }
}

/// Makes the smallest preset with this head. For unit tests: what `bigbatch-models` makes has the types of
/// another build of this crate.
#[cfg(test)]
pub(crate) fn smallest(head: InitHead) -> Checkpoint {
    const TOKENIZER: &[u8] =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/random/tokenizer.json"));
    const CONFIG: &[u8] = br#"{"mask_token": "[MASK]"}"#;
    let preset = Preset::named("random").expect("it is a preset");
    let init = Init { preset, head, seed: 0, dtype: Dtype::F32 };
    init.checkpoint("random", TOKENIZER.into(), CONFIG.into()).expect("presets are sound")
}
