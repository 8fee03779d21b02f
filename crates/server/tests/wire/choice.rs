//! Which model answers a request that names none, and how many inputs a request may have.

use std::sync::Arc;

use bigbatch_engine::InitHead;
use bigbatch_server::{App, Models, Options, ServedModel};
use serde_json::{Value, json};

use crate::common::{labels, post, post_to, served};

fn classifier(name: &str) -> ServedModel {
    served(name, InitHead::Sequence(labels(&["a", "b"])), 512)
}

fn embedder(name: &str) -> ServedModel {
    served(name, InitHead::Base, 512)
}

fn app_of(models: Vec<ServedModel>) -> Arc<App> {
    App::new(Models::new(models).unwrap(), Options::default())
}

/// A request of each route that needs vectors.
fn of_embedders() -> [(&'static str, Value, u16); 8] {
    let compared = json!({"source_sentence": "a", "sentences": ["b"]});
    [
        ("/embed", json!({"inputs": "a"}), 424),
        ("/embed_all", json!({"inputs": "a"}), 424),
        ("/similarity", json!({"inputs": compared}), 424),
        ("/", json!({"inputs": compared}), 424),
        ("/v1/embeddings", json!({"input": "a"}), 400),
        ("/pooling", json!({"input": "a", "task": "token_embed"}), 400),
        ("/score", json!({"queries": "a", "documents": ["b"]}), 400),
        ("/v1/rerank", json!({"query": "a", "documents": ["b"]}), 400),
    ]
}

#[tokio::test]
async fn the_only_model_that_can_answers_a_request_without_a_name() {
    let app = app_of(vec![classifier("intent"), embedder("vectors")]);
    for (path, body, _) in of_embedders() {
        let reply = post_to(&app, path, body.to_string()).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        if let Some(model) = reply.json().get("model") {
            assert_eq!(model, "vectors", "{path}");
        }
    }
    for (path, body) in [
        ("/tag", json!({"inputs": "a"})),
        ("/fill_mask", json!({"inputs": "[MASK]"})),
        ("/rerank", json!({"query": "q", "texts": ["a"]})),
        ("/", json!({"query": "q", "texts": ["a"]})),
    ] {
        let reply = post(path, &body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
}

/// The task of `POST /` is that of the model, so nothing is to be chosen.
#[tokio::test]
async fn the_first_model_answers_what_any_model_can() {
    let app = app_of(vec![classifier("intent"), embedder("vectors")]);
    let labels = post_to(&app, "/", r#"{"inputs": "a"}"#).await.json();
    assert!(labels[0][0]["label"].is_string(), "{labels}");
    let pooled = post_to(&app, "/pooling", r#"{"input": "a"}"#).await.json();
    assert_eq!(pooled["model"], "intent");
}

#[tokio::test]
async fn an_error_names_the_models_that_can() {
    let several = app_of(vec![classifier("intent"), embedder("small"), embedder("large")]);
    let none = app_of(vec![classifier("intent"), classifier("topic")]);
    for (path, body, status) in of_embedders() {
        let reply = post_to(&several, path, body.to_string()).await;
        let how = "choose 'small' or 'large' by the field `model` or the path /models/NAME/...";
        assert!(reply.status == status && reply.text.contains(how), "{path}: {}", reply.text);
        let reply = post_to(&none, path, body.to_string()).await;
        let silent = !reply.text.contains("choose");
        assert!(reply.status == status && silent, "{path}: {}", reply.text);
    }
    let one = app_of(vec![classifier("intent"), embedder("vectors")]);
    let in_body = json!({"inputs": "a", "model": "intent"});
    for (path, body) in [("/embed", &in_body), ("/models/intent/embed", &json!({"inputs": "a"}))] {
        let reply = post_to(&one, path, body.to_string()).await;
        let named = reply.text.contains("(model 'intent'); choose 'vectors'");
        assert!(reply.status == 424 && named, "{path}: {}", reply.text);
    }
    let unknown = post_to(&one, "/embed", r#"{"inputs": "a", "model": "nobody"}"#).await;
    assert_eq!(unknown.status, 404);
}

/// With one model every name is that model's, also where it cannot answer.
#[tokio::test]
async fn an_error_of_the_only_model_suggests_no_other() {
    let app = app_of(vec![classifier("intent")]);
    let reply = post_to(&app, "/embed", r#"{"inputs": "a", "model": "gpt"}"#).await;
    let message = "this model does sequence classification, not embeddings";
    assert_eq!((reply.status, &reply.json()["error"]), (424, &json!(message)));
}

/// Each path with a body of so many inputs; those of text-embeddings-inference first.
fn requests(count: usize) -> [Vec<(&'static str, Value)>; 2] {
    let texts = vec!["a"; count];
    let compared = json!({"source_sentence": "a", "sentences": texts});
    let teis = vec![
        ("/embed", json!({"inputs": texts})),
        ("/embed_all", json!({"inputs": texts})),
        ("/similarity", json!({"inputs": compared})),
        ("/models/intent/predict", json!({"inputs": vec![["a"]; count]})),
        ("/models/intent/classify", json!({"inputs": texts})),
        ("/rerank", json!({"query": "q", "texts": texts})),
        ("/tokenize", json!({"inputs": texts})),
        ("/decode", json!({"ids": vec![[5]; count]})),
    ];
    let others = vec![
        ("/v1/embeddings", json!({"input": texts})),
        ("/embeddings", json!({"input": texts})),
        ("/classify", json!({"input": texts, "model": "intent"})),
        ("/rerank", json!({"query": "q", "documents": texts, "model": "rank"})),
        ("/v1/rerank", json!({"query": "q", "documents": texts, "model": "rank"})),
        ("/score", json!({"queries": "q", "documents": texts, "model": "rank"})),
        ("/pooling", json!({"input": texts})),
        ("/", json!({"inputs": texts})),
        ("/models/intent", json!({"inputs": texts})),
        ("/", json!({"inputs": compared})),
        ("/", json!({"query": "q", "texts": texts})),
        ("/tag", json!({"inputs": texts})),
        ("/fill_mask", json!({"inputs": vec!["[MASK]"; count]})),
    ];
    [teis, others]
}

#[tokio::test]
async fn the_limit_on_inputs_is_that_of_the_dialect() {
    let [teis, others] = requests(33);
    for (path, body) in teis {
        let reply = post(path, &body).await;
        let limit = reply.text.contains("33 inputs; the limit is 32 (--max-client-batch-size)");
        assert!(reply.status == 422 && limit, "{path}: {}", reply.text);
    }
    for (path, body) in others {
        let reply = post(path, &body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
    let [_, others] = requests(2049);
    for (path, body) in others {
        let reply = post(path, &body).await;
        assert!(reply.text.contains("2049 inputs; the limit is 2048"), "{path}: {}", reply.text);
    }
}

#[tokio::test]
async fn a_limit_that_is_set_is_that_of_every_route() {
    let options = Options { max_client_batch_size: Some(4), ..Options::default() };
    let models = vec![
        served("embed", InitHead::MaskedLm, 512),
        classifier("intent"),
        served("rank", InitHead::Sequence(labels(&["LABEL_0"])), 512),
        served("pii", InitHead::Token(labels(&["O", "B-NAME"])), 512),
    ];
    let app = App::new(Models::new(models).unwrap(), options);
    for (path, body) in requests(5).concat() {
        let reply = post_to(&app, path, body.to_string()).await;
        assert!(reply.text.contains("5 inputs; the limit is 4"), "{path}: {}", reply.text);
    }
}
