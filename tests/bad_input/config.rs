//! `config.json` and its side files with values that are invalid or that the engine does not compute.

use std::path::Path;

use serde_json::{Value, json};

use crate::Rule;
use crate::support::{Scratch, bigbatch, text};

fn read(path: &Path) -> Value {
    let json = std::fs::read(path).expect("the checkpoint was just made");
    serde_json::from_slice(&json).expect("it is JSON")
}

/// Runs `classify` once per case on a checkpoint with these top-level keys set; null removes a key.
fn cases(cases: &[(Value, &str)]) {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "classify"]);
    let good = read(&dir.join("config.json"));
    let mut rule = Rule::default();
    for (changes, says) in cases {
        let mut config = good.clone();
        let keys = config.as_object_mut().expect("it is an object");
        for (key, value) in changes.as_object().expect("cases are objects") {
            match value {
                Value::Null => keys.shift_remove(key),
                value => keys.insert(key.clone(), value.clone()),
            };
        }
        scratch.file("model/config.json", config.to_string());
        let run = bigbatch(["classify", "--model", text(&dir), "a text"]);
        rule.check(&changes.to_string(), run, says);
    }
    rule.assert_held();
}

#[test]
fn sizes_out_of_range() {
    let keys = [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "local_attention",
        "global_attn_every_n_layers",
        "sliding_window",
    ];
    let values = [json!(0), json!(-1), json!(1_i64 << 40), json!(2.5), json!("768"), json!(1e300)];
    let mut table = Vec::new();
    for key in keys {
        for value in &values {
            table.push((json!({ key: value }), key));
        }
    }
    cases(&table);
}

#[test]
fn sizes_that_contradict_each_other() {
    cases(&[
        (json!({"num_attention_heads": 3}), "hidden_size 128 does not divide into 3 heads"),
        (json!({"num_attention_heads": 128}), "heads of even size"),
        (json!({"head_dim": 32}), "head_dim differs"),
        (json!({"hidden_size": 256}), "the config asks for"),
        (json!({"vocab_size": 5000}), "the config asks for [5000, 128]"),
        (json!({"num_hidden_layers": 7}), "layers.6"),
        (json!({"num_hidden_layers": 5}), "layers.5"),
        (json!({"layer_types": ["full_attention"]}), "layer_types names 1 layers"),
        (json!({"norm_bias": true}), "norm.bias is missing"),
        (json!({"id2label": {"0": "a", "1": "b", "2": "c"}}), "id2label"),
        (json!({"num_labels": 3}), "num_labels is 3, id2label names 2 labels"),
        (json!({"num_labels": 3, "id2label": null}), "has 2 rows, config.json names 3 labels"),
        (json!({"num_labels": -1}), "num_labels is -1"),
        (json!({"id2label": {"0": "a", "2": "b"}}), "without gaps"),
        (json!({"id2label": {"first": "a", "1": "b"}}), "'first'"),
    ]);
}

#[test]
fn values_that_the_engine_does_not_compute() {
    let layer_types = ["full_attention", "linear_attention", "full_attention"].repeat(2);
    cases(&[
        (json!({"model_type": "bert"}), "model_type is bert; bigbatch runs ModernBERT only"),
        (json!({"model_type": "xlm-roberta"}), "model_type is xlm-roberta; bigbatch runs"),
        (json!({"model_type": "modernbert-decoder"}), "model_type is modernbert-decoder"),
        (json!({"model_type": null}), "it has no model_type; bigbatch runs ModernBERT only"),
        (json!({"architectures": ["BertModel"]}), "architecture 'BertModel' is not known"),
        (json!({"architectures": []}), "architectures"),
        (json!({"architectures": ["ModernBertModel", "ModernBertForMaskedLM"]}), "exactly one"),
        (json!({"architectures": null}), "architectures"),
        (json!({"hidden_activation": "prelu"}), "hidden_activation is 'prelu'; known are gelu,"),
        (json!({"hidden_activation": "SiLU"}), "hidden_activation is 'SiLU'"),
        (json!({"classifier_activation": "xielu"}), "classifier_activation is 'xielu'; known"),
        (json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}), "quantized (gptq)"),
        (json!({"quantization_config": {"load_in_8bit": true}}), "quantization_config"),
        (json!({"per_layer_config": {"1": {"mlp_bias": true}}}), "per_layer_config is not"),
        (json!({"classifier_pooling": "max"}), "classifier_pooling is 'max'"),
        (json!({"problem_type": "ranking"}), "problem_type 'ranking'"),
        (json!({"layer_types": layer_types}), "linear_attention"),
        (json!({"norm_eps": 0.0}), "norm_eps is 0"),
        (json!({"norm_eps": -1e-5}), "norm_eps"),
    ]);
}

#[test]
fn rotary_scaling_that_the_engine_does_not_compute() {
    let yarn = |factor: Value| json!({"rope_scaling": {"rope_type": "yarn", "factor": factor}});
    let yarn_over = |original: Value| {
        let length = "original_max_position_embeddings";
        json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, length: original}})
    };
    let new = |full: Value| {
        let sliding = json!({"rope_type": "default", "rope_theta": 1e4});
        let both = json!({"full_attention": full, "sliding_attention": sliding});
        json!({"rope_scaling": null, "rope_parameters": both})
    };
    cases(&[
        (json!({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}), "longrope"),
        (json!({"rope_scaling": {"rope_type": 7, "factor": 4.0}}), "rope_type"),
        (json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}), "rope_type"),
        (json!({"rope_scaling": {"rope_type": "yarn"}}), "factor"),
        (json!({"rope_scaling": "yarn"}), "config.json"),
        (yarn(json!(0)), "factor is 0"),
        (yarn(json!(-4.0)), "factor is -4"),
        (yarn(json!(0.5)), "factor"),
        (yarn(json!("four")), "factor"),
        (json!({"global_rope_theta": 0}), "rope_theta"),
        (yarn_over(json!(1e18)), "original_max_position_embeddings is 1"),
        (yarn_over(json!(0.5)), "original_max_position_embeddings is 0.5"),
        (json!({"local_rope_theta": -10000.0}), "rope_theta"),
        (new(json!({"rope_type": "llama3", "rope_theta": 1e4, "factor": 2.0})), "llama3"),
        (new(json!({"rope_type": "yarn", "rope_theta": 1e4})), "factor"),
        (new(json!({"rope_type": "linear", "rope_theta": 1e4})), "factor"),
        (new(json!("default")), "full_attention"),
    ]);
}

#[test]
fn damaged_files_and_side_files() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "masked-lm"]);
    std::fs::create_dir(dir.join("1_Pooling")).expect("writable");
    // training_config.json is read only where config.json declares no scaling.
    let mut plain = read(&dir.join("config.json"));
    plain["rope_scaling"] = Value::Null;
    let good = plain.to_string();
    scratch.file("model/config.json", &good);
    let half = &good[..good.len() / 2];
    let deep = "[".repeat(100_000);
    let mut rule = Rule::default();
    let table = [
        ("config.json", "", "config.json"),
        ("config.json", half, "config.json"),
        ("config.json", "[]", "config.json"),
        ("config.json", "null", "config.json"),
        ("config.json", "{}", "model_type"),
        ("config.json", &deep, "config.json"),
        ("training_config.json", "{", "training_config.json"),
        ("training_config.json", r#"{"rope_scaling_type": "ntk"}"#, "rope_scaling_type 'ntk'"),
        (
            "training_config.json",
            r#"{"rope_scaling_type": "yarn", "model_max_length": -1}"#,
            "model_max_length is -1",
        ),
        (
            "training_config.json",
            r#"{"rope_scaling_type": "yarn", "model_max_length": 16}"#,
            "below the original",
        ),
        ("1_Pooling/config.json", "{", "1_Pooling/config.json"),
        ("1_Pooling/config.json", r#"{"pooling_mode": "max"}"#, "pooling_mode is 'max'"),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_max_tokens": true}"#,
            "pooling_mode_max_tokens",
        ),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
            "one of them",
        ),
    ];
    for (file, content, says) in table {
        let path = dir.join(file);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, content).expect("writable");
        let run = bigbatch(["embed", "--model", text(&dir), "a text"]);
        rule.check(&format!("{file}: {content:.60}"), run, says);
        match before {
            Some(bytes) => std::fs::write(&path, bytes).expect("writable"),
            None => std::fs::remove_file(&path).expect("writable"),
        }
    }
    std::fs::remove_file(dir.join("config.json")).expect("it is there");
    rule.check("no config.json", bigbatch(["embed", "--model", text(&dir), "x"]), "config.json");
    rule.assert_held();
}
