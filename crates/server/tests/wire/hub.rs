//! `huggingface_hub`'s shapes at `POST /`, and the semantic router's request to `/classify`.

use serde_json::{Value, json};

use crate::common::{ok, transcript};

#[tokio::test]
async fn shapes() {
    let exchanges = [
        ("/", json!({"inputs": "a text", "normalize": true, "truncate": false})),
        ("/", json!({"inputs": ["a", "b"], "parameters": {"dimensions": 4}})),
        (
            "/",
            json!({"inputs": {"source_sentence": "a", "sentences": ["b", "c"]}, "parameters": {}}),
        ),
        ("/", json!({"inputs": "It is [MASK].", "parameters": {"top_k": 2}})),
        ("/", json!({"inputs": "[MASK] is [MASK].", "parameters": {"top_k": 1}})),
        ("/models/intent", json!({"inputs": "a text", "parameters": {"top_k": 2}})),
        (
            "/models/intent",
            json!({"inputs": ["a", "b"], "parameters": {"function_to_apply": "none"}}),
        ),
        ("/invocations", json!({"inputs": "Ada went to Paris", "parameters": {}, "model": "pii"})),
        (
            "/models/pii",
            json!({"inputs": ["Ada went to Paris", "b"], "parameters": {"aggregation_strategy": "simple"}}),
        ),
        ("/models/rank", json!({"query": "q", "texts": ["a", "b"]})),
        ("/models/rank", json!({"inputs": "a text"})),
        ("/models/intent", json!({"inputs": "a", "parameters": {"function_to_apply": "sigmoid"}})),
        ("/models/pii", json!({"inputs": "a", "parameters": {"aggregation_strategy": "max"}})),
        ("/", json!({"inputs": "[MASK]", "parameters": {"targets": ["a"]}})),
        ("/", json!({"parameters": {}})),
        ("/", json!({"inputs": 5})),
    ];
    insta::assert_snapshot!(transcript(&exchanges).await);
}

/// The semantic router posts this to `/classify` and reads a flat list of labels, likeliest first.
#[tokio::test]
async fn the_semantic_router_gets_a_flat_list() {
    let request = include_str!("../fixtures/semantic-router-request.json");
    let request: Value = serde_json::from_str(request).unwrap();
    let expected = include_str!("../fixtures/semantic-router-response.json");
    let expected: Value = serde_json::from_str(expected).unwrap();
    let answer = ok("/models/intent/classify", request.clone()).await;
    let (answer, expected) = (answer.as_array().unwrap(), expected.as_array().unwrap());
    assert_eq!(answer.len(), expected.len());
    for (answer, expected) in answer.iter().zip(expected) {
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let (mut own, mut known) = (keys(answer), keys(expected));
        own.sort();
        known.sort();
        assert_eq!(own, known);
        assert_eq!(answer["label"], expected["label"]);
        let difference = answer["score"].as_f64().unwrap() - expected["score"].as_f64().unwrap();
        assert!(difference.abs() < 1e-5, "{answer} {expected}");
    }
    let many = ok("/models/intent/classify", json!({"inputs": [request["inputs"]]})).await;
    assert_eq!(many[0].as_array().unwrap(), answer);
}

#[tokio::test]
async fn a_mask_takes_the_space_before_it_in() {
    let fills = ok("/", json!({"inputs": "It is [MASK].", "parameters": {"top_k": 50}})).await;
    for fill in fills.as_array().unwrap() {
        let token = fill["token_str"].as_str().unwrap();
        let sequence = fill["sequence"].as_str().unwrap();
        assert!(sequence.starts_with("It is") && sequence.ends_with('.'), "{sequence:?}");
        let doubled = token.starts_with(' ') && sequence.starts_with("It is  ");
        assert!(sequence.contains(token) && !doubled, "{sequence:?}");
    }
}
