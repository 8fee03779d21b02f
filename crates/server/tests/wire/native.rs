//! `/tag`, `/fill_mask`, `/v1/analyze`, and texts in windows.

use bigbatch_engine::InitHead;
use bigbatch_server::{App, Models, Options};
use serde_json::{Value, json};

use crate::common::{floats, labels, ok, post, post_to, served, too_long, transcript};

const TEXT: &str = "Ada Lovelace met Charles Babbage in London, and \u{c5}sa stayed at home.";

#[tokio::test]
async fn shapes() {
    let exchanges = [
        ("/tag", json!({"inputs": TEXT, "model": "pii"})),
        ("/tag", json!({"inputs": ["Ada", "Bob"], "model": "pii", "all_tokens": true})),
        ("/tag", json!({"inputs": TEXT, "model": "pii", "chunk": {"size": 16, "overlap": 4}})),
        ("/fill_mask", json!({"inputs": "It is [MASK].", "top_k": 2})),
        ("/fill_mask", json!({"inputs": ["[MASK]"], "top_k": 1})),
        ("/v1/analyze", json!({"text": TEXT})),
        ("/v1/analyze", json!({"text": "short", "models": ["intent", "nobody"]})),
        ("/v1/analyze", json!({"text": too_long(), "models": ["intent"]})),
        (
            "/v1/analyze",
            json!({"text": too_long(), "models": ["intent"], "chunk": {"merge": "max"}}),
        ),
        ("/v1/analyze", json!({"text": "", "models": ["intent"]})),
        ("/v1/analyze", json!({"text": "a", "models": []})),
        ("/v1/analyze", json!({"text": "a", "models": ["pii", "pii"]})),
    ];
    insta::assert_snapshot!(transcript(&exchanges).await);
}

#[tokio::test]
async fn windows_cover_what_is_too_long_for_the_model() {
    let embed = |chunk: Value| json!({"inputs": too_long(), "chunk": chunk});
    let reply = post("/embed", &embed(json!({}))).await;
    assert_eq!((reply.status, reply.header("x-chunks")), (200, Some("2")), "{}", reply.text);
    assert_eq!(reply.header("x-truncated"), None);
    let vector = floats(&reply.json()[0]);
    assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4, "of unit length");
    let smaller = post("/embed", &embed(json!({"size": 64, "overlap": 32}))).await;
    assert_eq!(smaller.header("x-chunks"), Some("10"));
    let tagged = ok("/tag", json!({"inputs": too_long(), "chunk": {}, "model": "pii"})).await;
    assert!(tagged["tokens"].as_u64().unwrap() > 256 && tagged["chunks"] == 2);
}

#[tokio::test]
async fn one_window_gives_the_answer_without_windows() {
    for (path, body) in [
        ("/embed", json!({"inputs": TEXT})),
        ("/predict", json!({"inputs": TEXT, "model": "intent"})),
        ("/classify", json!({"inputs": TEXT, "model": "intent", "raw_scores": true})),
    ] {
        let mut chunked = body.clone();
        chunked["chunk"] = json!({"size": 100});
        assert_eq!(ok(path, body).await, ok(path, chunked).await, "{path}");
    }
}

/// Labels and offsets are those of the second text, whatever its context.
#[tokio::test]
async fn a_pair_is_tagged_in_its_second_text() {
    let body =
        json!({"inputs": ["Ada", ["The \u{c5}sa", TEXT], ["Paris", "Ada"]], "all_tokens": true});
    let tagged = ok("/models/pii/tag", body).await;
    let [alone, pair, short] = tagged.as_array().unwrap().as_slice() else { panic!("{tagged}") };
    let count = |answer: &Value| answer["token_labels"].as_array().unwrap().len();
    let tokens = |answer: &Value| answer["tokens"].as_u64().unwrap() as usize;
    assert_eq!(count(alone), tokens(alone), "with special tokens");
    assert_eq!(count(short), tokens(alone) - 2, "those of Ada");
    assert!(tokens(pair) > count(pair) + 5);
    let entities = pair["entities"].as_array().unwrap();
    assert!(!entities.is_empty());
    for entity in entities {
        let at = |key: &str| entity[key].as_u64().unwrap() as usize;
        let text: String = TEXT.chars().take(at("end")).skip(at("start")).collect();
        assert_eq!(entity["text"], text);
    }
    let other =
        ok("/models/pii/tag", json!({"inputs": [["Paris", "Ada"]], "all_tokens": true})).await;
    assert_eq!(&other[0], short, "an array of one pair");
}

#[tokio::test]
async fn a_long_pair_loses_its_context_only() {
    let tag = |pair: [&str; 2], more: Value| {
        let mut body = json!({"inputs": [pair]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        async move { post("/models/pii/tag", &body).await }
    };
    let long = too_long();
    let cut = tag([&long, TEXT], json!({"truncate": true, "all_tokens": true})).await;
    assert_eq!((cut.status, cut.header("x-truncated")), (200, Some("true")), "{}", cut.text);
    let whole = tag(["a", TEXT], json!({"all_tokens": true})).await.json();
    let count = |answer: &Value| answer[0]["token_labels"].as_array().unwrap().len();
    assert_eq!(count(&cut.json()), count(&whole), "the second text is whole");
    assert_eq!(cut.json()[0]["tokens"], crate::common::LIMIT);
    for (pair, more, named) in [
        ([TEXT, &long], json!({"truncate": true}), "the second text has"),
        ([&long, TEXT], json!({}), "less than 256 tokens"),
        ([TEXT, TEXT], json!({"chunk": {}}), "`chunk` works on single texts"),
        ([TEXT, ""], json!({}), "empty"),
    ] {
        let refused = tag(pair, more).await;
        assert!((400..500).contains(&refused.status), "{}", refused.text);
        assert!(refused.text.contains(named), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_tag_request_takes_the_strategies_of_transformers() {
    let tag = |more: Value| {
        let mut body = json!({"inputs": TEXT});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        async move { post("/models/pii/tag", &body).await }
    };
    let every_token =
        tag(json!({"aggregation_strategy": "none", "ignore_labels": []})).await.json();
    let tokens = every_token["tokens"].as_u64().unwrap() as usize;
    let entities = every_token["entities"].as_array().unwrap();
    assert_eq!(entities.len(), tokens - 2);
    assert!(entities.iter().any(|entity| entity["label"] == "B-NAME"), "{every_token}");
    let none = tag(json!({"ignore_labels": ["O", "NAME"]})).await.json();
    assert_eq!(none["entities"], json!([]));
    let both = tag(json!({"aggregation_strategy": "max", "all_tokens": true})).await;
    assert!(both.status == 422 && both.text.contains("`all_tokens`"), "{}", both.text);
}

#[tokio::test]
async fn entities_of_windows_have_offsets_into_the_whole_text() {
    let body = |chunk: Value| json!({"inputs": TEXT, "model": "pii", "chunk": chunk});
    let tagged = ok("/tag", body(json!({"size": 12, "overlap": 4}))).await;
    assert!(tagged["chunks"].as_u64().unwrap() > 1);
    let entities = tagged["entities"].as_array().unwrap();
    let mut end = 0;
    for entity in entities {
        let span =
            entity["start"].as_u64().unwrap() as usize..entity["end"].as_u64().unwrap() as usize;
        let text: String = TEXT.chars().skip(span.start).take(span.len()).collect();
        assert_eq!(entity["text"], text);
        assert!(span.start >= end, "twice: {entities:?}");
        end = span.end;
    }
    assert!(!entities.is_empty());
}

/// The results equal those of one request per model, and the text is tokenized once.
#[tokio::test]
async fn an_analysis_is_every_models_own_answer() {
    let analysis = ok("/v1/analyze", json!({"text": TEXT})).await;
    assert_eq!(analysis["tokenizations"], 1);
    let results = &analysis["results"];
    assert_eq!(results.as_object().unwrap().len(), 4);
    let labels = ok("/predict", json!({"inputs": TEXT, "model": "intent"})).await;
    assert_eq!(results["intent"]["labels"], labels);
    let tagged = ok("/tag", json!({"inputs": TEXT, "model": "pii"})).await;
    assert_eq!(results["pii"]["entities"], tagged["entities"]);
    let vector = ok("/embed", json!({"inputs": TEXT})).await;
    assert_eq!(results["embed"]["embedding"], vector[0]);
}

#[tokio::test]
async fn an_analysis_truncates_as_other_endpoints_do() {
    for direction in ["left", "right"] {
        let long = format!("begin {} end", too_long());
        let analysis = ok(
            "/v1/analyze",
            json!({"text": long, "models": ["intent"], "truncate": true, "truncation_direction": direction}),
        );
        let analysis = analysis.await;
        let alone = ok(
            "/predict",
            json!({"inputs": long, "model": "intent", "truncate": true, "truncation_direction": direction}),
        );
        assert_eq!(analysis["results"]["intent"]["labels"], alone.await, "{direction}");
        assert_eq!(analysis["results"]["intent"]["truncated"], true);
    }
}

/// As semantic-router's HTTP classifier of tokens asks a port: without a model, of the first.
#[tokio::test]
async fn a_token_classifier_answers_classify_with_spans() {
    let list = vec![
        served("pii", InitHead::Token(labels(&["O", "B-NAME", "I-NAME"])), 8),
        served("intent", InitHead::Sequence(labels(&["billing", "travel"])), 8),
    ];
    let app = App::new(Models::new(list).unwrap(), Options::default());
    let ask = async |body: Value| post_to(&app, "/classify", body.to_string()).await.json();
    let spans = ask(json!({"inputs": TEXT})).await;
    let tagged = post_to(&app, "/tag", json!({"inputs": TEXT}).to_string()).await.json();
    assert_eq!(spans, tagged["entities"], "with label, start, end, text and score");
    assert!(spans.as_array().is_some_and(|spans| !spans.is_empty()));
    assert_eq!(ask(json!({"inputs": [TEXT, "Ada"]})).await[0], spans);
    let labelled = ask(json!({"inputs": TEXT, "model": "intent"})).await;
    assert_eq!(labelled.as_array().map(Vec::len), Some(2));
    assert!(
        ask(json!({"input": TEXT})).await["data"][0]["label"].is_string(),
        "vLLM's form is a classifier's"
    );
    // Where the first does neither, a classifier is preferred.
    let list = vec![
        served("embed", InitHead::Base, 8),
        served("pii", InitHead::Token(labels(&["O", "B-NAME", "I-NAME"])), 8),
        served("intent", InitHead::Sequence(labels(&["billing", "travel"])), 8),
    ];
    let app = App::new(Models::new(list).unwrap(), Options::default());
    let answer = post_to(&app, "/classify", json!({"inputs": TEXT}).to_string()).await.json();
    assert!(answer[0]["label"].is_string() && answer[0].get("start").is_none(), "{answer}");
}
