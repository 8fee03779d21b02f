//! Fields of the dialects' clients: honoured, or refused by name where they would change the answer.

use serde_json::{Value, json};

use crate::common::{floats, ok, post};

/// An endpoint with a body, and the lists of fields to add to it, one at a time.
type Case<'a> = ((&'static str, Value), Vec<&'a [(&'static str, Value)]>);

/// Returns the body with one more field.
fn with(body: &Value, field: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[field] = value;
    body
}

fn embeddings() -> (&'static str, Value) {
    ("/v1/embeddings", json!({"input": "a text"}))
}

fn pooling() -> (&'static str, Value) {
    ("/pooling", json!({"input": "a text"}))
}

fn classify() -> (&'static str, Value) {
    ("/models/intent/classify", json!({"input": "a text"}))
}

fn rerank() -> (&'static str, Value) {
    ("/models/rank/v1/rerank", json!({"query": "q", "documents": ["a", "b"]}))
}

fn score() -> (&'static str, Value) {
    ("/models/rank/score", json!({"queries": "q", "documents": ["a", "b"]}))
}

#[tokio::test]
async fn what_is_not_computed_is_refused_by_name() {
    let of_texts = [
        ("messages", json!([{"role": "user", "content": "a"}])),
        ("chat_template", json!("{{ messages }}")),
        ("chat_template_kwargs", json!({"a": 1})),
        ("add_generation_prompt", json!(true)),
        ("continue_final_message", json!(true)),
    ];
    let of_all = [
        ("mm_processor_kwargs", json!({"a": 1})),
        ("padding", json!("max_length")),
        ("truncation_side", json!("middle")),
        ("truncate_prompt_tokens", json!(0)),
        ("truncate_prompt_tokens", json!(-2)),
        ("truncate_prompt_tokens", json!(100_000)),
    ];
    let of_numbers = [
        ("embed_dtype", json!("float16")),
        ("endianness", json!("big")),
        ("encoding_format", json!("bytes")),
        ("additional_data", json!({"a": 1})),
    ];
    let of_embeddings = [
        ("task", json!("retrieval.query")),
        ("input_type", json!("query")),
        ("instruction", json!("Find")),
        ("late_chunking", json!(true)),
        ("return_multivector", json!(true)),
        ("modality", json!("image")),
        ("embedding_type", json!("binary")),
    ];
    let of_scores = [
        ("instruction", json!("Rank")),
        ("max_tokens_per_query", json!(-1)),
        ("max_tokens_per_doc", json!(-1)),
        ("chat_template_kwargs", json!({"a": 1})),
    ];
    let of_ranks = [("rank_fields", json!(["title"])), ("max_chunks_per_doc", json!(10))];
    let of_pooling = [("data", json!("x"))];
    let cases: [Case; 5] = [
        (embeddings(), vec![&of_texts, &of_all, &of_numbers, &of_embeddings]),
        (pooling(), vec![&of_texts, &of_all, &of_numbers, &of_pooling]),
        (classify(), vec![&of_texts, &of_all]),
        (rerank(), vec![&of_all, &of_scores, &of_ranks]),
        (score(), vec![&of_all, &of_scores]),
    ];
    for ((path, body), lists) in cases {
        for (field, value) in lists.into_iter().flatten() {
            let body = with(&body, field, value.clone());
            let reply = post(path, &body).await;
            // The dialect of a body that cannot be read is that of its path, for `/classify` the other one.
            let status = if path.ends_with("classify") && reply.status != 400 { 422 } else { 400 };
            assert_eq!(reply.status, status, "{path} {body}: {}", reply.text);
            assert!(reply.text.contains(field), "{path} {body}: {}", reply.text);
        }
    }
}

/// A refusal would break clients that write out their defaults.
#[tokio::test]
async fn what_changes_nothing_is_accepted() {
    let of_all = [
        ("user", json!("u")),
        ("request_id", json!("r")),
        ("priority", json!(5)),
        ("cache_salt", json!("s")),
        ("mm_processor_kwargs", json!({})),
        ("padding", json!("do_not_pad")),
        ("truncation_side", json!("left")),
        ("truncate_prompt_tokens", json!(-1)),
    ];
    let of_texts = [("add_generation_prompt", json!(false)), ("add_special_tokens", json!(true))];
    let of_numbers = [("embed_dtype", json!("float32")), ("endianness", json!("little"))];
    let of_embeddings = [
        ("late_chunking", json!(false)),
        ("modality", json!("text")),
        ("embedding_type", json!("float")),
        ("normalized", json!(true)),
        ("task", json!("")),
    ];
    let of_scores = [
        ("max_tokens_per_doc", json!(0)),
        ("max_tokens_per_doc", json!(4096)),
        ("instruction", json!("")),
    ];
    let of_ranks = [("rank_fields", json!(["text"])), ("return_documents", json!(true))];
    let cases: [Case; 5] = [
        (embeddings(), vec![&of_all, &of_texts, &of_numbers, &of_embeddings]),
        (pooling(), vec![&of_all, &of_texts, &of_numbers]),
        (classify(), vec![&of_all, &of_texts]),
        (rerank(), vec![&of_all, &of_scores, &of_ranks]),
        (score(), vec![&of_all, &of_scores]),
    ];
    let data = |answer: &Value| [&answer["data"], &answer["results"]].map(Value::clone);
    for ((path, body), lists) in cases {
        let plain = data(&ok(path, body.clone()).await);
        for (field, value) in lists.into_iter().flatten() {
            let answer = ok(path, with(&body, field, value.clone())).await;
            assert_eq!(data(&answer), plain, "{path} {field}");
        }
    }
}

#[tokio::test]
async fn fields_that_contradict_each_other_are_refused() {
    for (path, body, names) in [
        (
            "/v1/embeddings",
            json!({"input": "a", "normalize": true, "use_activation": false}),
            ["normalize", "use_activation"],
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "dimensions": 8, "output_dimension": 16}),
            ["dimensions", "output_dimension"],
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "normalize": true, "normalized": false}),
            ["normalize", "normalized"],
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "encoding_format": "float", "embedding_type": "base64"}),
            ["encoding_format", "embedding_type"],
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "truncate": false, "truncate_prompt_tokens": 5}),
            ["truncate_prompt_tokens", "truncate"],
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "chunk": {}, "truncate_prompt_tokens": 5}),
            ["truncate", "chunk"],
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "chunk": {}, "add_special_tokens": false}),
            ["chunk", "add_special_tokens"],
        ),
        (
            "/models/intent/classify",
            json!({"inputs": "a", "raw_scores": true, "softmax": true}),
            ["raw_scores", "use_activation"],
        ),
        (
            "/models/rank/rerank",
            json!({"query": "q", "texts": ["a"], "raw_scores": false, "activation": false}),
            ["raw_scores", "use_activation"],
        ),
        (
            "/models/rank/rerank",
            json!({"query": "q", "texts": ["a"], "truncation_side": "left", "truncation_direction": "right"}),
            ["truncation_direction", "truncation_side"],
        ),
        (
            "/models/rank/rerank",
            json!({"query": "q", "texts": ["a"], "return_text": true, "return_documents": false}),
            ["return_text", "return_documents"],
        ),
        (
            "/models/rank/score",
            json!({"queries": "q", "text_1": "q", "documents": "a"}),
            ["queries", "text_1"],
        ),
        ("/v1/analyze", json!({"text": "a", "inputs": "b"}), ["text", "inputs"]),
        (
            "/models/intent",
            json!({"inputs": "a", "top_k": 1, "parameters": {"top_k": 2}}),
            ["parameters.top_k", "top_k"],
        ),
        (
            "/models/intent",
            json!({"inputs": "a", "function_to_apply": "none", "raw_scores": false}),
            ["function_to_apply", "raw_scores"],
        ),
        ("/models/rank", json!({"inputs": "a", "query": "q", "texts": ["a"]}), ["inputs", "query"]),
    ] {
        let reply = post(path, &body).await;
        assert!([400, 422].contains(&reply.status), "{path} {body}: {}", reply.text);
        for name in names {
            assert!(reply.text.contains(&format!("`{name}`")), "{path} {body}: {}", reply.text);
        }
    }
    // The same said twice is no contradiction.
    ok("/v1/embeddings", json!({"input": "a", "normalize": true, "use_activation": true})).await;
    ok("/models/intent/classify", json!({"inputs": "a", "raw_scores": true, "softmax": false}))
        .await;
    ok("/models/intent", json!({"inputs": "a", "top_k": 1, "parameters": {"top_k": 1}})).await;
}

/// At `POST /` the model's kind chooses the task, and options of another task would be passed over.
#[tokio::test]
async fn options_of_another_task_are_refused() {
    for (path, name, value) in [
        ("/", "function_to_apply", json!("none")),
        ("/", "aggregation_strategy", json!("simple")),
        ("/models/intent", "normalize", json!(true)),
        ("/models/intent", "aggregation_strategy", json!("simple")),
        ("/models/pii", "top_k", json!(1)),
        ("/models/pii", "prompt_name", json!("query")),
    ] {
        let reply = post(path, &json!({"inputs": "a", "parameters": {name: value}})).await;
        assert_eq!(reply.status, 422, "{path} {name}: {}", reply.text);
        assert!(reply.text.contains(&format!("`{name}`")), "{path} {name}: {}", reply.text);
    }
}

#[tokio::test]
async fn vectors_are_scaled_by_every_name_of_the_flag() {
    let own = ok("/embed", json!({"inputs": "a text", "normalize": false})).await;
    let unit = ok("/embed", json!({"inputs": "a text"})).await;
    let (own, unit) = (floats(&own[0]), floats(&unit[0]));
    assert_ne!(own, unit);
    for name in ["use_activation", "activation", "softmax", "normalize", "normalized"] {
        for (on, expected) in [(false, &own), (true, &unit)] {
            let (path, body) = embeddings();
            let answer = ok(path, with(&body, name, json!(on))).await;
            assert_eq!(&floats(&answer["data"][0]["embedding"]), expected, "{name}: {on}");
            if name != "normalized" {
                let (path, body) = pooling();
                let answer = ok(path, with(&body, name, json!(on))).await;
                assert_eq!(&floats(&answer["data"][0]["data"]), expected, "{name}: {on}");
            }
        }
    }
}

#[tokio::test]
async fn vectors_of_tokens_are_scaled_as_by_vllm() {
    let hidden = ok("/embed_all", json!({"inputs": "a text"})).await;
    let body = |on: Value| json!({"input": "a text", "task": "token_embed", "use_activation": on});
    let raw = ok("/pooling", body(json!(false))).await;
    assert_eq!(raw["data"][0]["data"], hidden[0]);
    let scaled = ok("/pooling", body(Value::Null)).await;
    for (row, hidden) in
        scaled["data"][0]["data"].as_array().unwrap().iter().zip(hidden[0].as_array().unwrap())
    {
        let (row, hidden) = (floats(row), floats(hidden));
        let length = hidden.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (x, of_hidden) in row.iter().zip(hidden) {
            assert!((x - of_hidden / length).abs() < 1e-5, "{x} {of_hidden}");
        }
    }
}

/// The scores of `/rerank` in the order of the documents.
fn by_index(answer: &Value, list: &str, score: &str) -> Vec<f32> {
    let list = if list.is_empty() { answer } else { &answer[list] };
    let mut pairs: Vec<(u64, f32)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|rank| (rank["index"].as_u64().unwrap(), rank[score].as_f64().unwrap() as f32))
        .collect();
    pairs.sort_by_key(|&(index, _)| index);
    pairs.into_iter().map(|(_, score)| score).collect()
}

/// Both bodies of `/rerank` and `/classify` take the fields of both dialects.
#[tokio::test]
async fn both_dialects_of_a_path_have_the_same_fields() {
    let texts = json!({"query": "q", "texts": ["a", "b", "c"]});
    let documents = json!({"query": "q", "documents": ["a", "b", "c"]});
    let path = "/models/rank/rerank";
    let logits = by_index(&ok(path, with(&texts, "raw_scores", json!(true))).await, "", "score");
    let probabilities = by_index(&ok(path, texts.clone()).await, "", "score");
    assert_ne!(logits, probabilities);
    let other = ok(path, with(&texts, "use_activation", json!(false))).await;
    assert_eq!(by_index(&other, "", "score"), logits);
    let other = ok(path, with(&documents, "raw_scores", json!(true))).await;
    assert_eq!(by_index(&other, "results", "relevance_score"), logits);
    let best = ok(path, with(&texts, "top_n", json!(1))).await;
    assert_eq!(best.as_array().unwrap().len(), 1);
    let repeated = ok(path, with(&texts, "return_documents", json!(true))).await;
    assert!(repeated[0]["text"].is_string());
    let silent = ok(path, with(&documents, "return_text", json!(false))).await;
    assert!(silent["results"][0].get("document").is_none());
    let score = ok("/models/rank/v1/score", json!({"data_1": "q", "items": ["a", "b", "c"]})).await;
    assert_eq!(by_index(&score, "data", "score"), probabilities);
    let classes = ok("/models/intent/classify", json!({"inputs": "a", "use_activation": false}));
    let logits = ok("/models/intent/predict", json!({"inputs": "a", "raw_scores": true}));
    assert_eq!(classes.await, logits.await);
}
