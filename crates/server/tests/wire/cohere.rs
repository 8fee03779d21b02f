//! Cohere's embeddings: the vectors are those of `/embed`, and what cannot be honoured is refused by name.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::common::{LIMIT, floats, ok, post, too_long};

/// Returns the vectors of `/embed`.
async fn vectors(body: Value) -> Vec<Vec<f32>> {
    ok("/embed", body).await.as_array().unwrap().iter().map(floats).collect()
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    value.as_array().expect("an array").iter().map(floats).collect()
}

#[tokio::test]
async fn version_2_answers_by_type() {
    let texts = ["a text", "another"];
    let expected = vectors(json!({"inputs": texts})).await;
    let body = json!({"model": "embed", "texts": texts, "embedding_types": null});
    let found = ok("/v2/embed", body).await;
    assert_eq!(rows(&found["embeddings"]["float"]), expected);
    assert_eq!(found["response_type"], "embeddings_by_type");
    assert_eq!(found["texts"], json!(texts));
    assert_eq!(found["meta"]["api_version"]["version"], "2");
    assert!(found["meta"]["billed_units"]["input_tokens"].as_u64() > Some(4));
    assert!(found["meta"].get("warnings").is_none());
    assert!(found["id"].as_str().unwrap().starts_with("embed-"));

    let types = ["base64", "binary", "ubinary"];
    let found = ok("/v2/embed", json!({"texts": texts, "embedding_types": types})).await;
    let found = &found["embeddings"];
    assert!(found.get("float").is_none());
    let bytes = BASE64_STANDARD.decode(found["base64"][1].as_str().unwrap()).unwrap();
    let words = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word));
    assert_eq!(words.collect::<Vec<_>>(), expected[1]);
    let sign = |dimension: usize| expected[0][dimension] > 0.0;
    let byte = (0..8).map(|bit| u64::from(sign(bit)) << (7 - bit)).sum::<u64>();
    assert_eq!(found["ubinary"][0][0].as_u64(), Some(byte));
    assert_eq!(found["binary"][0][0].as_i64(), Some(byte as i64 - 128));
}

#[tokio::test]
async fn version_1_answers_with_a_list_unless_types_are_named() {
    let expected = vectors(json!({"inputs": ["a text"]})).await;
    let found = ok("/v1/embed", json!({"texts": ["a text"]})).await;
    assert_eq!(found["response_type"], "embeddings_floats");
    assert_eq!(rows(&found["embeddings"]), expected);
    let body = json!({"texts": ["a text"], "embedding_types": ["float"], "priority": 3});
    let found = ok("/models/embed/v1/embed", body).await;
    assert_eq!(found["response_type"], "embeddings_by_type");
    assert_eq!(rows(&found["embeddings"]["float"]), expected);
}

#[tokio::test]
async fn the_purpose_chooses_the_prompt() {
    let query = vectors(json!({"inputs": ["a text"], "prompt_name": "query"})).await;
    let plain = vectors(json!({"inputs": ["a text"]})).await;
    assert_ne!(query, plain);
    for (purpose, expected) in [
        ("search_query", &query),
        ("search_document", &plain),
        ("classification", &plain),
        ("clustering", &plain),
    ] {
        let found = ok("/v2/embed", json!({"texts": ["a text"], "input_type": purpose})).await;
        assert_eq!(&rows(&found["embeddings"]["float"]), expected, "{purpose}");
    }
}

#[tokio::test]
async fn inputs_hold_one_text_each() {
    let input = |text: &str| json!({"content": [{"type": "text", "text": text}]});
    let body = json!({"inputs": [input("a"), input("b")], "output_dimension": 8});
    let found = ok("/v2/embed", body).await;
    let expected = vectors(json!({"inputs": ["a", "b"], "dimensions": 8})).await;
    assert_eq!(rows(&found["embeddings"]["float"]), expected);
    assert_eq!(found["texts"], json!(["a", "b"]));
}

#[tokio::test]
async fn inputs_that_are_too_long_are_cut_and_the_answer_says_so() {
    let text = too_long() + "end";
    for (cut, direction) in [(None, "right"), (Some("END"), "right"), (Some("START"), "left")] {
        let body = json!({"texts": ["short", text], "truncate": cut});
        let reply = post("/v2/embed", &body).await;
        assert_eq!(reply.header("x-truncated"), Some("true"), "{}", reply.text);
        let found = reply.json();
        let warning = found["meta"]["warnings"][0].as_str().unwrap();
        assert!(warning.starts_with(&format!("1 of 2 inputs had more than {LIMIT} tokens")));
        let body = json!({"inputs": [text], "truncate": true, "truncation_direction": direction});
        assert_eq!(rows(&found["embeddings"]["float"])[1], vectors(body).await[0], "{cut:?}");
    }
    let reply = post("/v2/embed", &json!({"texts": [text], "truncate": "NONE"})).await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["message"].as_str().unwrap().contains("tokens"));
}

#[tokio::test]
async fn max_tokens_cuts_inputs_as_vllms_field_does() {
    let text = "Where is my parcel? It was sent a week ago.";
    for (end, side) in [("END", "right"), ("START", "left")] {
        let body = json!({"texts": [text], "max_tokens": 5, "truncate": end, "model": "embed"});
        let found = post("/v2/embed", &body).await.json();
        let body = json!({"input": text, "truncate_prompt_tokens": 5, "truncation_side": side, "model": "embed"});
        let wanted = post("/v1/embeddings", &body).await.json();
        assert_eq!(found["embeddings"]["float"][0], wanted["data"][0]["embedding"], "{end}");
        assert_eq!(found["meta"]["billed_units"]["input_tokens"], 5);
        let warning = found["meta"]["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains("more than 5 tokens"), "{found}");
    }
}

#[tokio::test]
async fn what_is_not_done_is_refused_by_name() {
    let content = |part: Value| json!({"inputs": [{"content": [part]}]});
    for (body, named) in [
        (json!({"images": ["data:image/png;base64,AA=="]}), "images"),
        (content(json!({"type": "image_url", "image_url": {"url": "x"}})), "image_url"),
        (content(json!({"type": "text"})), "no text"),
        (json!({"texts": ["a"], "embedding_types": ["int8"]}), "int8"),
        (json!({"texts": ["a"], "input_type": "image"}), "image"),
        (json!({"texts": ["a"], "truncate": "MIDDLE"}), "MIDDLE"),
        (json!({"texts": ["a"], "max_tokens": 3, "truncate": "NONE"}), "max_tokens"),
        (json!({"texts": ["a"], "partial": true}), "partial"),
        (json!({"texts": ["a"], "inputs": []}), "`texts` or `inputs`"),
        (json!({}), "`texts` or `inputs`"),
        (json!({"texts": []}), "empty"),
        (json!({"texts": ["a"], "model": "no such model"}), "no such model"),
        (json!({"texts": ["a"], "model": "intent"}), "classif"),
    ] {
        for path in ["/v1/embed", "/v2/embed"] {
            let reply = post(path, &body).await;
            assert!((400..500).contains(&reply.status), "{body}: {}", reply.text);
            let found = reply.json();
            let message = found["message"].as_str().unwrap_or_default();
            assert!(message.contains(named), "{body}: {message}");
        }
    }
}
