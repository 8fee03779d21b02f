//! `/v1/bundle`: several requests in one exchange, in their order, each with its own status.

use serde_json::{Value, json};

use crate::client::{ok, post};

fn tasks() -> Vec<Value> {
    vec![
        json!({"id": "0", "classify": {"model": "intent", "input": ["Where is it?", ""]}}),
        json!({"id": "1", "embeddings": {"model": "embed", "input": "Where is it?"}}),
        json!({"id": "2", "rerank": {"model": "rank", "query": "q", "documents": ["a", "b"]}}),
        json!({"id": "3", "classify": {"model": "pii", "input": "Where is it?"}}),
        json!({"id": "4", "classify": {"model": "nobody", "input": "a"}}),
        json!({"id": "5", "classify": {"model": "embed", "input": "a"}}),
        json!({"id": "6", "classify": {"model": "intent", "input": "a", "more": 1}}),
        json!({"id": "7", "decisions": {"model": "intent"}}),
        json!({"id": "8", "classify": {"input": "a"}}),
    ]
}

#[tokio::test]
async fn tasks_are_answered_in_order_as_they_are_alone() {
    let answer = ok("/v1/bundle", json!({"tasks": tasks()})).await;
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), tasks().len());
    let codes = [
        "",
        "",
        "",
        "",
        "model_not_found",
        "unsupported_surface",
        "invalid_request",
        "unsupported_surface",
        "invalid_request",
    ];
    for ((task, result), code) in tasks().iter().zip(results).zip(codes) {
        assert_eq!(result["id"], task["id"]);
        let surface = ["classify", "embeddings", "rerank", "decisions"];
        let surface = surface.into_iter().find(|name| task.get(name).is_some()).expect("one");
        if surface == "decisions" {
            assert_eq!((&result["status"], &result["error"]["code"]), (&json!(422), &json!(code)));
            continue;
        }
        let alone = post(&format!("/v1/{surface}"), &task[surface]).await;
        assert_eq!(result["status"], alone.status);
        if code.is_empty() {
            assert_eq!(result[surface], alone.json(), "{surface}");
            assert!(result.get("error").is_none());
        } else {
            assert_eq!(result["error"], alone.json()["error"]);
            assert_eq!(result["error"]["code"], code);
            assert_eq!(result.as_object().map(|result| result.len()), Some(3));
        }
    }
}

#[tokio::test]
async fn the_deadline_of_a_bundle_holds_for_tasks_without_an_earlier_one() {
    let classify = |deadline: Value| json!({"model": "intent", "input": "a", "options": {"deadline_ms": deadline}});
    let tasks = json!([{"id": "a", "classify": classify(json!(null))}, {"id": "b", "classify": classify(json!(60_000))}]);
    let answer = ok("/v1/bundle", json!({"tasks": tasks, "options": {"deadline_ms": 1e-6}})).await;
    for result in answer["results"].as_array().expect("a list") {
        assert_eq!(result["status"], 200);
        assert_eq!(result["classify"]["results"][0]["error"], "deadline_exceeded");
    }
    let answer =
        ok("/v1/bundle", json!({"tasks": tasks, "options": {"deadline_ms": 60_000.5}})).await;
    for result in answer["results"].as_array().expect("a list") {
        assert!(result["classify"]["results"][0].get("label").is_some());
    }
}

#[tokio::test]
async fn a_malformed_bundle_is_refused_whole() {
    let task = json!({"id": "a", "classify": {"model": "intent", "input": "a"}});
    let two = |second: Value| json!({"tasks": [task, second]});
    let bad = [
        json!({}),
        json!({"tasks": null}),
        json!({"tasks": []}),
        json!({"tasks": {}}),
        json!({"tasks": [3]}),
        json!({"tasks": [task], "more": 1}),
        json!({"tasks": [task], "options": {"deadline_ms": 0}}),
        json!({"tasks": [task], "options": {"deadline_ms": true}}),
        json!({"tasks": [task], "options": {"profile": "exact"}}),
        json!({"tasks": [task], "options": []}),
        two(task.clone()),
        two(json!({"id": "", "classify": {}})),
        two(json!({"id": 3, "classify": {}})),
        two(json!({"classify": {}})),
        two(json!({"id": "b"})),
        two(json!({"id": "b", "classify": 3})),
        two(json!({"id": "b", "classify": {}, "rerank": {}})),
        two(json!({"id": "b", "classify": {}, "more": 1})),
    ];
    for body in bad {
        let reply = post("/v1/bundle", &body).await;
        assert_eq!(reply.refusal(), (400, "invalid_request".into()), "{body}");
    }
    let many: Vec<Value> =
        (0..65).map(|id| json!({"id": id.to_string(), "classify": {}})).collect();
    let reply = post("/v1/bundle", &json!({"tasks": many})).await;
    assert_eq!(reply.refusal(), (413, "request_too_large".into()));
}
