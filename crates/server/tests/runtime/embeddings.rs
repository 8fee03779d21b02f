//! `/v1/embeddings`: vectors in both encodings, what the card lists, and inputs that are too long.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::client::{app, floats, get, ok, post, too_long};

async fn embed(body: Value) -> Value {
    let mut with_model = json!({"model": "embed"});
    let fields = body.as_object().expect("an object").clone();
    with_model.as_object_mut().expect("an object").extend(fields);
    ok("/v1/embeddings", with_model).await
}

#[tokio::test]
async fn both_encodings_have_the_same_numbers() {
    let texts = json!(["Where is my parcel?", {"type": "text", "text": "a b"}, ""]);
    let numbers = embed(json!({"input": texts})).await;
    let encoded = embed(json!({"input": texts, "encoding_format": "base64", "user": "u"})).await;
    assert_eq!((&numbers["object"], &numbers["model"]), (&json!("list"), &json!("embed")));
    let card = get(&app(), "/v1/models").await.json()["data"][0].clone();
    let width = card["embedding"]["dimensions"][0].as_u64().expect("a whole number");
    let mut prompt_tokens = 0;
    for (index, item) in numbers["data"].as_array().expect("a list").iter().enumerate() {
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
        let vector = floats(&item["embedding"]);
        assert_eq!(vector.len() as u64, width);
        let base64 = encoded["data"][index]["embedding"].as_str().expect("base64");
        let bytes = BASE64_STANDARD.decode(base64).expect("base64");
        let decoded: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(decoded, vector);
        prompt_tokens += item["input"]["processed_tokens"].as_u64().expect("a whole number");
        assert_eq!(item["input"]["tokens"], item["input"]["processed_tokens"]);
    }
    assert_eq!(numbers["data"][2]["input"]["tokens"], 2, "special tokens only");
    assert_eq!(
        numbers["usage"],
        json!({"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens})
    );
    let representation = &numbers["meta"]["representation"];
    assert_eq!(
        (&representation["dimension"], &representation["layer"]),
        (&json!(width), &json!(0))
    );
    assert_eq!(representation["normalized"], false);
    assert!(numbers["meta"].get("device").is_none(), "only where it is asked for");
}

#[tokio::test]
async fn what_the_card_does_not_list_is_refused() {
    let card = get(&app(), "/v1/models").await.json()["data"][0]["embedding"].clone();
    assert_eq!(
        card["input_types"],
        json!(["query"]),
        "of the model's prompts those of the contract"
    );
    assert_eq!((&card["modalities"], &card["pooling"]), (&json!(["text"]), &json!("mean")));
    let width = card["dimensions"][0].clone();
    embed(json!({"input": "a", "dimensions": width, "input_type": "query"})).await;
    for (field, value) in [
        ("dimensions", json!(3)),
        ("dimensions", json!(0)),
        ("layer", json!(1)),
        ("input_type", json!("document")),
        ("input_type", json!("other")),
        ("encoding_format", json!("binary")),
        ("encoding_format", json!(1)),
        ("input", json!([])),
        ("input", json!([1, 2])),
        ("input", json!([{"type": "image_url", "image_url": {"url": "x"}}])),
        ("input", json!([{"type": "text"}])),
        ("input", json!([{"type": "text", "text": "a", "more": 1}])),
        ("options", json!({"overflow": "window"})),
        ("options", json!({"window": {"tokens": 8}})),
    ] {
        let mut body = json!({"model": "embed", "input": "a"});
        body[field] = value.clone();
        let reply = post("/v1/embeddings", &body).await;
        assert_eq!(reply.refusal(), (400, "invalid_request".into()), "{field} {value}");
    }
}

#[tokio::test]
async fn a_prompt_is_put_before_the_text() {
    let plain = embed(json!({"input": "query: a b"})).await;
    let prompted = embed(json!({"input": "a b", "input_type": "query"})).await;
    assert_eq!(plain["data"][0]["embedding"], prompted["data"][0]["embedding"]);
}

#[tokio::test]
async fn one_text_that_is_too_long_fails_alone_or_is_cut() {
    let texts = json!(["a", too_long()]);
    let answer = embed(json!({"input": texts})).await;
    let failed = json!({"object": "embedding", "index": 1, "error": "max_length_exceeded"});
    assert_eq!(answer["data"][1], failed);
    assert!(answer["data"][0].get("embedding").is_some());
    let options = json!({"overflow": "truncate", "max_tokens": 10});
    let cut = embed(json!({"input": texts, "options": options})).await;
    let input = &cut["data"][1]["input"];
    assert_eq!((&input["processed_tokens"], &input["truncated"]), (&json!(10), &json!(true)));
    assert_eq!(cut["data"][0], answer["data"][0]);
}
