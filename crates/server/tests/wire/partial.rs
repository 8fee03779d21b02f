//! Requests with `partial`: one bad input doesn't refuse the others.

use serde_json::{Value, json};

use crate::common::{get, ok, post, too_long, transcript};

#[tokio::test]
async fn shapes() {
    let texts = json!(["a text", "", "another"]);
    let partial = |mut body: Value| {
        body["partial"] = json!(true);
        body
    };
    let compared = json!({"source_sentence": "a", "sentences": texts});
    let masked = json!(["[MASK] is [MASK].", "no mask", "It is [MASK]."]);
    let exchanges = [
        ("/embed", json!({"inputs": texts})),
        ("/embed_all", json!({"inputs": texts})),
        ("/similarity", json!({"inputs": compared})),
        ("/predict", json!({"inputs": [["a"], [""], ["b", "c"]], "model": "intent"})),
        ("/rerank", json!({"query": "q", "texts": texts, "model": "rank", "return_text": true})),
        ("/classify", json!({"inputs": texts, "model": "intent"})),
        ("/classify", json!({"input": texts, "model": "intent"})),
        ("/rerank", json!({"query": "q", "documents": texts, "model": "rank"})),
        ("/rerank", json!({"query": "q", "documents": texts})),
        ("/score", json!({"queries": ["q", "r", ""], "documents": texts})),
        ("/pooling", json!({"input": texts})),
        ("/v1/embeddings", json!({"input": texts})),
        ("/tag", json!({"inputs": texts, "model": "pii"})),
        ("/fill_mask", json!({"inputs": masked, "top_k": 1})),
        ("/", json!({"inputs": texts})),
        ("/", json!({"inputs": compared})),
        ("/", json!({"inputs": masked, "parameters": {"top_k": 1}})),
        ("/models/intent", json!({"inputs": texts})),
        ("/models/pii", json!({"inputs": texts})),
        ("/models/rank", json!({"query": "q", "texts": texts})),
        // Nothing to answer: as without `partial`.
        ("/embed", json!({"inputs": ["", ""]})),
        ("/v1/embeddings", json!({"input": ""})),
        ("/similarity", json!({"inputs": {"source_sentence": "", "sentences": ["a", "b"]}})),
        ("/score", json!({"queries": ["", "q"], "documents": ["a", ""]})),
    ];
    let exchanges = exchanges.map(|(path, body)| (path, partial(body)));
    insta::assert_snapshot!(transcript(&exchanges).await);
}

/// Long, empty and invalid inputs, read whole or in windows: the others' answers are what they are alone.
#[tokio::test]
async fn the_others_are_answered_as_if_they_were_alone() {
    let alone = |text: &str| ok("/embed", json!({"inputs": text}));
    let (first, last) = (alone("one").await[0].clone(), alone("two").await[0].clone());
    let texts = json!(["one", too_long(), "", "two"]);
    let answer = ok("/embed", json!({"inputs": texts, "partial": true})).await;
    assert_eq!((&answer[0], &answer[3]), (&first, &last));
    assert!(answer[1]["error"].as_str().unwrap().contains("must have less than"), "{}", answer[1]);
    assert_eq!(answer[2], json!({"error": "the text is empty", "error_type": "Empty"}));
    let chunked = ok("/embed", json!({"inputs": texts, "chunk": {}, "partial": true})).await;
    assert!(chunked[1].is_array(), "it is read in windows");
    assert_eq!((&chunked[0], &chunked[2], &chunked[3]), (&first, &answer[2], &last));
    let ids = json!([[5], [4_000_000], [6]]);
    let list = ok("/v1/embeddings", json!({"input": ids, "partial": true})).await;
    let data = list["data"].as_array().unwrap();
    assert_eq!(data.iter().map(|item| &item["index"]).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(list["errors"][0]["index"], 1);
    assert!(list["errors"][0]["error"]["message"].as_str().unwrap().contains("4000000"), "{list}");
}

#[tokio::test]
async fn one_bad_input_refuses_the_request_unless_it_asks_otherwise() {
    for (path, body) in [
        ("/embed", json!({"inputs": ["a", ""]})),
        ("/embed", json!({"inputs": ["a", ""], "partial": false})),
        ("/embed", json!({"inputs": ["a", ""], "chunk": {}})),
        ("/score", json!({"queries": "q", "documents": ["a", ""]})),
        ("/v1/embeddings", json!({"input": ["a", ""]})),
        ("/v1/rerank", json!({"query": "q", "documents": ["a", ""], "model": "rank"})),
    ] {
        let reply = post(path, &body).await;
        let named = reply.text.contains("(input 1, counted from 0)");
        assert!(reply.status == 400 && named, "{path}: {}", reply.text);
    }
    let reply = post("/score", &json!({"queries": ["q", ""], "documents": ["a", "b"]})).await;
    assert!(reply.text.contains("(query 1, counted from 0)"), "{}", reply.text);
}

/// What is wrong with the request is no input's fault.
#[tokio::test]
async fn a_wrong_option_refuses_the_request_all_the_same() {
    for body in [
        json!({"inputs": ["a", "b"], "partial": true, "dimensions": 0}),
        json!({"inputs": ["a", "b"], "partial": true, "chunk": {"size": 2}}),
        json!({"inputs": ["a", "b"], "partial": true, "prompt_name": "none"}),
    ] {
        let reply = post("/embed", &body).await;
        let whole = reply.status == 422 && !reply.text.contains("counted from");
        assert!(whole, "{body}: {}", reply.text);
    }
}

#[tokio::test]
async fn failed_inputs_are_counted() {
    let body = json!({"inputs": ["a", "", ""], "partial": true, "model": "pii"});
    let reply = post("/tag", &body).await;
    assert_eq!(reply.header("x-failed-inputs"), Some("2"));
    let page = get("/metrics").await.text;
    let line =
        page.lines().find(|line| line.starts_with("bigbatch_inputs_failed_total{model=\"pii\"}"));
    let count: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count >= 2.0, "{page}");
}
