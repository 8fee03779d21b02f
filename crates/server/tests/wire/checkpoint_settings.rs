//! What a checkpoint's own files ask for holds on every endpoint: prompts of rerankers, a prompt left out of pooling, the
//! similarity of two vectors.

use std::sync::Arc;

use bigbatch_engine::{Engine, EngineOptions, InitHead, Model, Similarity};
use bigbatch_server::{App, Models, Options, ServedModel};
use serde_json::{Value, json};

use crate::common::{labels, model, post_to};

/// Serves one model with what `change` does to it.
fn app(head: InitHead, change: impl FnOnce(&mut Model)) -> Arc<App> {
    let mut model = model(head);
    change(&mut model);
    let mut options = EngineOptions { tokenizer_threads: 1, ..EngineOptions::default() };
    options.device.max_batch_tokens = Some(256);
    options.device.threads = 1;
    let served = ServedModel::new("m", "test/m", Engine::start(model, &options).unwrap());
    App::new(Models::new(vec![served]).unwrap(), Options::default())
}

async fn ask(app: &Arc<App>, path: &str, body: Value) -> Value {
    let reply = post_to(app, path, body.to_string()).await;
    assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text);
    reply.json()
}

fn set_prompt(model: &mut Model) {
    let json = r#"{"prompts": {"query": "judge: "}, "default_prompt_name": "query"}"#;
    model.prompts = serde_json::from_str(json).unwrap();
}

#[tokio::test]
async fn a_rerankers_prompt_stands_before_the_query() {
    let head = || InitHead::Sequence(labels(&["LABEL_0"]));
    let (plain, prompted) = (app(head(), |_| {}), app(head(), set_prompt));
    let rank = |query: &str| json!({"query": query, "texts": ["one", "two"]});
    let analyze = |text: &str| json!({"text": text});
    for (path, with, without) in [
        ("/rerank", rank("judge: q"), rank("q")),
        ("/predict", json!({"inputs": [["judge: q", "t"]]}), json!({"inputs": [["q", "t"]]})),
        ("/predict", json!({"inputs": "judge: q"}), json!({"inputs": "q"})),
        (
            "/predict",
            json!({"inputs": "judge: q", "add_special_tokens": false}),
            json!({"inputs": "q", "add_special_tokens": false}),
        ),
        (
            "/score",
            json!({"text_1": "judge: q", "text_2": "t"}),
            json!({"text_1": "q", "text_2": "t"}),
        ),
    ] {
        let expected = ask(&plain, path, with).await;
        let got = ask(&prompted, path, without.clone()).await;
        if path == "/score" {
            assert_eq!(got["data"], expected["data"]);
            continue;
        }
        assert_eq!(got, expected, "{path}");
        assert_ne!(got, ask(&plain, path, without).await, "{path}: the prompt changes nothing");
    }
    let results = |answer: Value| answer["results"]["m"]["labels"].clone();
    let got = results(ask(&prompted, "/v1/analyze", analyze("q")).await);
    assert_eq!(got, results(ask(&plain, "/v1/analyze", analyze("judge: q")).await));
    let ids = post_to(&prompted, "/classify", json!({"input": [[1, 2]]}).to_string()).await;
    assert_eq!(ids.status, 400, "{}", ids.text);
}

#[tokio::test]
async fn a_prompt_left_out_of_pooling_is_left_out_everywhere() {
    let leave_out = |model: &mut Model| {
        set_prompt(model);
        model.embedding.include_prompt = false;
    };
    let (all, without) = (app(InitHead::Base, set_prompt), app(InitHead::Base, leave_out));
    let vector = async |app| ask(app, "/embed", json!({"inputs": "a text"})).await[0].clone();
    let expected = vector(&without).await;
    assert_ne!(expected, vector(&all).await);
    let analysis = ask(&without, "/v1/analyze", json!({"text": "a text"})).await;
    assert_eq!(analysis["results"]["m"]["embedding"], expected, "{analysis}");
    let body = json!({"inputs": "a text", "chunk": {"size": 16}}).to_string();
    let reply = post_to(&without, "/embed", body).await;
    assert!(reply.status == 422 && reply.text.contains("include_prompt"), "{}", reply.text);
}

#[tokio::test]
async fn similarities_are_those_that_the_checkpoint_names() {
    let dot = app(InitHead::Base, |model| model.embedding.similarity = Similarity::Dot);
    let body = json!({"inputs": ["a", "b"], "normalize": false});
    let vectors: Vec<Vec<f64>> = serde_json::from_value(ask(&dot, "/embed", body).await).unwrap();
    let expected: f64 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
    let body = json!({"inputs": {"source_sentence": "a", "sentences": ["b"]}});
    let got = ask(&dot, "/similarity", body).await[0].as_f64().unwrap();
    assert!((got - expected).abs() < 1e-4 && expected.abs() > 1.5, "{got} and {expected}");
}
