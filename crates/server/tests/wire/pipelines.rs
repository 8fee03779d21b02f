//! `POST /` against the pipelines of `transformers`, whose answers `python/goldens/pipelines.py` wrote, and what
//! is refused of their parameters.

use std::sync::{Arc, LazyLock};

use bigbatch_engine::{
    Checkpoint, Engine, EngineOptions, InitHead, Model, RopeOverride, TaskKind, Tokenizer,
};
use bigbatch_server::{App, Models, Options, ServedModel};
use serde_json::{Value, json};

use crate::common::{LIMIT, labels, post, post_to, served};

const TOLERANCE: f64 = 5e-6;

fn goldens() -> &'static Value {
    static GOLDENS: LazyLock<Value> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../fixtures/transformers-pipelines.json")).unwrap()
    });
    &GOLDENS
}

fn app_of(name: &str, task: TaskKind, change: impl FnOnce(&mut Model)) -> Arc<App> {
    let checkpoint = bigbatch_models::checkpoint(name, task).unwrap();
    let mut model = Model::load(&checkpoint, RopeOverride::Checkpoint).unwrap();
    change(&mut model);
    let mut options = EngineOptions::default();
    options.device.max_batch_tokens = Some(LIMIT);
    options.device.threads = 1;
    let served = ServedModel::new(name, name, Engine::start(model, &options).unwrap());
    App::new(Models::new(vec![served]).unwrap(), Options::default())
}

/// Compares an answer with the pipeline's: scores within the tolerance, all else exactly.
#[track_caller]
fn same(got: &Value, expected: &Value, what: &str) {
    match (got, expected) {
        (Value::Array(got_items), Value::Array(items)) => {
            assert_eq!(got_items.len(), items.len(), "{what}: {got}\n{expected}");
            got_items.iter().zip(items).for_each(|(got, item)| same(got, item, what));
        }
        (Value::Object(got_fields), Value::Object(fields)) => {
            assert_eq!(got_fields.len(), fields.len(), "{what}: {got}\n{expected}");
            fields.iter().for_each(|(key, field)| same(&got[key], field, what));
        }
        (Value::Number(a), Value::Number(b)) if b.is_f64() => {
            let difference = a.as_f64().unwrap() - b.as_f64().unwrap();
            assert!(difference.abs() < TOLERANCE, "{what}: {got}, not {expected}");
        }
        _ => assert_eq!(got, expected, "{what}"),
    }
}

#[tokio::test]
async fn entities_are_those_of_the_pipeline() {
    let own = app_of("pii", TaskKind::Tag, |_| {});
    let wordpiece = app_of("pii", TaskKind::Tag, |model| {
        let files = [
            ("tokenizer.json", goldens()["wordpiece"].to_string()),
            ("tokenizer_config.json", json!({"unk_token": "[UNK]"}).to_string()),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.into_bytes().into()));
        model.tokenizer = Tokenizer::open(&Checkpoint::memory("wordpiece", files.into())).unwrap();
    });
    let cases = goldens()["tags"].as_array().unwrap();
    assert!(cases.len() > 80);
    for case in cases {
        let app = if case["tokenizer"] == "wordpiece" { &wordpiece } else { &own };
        let mut parameters = case["parameters"].clone();
        let length = case["length"].as_u64();
        if let Some(length) = length.filter(|&length| length != LIMIT as u64) {
            let overlap = parameters.as_object_mut().unwrap().remove("stride");
            parameters["chunk"] = json!({"size": length, "overlap": overlap});
        }
        let body = json!({"inputs": case["text"], "parameters": parameters});
        let reply = post_to(app, "/", body.to_string()).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.text);
        same(&reply.json(), &case["answer"], &format!("{} {body}", case["tokenizer"]));
    }
}

#[tokio::test]
async fn zero_shot_classification_is_that_of_the_pipeline() {
    let cases = goldens()["zero_shots"].as_array().unwrap();
    assert!(cases.len() >= 40);
    for same_labels in cases.chunk_by(|a, b| a["labels"] == b["labels"] && a["model"] == b["model"])
    {
        let name = same_labels[0]["model"].as_str().unwrap();
        let app = app_of(name, TaskKind::Classify, |model| {
            model.labels = serde_json::from_value(same_labels[0]["labels"].clone()).unwrap();
        });
        for case in same_labels {
            let body = json!({"inputs": case["text"], "parameters": case["parameters"]});
            let reply = post_to(&app, "/", body.to_string()).await;
            assert_eq!(reply.status, 200, "{body}: {}", reply.text);
            let answer = &case["answer"];
            let zipped = answer["labels"].as_array().unwrap().iter();
            let zipped = zipped.zip(answer["scores"].as_array().unwrap());
            let expected = zipped.map(|(label, score)| json!({"label": label, "score": score}));
            same(&reply.json(), &Value::Array(expected.collect()), &body.to_string());
        }
        let many =
            json!({"inputs": [same_labels[0]["text"]], "parameters": same_labels[0]["parameters"]});
        let many = post_to(&app, "/", many.to_string()).await.json();
        assert_eq!(many[0].as_array().unwrap().len(), 3, "a list per text: {many}");
    }
}

#[tokio::test]
async fn what_a_model_cannot_do_is_refused_by_name() {
    let list = vec![served("nli", InitHead::Sequence(labels(&["entailment", "neutral"])), 64)];
    let nli = App::new(Models::new(list).unwrap(), Options::default());
    for (path, parameters, named) in [
        ("/models/intent", json!({"candidate_labels": ["a"]}), "`candidate_labels`"),
        ("/models/rank", json!({"candidate_labels": ["a"]}), "`candidate_labels`"),
        ("/models/pii", json!({"candidate_labels": "a,b"}), "`candidate_labels`"),
        ("/", json!({"candidate_labels": ["a"]}), "`candidate_labels`"),
        ("/models/intent", json!({"multi_label": true}), "`multi_label`"),
        ("/models/intent", json!({"stride": 8}), "`stride`"),
        ("/", json!({"ignore_labels": ["O"]}), "`ignore_labels`"),
        ("/models/intent", json!({"aggregation_strategy": "simple"}), "`aggregation_strategy`"),
        ("/models/pii", json!({"aggregation_strategy": "best"}), "aggregation_strategy is 'best'"),
        ("/models/pii", json!({"ignore_labels": ["NAME"]}), "`ignore_labels`"),
        ("/models/pii", json!({"stride": 8, "aggregation_strategy": "none"}), "none"),
        ("/models/pii", json!({"stride": 8, "truncate": true}), "`stride`"),
        ("/models/pii", json!({"stride": 254}), "overlap of 254"),
        ("nli", json!({"candidate_labels": []}), "`candidate_labels`"),
        ("nli", json!({"candidate_labels": " , "}), "`candidate_labels`"),
        (
            "nli",
            json!({"candidate_labels": ["a"], "hypothesis_template": "no place"}),
            "`hypothesis_template`",
        ),
        (
            "nli",
            json!({"candidate_labels": ["a"], "hypothesis_template": "{} and {}"}),
            "`hypothesis_template`",
        ),
        (
            "nli",
            json!({"candidate_labels": ["a"], "function_to_apply": "none"}),
            "`function_to_apply`",
        ),
        ("nli", json!({"candidate_labels": ["a"], "chunk": {}}), "`chunk`"),
        ("nli", json!({"candidate_labels": vec!["a"; 5000]}), "5000 inputs"),
    ] {
        let body = json!({"inputs": "Ada", "parameters": parameters});
        let reply = match path {
            "nli" => post_to(&nli, "/", body.to_string()).await,
            _ => post(path, &body).await,
        };
        assert!((400..500).contains(&reply.status), "{path} {parameters}: {}", reply.text);
        assert!(reply.text.contains(named), "{path} {parameters}: {}", reply.text);
    }
    let ids = post("/models/pii", &json!({"inputs": [1, 2], "parameters": {}})).await;
    assert!(ids.status == 422 && ids.text.contains("token ids"), "{}", ids.text);
}

/// Ours, with labels that are left out, and in windows.
#[tokio::test]
async fn entities_of_no_strategy_take_the_other_parameters() {
    let text = "Ada Lovelace met Charles Babbage in London. ".repeat(40);
    let tag = |parameters: Value| {
        let body = json!({"inputs": text, "parameters": parameters});
        async move { post("/models/pii", &body).await }
    };
    let windows = tag(json!({"stride": 16})).await;
    assert_eq!((windows.status, windows.header("x-chunks")), (200, Some("4")));
    let all = windows.json();
    assert!(!all.as_array().unwrap().is_empty());
    let none = tag(json!({"stride": 16, "ignore_labels": ["O", "NAME"]})).await.json();
    assert_eq!(none, json!([]), "NAME is the only type");
}
