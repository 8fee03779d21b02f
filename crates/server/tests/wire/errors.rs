//! Every refusal, in the dialect of its route.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bigbatch_engine::InitHead;
use bigbatch_server::error::Refusal;
use bigbatch_server::{App, Dialect, Models, Options};
use http_body_util::BodyExt;
use serde_json::json;

use crate::common::{
    Reply, app, exchange, get, labels, post_to, send, served, too_long, transcript,
};

#[tokio::test]
async fn of_text_embeddings_inference() {
    let many: Vec<&str> = vec!["a"; 33];
    let exchanges = [
        ("/embed", json!({"inputs": []})),
        ("/embed", json!({"inputs": ""})),
        ("/embed", json!({"inputs": ["a", ""]})),
        ("/embed", json!({"inputs": many})),
        ("/embed", json!({"inputs": too_long()})),
        ("/embed", json!({"inputs": 5})),
        ("/embed", json!({})),
        ("/embed", json!({"inputs": [1, "a"]})),
        ("/embed", json!({"inputs": [-1]})),
        ("/embed", json!({"inputs": [4_000_000]})),
        ("/embed", json!({"inputs": "a", "dimensions": 0})),
        ("/embed", json!({"inputs": "a", "dimensions": 100_000})),
        ("/embed", json!({"inputs": "a", "normalize": "yes"})),
        ("/embed", json!({"inputs": "a", "truncation_direction": "up"})),
        ("/embed", json!({"inputs": "a", "prompt_name": "none"})),
        ("/embed", json!({"inputs": "a", "prompt_name": "query", "model": "intent"})),
        ("/embed", json!({"inputs": [5], "prompt_name": "query"})),
        ("/embed", json!({"inputs": "a", "model": "intent"})),
        ("/embed", json!({"inputs": "a", "model": "nobody"})),
        ("/models/nobody/embed", json!({"inputs": "a"})),
        ("/embed", json!({"inputs": "a", "chunk": {"size": 2}})),
        ("/embed", json!({"inputs": "a", "chunk": {"size": 1000}})),
        ("/embed", json!({"inputs": "a", "chunk": {"width": 10}})),
        ("/embed", json!({"inputs": "a", "chunk": {}, "truncate": true})),
        ("/embed", json!({"inputs": [5], "chunk": {}})),
        ("/embed", json!({"inputs": too_long(), "chunk": {"size": 4}})),
        ("/embed_all", json!({"inputs": "a", "model": "pii"})),
        ("/embed_all", json!({"inputs": "a", "chunk": {}})),
        ("/rerank", json!({"query": "q", "texts": ["a"], "model": "rank", "chunk": {}})),
        ("/fill_mask", json!({"inputs": "[MASK]", "chunk": {}})),
        ("/predict", json!({"inputs": "a"})),
        ("/predict", json!({"inputs": ["a", "b", "c"], "model": "intent"})),
        ("/predict", json!({"inputs": [["a", "b", "c"]], "model": "intent"})),
        ("/predict", json!({"inputs": ["a", "b"], "model": "intent", "chunk": {}})),
        ("/rerank", json!({"query": "q", "texts": ["a"], "model": "intent"})),
        ("/rerank", json!({"query": "q", "texts": [], "model": "rank"})),
        ("/rerank", json!({"query": "q"})),
        ("/similarity", json!({"inputs": {"source_sentence": "a", "sentences": []}})),
        ("/tokenize", json!({"inputs": ""})),
        ("/decode", json!({"ids": []})),
        ("/decode", json!({"ids": [4_000_000_000u32]})),
        ("/tag", json!({"inputs": "a", "model": "embed"})),
        ("/fill_mask", json!({"inputs": "no mask"})),
        ("/fill_mask", json!({"inputs": "[MASK]", "top_k": 0})),
        ("/classify", json!({"model": "intent"})),
        ("/classify", json!({"inputs": "a", "input": "a", "model": "intent"})),
        ("/nothing", json!({})),
    ];
    insta::assert_snapshot!(transcript(&exchanges).await);
}

#[tokio::test]
async fn of_openai_and_vllm() {
    let exchanges = [
        ("/v1/embeddings", json!({"input": []})),
        ("/v1/embeddings", json!({"input": ""})),
        ("/v1/embeddings", json!({"input": too_long()})),
        ("/v1/embeddings", json!({"inputs": "a"})),
        ("/v1/embeddings", json!({"input": "a", "encoding_format": "hex"})),
        ("/v1/embeddings", json!({"input": "a", "dimensions": 0})),
        ("/v1/embeddings", json!({"input": "a", "model": "nobody"})),
        ("/v1/embeddings", json!({"input": "a", "model": "intent"})),
        ("/v1/embeddings", json!({"input": "a", "truncate_prompt_tokens": 1000})),
        ("/classify", json!({"input": "a"})),
        ("/pooling", json!({"input": "a", "task": "plugin"})),
        ("/pooling", json!({"input": "a", "task": "classify"})),
        ("/pooling", json!({"input": "a", "task": "token_embed", "dimensions": 4})),
        ("/score", json!({"queries": ["a", "b"], "documents": ["a", "b", "c"], "model": "rank"})),
        ("/score", json!({"queries": [], "documents": ["a"], "model": "rank"})),
        ("/score", json!({"queries": "q", "documents": ["a"], "model": "rank", "chunk": {}})),
        ("/v1/rerank", json!({"query": "q", "texts": ["a"]})),
        ("/rerank", json!({"query": "q", "documents": ["a"], "model": "intent"})),
        ("/v1/nothing", json!({})),
    ];
    insta::assert_snapshot!(transcript(&exchanges).await);
}

#[tokio::test]
async fn of_bodies() {
    let mut written = String::new();
    let small = Options { payload_limit_bytes: 100, ..Options::default() };
    let head = InitHead::MaskedLm;
    let models = Models::new(vec![served("small", head, 512)]).unwrap();
    let small = App::new(models, small);
    for path in ["/embed", "/v1/embeddings"] {
        let mut tell =
            |what: &str, reply: &Reply| written += &exchange(&format!("{path}: {what}"), reply);
        tell("half a body", &post_to(&app(), path, r#"{"inputs": "#).await);
        tell("nothing", &post_to(&app(), path, "").await);
        tell("no Unicode", &post_to(&app(), path, b"{\"inputs\": \"\xff\"}".to_vec()).await);
        tell("half a surrogate", &post_to(&app(), path, r#"{"inputs": "\ud800"}"#).await);
        tell("NaN", &post_to(&app(), path, r#"{"inputs": NaN}"#).await);
        tell("a field twice", &post_to(&app(), path, r#"{"model": "a", "model": "b"}"#).await);
        tell("deep", &post_to(&app(), path, "[".repeat(100_000)).await);
        let plain = Request::post(path).header("content-type", "text/plain");
        tell("text/plain", &send(&app(), plain.body(Body::from("{}")).unwrap()).await);
        let without = Request::post(path).body(Body::from("{}")).unwrap();
        tell("no content type", &send(&app(), without).await);
        tell("over the limit", &post_to(&small, path, "x".repeat(101)).await);
        tell("GET", &get(path).await);
    }
    insta::assert_snapshot!(written);
}

/// A server with one model ignores the name.
#[tokio::test]
async fn one_model_answers_to_every_name() {
    let models = Models::new(vec![served("only", InitHead::MaskedLm, 512)]).unwrap();
    let app = App::new(models, Options::default());
    let reply = post_to(&app, "/embed", r#"{"inputs": "a", "model": "text-embedding-3-small"}"#);
    assert_eq!(reply.await.status, 200);
}

/// However few slots the engine has, a request is fed to it as they become free.
#[tokio::test]
async fn a_request_may_have_more_inputs_than_the_engine_has_slots() {
    let app = |name, head, slots| {
        App::new(Models::new(vec![served(name, head, slots)]).unwrap(), Options::default())
    };
    let texts = ["a"; 5];
    let compared = json!({"inputs": {"source_sentence": "a", "sentences": texts[1..]}});
    for slots in [1, 2, 4] {
        let classes = app("classes", InitHead::Sequence(labels(&["a", "b"])), slots);
        let vectors = app("vectors", InitHead::Base, slots);
        for (app, path, body) in [
            (&classes, "/predict", json!({"inputs": texts.map(|text| [text])})),
            (&classes, "/classify", json!({"input": texts})),
            (&classes, "/predict", json!({"inputs": too_long(), "chunk": {"size": 32}})),
            (&vectors, "/similarity", compared.clone()),
            (&vectors, "/score", json!({"queries": "a", "documents": texts[1..]})),
        ] {
            let reply = post_to(app, path, body.to_string()).await;
            assert_eq!(reply.status, 200, "{slots} slots, {path}: {}", reply.text);
        }
    }
}

/// Three rows of 64 numbers, by bytes of text and the special tokens around it. A number takes four bytes, and up to
/// 16 in JSON.
#[tokio::test]
async fn of_answers_with_more_rows_than_the_limit() {
    let options = |limit| Options { answer_limit_bytes: Some(limit), ..Options::default() };
    let app = |limit| {
        let models = vec![
            served("vectors", InitHead::Base, 512),
            served("tags", InitHead::Token(labels(&["O", "B-A"])), 512),
        ];
        App::new(Models::new(models).unwrap(), options(limit))
    };
    let hidden = app(0).models.first().engine.model().config.hidden_size;
    let (enough, too_little) = (app(3 * 20 * hidden), app(3 * 20 * hidden - 1));
    for (path, body, refused) in [
        ("/embed_all", json!({"inputs": "a"}), 422),
        ("/embed_all", json!({"inputs": [[5, 6], [7]]}), 422),
        ("/pooling", json!({"input": "a", "task": "token_embed"}), 400),
    ] {
        let reply = post_to(&enough, path, body.to_string()).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        let reply = post_to(&too_little, path, body.to_string()).await;
        assert_eq!(reply.status, refused, "{path}: {}", reply.text);
        assert!(reply.text.contains("(--answer-limit)"), "{}", reply.text);
    }
    let tags = json!({"input": "a", "model": "tags"}).to_string();
    assert_eq!(post_to(&app(3 * 20 * 2), "/pooling", tags.clone()).await.status, 200);
    assert_eq!(post_to(&app(3 * 20 * 2 - 1), "/pooling", tags).await.status, 400);
    let one = json!({"inputs": "a", "model": "vectors"}).to_string();
    assert_eq!(post_to(&app(20 * hidden), "/embed", one.clone()).await.status, 200);
    assert_eq!(post_to(&app(20 * hidden - 1), "/embed", one).await.status, 422);
}

/// A few bytes sent must not become many: what an answer could take is counted before it is computed.
#[tokio::test]
async fn of_answers_that_could_be_larger_than_the_limit() {
    let app = |limit| {
        let models = vec![
            served("masks", InitHead::MaskedLm, 512),
            served("tags", InitHead::Token(labels(&["O", "B-A"])), 512),
            served("scores", InitHead::Sequence(labels(&["a", "b"])), 512),
        ];
        let options = Options { answer_limit_bytes: Some(limit), ..Options::default() };
        App::new(Models::new(models).unwrap(), options)
    };
    let (small, default) = (app(2000), app(1 << 20));
    let text = "[MASK] ".repeat(20);
    for (path, body) in [
        ("/fill_mask", json!({"inputs": text, "top_k": 20, "truncate": true})),
        ("/", json!({"inputs": text, "parameters": {"top_k": 20}})),
        ("/embed_all", json!({"inputs": text})),
        ("/tokenize", json!({"inputs": text})),
        ("/tokenize", json!({"prompt": text})),
        ("/decode", json!({"ids": vec![5; 200]})),
        ("/detokenize", json!({"tokens": vec![5; 200]})),
        ("/tag", json!({"inputs": text, "model": "tags", "truncate": true})),
        ("/pooling", json!({"input": text, "model": "tags", "task": "token_classify"})),
        ("/v1/analyze", json!({"text": text, "truncate": true})),
        ("/embed", json!({"inputs": vec!["a"; 10]})),
        ("/classify", json!({"inputs": vec!["a"; 10], "model": "scores"})),
    ] {
        let reply = post_to(&small, path, body.to_string()).await;
        let refused = matches!(reply.status, 400 | 422) && reply.text.contains("(--answer-limit)");
        assert!(refused, "{path}: {} {}", reply.status, reply.text);
        let reply = post_to(&default, path, body.to_string()).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
}

#[tokio::test]
async fn a_body_too_large_names_the_limit_it_exceeds() {
    let options =
        Options { payload_limit_bytes: 100, compressed_limit_bytes: 50, ..Options::default() };
    let app = App::new(Models::new(vec![served("m", InitHead::Base, 512)]).unwrap(), options);
    for (encoding, length, limit) in [
        ("identity", 101, "100 bytes, the limit (--payload-limit)"),
        ("gzip", 51, "50 bytes, the limit (--compressed-limit)"),
    ] {
        let request = Request::post("/embed").header("content-encoding", encoding);
        let reply = send(&app, request.body(Body::from("x".repeat(length))).unwrap()).await;
        assert!(reply.status == 413 && reply.text.contains(limit), "{encoding}: {}", reply.text);
    }
}

/// Refusals that cannot be provoked here: a device that fails, a server that stops.
#[tokio::test]
async fn of_the_device() {
    let overloaded = |wait| Refusal::Overloaded { message: "the queue is full".into(), wait };
    let mut written = String::new();
    for dialect in [Dialect::Tei, Dialect::OpenAi] {
        for refusal in [
            Refusal::Backend("cuda:0: launch failed: out of order".into()),
            Refusal::Unavailable("the engine is stopped".into()),
            overloaded(None),
            overloaded(Some(Duration::from_millis(3400))),
            overloaded(Some(Duration::from_secs(3600))),
        ] {
            let (parts, body) = dialect.render(&refusal).into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let reply = Reply { status: parts.status.as_u16(), headers: parts.headers, text };
            written += &exchange(&format!("{dialect:?}"), &reply);
        }
    }
    insta::assert_snapshot!(written);
}

/// The framework has a limit of its own, 2 MiB, which is not the server's.
#[tokio::test]
async fn a_body_may_be_as_large_as_the_payload_limit_says() {
    let models = Models::new(vec![served("only", InitHead::MaskedLm, 512)]).unwrap();
    let options = Options { payload_limit_bytes: 4_000_000, ..Options::default() };
    let body = format!(r#"{{"inputs": "a", "model": "{}"}}"#, "x".repeat(3_000_000));
    assert_eq!(post_to(&App::new(models, options), "/embed", body).await.status, 200);
}
