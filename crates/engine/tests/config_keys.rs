//! Every key of `config.json` that `transformers` reads is read here too, or has no effect on an answer, or is
//! refused where it would have one.
//!
//! `data/config_keys.json` has the keys, found in the source of `transformers` by `python/goldens/config_keys.py`.

use std::collections::{BTreeMap, BTreeSet};

use bigbatch_engine::{Config, RopeOverride};
use serde_json::{Value, json};

/// A classifier's config to which the cases add keys.
fn base() -> Value {
    json!({
        "model_type": "modernbert",
        "architectures": ["ModernBertForSequenceClassification"],
        "num_hidden_layers": 6,
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0},
    })
}

fn parse(key: &str, value: Value) -> Result<Config, String> {
    let mut config = base();
    config[key] = value;
    let json = config.to_string();
    Config::parse(json.as_bytes(), None, RopeOverride::Checkpoint).map_err(|e| e.to_string())
}

fn unchanged() -> Config {
    Config::parse(base().to_string().as_bytes(), None, RopeOverride::Checkpoint).unwrap()
}

/// Keys whose value is part of what is computed, each with a value that is not the default.
fn read() -> Vec<(&'static str, Value)> {
    let plain = json!({"rope_type": "default", "rope_theta": 7e4});
    vec![
        ("architectures", json!(["ModernBertForTokenClassification"])),
        ("attention_bias", json!(true)),
        ("classifier_activation", json!("tanh")),
        ("classifier_bias", json!(true)),
        ("classifier_pooling", json!("mean")),
        ("global_attn_every_n_layers", json!(2)),
        ("global_rope_theta", json!(5e4)),
        ("hidden_activation", json!("silu")),
        ("hidden_size", json!(1536)),
        ("id2label", json!({"0": "no", "1": "yes"})),
        ("intermediate_size", json!(512)),
        ("layer_types", json!(vec!["full_attention"; 6])),
        ("local_attention", json!(64)),
        ("local_rope_theta", json!(5e4)),
        ("max_position_embeddings", json!(4096)),
        ("mlp_bias", json!(true)),
        ("norm_bias", json!(true)),
        ("norm_eps", json!(1e-6)),
        ("num_attention_heads", json!(6)),
        ("num_hidden_layers", json!(4)),
        ("num_labels", json!(3)),
        ("problem_type", json!("regression")),
        ("rope_parameters", json!({"full_attention": plain, "sliding_attention": plain})),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0})),
        ("sliding_window", json!(32)),
        ("vocab_size", json!(300)),
    ]
}

/// Keys that are refused where they have a value by which `transformers` would compute something else.
fn refused() -> Vec<(&'static str, Value)> {
    vec![
        ("configuration_files", json!(["config.5.0.0.json"])),
        ("fusion_config", json!({"patch": true})),
        ("head_dim", json!(32)),
        ("model_type", json!("bert")),
        ("per_layer_config", json!({"0": {"hidden_activation": "relu"}})),
        ("quantization_config", json!({"quant_method": "bitsandbytes", "load_in_8bit": true})),
        ("transformers_weights", json!("other.safetensors")),
    ]
}

/// Keys that change no answer: training (dropouts, initializers, `gradient_checkpointing`), the shape of what
/// `transformers` returns, which kernels it runs, its bookkeeping, ids that the tokenizer puts in, the element
/// type that weights are stored in, and keys that it reads of other models only.
fn inert() -> Vec<(&'static str, Value)> {
    let flag = |key| (key, json!(true));
    let number = |key| (key, json!(3));
    let mut keys = vec![
        ("_attn_implementation", json!("eager")),
        ("_commit_hash", json!("abc")),
        ("_experts_implementation", json!("eager")),
        ("_rope_type_labels", json!(["full_attention"])),
        ("attn_implementation", json!("flash_attention_2")),
        ("auto_map", json!({"AutoModel": "modeling.Other"})),
        ("distributed_config", json!({})),
        ("dtype", json!("bfloat16")),
        ("experts_implementation", json!("eager")),
        ("label2id", json!({"no": 0})),
        ("name_or_path", json!("somebody/some-model")),
        ("partial_rotary_factor", json!(0.5)),
        ("torch_dtype", json!("float16")),
        ("transformers_version", json!("4.48.0")),
    ];
    keys.extend(
        [
            "_attn_was_changed",
            "allow_global_per_layer_attribute_access",
            "deterministic_flash_attn",
            "gradient_checkpointing",
            "is_causal",
            "is_encoder_decoder",
            "output_attentions",
            "output_hidden_states",
            "return_dict",
            "serialize_explicit_per_layer_config",
            "sparse_prediction",
        ]
        .map(flag),
    );
    keys.extend(
        [
            "attention_chunk_size",
            "attention_dropout",
            "bos_token_id",
            "chunk_size_feed_forward",
            "classifier_dropout",
            "cls_token_id",
            "embedding_dropout",
            "eos_token_id",
            "init_std",
            "initializer_cutoff_factor",
            "initializer_factor",
            "initializer_range",
            "mlp_dropout",
            "original_max_position_embeddings",
            "pad_token_id",
            "rope_theta",
            "sep_token_id",
            "sparse_pred_ignore_index",
        ]
        .map(number),
    );
    // Parameters of text generation.
    keys.extend(
        [
            "assistant_confidence_threshold",
            "assistant_lookbehind",
            "bad_words_ids",
            "begin_suppress_tokens",
            "diversity_penalty",
            "do_sample",
            "early_stopping",
            "encoder_no_repeat_ngram_size",
            "encoder_repetition_penalty",
            "epsilon_cutoff",
            "eta_cutoff",
            "exponential_decay_length_penalty",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "length_penalty",
            "max_length",
            "min_length",
            "no_repeat_ngram_size",
            "num_assistant_tokens",
            "num_assistant_tokens_schedule",
            "num_beam_groups",
            "num_beams",
            "num_return_sequences",
            "output_scores",
            "remove_invalid_values",
            "repetition_penalty",
            "return_dict_in_generate",
            "suppress_tokens",
            "target_lookbehind",
            "temperature",
            "top_k",
            "top_p",
            "typical_p",
            "use_cache",
        ]
        .map(number),
    );
    keys
}

/// Keys that only a masked-LM model has a use for.
const OF_MASKED_LM: [(&str, bool); 2] = [("decoder_bias", false), ("tie_word_embeddings", false)];

/// Whether `transformers` accepts null, by key.
fn upstream() -> BTreeMap<String, bool> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/config_keys.json");
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let keys = json["keys"].as_object().unwrap();
    keys.iter().map(|(key, of)| (key.clone(), of["null"].as_bool().unwrap())).collect()
}

#[test]
fn every_key_of_transformers_is_known() {
    let tables = [read(), refused(), inert()];
    let listed = tables.iter().flatten().map(|(key, _)| *key);
    let listed: Vec<&str> = listed.chain(OF_MASKED_LM.map(|(key, _)| key)).collect();
    let known: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(known.len(), listed.len(), "a key stands in one table");
    let upstream = upstream();
    let asked: BTreeSet<&str> = upstream.keys().map(String::as_str).collect();
    let unknown: Vec<&&str> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "transformers reads {unknown:?}; say what becomes of them here");
    let gone: Vec<&&str> = known.difference(&asked).collect();
    assert!(gone.is_empty(), "transformers does not read {gone:?}");
}

#[test]
fn keys_that_are_read_change_what_is_computed() {
    for (key, value) in read() {
        let changed = parse(key, value.clone()).unwrap_or_else(|e| panic!("{key} {value}: {e}"));
        assert_ne!(changed, unchanged(), "{key} {value}");
    }
    for (key, value) in OF_MASKED_LM {
        let config = |value: bool| {
            let json = json!({"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"],
                key: value});
            Config::parse(json.to_string().as_bytes(), None, RopeOverride::Checkpoint).unwrap()
        };
        assert_ne!(config(value), config(!value), "{key}");
    }
}

#[test]
fn keys_without_effect_change_nothing() {
    for (key, value) in inert() {
        assert_eq!(parse(key, value.clone()).as_ref(), Ok(&unchanged()), "{key} {value}");
        assert_eq!(parse(key, Value::Null).as_ref(), Ok(&unchanged()), "{key} null");
    }
}

#[test]
fn keys_that_would_change_an_answer_are_refused_by_name() {
    for (key, value) in refused() {
        let error = parse(key, value.clone()).expect_err(&format!("{key} {value}"));
        assert!(error.starts_with("config.json: ") && error.contains(key), "{key}: {error}");
        // Null is the same as absent, except that a config without its model_type is nothing.
        if key != "model_type" {
            assert_eq!(parse(key, Value::Null).as_ref(), Ok(&unchanged()), "{key} null");
        }
    }
}

#[test]
fn null_is_the_default_where_transformers_says_so_and_else_refused() {
    let upstream = upstream();
    for key in read().iter().map(|(key, _)| *key).chain(OF_MASKED_LM.map(|(key, _)| key)) {
        let parsed = parse(key, Value::Null);
        // Upstream accepts a theta of null and fails when it computes with it; without architectures there is
        // no telling which head the weights have.
        let fails_later = ["global_rope_theta", "local_rope_theta", "architectures"].contains(&key);
        if upstream[key] && !fails_later {
            let mut without = base();
            without.as_object_mut().unwrap().remove(key);
            let json = without.to_string();
            let absent = Config::parse(json.as_bytes(), None, RopeOverride::Checkpoint).unwrap();
            assert_eq!(parsed.as_ref(), Ok(&absent), "{key} null");
        } else {
            let error = parsed.expect_err(&format!("{key} null"));
            assert!(error.contains(key), "{key} null: {error}");
        }
    }
}
