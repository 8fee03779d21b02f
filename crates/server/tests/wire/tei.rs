//! text-embeddings-inference's routes.

use serde_json::{Value, json};

use crate::common::{LIMIT, floats, get, ok, post, shape, too_long, transcript};

#[tokio::test]
async fn shapes() {
    let exchanges = [
        ("/embed", json!({"inputs": "a text"})),
        ("/embed", json!({"inputs": ["a text", "another"], "dimensions": 8})),
        ("/embed", json!({"inputs": [5, 6, 7]})),
        ("/embed", json!({"inputs": [[5, 6, 7], [8]], "normalize": false})),
        ("/embed", json!({"inputs": "a text", "prompt_name": "query"})),
        ("/embed_all", json!({"inputs": ["two words"]})),
        ("/predict", json!({"inputs": "a text", "model": "intent"})),
        ("/predict", json!({"inputs": ["a query", "a text"], "model": "intent"})),
        (
            "/predict",
            json!({"inputs": [["a text"], ["a query", "a text"]], "model": "intent", "raw_scores": true}),
        ),
        ("/predict", json!({"inputs": "a text", "model": "rank"})),
        ("/rerank", json!({"query": "q", "texts": ["a", "b"], "model": "rank"})),
        (
            "/rerank",
            json!({"query": "q", "texts": ["a"], "model": "rank", "return_text": true, "raw_scores": true}),
        ),
        ("/similarity", json!({"inputs": {"source_sentence": "a", "sentences": ["a", "b"]}})),
        ("/tokenize", json!({"inputs": "h\u{e9} [MASK]"})),
        ("/tokenize", json!({"inputs": ["one"], "add_special_tokens": false})),
        ("/decode", json!({"ids": [5, 6]})),
        ("/decode", json!({"ids": [[5, 6], [7]], "skip_special_tokens": false})),
        ("/models/intent/predict", json!({"inputs": "a text"})),
    ];
    insta::assert_snapshot!(transcript(&exchanges).await);
}

#[tokio::test]
async fn info() {
    let info = get("/info").await;
    assert_eq!(info.status, 200);
    insta::assert_snapshot!(serde_json::to_string_pretty(&shape(&info.json())).unwrap());
}

#[tokio::test]
async fn vectors_are_of_unit_length_unless_asked_otherwise() {
    let length = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit = floats(&ok("/embed", json!({"inputs": "a text"})).await[0]);
    assert!((length(&unit) - 1.0).abs() < 1e-5);
    let own = floats(&ok("/embed", json!({"inputs": "a text", "normalize": false})).await[0]);
    assert!((length(&own) - 1.0).abs() > 1e-3, "{}", length(&own));
    let cut = floats(&ok("/embed", json!({"inputs": "a text", "dimensions": 8})).await[0]);
    assert!(cut.len() == 8 && (length(&cut) - 1.0).abs() < 1e-5);
}

#[tokio::test]
async fn a_prompt_is_put_before_the_text() {
    let named = ok("/embed", json!({"inputs": "a text", "prompt_name": "query"})).await;
    let written = ok("/embed", json!({"inputs": "query: a text"})).await;
    let without = ok("/embed", json!({"inputs": "a text"})).await;
    assert_eq!(named, written);
    assert_ne!(named, without);
}

#[tokio::test]
async fn ids_and_their_text_have_one_vector() {
    let tokens = ok("/tokenize", json!({"inputs": "the same text"})).await;
    let ids: Vec<&Value> = tokens[0].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    let of_ids = ok("/embed", json!({"inputs": ids})).await;
    assert_eq!(of_ids, ok("/embed", json!({"inputs": "the same text"})).await);
    let decoded = ok("/decode", json!({"ids": ids})).await;
    assert_eq!(decoded, json!(["the same text"]));
}

#[tokio::test]
async fn tokens_have_their_characters() {
    let text = "h\u{e9}llo w\u{f6}rld";
    let tokens = ok("/tokenize", json!({"inputs": text})).await;
    for token in tokens[0].as_array().unwrap() {
        let Some(start) = token["start"].as_u64() else {
            assert_eq!(token["special"], true);
            continue;
        };
        let stop = token["stop"].as_u64().unwrap();
        let span: String =
            text.chars().skip(start as usize).take((stop - start) as usize).collect();
        assert_eq!(token["text"], span);
    }
}

#[tokio::test]
async fn similarities_are_cosines_of_embeddings() {
    let body = json!({"inputs": {"source_sentence": "one", "sentences": ["one", "two"]}});
    let cosines = floats(&ok("/similarity", body).await);
    let vectors = ok("/embed", json!({"inputs": ["one", "two"]})).await;
    let (one, two) = (floats(&vectors[0]), floats(&vectors[1]));
    let expected: f32 = one.iter().zip(&two).map(|(a, b)| a * b).sum();
    assert!((cosines[0] - 1.0).abs() < 1e-5 && (cosines[1] - expected).abs() < 1e-5, "{cosines:?}");
}

#[tokio::test]
async fn ranks_are_predictions_of_pairs_best_first() {
    let texts = ["one text", "another one", "and a third"];
    let body = json!({"query": "which?", "texts": texts, "model": "rank", "return_text": true});
    let ranks = ok("/rerank", body).await;
    let scores: Vec<f64> = (0..3).map(|n| ranks[n]["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    for rank in ranks.as_array().unwrap() {
        let text = texts[rank["index"].as_u64().unwrap() as usize];
        assert_eq!(rank["text"], text);
        let pair = ok("/predict", json!({"inputs": ["which?", text], "model": "rank"})).await;
        assert_eq!(pair[0]["score"], rank["score"]);
    }
}

#[tokio::test]
async fn answers_have_timing_headers() {
    let reply = post("/embed", &json!({"inputs": ["h\u{e9}", "two words"]})).await;
    for name in ["compute-time", "total-time", "tokenization-time", "queue-time", "inference-time"]
    {
        let value = reply.header(&format!("x-{name}")).unwrap_or_else(|| panic!("no {name}"));
        assert!(value.parse::<u64>().is_ok(), "{name}: {value}");
    }
    assert_eq!(reply.header("x-compute-type"), Some("cpu"));
    assert_eq!(reply.header("x-compute-characters"), Some("11"));
}

#[tokio::test]
async fn truncation_is_reported_and_keeps_the_requested_end() {
    let long = format!("{} first {} last", "one", too_long());
    let right = post("/embed", &json!({"inputs": long, "truncate": true})).await;
    assert_eq!((right.status, right.header("x-truncated")), (200, Some("true")));
    assert_eq!(right.header("x-compute-tokens"), Some(LIMIT.to_string().as_str()));
    let body = json!({"inputs": long, "truncate": true, "truncation_direction": "Left"});
    let left = post("/embed", &body).await;
    assert_eq!(left.header("x-truncated"), Some("true"));
    assert_ne!(left.text, right.text);
    let short = post("/embed", &json!({"inputs": "short", "truncate": true})).await;
    assert_eq!(short.header("x-truncated"), None);
}

/// Clients with a field for options send null when there are none.
#[tokio::test]
async fn parameters_may_be_null() {
    let inputs = json!({"source_sentence": "a", "sentences": ["b"]});
    let without = ok("/similarity", json!({"inputs": inputs})).await;
    for path in ["/similarity", "/"] {
        let null = json!({"inputs": inputs, "parameters": null});
        assert_eq!(ok(path, null).await, without, "{path}");
    }
}

/// A text longer than the model is compared by the mean of its windows, as `/embed` reads it.
#[tokio::test]
async fn a_comparison_may_read_in_windows() {
    let inputs = json!({"source_sentence": too_long(), "sentences": [too_long(), "b"]});
    let reply = post("/similarity", &json!({"inputs": inputs, "parameters": {"chunk": {}}})).await;
    assert_eq!((reply.status, reply.header("x-chunks")), (200, Some("5")), "{}", reply.text);
    assert!((floats(&reply.json())[0] - 1.0).abs() < 1e-5, "{}", reply.text);
}
