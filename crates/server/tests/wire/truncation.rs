//! How inputs are tokenized and cut: `truncate_prompt_tokens`, `truncation_side`, `add_special_tokens`.

use bigbatch_engine::InitHead;
use bigbatch_server::{App, Models, Options};
use serde_json::{Value, json};

use crate::common::{LIMIT, floats, labels, ok, post, post_to, served, too_long};

const TEXT: &str = "one two three four five six seven eight nine ten";

/// The ids of a text, special ones included.
async fn ids(text: &str) -> Vec<u64> {
    let tokens = ok("/tokenize", json!({"inputs": text})).await;
    tokens[0].as_array().unwrap().iter().map(|token| token["id"].as_u64().unwrap()).collect()
}

/// The vector of `/v1/embeddings`, the tokens that it counts, and whether it says that the input was cut.
async fn embedding(body: Value) -> (Vec<f32>, u64, bool) {
    let reply = post("/v1/embeddings", &body).await;
    assert_eq!(reply.status, 200, "{body}: {}", reply.text);
    let cut = reply.header("x-truncated").is_some();
    let answer = reply.json();
    let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    (floats(&answer["data"][0]["embedding"]), tokens, cut)
}

#[tokio::test]
async fn as_many_tokens_are_kept_as_the_request_says() {
    let whole = ids(TEXT).await;
    let n = whole.len();
    for tokens in [3, 5, n - 1] {
        let right = [&whole[..tokens - 1], &whole[n - 1..]].concat();
        let left = [&whole[..1], &whole[n + 1 - tokens..]].concat();
        for (side, kept) in
            [(json!(null), &right), (json!("right"), &right), (json!("left"), &left)]
        {
            let body =
                json!({"input": TEXT, "truncate_prompt_tokens": tokens, "truncation_side": side});
            let (expected, ..) = embedding(json!({"input": kept})).await;
            assert_eq!(embedding(body).await, (expected, tokens as u64, true), "{tokens} {side}");
        }
        // Ids are cut as they are.
        let body = json!({"input": whole, "truncate_prompt_tokens": tokens});
        let (expected, ..) = embedding(json!({"input": whole[..tokens]})).await;
        assert_eq!(embedding(body).await, (expected, tokens as u64, true), "{tokens}");
    }
    let (plain, ..) = embedding(json!({"input": TEXT})).await;
    for tokens in [n as i64, LIMIT as i64, -1] {
        let body = json!({"input": TEXT, "truncate_prompt_tokens": tokens});
        assert_eq!(embedding(body).await, (plain.clone(), n as u64, false), "{tokens}");
    }
    let body = json!({"input": too_long(), "truncate_prompt_tokens": -1});
    let (vector, tokens, cut) = embedding(body).await;
    assert_eq!((tokens, cut), (LIMIT as u64, true));
    assert_eq!(vector, embedding(json!({"input": too_long(), "truncate": true})).await.0);
}

#[tokio::test]
async fn every_endpoint_of_vllm_cuts() {
    for (path, body) in [
        ("/models/intent/classify", json!({"input": TEXT})),
        ("/models/intent/classify", json!({"inputs": TEXT})),
        ("/pooling", json!({"input": TEXT})),
        ("/models/rank/score", json!({"queries": TEXT, "documents": [TEXT]})),
        ("/models/rank/v1/score", json!({"queries": TEXT, "documents": [TEXT]})),
        ("/models/rank/rerank", json!({"query": TEXT, "documents": [TEXT]})),
        ("/models/rank/rerank", json!({"query": TEXT, "texts": [TEXT]})),
        ("/models/rank/v2/rerank", json!({"query": TEXT, "documents": [TEXT]})),
    ] {
        let mut body = body;
        body["truncate_prompt_tokens"] = json!(7);
        let reply = post(path, &body).await;
        assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text);
        assert_eq!(reply.header("x-compute-tokens"), Some("7"), "{path} {body}");
        assert_eq!(reply.header("x-truncated"), Some("true"), "{path} {body}");
    }
}

#[tokio::test]
async fn special_tokens_are_left_out_on_request() {
    let whole = ids(TEXT).await;
    let n = whole.len();
    let (bare, ..) = embedding(json!({"input": whole[1..n - 1]})).await;
    let body = json!({"input": TEXT, "add_special_tokens": false});
    assert_eq!(embedding(body).await, (bare.clone(), n as u64 - 2, false));
    let vectors = ok("/embed", json!({"inputs": TEXT, "add_special_tokens": false})).await;
    assert_eq!(floats(&vectors[0]), bare);
    let (first, ..) = embedding(json!({"input": whole[1..3]})).await;
    let body = json!({"input": TEXT, "add_special_tokens": false, "truncate_prompt_tokens": 2});
    assert_eq!(embedding(body).await, (first, 2, true));
    let rows = ok("/embed_all", json!({"inputs": TEXT, "add_special_tokens": false})).await;
    assert_eq!(rows[0].as_array().unwrap().len(), n - 2);
    let body = json!({"inputs": ["a", "b"], "add_special_tokens": false});
    let pair = post("/models/intent/predict", &body).await;
    assert!(pair.status == 422 && pair.text.contains("`add_special_tokens`"), "{}", pair.text);
}

#[tokio::test]
async fn headers_tell_how_many_tokens_were_given_and_how_many_were_read() {
    let text = too_long();
    let counted = ok("/tokenize", json!({"inputs": text})).await;
    let given = counted[0].as_array().expect("a list per text").len();
    assert!(given > LIMIT);
    let headers = async |path: &str, body: Value| {
        let reply = post(path, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let header =
            |name: &str| reply.header(name).map(|value| value.parse::<usize>().expect("a number"));
        (header("x-input-tokens"), header("x-processed-tokens"))
    };
    for direction in ["right", "left"] {
        let body = json!({"inputs": text, "truncate": true, "truncation_direction": direction});
        assert_eq!(headers("/embed", body).await, (Some(given), Some(LIMIT)));
    }
    let two = json!({"inputs": [text, "a b"], "truncate": true});
    let short =
        ok("/tokenize", json!({"inputs": "a b"})).await[0].as_array().expect("a list").len();
    assert_eq!(headers("/embed", two).await, (Some(given + short), Some(LIMIT + short)));
    let body =
        json!({"query": "a", "documents": [text], "max_tokens_per_doc": 10, "model": "rank"});
    let (all, read) = headers("/v1/rerank", body).await;
    // The query, its document and three special tokens; of the document 10 are read.
    assert_eq!((all, read), (Some(given - 2 + 1 + 3), Some(10 + 1 + 3)));
    let whole = json!({"inputs": text, "chunk": {}});
    assert_eq!(headers("/embed", whole).await, (Some(given), Some(given)));
}

#[tokio::test]
async fn a_server_that_reads_inputs_whole_refuses_what_would_be_cut() {
    let list = vec![
        served("embed", InitHead::Base, 8),
        served("rank", InitHead::Sequence(labels(&["LABEL_0"])), 8),
    ];
    let options = Options { require_full_input: true, auto_truncate: true, ..Options::default() };
    let app = App::new(Models::new(list).unwrap(), options);
    let refused = async |path: &str, body: Value| {
        let reply = post_to(&app, path, body.to_string()).await;
        let named = reply.text.contains("--require-full-input");
        assert!((400..500).contains(&reply.status) && named, "{path}: {}", reply.text);
    };
    refused("/embed", json!({"inputs": too_long()})).await;
    refused("/embed", json!({"inputs": too_long(), "truncate": true})).await;
    refused("/v1/embeddings", json!({"input": "a b c d e f", "truncate_prompt_tokens": 4})).await;
    refused("/v1/rerank", json!({"model": "rank", "query": "q", "documents": ["a b c d e f"], "max_tokens_per_doc": 2})).await;
    for fits in
        [json!({"inputs": "a b c", "truncate": true}), json!({"inputs": too_long(), "chunk": {}})]
    {
        assert_eq!(post_to(&app, "/embed", fits.to_string()).await.status, 200);
    }
}
