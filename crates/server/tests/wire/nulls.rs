//! A `null` is an absent field: for every property that the OpenAPI document has, on every route.

use serde_json::{Value, json};

use crate::common::{get, post, shape};

/// A request per route and dialect of its body, to a model that answers it.
pub(crate) fn requests() -> Vec<(&'static str, &'static str, Value)> {
    let documents = json!({"query": "q", "documents": [{"text": "a"}, "b"]});
    let sentences = json!({"inputs": {"source_sentence": "a", "sentences": ["b", "c"]}});
    vec![
        ("/", "", json!({"inputs": "a"})),
        ("/", "", sentences.clone()),
        ("/", "/models/intent", json!({"inputs": "a"})),
        ("/", "/models/pii", json!({"inputs": "a"})),
        ("/", "/models/rank", json!({"query": "q", "texts": ["a"]})),
        ("/invocations", "", json!({"inputs": "[MASK]"})),
        ("/embed", "", json!({"inputs": "a"})),
        ("/embed_all", "", json!({"inputs": "a"})),
        ("/similarity", "", sentences),
        ("/predict", "/models/intent", json!({"inputs": "a"})),
        ("/classify", "/models/intent", json!({"inputs": "a"})),
        ("/classify", "/models/intent", json!({"input": "a"})),
        ("/rerank", "/models/rank", json!({"query": "q", "texts": ["a", "b"]})),
        ("/rerank", "/models/rank", documents.clone()),
        ("/v1/rerank", "/models/rank", documents.clone()),
        ("/v2/rerank", "/models/rank", documents),
        ("/score", "/models/rank", json!({"queries": "q", "documents": ["a", "b"]})),
        ("/v1/score", "", json!({"text_1": "q", "text_2": "a"})),
        ("/pooling", "", json!({"input": "a"})),
        ("/pooling", "/models/intent", json!({"input": "a"})),
        ("/tokenize", "", json!({"inputs": "a"})),
        ("/tokenize", "", json!({"prompt": "a"})),
        ("/decode", "", json!({"ids": [5]})),
        ("/detokenize", "", json!({"tokens": [5]})),
        ("/v1/embeddings", "", json!({"input": "a"})),
        ("/embeddings", "", json!({"input": ["a", "b"]})),
        ("/tag", "/models/pii", json!({"inputs": "a"})),
        ("/fill_mask", "", json!({"inputs": "[MASK]"})),
        ("/v1/analyze", "", json!({"text": "a"})),
        ("/v1/embed", "", json!({"texts": ["a"]})),
        ("/v2/embed", "", json!({"texts": ["a"]})),
        ("/v2/embed", "", json!({"inputs": [{"content": [{"type": "text", "text": "a"}]}]})),
    ]
}

/// Collects the pointers of all properties below a schema: `/documents/0/text`.
pub(crate) fn properties(document: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).expect("resolves");
        return properties(document, schema, at, found);
    }
    for list in ["oneOf", "anyOf", "allOf"] {
        for schema in schema[list].as_array().into_iter().flatten() {
            properties(document, schema, at, found);
        }
    }
    if schema["items"].is_object() {
        properties(document, &schema["items"], &format!("{at}/0"), found);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let pointer = format!("{at}/{name}");
        if !found.contains(&pointer) {
            found.push(pointer.clone());
            properties(document, schema, &pointer, found);
        }
    }
}

/// Returns the body with a value at a pointer, with objects around it where there are none; `None` if something
/// else is there.
fn with(body: &Value, pointer: &str, value: Value) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let mut body =
        if body.pointer(parent).is_some() { body.clone() } else { with(body, parent, json!({}))? };
    body.pointer_mut(parent)?.as_object_mut()?.insert(name.to_owned(), value);
    Some(body)
}

#[tokio::test]
async fn null_is_an_absent_field_on_every_route() {
    let document = get("/openapi.json").await.json();
    let with_body = document["paths"].as_object().expect("paths");
    let with_body = with_body.iter().filter(|(_, path)| path["post"]["requestBody"].is_object());
    for (path, _) in with_body {
        let path = path.strip_prefix("/models/{name}").unwrap_or(path);
        let covered = path.is_empty() || requests().iter().any(|(known, ..)| *known == path);
        assert!(covered, "no request for {path}");
    }
    let (mut optional, mut required) = (0, 0);
    for (path, model, body) in requests() {
        let operation = &document["paths"][path]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let mut pointers = Vec::new();
        properties(&document, schema, "", &mut pointers);
        assert!(pointers.len() > 1, "{path}: {pointers:?}");
        for pointer in pointers {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let Some(nulled) = with(&body, &pointer, Value::Null) else { continue };
            let url = format!(
                "{model}{}",
                if model.is_empty() { path } else { path.trim_end_matches('/') }
            );
            let reply = post(&url, &nulled).await;
            if body.pointer(&pointer).is_some() {
                required += 1;
                assert!((400..=422).contains(&reply.status), "{url} {nulled}: {}", reply.text);
                assert!(reply.text.contains(name), "{url} {nulled}: {}", reply.text);
            } else {
                optional += 1;
                let absent = match body.pointer(parent) {
                    Some(_) => body.clone(),
                    None => with(&body, parent, json!({})).unwrap(),
                };
                let absent = post(&url, &absent).await;
                // Some routes refuse the object around the field, with or without it.
                assert_eq!(reply.status, absent.status, "{url} {nulled}: {}", reply.text);
                if reply.status == 200 {
                    assert_eq!(shape(&reply.json()), shape(&absent.json()), "{url} {nulled}");
                }
            }
            assert!(!reply.text.contains("not valid JSON"), "{url} {nulled}: {}", reply.text);
        }
    }
    assert!(optional > 300 && required > 30, "{optional} {required}");
}

#[tokio::test]
async fn a_null_within_a_list_is_refused_by_name() {
    for (path, body, name) in [
        ("/embed", json!({"inputs": ["a", null]}), "`inputs`"),
        ("/v1/embeddings", json!({"input": [null]}), "`input`"),
        ("/models/rank/rerank", json!({"query": "q", "texts": ["a", null]}), "`texts[1]`"),
        ("/v1/rerank", json!({"query": "q", "documents": [null]}), "`documents[0]`"),
        (
            "/v1/rerank",
            json!({"query": "q", "documents": ["a", {"text": null}]}),
            "`documents[1].text`",
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a", "sentences": [null]}}),
            "`inputs.sentences[0]`",
        ),
        ("/", json!({"inputs": "a", "parameters": {"top_k": "many"}}), "`parameters.top_k`"),
        ("/decode", json!({"ids": [null]}), "`ids`"),
    ] {
        let reply = post(path, &body).await;
        assert!((400..=422).contains(&reply.status), "{path} {body}: {}", reply.text);
        assert!(reply.text.contains(name), "{path} {body}: {}", reply.text);
        assert!(!reply.text.contains("not valid JSON"), "{path} {body}: {}", reply.text);
    }
}

/// serde_json reports these as syntax errors.
#[tokio::test]
async fn an_enum_of_a_wrong_type_is_no_syntax_error() {
    for (path, body, name) in [
        ("/v1/embeddings", json!({"input": "a", "encoding_format": 5}), "`encoding_format`"),
        ("/embed", json!({"inputs": "a", "truncation_direction": false}), "`truncation_direction`"),
        ("/embed", json!({"inputs": "a", "chunk": {"merge": 1}}), "`chunk.merge`"),
        ("/pooling", json!({"input": "a", "task": ["embed"]}), "`task`"),
    ] {
        let reply = post(path, &body).await;
        let status = if path == "/embed" { 422 } else { 400 };
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text);
        let told = reply.text.contains(name) && !reply.text.contains("not valid JSON");
        assert!(told, "{path} {body}: {}", reply.text);
    }
}
