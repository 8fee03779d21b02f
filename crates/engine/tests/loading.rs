//! Side files of a checkpoint: each setting in them is applied or rejected, never ignored.

use std::borrow::Cow;

use bigbatch_engine::{
    Checkpoint, Config, Dtype, Init, InitHead, Input, Model, Preset, RopeOverride, Scaling,
    Scoring, Tokenizer, Truncate,
};
use serde_json::{Value, json};

/// A small checkpoint whose config has `more`, with other files beside it.
fn checkpoint(head: InitHead, more: Value, files: &[(&str, Value)]) -> Checkpoint {
    let preset = Preset::named("random").unwrap();
    let (tokenizer, tokenizer_config) = bigbatch_models::tokenizer_files();
    let init = Init { preset, head, seed: 0, dtype: Dtype::F32 };
    let made = init.checkpoint("made", tokenizer.into(), tokenizer_config.into()).unwrap();
    let mut config: Value = serde_json::from_slice(&made.require("config.json").unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let held = |name: &str| (name.to_owned(), made.require(name).unwrap());
    let mut all = vec![("config.json".to_owned(), Cow::Owned(config.to_string().into_bytes()))];
    all.extend(["model.safetensors", "tokenizer.json", "tokenizer_config.json"].map(held));
    let written = |(name, json): &(&str, Value)| {
        ((*name).to_owned(), Cow::Owned(json.to_string().into_bytes()))
    };
    all.extend(files.iter().map(written));
    Checkpoint::memory("made", all)
}

fn load(checkpoint: &Checkpoint) -> Result<Model, String> {
    Model::load(checkpoint, RopeOverride::Checkpoint).map_err(|error| error.to_string())
}

#[test]
fn scores_are_what_the_problem_is() {
    let scoring = |labels: usize, problem: Value| {
        let head = InitHead::Sequence((0..labels).map(|label| label.to_string()).collect());
        load(&checkpoint(head, json!({ "problem_type": problem }), &[])).unwrap().scoring()
    };
    assert_eq!(scoring(3, Value::Null), Scoring::Softmax);
    assert_eq!(scoring(3, json!("single_label_classification")), Scoring::Softmax);
    assert_eq!(scoring(3, json!("multi_label_classification")), Scoring::Sigmoid);
    assert_eq!(scoring(3, json!("regression")), Scoring::None);
    assert_eq!(scoring(1, Value::Null), Scoring::Sigmoid);
    assert_eq!(scoring(1, json!("single_label_classification")), Scoring::Sigmoid);
    assert_eq!(scoring(1, json!("regression")), Scoring::None);
}

#[test]
fn what_the_caller_says_of_positions_is_done() {
    let scaling = |rope_scaling: Value, wanted: RopeOverride| {
        let more = json!({ "rope_scaling": rope_scaling });
        let made = checkpoint(InitHead::Base, more, &[]);
        let config = made.require("config.json").unwrap();
        Config::parse(&config, None, wanted).map(|config| config.rope_full.scaling)
    };
    let yarn = |scaling: &Scaling, stretch: f64| matches!(scaling, Scaling::Yarn { factor, .. } if *factor == stretch);
    let old = || json!({"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 256});
    assert!(scaling(old(), RopeOverride::Checkpoint).is_err(), "transformers would ignore it");
    assert_eq!(scaling(old(), RopeOverride::Plain).unwrap(), Scaling::None);
    assert!(yarn(&scaling(old(), RopeOverride::Yarn).unwrap(), 2.0));
    let linear = || json!({"rope_type": "linear", "factor": 2.0});
    assert_eq!(
        scaling(linear(), RopeOverride::Checkpoint).unwrap(),
        Scaling::Linear { factor: 2.0 }
    );
    assert_eq!(scaling(linear(), RopeOverride::Plain).unwrap(), Scaling::None);
    assert!(yarn(&scaling(linear(), RopeOverride::Yarn).unwrap(), 4.0));
}

#[test]
fn offsets_are_trimmed_once() {
    let made = checkpoint(InitHead::Token(vec!["O".into()]), json!({}), &[]);
    let mut tokenizer: Value =
        serde_json::from_slice(&made.require("tokenizer.json").unwrap()).unwrap();
    // What RoBERTa's has: the space before a word is part of its token and not of its place.
    let end = |token: &str| json!([token, 1]);
    tokenizer["post_processor"] = json!({"type": "RobertaProcessing", "sep": end("[SEP]"),
        "cls": end("[CLS]"), "trim_offsets": true, "add_prefix_space": false});
    let bytes = tokenizer.to_string().into_bytes();
    let file = ("tokenizer.json".to_owned(), Cow::Owned(bytes));
    let tokenizer = Tokenizer::open(&Checkpoint::memory("made", vec![file])).unwrap();
    let text = "Call John now";
    let spans = tokenizer.encode_bare(text).unwrap().spans;
    let starts: Vec<usize> = spans.iter().map(|span| span.start).collect();
    assert!(starts.contains(&5) && starts.contains(&10), "{spans:?}");
    let encoded = tokenizer.encode(&Input::Text(text.into()), 64, Truncate::No).unwrap();
    assert_eq!(encoded.spans[1..encoded.spans.len() - 1], spans);
    let tokens = tokenizer.tokens(text, true).unwrap();
    let piece_spans: Vec<_> =
        tokenizer.pieces(text, &tokens).filter_map(|piece| piece.span).collect();
    assert_eq!(piece_spans, spans);
    assert_eq!(tokenizer.count(text).unwrap(), encoded.ids.len());
}
