//! Checkpoints of random weights: for benchmarks, parity tests and machines without a network.
//!
//! Drawn as `transformers` initialises ModernBERT (truncated normals), then sharpened: query and key rows
//! times 2.5, the matrices into the residual stream times 4. With the plain distributions attention is so
//! flat that a model without positions or without the window looks right in any comparison.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::{Dtype as StDtype, View as StView};
use serde_json::{Value, json};

use super::architecture::{Architecture, Role};
use super::config::Config;
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
}

/// The values of `model init --preset`.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "modernbert-base-32k",
        vocab_size: 50368,
        hidden_size: 768,
        intermediate_size: 1152,
        num_hidden_layers: 22,
        max_tokens: 32768,
    },
    Preset {
        name: "modernbert-base",
        vocab_size: 50368,
        hidden_size: 768,
        intermediate_size: 1152,
        num_hidden_layers: 22,
        max_tokens: 8192,
    },
    Preset {
        name: "modernbert-large",
        vocab_size: 50368,
        hidden_size: 1024,
        intermediate_size: 2624,
        num_hidden_layers: 28,
        max_tokens: 8192,
    },
    Preset {
        name: "random",
        vocab_size: 4096,
        hidden_size: 128,
        intermediate_size: 192,
        num_hidden_layers: 6,
        max_tokens: 32768,
    },
];

/// The context that scaled models were trained at before they were stretched.
const ORIGINAL_MAX_TOKENS: usize = 8192;

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Preset { name, hidden_size, num_hidden_layers, max_tokens, .. } = self;
        write!(f, "{name:<20} {num_hidden_layers} layers of {hidden_size}, {max_tokens} tokens")
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
        config
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
        let files = vec![
            ("config.json".to_string(), Cow::Owned(config)),
            ("model.safetensors".to_string(), Cow::Owned(weights)),
            ("tokenizer.json".to_string(), tokenizer_json),
            ("tokenizer_config.json".to_string(), tokenizer_config_json),
        ];
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

const INITIALIZER_RANGE: f64 = 0.02;
/// Normals are redrawn beyond this many standard deviations.
const CUTOFF: f64 = 2.0;
const SHARPEN_QK: f64 = 2.5;
const SHARPEN_OUT: f64 = 4.0;

/// A tensor that is drawn when its bytes are asked for, so that only one is in memory at a time.
struct Draw {
    spec: TensorSpec,
    role: Role,
    seed: u64,
    dtype: Dtype,
    layers: usize,
}

impl Draw {
    fn elements(&self) -> usize {
        self.spec.shape.iter().product()
    }

    fn values(&self) -> Vec<f32> {
        let count = self.elements();
        let width = self.spec.shape.last().copied().unwrap_or(1);
        let out_std = INITIALIZER_RANGE / (2.0 * self.layers as f64).sqrt();
        let std = match self.role {
            Role::NormWeight => return vec![1.0; count],
            Role::Bias => return vec![0.0; count],
            Role::Embedding | Role::MlpIn | Role::Qkv => INITIALIZER_RANGE,
            Role::Out => out_std * SHARPEN_OUT,
            Role::HeadDense => out_std,
            Role::Classifier => (width as f64).powf(-0.5),
        };
        let mut normals = TruncatedNormal { rng: fastrand::Rng::with_seed(self.seed), spare: None };
        let mut values: Vec<f32> = (0..count).map(|_| (normals.next() * std) as f32).collect();
        if self.role == Role::Qkv {
            values[..count / 3 * 2].iter_mut().for_each(|x| *x *= SHARPEN_QK as f32);
        }
        values
    }
}

impl StView for Draw {
    fn dtype(&self) -> StDtype {
        match self.dtype {
            Dtype::F32 => StDtype::F32,
            Dtype::Bf16 => StDtype::BF16,
            Dtype::F16 => StDtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.spec.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.values();
        Cow::Owned(match self.dtype {
            Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::Bf16 => {
                values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect()
            }
            Dtype::F16 => {
                values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect()
            }
        })
    }

    fn data_len(&self) -> usize {
        self.elements() * self.dtype.size_bytes()
    }
}

/// Standard normals by Box and Muller, redrawn beyond [`CUTOFF`].
struct TruncatedNormal {
    rng: fastrand::Rng,
    spare: Option<f64>,
}

impl TruncatedNormal {
    fn next(&mut self) -> f64 {
        loop {
            let x = self.spare.take().unwrap_or_else(|| {
                let radius = (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * self.rng.f64()).sin_cos();
                self.spare = Some(radius * sin);
                radius * cos
            });
            if x.abs() <= CUTOFF {
                return x;
            }
        }
    }
}
