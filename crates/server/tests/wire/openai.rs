//! OpenAI's embeddings, and vLLM's pooling endpoints.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::common::{exchange, floats, get, ok, transcript};

#[tokio::test]
async fn shapes() {
    let exchanges = [
        ("/v1/embeddings", json!({"input": "a text", "model": "embed"})),
        (
            "/embeddings",
            json!({"input": ["a", "b"], "encoding_format": "base64", "dimensions": 64, "user": "u"}),
        ),
        ("/v1/embeddings", json!({"input": [5, 6, 7]})),
        ("/v1/embeddings", json!({"input": [[5, 6, 7], [8]], "truncate_prompt_tokens": -1})),
        ("/classify", json!({"input": "a text", "model": "intent"})),
        ("/classify", json!({"input": ["a", "b"], "model": "intent", "use_activation": false})),
        ("/pooling", json!({"input": "a text"})),
        ("/pooling", json!({"input": ["a text"], "task": "embed", "encoding_format": "base64"})),
        ("/pooling", json!({"input": "a text", "task": "classify", "model": "intent"})),
        ("/pooling", json!({"input": "a text", "task": "token_embed"})),
        ("/pooling", json!({"input": "a text", "model": "pii"})),
        ("/score", json!({"text_1": "q", "text_2": ["a", "b"], "model": "rank"})),
        ("/score", json!({"queries": ["p", "q"], "documents": ["a", "b"]})),
        ("/rerank", json!({"query": "q", "documents": ["a", "b"], "model": "rank"})),
        (
            "/v1/rerank",
            json!({"query": "q", "documents": [{"text": "a"}, "b"], "model": "rank", "top_n": 1}),
        ),
        (
            "/v2/rerank",
            json!({"query": "q", "documents": ["a"], "model": "rank", "return_documents": false}),
        ),
        ("/models/rank/v1/rerank", json!({"query": "q", "documents": ["a"]})),
    ];
    insta::assert_snapshot!(transcript(&exchanges).await);
}

#[tokio::test]
async fn models() {
    let mut written = String::new();
    for path in ["/v1/models", "/models", "/v1/models/pii", "/v1/models/none"] {
        written += &exchange(&format!("GET {path}"), &get(path).await);
    }
    insta::assert_snapshot!(written);
}

#[tokio::test]
async fn base64_holds_the_same_floats() {
    let body = |format| json!({"input": "a text", "encoding_format": format});
    let plain = floats(&ok("/v1/embeddings", body("float")).await["data"][0]["embedding"]);
    let coded = ok("/v1/embeddings", body("base64")).await;
    let bytes = BASE64_STANDARD.decode(coded["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let decoded: Vec<f32> =
        bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    assert_eq!(plain, decoded);
    let tei = ok("/embed", json!({"inputs": "a text"})).await;
    assert_eq!(floats(&tei[0]), plain);
}

#[tokio::test]
async fn probabilities_are_in_the_order_of_their_ids() {
    let class = ok("/classify", json!({"input": "a text", "model": "intent"})).await;
    let labels = ok("/predict", json!({"inputs": "a text", "model": "intent"})).await;
    let (class, probs) = (&class["data"][0], floats(&class["data"][0]["probs"]));
    assert_eq!((class["label"].clone(), probs.len()), (labels[0]["label"].clone(), 3));
    for prediction in labels.as_array().unwrap() {
        let id =
            ["billing", "travel", "code"].iter().position(|l| prediction["label"] == *l).unwrap();
        assert_eq!(probs[id], prediction["score"].as_f64().unwrap() as f32);
    }
}

#[tokio::test]
async fn documents_are_ranked_as_texts_are() {
    let texts = ["one", "two", "three"];
    let tei = ok("/rerank", json!({"query": "q", "texts": texts, "model": "rank"})).await;
    let vllm = ok("/rerank", json!({"query": "q", "documents": texts, "model": "rank"})).await;
    let scores = ok("/score", json!({"queries": "q", "documents": texts, "model": "rank"})).await;
    for (rank, result) in tei.as_array().unwrap().iter().zip(vllm["results"].as_array().unwrap()) {
        assert_eq!(
            (&rank["index"], &rank["score"]),
            (&result["index"], &result["relevance_score"])
        );
        let index = rank["index"].as_u64().unwrap() as usize;
        assert_eq!(scores["data"][index]["score"], rank["score"]);
        assert_eq!(result["document"]["text"], texts[index]);
    }
}

#[tokio::test]
async fn each_query_is_scored_with_its_own_document() {
    let score = |body| async { floats_of(&ok("/score", body).await) };
    let both =
        score(json!({"queries": ["p", "q"], "documents": ["a", "b"], "model": "rank"})).await;
    let first = score(json!({"queries": "p", "documents": "a", "model": "rank"})).await;
    let second = score(json!({"queries": "q", "documents": "b", "model": "rank"})).await;
    assert_eq!(both, [first[0], second[0]]);
}

fn floats_of(list: &serde_json::Value) -> Vec<f32> {
    let data = list["data"].as_array().unwrap();
    data.iter().map(|score| score["score"].as_f64().unwrap() as f32).collect()
}
