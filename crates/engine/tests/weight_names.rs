//! Names of tensors as wrappers save them: the model is the one that was wrapped.

use std::borrow::Cow;

use bigbatch_engine::{Checkpoint, Dtype, Init, InitHead, Model, Preset, RopeOverride};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::json;

fn plain() -> Checkpoint {
    let preset = Preset::named("random").unwrap();
    let (tokenizer, tokenizer_config) = bigbatch_models::tokenizer_files();
    let head = InitHead::Sequence(vec!["no".into(), "yes".into()]);
    let init = Init { preset, head, seed: 0, dtype: Dtype::F32 };
    init.checkpoint("plain", tokenizer.into(), tokenizer_config.into()).unwrap()
}

/// The plain model with tensors renamed, and in as many files as `rename` gives numbers.
fn renamed(rename: impl Fn(&str) -> Vec<(usize, String)>) -> Checkpoint {
    let plain = plain();
    let bytes = plain.require("model.safetensors").unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut shards: Vec<Vec<(String, TensorView<'_>)>> = vec![vec![], vec![]];
    for (name, view) in tensors.tensors() {
        for (shard, new) in rename(&name) {
            shards[shard].push((new, view.clone()));
        }
    }
    let mut files: Vec<(String, Cow<'static, [u8]>)> =
        ["config.json", "tokenizer.json", "tokenizer_config.json"]
            .map(|name| (name.to_owned(), plain.require(name).unwrap()))
            .into();
    let file = |number: usize| format!("model-{:05}-of-00002.safetensors", number + 1);
    let mut weight_map = serde_json::Map::new();
    for (number, tensors) in shards.into_iter().enumerate() {
        let names = tensors.iter().map(|(name, _)| (name.clone(), json!(file(number))));
        weight_map.extend(names);
        let bytes = safetensors::serialize(tensors, None).unwrap();
        files.push((file(number), bytes.into()));
    }
    let index = json!({ "metadata": {}, "weight_map": weight_map }).to_string();
    files.push(("model.safetensors.index.json".into(), index.into_bytes().into()));
    Checkpoint::memory("renamed", files)
}

fn load(checkpoint: &Checkpoint) -> Result<Model, String> {
    Model::load(checkpoint, RopeOverride::Checkpoint).map_err(|error| error.to_string())
}

#[test]
fn wrapped_models_are_the_models_in_them() {
    let expected = load(&plain()).unwrap();
    let all =
        |prefix: &'static str| move |name: &str| vec![(name.len() % 2, format!("{prefix}{name}"))];
    let bare = |name: &str| name.strip_prefix("model.").unwrap_or(name).to_owned();
    let wrappings: [(&str, Checkpoint); 9] = [
        ("torch.compile", renamed(all("_orig_mod."))),
        ("DataParallel", renamed(all("module."))),
        ("compiled, then parallel", renamed(all("module._orig_mod."))),
        ("parallel, then compiled", renamed(all("_orig_mod.module."))),
        ("a module's attribute", renamed(all("model."))),
        ("all of them", renamed(all("model._orig_mod.module.model."))),
        ("without model.", renamed(move |name| vec![(0, bare(name))])),
        (
            "each layer compiled",
            renamed(|name| vec![(0, name.replace(".attn.", "._orig_mod.attn."))]),
        ),
        (
            "each layer of FSDP with checkpoints",
            renamed(|name| {
                let wrapped = "._fsdp_wrapped_module._checkpoint_wrapped_module.mlp.";
                vec![(1, name.replace(".mlp.", wrapped))]
            }),
        ),
    ];
    for (what, checkpoint) in wrappings {
        let model = load(&checkpoint).unwrap_or_else(|error| panic!("{what}: {error}"));
        let of = |model: &Model| -> Vec<(String, Vec<u8>)> {
            model.weights.iter().map(|(name, t)| (name.into(), t.read().unwrap().into())).collect()
        };
        assert_eq!(of(&model).len(), expected.architecture.tensors.len(), "{what}");
        assert!(of(&model) == of(&expected), "{what}: other tensors");
    }
}

#[test]
fn two_tensors_of_one_name_are_refused() {
    let twice = |name: &str| match name {
        "head.dense.weight" => vec![(0, name.into()), (1, format!("_orig_mod.{name}"))],
        name => vec![(0, name.into())],
    };
    let error = load(&renamed(twice)).err().unwrap();
    for part in ["head.dense.weight", "_orig_mod.head.dense.weight", "remove one"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_name_inside_a_wrapper_is_still_checked() {
    let stray = |name: &str| match name {
        "head.dense.weight" => vec![(0, name.into()), (1, "_orig_mod.extra.weight".into())],
        name => vec![(0, name.into())],
    };
    let error = load(&renamed(stray)).err().unwrap();
    assert!(error.contains("extra.weight has no place"), "{error}");
    // Buffers that older versions of transformers saved; they are computed from the config.
    let buffer = |name: &str| match name {
        "head.norm.weight" => vec![(0, name.into()), (1, "model.rotary_emb.inv_freq".into())],
        name => vec![(0, name.into())],
    };
    assert_eq!(load(&renamed(buffer)).err(), None);
}
