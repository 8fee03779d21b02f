//! `/v1/classify`: labels, overflow, windows without gaps, and items that fail alone.

use serde_json::{Value, json};

use crate::client::{LABELS, LIMIT, check_distribution, classify, floats, ok, post, too_long};

fn check_label(result: &Value) {
    let probabilities = floats(&result["probabilities"]);
    let largest = probabilities.iter().copied().fold(f32::MIN, f32::max);
    let first = probabilities.iter().position(|&p| p == largest).expect("there is one");
    assert_eq!(result["label"], LABELS[first]);
}

#[tokio::test]
async fn a_text_has_a_distribution_over_the_labels_of_the_card() {
    let answer =
        ok("/v1/classify", json!({"model": "intent", "input": "Where is my parcel?"})).await;
    assert_eq!((&answer["model"], &answer["kind"]), (&json!("intent"), &json!("sequence")));
    assert_eq!(answer["head"], "default");
    assert!(answer.get("meta").is_none(), "only where it is asked for");
    let result = &answer["results"][0];
    check_distribution(&floats(&result["probabilities"]));
    check_label(result);
    let tokens = result["input"]["tokens"].as_u64().expect("a whole number");
    let usage = json!({"tokens": tokens, "processed_tokens": tokens, "truncated": false,
        "tokens_lower_bound": false, "windows": 1});
    assert_eq!(result["input"], usage);
    assert_eq!(answer["usage"]["input_tokens"], tokens);
    let body = json!({"model": "intent", "input": "a", "options": {"return_meta": true}});
    let meta = ok("/v1/classify", body).await["meta"].clone();
    assert_eq!((&meta["model_id"], &meta["profile"]), (&json!("intent"), &json!("exact")));
    assert_eq!((&meta["device"], &meta["head"]), (&json!("cpu"), &json!("default")));
}

#[tokio::test]
async fn items_fail_alone_and_the_others_are_answered_as_they_are_alone() {
    let text = "Where is my parcel?";
    let alone = classify("intent", json!(text), Value::Null).await[0]["probabilities"].clone();
    let bad = [
        json!(""),
        json!({}),
        json!(3),
        json!(null),
        json!({"text": text, "more": 1}),
        json!({"text": 5}),
        json!({"context": "a", "question": "b", "answer": "c"}),
        json!(too_long()),
    ];
    let mut items = vec![json!(text)];
    items.extend(bad.iter().cloned());
    items.push(json!({"text": text, "text_pair": null}));
    let results = classify("intent", json!(items), Value::Null).await;
    for good in [&results[0], &results[items.len() - 1]] {
        assert_eq!(good["probabilities"], alone);
    }
    for result in &results[1..bad.len()] {
        assert_eq!(result["error"], "invalid_input");
    }
    assert_eq!(results[bad.len()]["error"], "max_length_exceeded");
}

#[tokio::test]
async fn a_pair_is_read_as_a_pair_and_never_as_its_text() {
    let pair = json!([{"text": "a b c", "text_pair": "d e f"}, {"text": "a b c"}]);
    let results = classify("intent", pair.clone(), Value::Null).await;
    assert_ne!(results[0]["probabilities"], results[1]["probabilities"]);
    assert!(results[0]["input"]["tokens"].as_u64() > results[1]["input"]["tokens"].as_u64());
    // A token head reads texts only.
    let results = classify("pii", pair, Value::Null).await;
    assert_eq!(results[0]["error"], "invalid_input");
    assert!(results[1].get("spans").is_some());
}

#[tokio::test]
async fn what_is_too_long_is_rejected_or_cut_as_the_request_says() {
    let text = json!(too_long());
    let whole = classify("intent", text.clone(), json!({"overflow": "reject"})).await;
    assert_eq!(whole[0]["error"], "max_length_exceeded");
    for max_tokens in [2, 3, 100, LIMIT] {
        let options = json!({"overflow": "truncate", "max_tokens": max_tokens});
        let result = classify("intent", text.clone(), options).await.remove(0);
        let input = &result["input"];
        assert_eq!(
            (&input["processed_tokens"], &input["truncated"]),
            (&json!(max_tokens), &json!(true))
        );
        assert!(input["tokens"].as_u64().is_some_and(|tokens| tokens > LIMIT as u64));
        check_label(&result);
    }
    // The special tokens alone need two.
    let options = json!({"overflow": "truncate", "max_tokens": 1});
    assert_eq!(classify("intent", text, options).await[0]["error"], "max_length_exceeded");
    // A budget below the model's limit.
    let options = json!({"max_tokens": 5});
    let results = classify("intent", json!(["a b", "a b c d e f g h"]), options).await;
    assert!(results[0].get("label").is_some());
    assert_eq!(results[1]["error"], "max_length_exceeded");
}

/// What the client checks of windows: from 0 to the end, rising, without a gap, each a distribution.
#[tokio::test]
async fn windows_cover_the_text_and_the_answer_is_their_maximum() {
    let text = "Ada met Bob in London. ".repeat(20);
    for (size, overlap) in [(16, 0), (16, 7), (64, 31), (200, 10)] {
        let options = json!({"overflow": "window", "window": {"tokens": size, "overlap": overlap}});
        let result = classify("intent", json!(text), options).await.remove(0);
        let tokens = result["input"]["tokens"].as_u64().expect("a whole number");
        let windows = result["windows"].as_array().expect("a list");
        let end = |window: &Value| window["end"].as_u64().expect("a whole number");
        let start = |window: &Value| window["start"].as_u64().expect("a whole number");
        assert_eq!(result["input"]["processed_tokens"], tokens);
        assert_eq!(result["input"]["windows"], windows.len());
        assert_eq!((start(&windows[0]), end(&windows[windows.len() - 1])), (0, tokens - 2));
        for pair in windows.windows(2) {
            assert_eq!(start(&pair[1]), start(&pair[0]) + size - 2 - overlap);
            assert!(start(&pair[1]) <= end(&pair[0]) && end(&pair[0]) < end(&pair[1]));
        }
        let rows: Vec<_> = windows.iter().map(|window| floats(&window["probabilities"])).collect();
        rows.iter().for_each(|row| check_distribution(row));
        let largest = |label: usize| rows.iter().map(|row| row[label]).fold(f32::MIN, f32::max);
        let expected: Vec<f32> = (0..LABELS.len()).map(largest).collect();
        assert_eq!(floats(&result["probabilities"]), expected);
        check_label(&result);
    }
    // A short text is one window, with the answer of the text read whole.
    let options = json!({"overflow": "window", "window": {"tokens": 64}});
    let window = classify("intent", json!("a b c"), options).await.remove(0);
    let whole = classify("intent", json!("a b c"), Value::Null).await.remove(0);
    assert_eq!(window["windows"].as_array().map(Vec::len), Some(1));
    assert_eq!(window["probabilities"], whole["probabilities"]);
}

#[tokio::test]
async fn windows_have_a_budget_and_room() {
    let window = |tokens: u64, overlap: u64| json!({"overflow": "window", "window": {"tokens": tokens, "overlap": overlap}});
    let results = classify("intent", json!([too_long(), "a"]), window(64, 3)).await;
    assert_eq!(results[0]["error"], "scan_budget_exceeded");
    assert!(results[1].get("label").is_some());
    for (tokens, overlap) in [(2, 0), (8, 6), (8, 100)] {
        assert_eq!(
            classify("intent", json!("a b"), window(tokens, overlap)).await[0]["error"],
            "invalid_input"
        );
    }
    // A window is only read where the request asks for windows.
    let options = json!({"overflow": "reject", "window": {"tokens": 8, "overlap": 100}});
    assert!(classify("intent", json!("a b"), options).await[0].get("label").is_some());
}

#[tokio::test]
async fn a_pair_is_not_read_in_windows() {
    let pair = json!([{"text": "a b c", "text_pair": "d e f"}]);
    let options = json!({"overflow": "window", "window": {"tokens": 64}});
    assert_eq!(classify("intent", pair, options).await[0]["error"], "invalid_input");
}

#[tokio::test]
async fn late_items_say_so_and_the_status_stays_200() {
    let options = json!({"deadline_ms": 1e-6});
    let results = classify("intent", json!(["a", "b", ""]), options).await;
    assert_eq!(results[0]["error"], "deadline_exceeded");
    assert_eq!(results[1]["error"], "deadline_exceeded");
    assert_eq!(results[2]["error"], "invalid_input", "it would have no answer in any time");
    let options = json!({"deadline_ms": 1e300});
    assert!(classify("intent", json!("a"), options).await[0].get("label").is_some());
}

#[tokio::test]
async fn a_lone_surrogate_in_an_item_refuses_the_request() {
    let body = r#"{"model": "intent", "input": ["a", {"text": "\ud83d"}]}"#;
    let reply = crate::client::post_to(&crate::client::app(), "/v1/classify", body).await;
    assert_eq!(reply.refusal(), (400, "invalid_request".into()));
    let pair = post("/v1/classify", &json!({"model": "intent", "input": "\u{1f600}"})).await;
    assert_eq!(pair.status, 200);
}
