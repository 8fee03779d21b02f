//! The OpenAPI document describes every endpoint, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use bigbatch_engine::InitHead;
use bigbatch_server::{Action, App, Guardrail, Models, Options, UnknownFieldPolicy, endpoints};
use serde_json::Value;

use crate::common::{get, get_from, labels, package, post, post_to, served};

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

/// Without a guardrail these paths do not exist, as [`routes_and_document_are_the_same`] has it.
#[tokio::test]
async fn the_document_has_the_paths_of_guardrails_where_there_is_one() {
    let app = with_guardrail();
    let document = get_from(&app, "/openapi.json").await.json();
    let own = documented(&document);
    let table: BTreeSet<(String, String)> =
        endpoints().into_iter().map(|(method, path)| (method.to_owned(), path)).collect();
    let more: Vec<&(String, String)> = own.difference(&table).collect();
    assert_eq!(more.len(), 5, "{more:?}");
    for (method, path) in more {
        let reply = match method.as_str() {
            "get" => get_from(&app, path).await,
            _ => post_to(&app, path, "{}").await,
        };
        assert!(reply.status != 404 && reply.status != 405, "{method} {path}: {}", reply.text);
    }
}

fn with_guardrail() -> Arc<App> {
    let guardrails = vec![Guardrail {
        name: "names".into(),
        model: "pii".into(),
        labels: Vec::new(),
        threshold: 0.5,
        action: Action::Mask,
        fail_open: false,
        pass_unscanned: false,
        window_tokens: None,
        window_overlap: None,
    }];
    let models = Models::new(vec![served("pii", InitHead::Token(labels(&["O", "B-NAME"])), 8)]);
    App::new(models.unwrap(), Options { guardrails, ..Options::default() })
}

#[tokio::test]
async fn references_resolve_and_operation_ids_are_unique() {
    check_references(&document().await);
    check_references(&get_from(&with_guardrail(), "/openapi.json").await.json());
}

fn check_references(document: &Value) {
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
        package("random-grounded"),
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
