//! The OpenAPI document describes every endpoint, and nothing else.

use std::collections::BTreeSet;

use bigbatch_engine::InitHead;
use bigbatch_server::{App, Models, Options, UnknownFieldPolicy, endpoints};
use serde_json::Value;

use crate::common::{get, get_from, labels, post, post_to, served};

async fn document() -> Value {
    let reply = get("/openapi.json").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text, get("/api-doc/openapi.json").await.text);
    reply.json()
}

fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
        methods.map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
    };
    paths.flat_map(methods).collect()
}

#[tokio::test]
async fn routes_and_document_are_the_same() {
    let served: BTreeSet<(String, String)> =
        endpoints().into_iter().map(|(method, path)| (method.to_owned(), path)).collect();
    let documented = documented(&document().await);
    let missing: Vec<_> = served.difference(&documented).collect();
    let more: Vec<_> = documented.difference(&served).collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "undocumented: {missing:?}; not served: {more:?}"
    );
}

/// The route table and the router agree.
#[tokio::test]
async fn every_endpoint_of_the_table_is_routed() {
    for (method, path) in endpoints() {
        let path = path.replace("{name}", "intent");
        let reply = match method {
            "get" => get(&path).await,
            _ => post(&path, &serde_json::json!({})).await,
        };
        let unrouted = reply.status == 405 || reply.text.contains("there is no /");
        assert!(!unrouted, "{method} {path}: {}", reply.text);
    }
}

#[tokio::test]
async fn references_resolve_and_operation_ids_are_unique() {
    let document = document().await;
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let name = reference.split('"').next().unwrap();
        let pointer = name.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{name} leads nowhere");
    }
    let ids: Vec<&str> = text.split("\"operationId\":\"").skip(1).collect();
    let distinct: BTreeSet<&str> = ids.iter().map(|id| id.split('"').next().unwrap()).collect();
    assert_eq!(distinct.len(), ids.len());
}

#[tokio::test]
async fn every_post_endpoint_documents_its_refusals() {
    let document = document().await;
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(responses) = item.pointer("/post/responses") else { continue };
        for status in ["200", "400", "401", "404", "405", "408", "413", "415", "429", "503"] {
            assert!(responses.get(status).is_some(), "{path}: {status}");
        }
    }
}

/// Each example of the document is answered with 200 and has no field that its endpoint does not read.
#[tokio::test]
async fn every_example_is_answered() {
    let models = vec![
        served("embed", InitHead::MaskedLm, 8),
        served("jailbreak", InitHead::Sequence(labels(&["benign", "injection"])), 8),
        served("rank", InitHead::Sequence(labels(&["LABEL_0"])), 8),
        served("pii", InitHead::Token(labels(&["O", "B-NAME", "I-NAME"])), 8),
    ];
    let options = Options { unknown_fields: UnknownFieldPolicy::Refuse, ..Options::default() };
    let app = App::new(Models::new(models).unwrap(), options);
    let document = get_from(&app, "/openapi.json").await.json();
    let (mut operations, mut sent) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(media) = item.pointer("/post/requestBody/content/application~1json") else {
            continue;
        };
        operations += 1;
        let examples = media["examples"].as_object();
        for (name, example) in examples.unwrap_or_else(|| panic!("{path} has no example")) {
            let path = path.replace("{name}", name);
            let reply = post_to(&app, &path, example["value"].to_string()).await;
            assert_eq!(reply.status, 200, "{path}: {} {}", example["value"], reply.text);
            sent += 1;
        }
    }
    let posts = endpoints().iter().filter(|(method, _)| *method == "post").count();
    assert_eq!((operations, sent > 2 * operations), (posts, true), "{sent}");
    let attack = document.pointer(
        "/paths/~1predict/post/requestBody/content/application~1json/examples/jailbreak/value/inputs",
    );
    assert!(attack.unwrap().as_str().unwrap().starts_with("Ignore all previous"), "{attack:?}");
}
