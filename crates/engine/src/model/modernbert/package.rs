//! Small presets that are whole packages: a model with the files beside it that a router's models have.
//!
//! Each has random weights, a small vocabulary of Gemma's kind (`sample_tokenizer.json`, written by
//! `python/goldens/exit_goldens.py`) and, by its kind, an operating point or exits. They show formats and load tests;
//! their answers mean nothing.

use serde_json::{Map, Value, json};

use super::architecture::Role;
use super::draw::Draw;
use super::init::InitHead;
use crate::checkpoint::TensorSpec;
use crate::dtype::Dtype;
use crate::error::LoadError;

pub(super) const TOKENIZER: &[u8] = include_bytes!("sample_tokenizer.json");
pub(super) const TOKENIZER_CONFIG: &[u8] = br#"{"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
"#;
/// Ids of [`TOKENIZER`].
pub(super) const VOCAB_SIZE: usize = 512;

/// The kinds of package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Package {
    /// Independent scores of labels, with a threshold each, read in windows.
    Scores,
    /// Labels of an answer's tokens beside its context, with one threshold.
    Grounded,
    /// Entities.
    Tags,
    /// Vectors after some of the layers.
    Exits,
    /// Scores of pairs after some of the layers.
    RerankerExits,
}

const SCORES: [&str; 4] = ["violence", "weapons", "self_harm", "privacy"];
const THRESHOLDS: [f64; 4] = [0.45, 0.5, 0.55, 0.6];
const GROUNDED: [&str; 2] = ["supported", "hallucinated"];
const TAGS: [&str; 5] = ["O", "B-PERSON", "I-PERSON", "B-EMAIL", "I-EMAIL"];
/// Of windows, and of their overlap, special tokens included.
const WINDOW: [usize; 2] = [64, 16];

impl Package {
    /// Returns the head, with its labels.
    pub(super) fn head(self) -> InitHead {
        let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Package::Scores => InitHead::Sequence(labels(&SCORES)),
            Package::Grounded => InitHead::Token(labels(&GROUNDED)),
            Package::Tags => InitHead::Token(labels(&TAGS)),
            Package::Exits | Package::RerankerExits => InitHead::Base,
        }
    }

    /// Returns the keys that `config.json` has besides those of every model.
    pub(super) fn config_keys(self) -> Map<String, Value> {
        let own = match self {
            Package::Scores => json!({"problem_type": "multi_label_classification"}),
            Package::Grounded | Package::Tags => json!({}),
            Package::Exits | Package::RerankerExits => {
                json!({"representation_contract": self.contract()})
            }
        };
        let special =
            json!({"bos_token_id": 2, "eos_token_id": 1, "cls_token_id": 2, "sep_token_id": 1});
        [special, own]
            .into_iter()
            .filter_map(|keys| if let Value::Object(keys) = keys { Some(keys) } else { None })
            .flatten()
            .collect()
    }

    /// Returns `representation_contract`.
    fn contract(self) -> Value {
        match self {
            Package::RerankerExits => json!({
                "version": 1,
                "pooling": "cls",
                "intermediate_normalization": "final_norm",
                "final_normalization": "final_norm",
                "head_dtype": "float32",
            }),
            _ => json!({
                "version": 1,
                "intermediate_normalization": "none",
                "final_normalization": "final_norm",
                "pooling": "attention_mask_mean",
                "pooling_accumulation_dtype": "float32",
                "truncate_before_l2_normalize": true,
            }),
        }
    }

    /// Returns the files beside config, weights and tokenizer, for a model of these sizes.
    ///
    /// # Errors
    /// [`LoadError::Weights`] if the scorers cannot be laid out.
    pub(super) fn files(
        self,
        layers: usize,
        hidden_size: usize,
        seed: u64,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, LoadError> {
        let json = |name, value: Value| (name, format!("{value:#}\n").into_bytes());
        let mut files = vec![("special_tokens_map.json", TOKENIZER_CONFIG.to_vec())];
        match self {
            Package::Scores | Package::Grounded => {
                files.push(json("operating_point.json", self.operating_point()));
            }
            Package::Tags => {}
            Package::Exits => {
                let module = |n: usize, path: &str, class: &str| {
                    let class = format!("sentence_transformers.models.{class}");
                    json!({"idx": n, "name": n.to_string(), "path": path, "type": class})
                };
                let modules = json!([
                    module(0, "", "Transformer"),
                    module(1, "1_Pooling", "Pooling"),
                    module(2, "2_Normalize", "Normalize"),
                ]);
                let pooling = json!({"word_embedding_dimension": hidden_size, "pooling_mode_mean_tokens": true});
                files.push(json("modules.json", modules));
                files.push(json("1_Pooling/config.json", pooling));
                files.push(json("matryoshka_config.json", self.layout(layers, hidden_size)));
            }
            Package::RerankerExits => {
                files.push(json("matryoshka_config.json", self.layout(layers, hidden_size)));
                let scorers = scorers(layers, hidden_size, seed)?;
                files.push(("classification_heads.safetensors", scorers));
            }
        }
        Ok(files)
    }

    /// Returns `operating_point.json`.
    fn operating_point(self) -> Value {
        let [window, overlap] = WINDOW;
        match self {
            Package::Grounded => json!({
                "input_pair": ["User request: {question}\n\n{context}", "answer"],
                "token_threshold": 0.5,
                "threshold_comparison": "strictly_greater",
                "label2id": {"supported": 0, "hallucinated": 1},
                "max_input_tokens": 8192,
                "answer_offsets": "Unicode code points",
            }),
            _ => json!({
                "score_type": "independent_sigmoid",
                "comparison": "score >= threshold",
                "labels": SCORES,
                "thresholds": THRESHOLDS,
                "input_policy": {
                    "strategy": "overlapping_content_windows",
                    "window_tokens_including_special_tokens": window,
                    "overlap_content_tokens": overlap,
                    "max_document_tokens_including_special_tokens": 32768,
                },
            }),
        }
    }

    /// Returns `matryoshka_config.json`.
    fn layout(self, layers: usize, hidden_size: usize) -> Value {
        json!({
            "layer_indices": exit_layers(layers),
            "dim_indices": widths(hidden_size),
            "hidden_size": hidden_size,
            "num_layers": layers,
            "pooling_strategy": if self == Package::RerankerExits { "cls" } else { "mean" },
        })
    }
}

/// Returns the exits: after a third and two thirds of the layers, and after all.
fn exit_layers(layers: usize) -> [usize; 3] {
    [layers / 3, 2 * layers / 3, layers]
}

/// Returns the widths: all, a half and a quarter.
fn widths(hidden_size: usize) -> [usize; 3] {
    [hidden_size, hidden_size / 2, hidden_size / 4]
}

/// Draws one scorer per exit.
fn scorers(layers: usize, hidden_size: usize, seed: u64) -> Result<Vec<u8>, LoadError> {
    let mut tensors: Vec<(String, Draw)> = Vec::new();
    for layer in exit_layers(layers) {
        for width in widths(hidden_size) {
            let inner = width / 2;
            let parts = [
                ("0.weight", vec![inner, width], Role::Classifier),
                ("0.bias", vec![inner], Role::Bias),
                ("3.weight", vec![1, inner], Role::Classifier),
                ("3.bias", vec![1], Role::Bias),
            ];
            for (part, shape, role) in parts {
                let name = format!("{layer}.{width}.{part}");
                let seed =
                    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_sub(1 + tensors.len() as u64);
                let spec = TensorSpec { name: name.clone(), shape };
                tensors.push((name, Draw { spec, role, seed, dtype: Dtype::F32, layers }));
            }
        }
    }
    safetensors::serialize(tensors, None).map_err(|error| LoadError::Weights {
        model: "classification_heads.safetensors".into(),
        reason: format!("cannot be laid out: {error:?}"),
    })
}
