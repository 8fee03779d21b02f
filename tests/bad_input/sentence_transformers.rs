//! Files of sentence-transformers that ask for what is not computed, or name what is not there: each error names the
//! file and the key.

use std::path::Path;

use serde_json::{Value, json};

use crate::Rule;
use crate::support::{Scratch, bigbatch, text};

/// Writes files below a directory.
fn put(dir: &Path, files: &Value) {
    for (name, content) in files.as_object().expect("an object") {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("it is below")).expect("writable");
        std::fs::write(path, content.to_string()).expect("writable");
    }
}

fn modules(more: &[(&str, &str)]) -> Value {
    let listed = [("Transformer", ""), ("Pooling", "1_Pooling")].iter().chain(more);
    let module = |(idx, (kind, path)): (usize, &(&str, &str))| {
        let class = if kind.contains('.') {
            (*kind).into()
        } else {
            format!("sentence_transformers.models.{kind}")
        };
        json!({"idx": idx, "name": idx.to_string(), "path": path, "type": class})
    };
    listed.enumerate().map(module).collect()
}

/// Runs `embed` on a checkpoint with each of the files in turn.
fn check(rows: &[(Value, &str)], options: &[&str]) {
    let scratch = Scratch::new();
    let plain = scratch.checkpoint("plain", &["--head", "base"]);
    let mut rule = Rule::default();
    for (n, (files, says)) in rows.iter().enumerate() {
        let dir = scratch.path(&n.to_string());
        std::fs::create_dir(&dir).expect("writable");
        for entry in std::fs::read_dir(&plain).expect("it was written") {
            let from = entry.expect("a file").path();
            let to = dir.join(from.file_name().expect("a file has a name"));
            std::fs::copy(from, to).expect("writable");
        }
        put(&dir, &json!({"modules.json": modules(&[]), "1_Pooling/config.json": {}}));
        put(&dir, files);
        let run = bigbatch(["embed", "--model", text(&dir), "a text"].iter().chain(options));
        rule.check(&format!("{files:.120}"), run, says);
    }
    rule.assert_held();
}

#[test]
fn modules_that_are_not_computed_or_not_there() {
    let dense = |more: Value| {
        let mut keys =
            json!({"in_features": 128, "out_features": 8, "activation_function": "torch.nn.Tanh"});
        keys.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        json!({"modules.json": modules(&[("Dense", "2_Dense")]), "2_Dense/config.json": keys})
    };
    let listed = |more: &[(&str, &str)]| json!({"modules.json": modules(more)});
    let entry = |idx: i64, kind: &str, path: &str| json!({"idx": idx, "name": path, "path": path, "type": format!("sentence_transformers.models.{kind}")});
    let only = |list: Value| json!({ "modules.json": list });
    let transformer = || entry(0, "Transformer", "");
    check(
        &[
            (
                listed(&[("LayerNorm", "2_LayerNorm")]),
                "modules.json: it has sentence_transformers.models.LayerNorm",
            ),
            (listed(&[("custom.Pooling", "2")]), "modules.json: it has custom.Pooling"),
            (listed(&[("Pooling", "2_Pooling")]), "two Pooling"),
            (listed(&[("Transformer", "2_Transformer")]), "two Transformers"),
            (listed(&[("Dense", "2_Dense")]), "2_Dense/config.json: the file is missing"),
            (
                listed(&[("Dense", "../2_Dense")]),
                "the path '../2_Dense' is not a folder of the checkpoint",
            ),
            (listed(&[("Dense", "/2_Dense")]), "the path '/2_Dense'"),
            (only(json!([])), "names no module"),
            (only(json!([entry(0, "Pooling", "1_Pooling")])), "must begin with a Transformer"),
            (only(json!([transformer()])), "no Pooling follows"),
            (
                only(json!([entry(0, "Transformer", "0_Transformer")])),
                "the Transformer is in 0_Transformer",
            ),
            (
                only(json!([entry(1, "Transformer", ""), entry(0, "Pooling", "1_Pooling")])),
                "order of their idx",
            ),
            (only(json!([transformer(), entry(1, "Pooling", "")])), "the name ''"),
            (
                only(json!([
                    transformer(),
                    entry(1, "Normalize", "n"),
                    entry(2, "Pooling", "1_Pooling")
                ])),
                "no Pooling",
            ),
            (
                only(json!([transformer(), entry(1, "Pooling", "elsewhere")])),
                "elsewhere/config.json: the file is missing",
            ),
            (dense(json!({})), "2_Dense/model.safetensors is missing"),
            (dense(json!({"in_features": 64})), "2_Dense/config.json: in_features is 64"),
            (dense(json!({"in_features": null})), "in_features is missing"),
            (
                dense(json!({"activation_function": "torch.nn.modules.activation.Mish"})),
                "activation_function is torch",
            ),
            (dense(json!({"activation_function": "my.Tanh"})), "activation_function is my.Tanh"),
            (
                dense(json!({"module_input_name": "token_embeddings"})),
                "module_input_name is 'token_embeddings'",
            ),
            (dense(json!({"scale": 2})), "2_Dense/config.json: scale is 2"),
            (
                json!({"modules.json": modules(&[("Normalize", "2")]), "2/config.json": {"module_input_name": "token_embeddings"}}),
                "2/config.json: module_input_name",
            ),
        ],
        &[],
    );
}

#[test]
fn settings_that_are_not_computed() {
    let pooling = |keys: Value| json!({ "1_Pooling/config.json": keys });
    let bert = |keys: Value| json!({ "sentence_bert_config.json": keys });
    let root = |keys: Value| json!({ "config_sentence_transformers.json": keys });
    check(
        &[
            (
                pooling(json!({"word_embedding_dimension": 64})),
                "1_Pooling/config.json: word_embedding_dimension is 64",
            ),
            (pooling(json!({"embedding_dimension": 64})), "embedding_dimension is 64"),
            (pooling(json!({"pooling_mode": "lasttoken"})), "pooling_mode is 'lasttoken'"),
            (pooling(json!({"pooling_mode": ["cls", "mean"]})), "one of them"),
            (pooling(json!({"pooling_mode_lasttoken": true})), "pooling_mode_lasttoken"),
            (
                pooling(json!({"pooling_mode": "cls", "include_prompt": false})),
                "include_prompt is false",
            ),
            (pooling(json!({"pooling_mode_new": true})), "pooling_mode_new is true"),
            (bert(json!({"max_seq_length": 0})), "sentence_bert_config.json: max_seq_length is 0"),
            (bert(json!({"do_lower_case": "yes"})), "do_lower_case is \"yes\""),
            (bert(json!({"transformer_task": "fill-mask"})), "transformer_task is 'fill-mask'"),
            (bert(json!({"module_output_name": "all_layer_embeddings"})), "module_output_name"),
            (bert(json!({"modality_config": {"message": {}}})), "modality_config"),
            (
                bert(json!({"processing_kwargs": {"text": {"max_length": 8}}})),
                "processing_kwargs has text",
            ),
            (bert(json!({"query_length": 32})), "query_length is 32"),
            (bert(json!({"query_expansion": {"length": 32}})), "query_expansion has length"),
            (
                bert(json!({"tokenizer_args": {"add_prefix_space": true}})),
                "tokenizer_args has add_prefix_space",
            ),
            (
                bert(json!({"model_args": {"quantization_config": {}}})),
                "model_args has quantization_config",
            ),
            (
                bert(json!({"config_kwargs": {"local_attention": 64}})),
                "config_kwargs has local_attention",
            ),
            (
                json!({"sentence_xlnet_config.json": {"max_seq_length": -1}}),
                "sentence_xlnet_config.json: max_seq",
            ),
            (
                json!({"tokenizer_config.json": {"model_max_length": 0}}),
                "tokenizer_config.json: model_max_length",
            ),
            (root(json!({"model_type": "SparseEncoder"})), "model_type is SparseEncoder"),
            (root(json!({"similarity_fn_name": "maxsim"})), "similarity_fn_name is 'maxsim'"),
            (root(json!({"truncate_dim": 0})), "truncate_dim"),
            (root(json!({"default_prompt_name": "query"})), "default_prompt_name is 'query'"),
        ],
        &[],
    );
    let left_out = json!({"1_Pooling/config.json": {"include_prompt": false},
        "config_sentence_transformers.json": {"prompts": {"a": "one: "}, "default_prompt_name": "a"}});
    check(&[(left_out.clone(), "include_prompt is false")], &["--chunk"]);
    check(&[(left_out.clone(), "the model's prompts are a")], &["--default-prompt-name=b"]);
    check(&[(left_out, "--max-seq-length: it is 9000000")], &["--max-seq-length=9000000"]);
}

#[test]
fn activations_of_rerankers_that_are_not_computed() {
    let scratch = Scratch::new();
    let dir = scratch.checkpoint("model", &["--head", "classify", "--labels", "one"]);
    let config: Value =
        serde_json::from_slice(&std::fs::read(dir.join("config.json")).expect("just made"))
            .expect("it is JSON");
    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        json!({"config.json": config, "config_sentence_transformers.json": {}})
    };
    let root =
        |keys: Value| json!({"config.json": config, "config_sentence_transformers.json": keys});
    let mut rule = Rule::default();
    for (files, says) in [
        (
            with("sentence_transformers", json!({"activation_fn": "torch.nn.ReLU"})),
            "sentence_transformers.activation_fn is",
        ),
        (
            with("sbert_ce_default_activation_function", json!("my.Own")),
            "config.json: sbert_ce_default_activation",
        ),
        (
            root(json!({"model_type": "CrossEncoder", "activation_fn": "my.Own"})),
            "activation_fn is my.Own",
        ),
    ] {
        put(&dir, &files);
        rule.check(says, bigbatch(["classify", "--model", text(&dir), "a text"]), says);
    }
    rule.assert_held();
}
