//! `/v1/rerank`: the order, the exit that routers name, and documents that fail.

use serde_json::{Value, json};

use crate::client::{app, get, ok, post, too_long};

fn documents() -> Vec<String> {
    let mut documents: Vec<String> =
        ["parcel", "weather", "invoice", "parcel"].map(str::to_owned).into();
    documents.extend([" \t".to_owned(), too_long()]);
    documents
}

#[tokio::test]
async fn documents_are_ordered_by_their_logits_and_failed_ones_come_last() {
    let body = json!({"model": "rank", "query": "Where is it?", "documents": documents()});
    let answer = ok("/v1/rerank", body).await;
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), documents().len(), "every document once");
    assert_eq!(results[4], json!({"index": 4, "error": "invalid_input"}));
    assert_eq!(results[5], json!({"index": 5, "error": "max_length_exceeded"}));
    let (ranked, mut tokens) = (&results[..4], 0);
    for pair in ranked.windows(2) {
        let key =
            |result: &Value| (result["logit"].as_f64().expect("finite"), result["index"].as_u64());
        let ((a, first), (b, second)) = (key(&pair[0]), key(&pair[1]));
        assert!(a > b || (a == b && first < second), "{pair:?}");
    }
    for result in ranked {
        let logit = result["logit"].as_f64().expect("finite");
        let score = result["relevance_score"].as_f64().expect("finite");
        assert!((score - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6, "{result}");
        assert!(result.get("document").is_none());
        tokens += result["input"]["tokens"].as_u64().expect("a whole number");
    }
    assert_eq!(answer["usage"], json!({"input_tokens": tokens, "output_tokens": 0}));
    // The two equal documents tie, in the order of their indices.
    let place = |index: u64| ranked.iter().position(|result| result["index"] == index);
    assert_eq!(place(0).map(|at| at + 1), place(3));
}

#[tokio::test]
async fn the_best_are_returned_with_their_texts_on_request() {
    let body = json!({"model": "rank", "query": "q", "documents": documents(), "top_n": 2,
        "return_documents": true});
    let answer = ok("/v1/rerank", body).await;
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), 4, "two, and those that failed");
    for result in &results[..2] {
        let index = result["index"].as_u64().expect("a whole number") as usize;
        assert_eq!(result["document"], documents()[index].as_str());
    }
}

#[tokio::test]
async fn a_router_names_the_default_exit_of_the_card() {
    let models = get(&app(), "/v1/models").await.json();
    let card = &models["data"].as_array().expect("a list")[2];
    assert_eq!(card["surfaces"], json!(["rerank"]));
    let default = &card["rerank"]["default"];
    assert_eq!(card["rerank"]["exits"], json!([default]));
    let mut body = json!({"model": "rank", "query": "q", "documents": ["a"],
        "layer": default["layer"], "dimensions": default["dimension"]});
    ok("/v1/rerank", body.clone()).await;
    body["layer"] = json!(default["layer"].as_u64().expect("a whole number") - 1);
    assert_eq!(post("/v1/rerank", &body).await.refusal(), (400, "invalid_request".into()));
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    for (field, value) in [
        ("query", json!(null)),
        ("query", json!("  ")),
        ("query", json!(3)),
        ("documents", json!([])),
        ("documents", json!(null)),
        ("documents", json!("a")),
        ("documents", json!(["a", 3])),
        ("documents", json!(vec!["a"; 1025])),
        ("top_n", json!(0)),
        ("top_n", json!(-1)),
        ("return_documents", json!(1)),
        ("dimensions", json!(1)),
        ("options", json!({"overflow": "truncate"})),
        ("options", json!({"overflow": "window"})),
    ] {
        let mut body = json!({"model": "rank", "query": "q", "documents": ["a"]});
        body[field] = value.clone();
        let reply = post("/v1/rerank", &body).await;
        assert_eq!(reply.refusal(), (400, "invalid_request".into()), "{field} {value}");
    }
}
